//! `trackport spool`: shows what waits on disk for the database, writes it out, and puts it in elsewhere.
//!
//! Reads the files alone and needs no lock, so it works beside the running server and on a folder copied from a machine
//! that is no more. `line.rs` is the form in which entries travel, `show.rs` the text and JSON for people and programs.

mod line;
mod show;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Failed, text};
use crate::imei::Imei;
use crate::spool::{
    self, DamageKind, Disk, Entry, Folder, FoundKind, Header, Look, examine, find, scan,
};
use crate::{clock, conf};
use show::{Devices, Seen};

/// What to do with the spool.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the files of the spool: what waits to be stored, and what is set aside and why
    ///
    /// Works beside the running server, which goes on writing and draining meanwhile.
    #[command(after_help = "\
Examples:
  trackport spool list
  trackport spool list --devices")]
    List {
        /// What waits of each device, instead of the files
        #[arg(long)]
        devices: bool,
        /// One JSON object per line instead of tables
        #[arg(long)]
        json: bool,
    },
    /// Write packets of the spool, one JSON line each, in the form that `import` reads
    ///
    /// Without a file or folder: all that waits in the spool of the conf file. A file that is set aside gives what is whole in it.
    /// Nothing is taken out of the spool.
    #[command(after_help = "\
Examples:
  trackport spool export --to spooled.jsonl
  trackport spool export --imei 356307042441013
  trackport spool export /mnt/old-disk/spool 0000000000000007.seg.bad")]
    Export {
        /// The file to write; standard output without it or with -
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// Only packets of this device
        #[arg(long)]
        imei: Option<Imei>,
        /// Files of a spool, or folders
        #[arg(value_name = "FOLDER|SEGMENT")]
        from: Vec<PathBuf>,
    },
    /// Put packets that `export` wrote into the spool, to be stored like all others
    ///
    /// The running server takes them in within seconds, otherwise the next start does. What is in the database already is
    /// not stored twice. Either all lines are taken or none: every mistake is told with its line. Run it as the user of the server,
    /// who must be able to read the files.
    #[command(after_help = "\
Example:
  trackport spool export /mnt/old-disk/spool | runuser -u trackport -- trackport spool import -")]
    Import {
        /// The file of JSON lines; - reads standard input
        file: PathBuf,
    },
}

/// Does what `command` says with the spool of the conf file at `path`.
///
/// # Errors
/// The mistakes of the conf file; files that cannot be read or written; `Failed` when mistakes were told already.
pub fn run(command: &Command, path: &Path) -> anyhow::Result<()> {
    match command {
        Command::List { devices, json } => {
            list(&conf::load(path)?.spool.directory, *devices, *json)
        }
        Command::Export { to, imei, from } => {
            if from.is_empty() {
                let folder = conf::load(path)?.spool.directory;
                export(to.as_deref(), *imei, &[folder])
            } else {
                export(to.as_deref(), *imei, from)
            }
        }
        Command::Import { file } => import(&conf::load(path)?.spool, file),
    }
}

fn folder(path: &Path) -> anyhow::Result<Folder> {
    Folder::at(path).with_context(|| format!("the spool {}", path.display()))
}

fn list(path: &Path, by_device: bool, json: bool) -> anyhow::Result<()> {
    let folder = folder(path)?;
    let found = find(&folder).with_context(|| folder.place())?;
    let mut seen = Vec::new();
    let mut devices = Devices::new();
    for found in found {
        let is_aside = found.kind == FoundKind::SetAside;
        let look = if by_device || is_aside {
            let Some(bytes) = read(&path.join(&found.name)) else {
                continue;
            };
            match bytes {
                Ok(bytes) => {
                    if !is_aside {
                        let scan = scan(&bytes);
                        let entries = scan.entries.iter();
                        entries.for_each(|(_, entry)| show::count(&mut devices, entry));
                    }
                    examine(&bytes)
                }
                Err(error) => unreadable(&error),
            }
        } else {
            match spool::look(&folder, &found.name) {
                Some(look) => look,
                // Drained since the folder was read.
                None => continue,
            }
        };
        seen.push(Seen { found, look });
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    if by_device {
        show::devices(&mut out, &devices, json)?;
    } else if json {
        for seen in &seen {
            writeln!(out, "{}", seen.json())?;
        }
    } else {
        show::files(&mut out, &folder.place(), &seen)?;
    }
    out.flush()?;
    Ok(())
}

fn unreadable(error: &io::Error) -> Look {
    Look {
        damage: vec![DamageKind::Unreadable {
            reason: error.to_string(),
        }],
        ..Look::default()
    }
}

/// The bytes of a file. `None`: it is gone, which is the way of segments beside a running server.
fn read(path: &Path) -> Option<io::Result<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other),
    }
}

fn export(to: Option<&Path>, imei: Option<Imei>, from: &[PathBuf]) -> anyhow::Result<()> {
    let files = files(from)?;
    let exported = match to.filter(|to| *to != Path::new("-")) {
        None => export_to(&mut io::BufWriter::new(io::stdout().lock()), imei, &files)?,
        Some(to) => {
            let name = || to.display().to_string();
            let file = File::create(to).with_context(name)?;
            let mut out = io::BufWriter::new(file);
            let exported = export_to(&mut out, imei, &files).with_context(name)?;
            let file = out.into_inner().map_err(io::IntoInnerError::into_error);
            // It may be the only copy when the spool is thrown away next.
            file.and_then(|file| file.sync_all()).with_context(name)?;
            exported
        }
    };
    let packets = text::count(exported.n_packets, "packet");
    let read = text::count(exported.n_files, "file");
    eprintln!("{packets} of {read} written");
    if exported.all_read {
        Ok(())
    } else {
        Err(Failed.into())
    }
}

/// The files to read, and whether each must be there: segments of a folder may be drained meanwhile.
fn files(from: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, bool)>> {
    let mut files = Vec::new();
    for path in from {
        if !path.is_dir() && path.exists() {
            files.push((path.clone(), true));
            continue;
        }
        let found = find(&folder(path)?).with_context(|| path.display().to_string())?;
        let waiting = found.iter().filter(|file| file.kind != FoundKind::SetAside);
        files.extend(waiting.map(|file| (path.join(&file.name), false)));
    }
    Ok(files)
}

struct Exported {
    n_packets: usize,
    n_files: usize,
    /// No file was left out.
    all_read: bool,
}

fn export_to(
    out: &mut impl Write,
    imei: Option<Imei>,
    files: &[(PathBuf, bool)],
) -> anyhow::Result<Exported> {
    let mut exported = Exported {
        n_packets: 0,
        n_files: 0,
        all_read: true,
    };
    for (path, must_be) in files {
        let name = path.display();
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_be => continue,
            Err(error) => {
                eprintln!("trackport: {name}: {error}");
                exported.all_read = false;
                continue;
            }
        };
        let scan = scan(&bytes);
        if let Header::Newer { version } = scan.header {
            eprintln!("trackport: {name}: a later trackport wrote it (format {version})");
            exported.all_read = false;
            continue;
        }
        for range in &scan.damaged {
            let n_bytes = range.end - range.start;
            eprintln!(
                "warning: {name}: {n_bytes} bytes from {} on are damaged",
                range.start
            );
        }
        exported.n_files += 1;
        for (_, entry) in &scan.entries {
            if imei.is_none_or(|imei| imei == entry.imei) {
                writeln!(out, "{}", line::write(entry)?)?;
                exported.n_packets += 1;
            }
        }
    }
    out.flush()?;
    Ok(exported)
}

fn import(conf: &conf::Spool, file: &Path) -> anyhow::Result<()> {
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        ("standard input".to_owned(), text)
    } else {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).with_context(|| name.clone())?;
        (name, text)
    };
    let entries = match line::read_all(&text) {
        Ok(entries) => entries,
        Err(mistakes) => {
            for (line, mistake) in &mistakes {
                eprintln!("{name}:{line}: {mistake}");
            }
            let mistakes = text::count(mistakes.len(), "mistake");
            eprintln!("trackport: {mistakes} in {name}; nothing is imported");
            return Err(Failed.into());
        }
    };
    if entries.is_empty() {
        anyhow::bail!("{name} has no packets");
    }
    let folder = folder(&conf.directory)?;
    let there: u64 = find(&folder)?.iter().map(|file| file.bytes).sum();
    let new: u64 = entries.iter().map(|entry| entry.frame.len() as u64).sum();
    if there.saturating_add(new) > conf.max_size {
        anyhow::bail!(
            "the spool would be larger than [spool] max_size: it has {}, the packets have {}; nothing is imported",
            text::bytes(there),
            text::bytes(new)
        );
    }
    let tag = format!("{}-{}", clock::wall_us(), std::process::id());
    spool::write_incoming(&folder, &tag, entries.iter().map(Entry::as_ref))?;
    let packets = text::count(entries.len(), "packet");
    println!("{packets} put into the spool; the server stores them");
    Ok(())
}
