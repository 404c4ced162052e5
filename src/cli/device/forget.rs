//! `trackport device forget`: erases a device everywhere, beside a running server or without one.
//!
//! What is stored is easily deleted; what is on its way must not bring it back. Therefore in this order:
//!
//! 1. The device is refused in the table. The server hears of it, closes its session and answers 00, whatever `accept` says.
//! 2. The server is asked until it holds nothing of the device: no session, no packet in a queue or in a hand, no row in a batch, in no
//!    thread, not even in a retired one (`DeviceNow::n_holders`). From then on nothing of it can go to the database or to the spool.
//! 3. The files of the spool that hold packets of it are waited for until the server has drained and removed them. So they are stored
//!    like all others, and erased from the tables then; no file of the spool is edited, nobody else's packets are at risk.
//! 4. Transactions that were writing at this moment are waited for: those of a thread or process that died may still be committed.
//! 5. Its rows are deleted, the device last. The server hears of it, forgets it, and writes the copy of the device list anew.
//! 6. What the server had noted beside records and wrote meanwhile is deleted once more.
//!
//! Whatever interrupts this leaves a refused device: the same command goes on where it stood. Between 5 and the next login there is nothing;
//! with `accept = "any"` that login makes a new device, unless `--refuse` leaves a bare refusal.

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use postgres::Client;

use super::super::{WrongUsage, database, text};
use crate::conf::{self, Accept, Conf};
use crate::control::client::{self, ClientError};
use crate::control::messages::{DeviceNow, Request, Response};
use crate::imei::Imei;
use crate::roster;
use crate::spool::{Disk, Folder, FoundKind, Header, find, scan};
use crate::store::device::{self, DeviceState};
use crate::store::forget::{self, Fence, Tally};

/// How often is looked whether something waited for has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often is said what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// The server writes its notes once a second; after so long those of before are written.
const NOTES_WRITTEN: Duration = Duration::from_millis(2500);

/// What may follow `trackport device forget`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The device
    imei: Imei,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Keep its IMEI as that of a refused device, and nothing else, so that it is not let in again
    #[arg(long)]
    refuse: bool,
    /// How long the server may take to let go of what it holds of the device, its spool included
    #[arg(long, value_name = "TIME", default_value = "30 min", value_parser = conf::parse_duration)]
    wait: Duration,
}

/// Erases the device.
///
/// # Errors
/// `WrongUsage` where nobody can be asked; the mistakes of the conf file; a database that is away; a server that does not let go in time.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<()> {
    let imei = args.imei;
    let conf = conf::load(path)?;
    let mut client =
        database::connect(path).context("device forget needs the database; nothing is erased")?;
    if !args.yes {
        confirm(&mut client, imei)?;
    }
    let mut forgetting = Forgetting {
        imei,
        conf: &conf,
        until: Instant::now() + args.wait,
        is_running: false,
    };
    forgetting.find_server(&mut client)?;
    let id = device::refuse(&mut client, imei)?.id;
    let done = forgetting.erase(&mut client, id, args.refuse);
    let (tally, left) = done.with_context(|| {
        format!("{imei} is refused from now on, and not erased yet: run the same again")
    })?;
    tell(&tally, &left, args, &conf)
}

fn confirm(client: &mut Client, imei: Imei) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        let text = format!(
            "device forget: {imei} would be erased with everything that is known of it, for ever; --yes says that this is meant"
        );
        return Err(WrongUsage(text).into());
    }
    let mut out = io::stderr().lock();
    match device::show(client, imei)? {
        Some(shown) => {
            let name = shown.device.name.as_deref().unwrap_or("without a name");
            writeln!(
                out,
                "{imei}, {}, is {}.",
                text::printable(name),
                shown.device.state
            )?;
        }
        None => writeln!(
            out,
            "{imei} is on no list; it may be in the spool, in quarantine, among refused logins."
        )?,
    }
    write!(
        out,
        "Its records, and everything else that is known of it, are erased for ever.\nType the IMEI once more to have it so: "
    )?;
    out.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() != imei.to_string() {
        anyhow::bail!("nothing is erased");
    }
    Ok(())
}

struct Forgetting<'a> {
    imei: Imei,
    conf: &'a Conf,
    until: Instant,
    is_running: bool,
}

impl Forgetting<'_> {
    /// Finds out whether a server runs. One that is connected to the database and cannot be asked would bring the device back.
    fn find_server(&mut self, client: &mut Client) -> anyhow::Result<()> {
        let socket = &self.conf.control.socket;
        let own = match self.ask() {
            Ok(_) => match client::ask(socket, &Request::Status)? {
                Response::Status(status) if !status.application.is_empty() => {
                    Some(format!("{}/", status.application))
                }
                _ => anyhow::bail!("the running server is another version: restart it"),
            },
            Err(error) if is_nobody_there(&error) => None,
            Err(error) => return Err(error).context("nothing is erased"),
        };
        self.is_running = own.is_some();
        let servers = forget::servers(client)?;
        let is_own = |name: &str| own.as_ref().is_some_and(|own| name.starts_with(own));
        if let Some(other) = servers.iter().find(|name| !is_own(name)) {
            anyhow::bail!(
                "a server is connected to this database as {other}, and does not answer at {}: it may hold packets of the device. \
                 Run this where that server runs, with its conf file, or stop it; nothing is erased",
                socket.display()
            );
        }
        Ok(())
    }

    /// Steps 2 to 6; returns what is gone and what could not be reached.
    fn erase(
        &self,
        client: &mut Client,
        id: i32,
        kept_out: bool,
    ) -> anyhow::Result<(Tally, Vec<String>)> {
        self.wait_let_go(id)?;
        let left = self.wait_spool()?;
        // The drain had packets of it in its hands meanwhile.
        self.wait_let_go(id)?;
        let fence = Fence::set(client)?;
        self.wait("transactions that were writing", || {
            let n_left = fence.n_left(client)?;
            Ok((n_left > 0).then(|| text::count(n_left, "transaction")))
        })?;
        let mut told = Instant::now();
        let mut tally = forget::erase(client, self.imei, id, kept_out, &mut |tally| {
            if told.elapsed() >= SAY_EVERY {
                told = Instant::now();
                let n_rows: u64 = tally.0.iter().map(|one| one.n_rows).sum();
                eprintln!("{} rows erased so far", text::amount(n_rows));
            }
        })?;
        if self.is_running {
            self.wait("the server to forget it", || {
                let device = self.ask()?.1;
                let is_there = device.is_some_and(|device| device.id == Some(id));
                Ok(is_there.then(|| "the device in its list".to_owned()))
            })?;
            sleep(NOTES_WRITTEN);
        }
        let fence = Fence::set(client)?;
        self.wait("transactions that were writing", || {
            let n_left = fence.n_left(client)?;
            Ok((n_left > 0).then(|| text::count(n_left, "transaction")))
        })?;
        forget::sweep(client, self.imei, id, kept_out, &mut tally)?;
        self.copy_of_list(kept_out)?;
        Ok((tally, left))
    }

    /// What the server holds of the device.
    fn ask(&self) -> anyhow::Result<(bool, Option<DeviceNow>)> {
        let imei = self.imei.to_string();
        match client::ask(&self.conf.control.socket, &Request::Device { imei })? {
            Response::Device { is_loaded, device } => Ok((is_loaded, device)),
            Response::Error { text } => anyhow::bail!(
                "the running server does not know this question ({text}): restart it, so that it is of this version"
            ),
            _ => anyhow::bail!("the running server is another version: restart it"),
        }
    }

    /// Waits until `left` says that nothing is left.
    fn wait(
        &self,
        what: &str,
        mut left: impl FnMut() -> anyhow::Result<Option<String>>,
    ) -> anyhow::Result<()> {
        let mut told = Instant::now();
        while let Some(left) = left()? {
            if Instant::now() >= self.until {
                anyhow::bail!("{what}: {left} after --wait; what does `trackport status` say?");
            }
            if told.elapsed() >= SAY_EVERY {
                told = Instant::now();
                eprintln!("waiting for {what}: {left}");
            }
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits until the server keeps the device out and holds nothing of it.
    fn wait_let_go(&self, id: i32) -> anyhow::Result<()> {
        if !self.is_running {
            return Ok(());
        }
        self.wait("the server to let go of the device", || {
            let (is_loaded, device) = match self.ask() {
                Ok(answer) => answer,
                // It is being restarted, perhaps.
                Err(error) if is_nobody_there(&error) => return Ok(Some("no answer".to_owned())),
                Err(error) => return Err(error),
            };
            if !is_loaded {
                return Ok(Some("it has not loaded the device list".to_owned()));
            }
            Ok(match device {
                Some(device) if device.id != Some(id) => {
                    Some("it has the device under another id; is its database this one?".to_owned())
                }
                Some(device) if device.state != DeviceState::Refused.as_str() => {
                    Some(format!("the device is {} there", device.state))
                }
                Some(device) if device.n_holders > 0 => Some(format!(
                    "{} of sessions, packets and rows on their way",
                    device.n_holders
                )),
                Some(_) => None,
                None => Some("it has not heard of the device yet".to_owned()),
            })
        })
    }

    /// Waits until no file of the spool holds packets of the device; returns those set aside that do.
    fn wait_spool(&self) -> anyhow::Result<Vec<String>> {
        let path = &self.conf.spool.directory;
        let folder = match Folder::at(path) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            // A folder that cannot be made holds nothing.
            Err(_) if !path.exists() => return Ok(Vec::new()),
            Err(error) => {
                return Err(error).with_context(|| format!("the spool {}", path.display()));
            }
        };
        // Nothing of the device is added any more: whichever file is without it stays so.
        let (mut with, mut without) = (BTreeSet::new(), BTreeSet::new());
        let mut aside = Vec::new();
        self.wait("the spool to be drained", || {
            aside.clear();
            let found = find(&folder).with_context(|| folder.place())?;
            let mut n_waiting = 0;
            for file in found {
                if !with.contains(&file.name) && !without.contains(&file.name) {
                    let has = has_packets(&path.join(&file.name), self.imei)?;
                    let seen = if has { &mut with } else { &mut without };
                    seen.insert(file.name.clone());
                }
                if with.contains(&file.name) {
                    match file.kind {
                        FoundKind::SetAside => aside.push(path.join(&file.name).display().to_string()),
                        FoundKind::Segment(_) | FoundKind::Incoming => n_waiting += 1,
                    }
                }
            }
            if n_waiting > 0 && !self.is_running {
                anyhow::bail!(
                    "{} of the spool {} with packets of it: start the server, which stores them, and run this again",
                    text::count(n_waiting, "file"),
                    path.display()
                );
            }
            Ok((n_waiting > 0).then(|| format!("{} with packets of it", text::count(n_waiting, "file"))))
        })?;
        Ok(aside)
    }

    /// Sees to it that the device is not in the copy of the list any more.
    fn copy_of_list(&self, kept_out: bool) -> anyhow::Result<()> {
        let file = roster::file(&self.conf.spool.directory);
        let is_in = || -> anyhow::Result<bool> {
            // One that cannot be read is written anew by the server.
            let devices = roster::read(&file).ok().flatten().unwrap_or_default();
            Ok(devices.iter().any(|(imei, state)| {
                *imei == self.imei && !(kept_out && *state == DeviceState::Refused)
            }))
        };
        if self.is_running {
            // With accept = "any" it may be there again as a new device.
            let mut n_looks = 0;
            return self.wait("the copy of the device list", || {
                n_looks += 1;
                let is_back = self.ask()?.1.is_some();
                Ok((!is_back && is_in()?).then(|| file.display().to_string()))
            });
        }
        if is_in()? {
            let mut devices = roster::read(&file).ok().flatten().unwrap_or_default();
            devices.retain(|(imei, _)| *imei != self.imei);
            roster::write(&file, &devices).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }
}

fn is_nobody_there(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<ClientError>(),
        Some(ClientError::NotThere { .. })
    )
}

/// Whether a file of the spool has packets of the device. One that is gone has none.
fn has_packets(path: &Path, imei: Imei) -> anyhow::Result<bool> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let scan = scan(&bytes);
    if let Header::Newer { version } = scan.header {
        anyhow::bail!(
            "{}: a later trackport wrote it (format {version}), nobody can say whether packets of the device are in it",
            path.display()
        );
    }
    Ok(scan.entries.iter().any(|(_, entry)| entry.imei == imei))
}

/// Says what is gone, and what could not be reached.
fn tell(tally: &Tally, left: &[String], args: &Args, conf: &Conf) -> anyhow::Result<()> {
    let imei = args.imei;
    let mut out = io::stdout().lock();
    writeln!(out, "{imei} is erased:")?;
    for one in &tally.0 {
        if one.n_rows > 0 {
            writeln!(
                out,
                "  {:>12} from trackport.{}",
                text::amount(one.n_rows),
                one.table
            )?;
        }
    }
    writeln!(out, "  nothing of it is in the spool")?;
    for file in left {
        writeln!(
            out,
            "not erased: {file} was set aside because it is damaged, and holds packets of it and perhaps of others: \
             `trackport spool export {file}` shows what is whole, then rm"
        )?;
    }
    writeln!(
        out,
        "not within reach: backups, WAL archives and standbys, files that were exported, the journal (journalctl --vacuum-time), \
         the server that it was imported from\n\
         the bytes leave PostgreSQL's files with the next vacuum; at once: vacuumdb --analyze DATABASE"
    )?;
    if args.refuse {
        writeln!(
            out,
            "its IMEI is kept as that of a refused device: `trackport device accept {imei}` lets it in again"
        )?;
        return Ok(());
    }
    let is_let_in = conf.ports.iter().any(|port| {
        port.device == Some(imei) || port.accept.unwrap_or(conf.devices.accept) == Accept::Any
    });
    if is_let_in {
        writeln!(
            out,
            "a port lets in whoever comes (accept = \"any\", or device = this one): the next login of it makes a new device; \
             --refuse would keep it out"
        )?;
    } else {
        writeln!(
            out,
            "if it still sends, its logins are refused and counted in login_attempt again: switch it off, or to another server"
        )?;
    }
    Ok(())
}
