//! Segments from elsewhere: how another process puts them into the folder, and how the owner takes them in.
//!
//! The writer needs no lock: it writes under names that the owner leaves alone, syncs, and renames when all is safe. The
//! owner gives what it finds the next numbers, so it comes after everything that waits.

use super::disk::Disk;
use super::entry::EntryRef;
use super::format::{self, Tally};
use super::open::{BAD, FoundKind, INCOMING, SEGMENT, find, look, segment, set_aside};
use super::{Damage, DamageKind, SEGMENT_BYTES, Spool, SpoolError, disk_error, segment_name};

/// What arrived from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Files taken in.
    pub files: u64,
    /// What is in them.
    pub tally: Tally,
    /// What could not be read, and what became of it; of a file that is left alone, once.
    pub damaged: Vec<Damage>,
}

impl Spool {
    /// Takes in segments that were put into the folder from elsewhere, as the newest ones.
    ///
    /// # Errors
    /// What the disk says; what was not taken in yet is there for the next time.
    pub fn adopt_incoming(&self) -> Result<Adopted, SpoolError> {
        let found = find(&*self.disk).map_err(|source| self.error("list", ".", source))?;
        let mut adopted = Adopted::default();
        for file in found.iter().filter(|file| file.kind == FoundKind::Incoming) {
            let Some(look) = look(&*self.disk, &file.name) else {
                continue;
            };
            if look.is_useless() {
                if self.index().is_told(&file.name) {
                    continue;
                }
                let aside = set_aside(&*self.disk, &found, file, &look);
                adopted.damaged.extend(aside.map(|(damage, bytes)| {
                    self.index().set_aside(bytes);
                    damage
                }));
                continue;
            }
            let number = self.index().arrive();
            let name = segment_name(number);
            if let Err(source) = self.disk.rename(&file.name, &name) {
                self.index().remove(number);
                return Err(self.error("take in", &file.name, source));
            }
            let told = |kind: &DamageKind| Damage {
                file: name.clone(),
                kind: kind.clone(),
                kept_as: format!("{name}{BAD}"),
            };
            adopted.damaged.extend(look.damage.iter().map(told));
            adopted.files += 1;
            adopted.tally.add(&look.tally);
            self.index().put(number, segment(&look, file.bytes, true));
            // A crash before this may bring the file back as one that arrives: its records come twice, which is harmless.
            self.disk
                .sync_dir()
                .map_err(|source| self.error("sync the name of", &name, source))?;
        }
        Ok(adopted)
    }
}

/// Writes entries as segments that whoever owns the spool takes in. `tag` tells them from those of others.
///
/// Says the names of the files. Needs no lock.
///
/// # Errors
/// What the disk says. Nothing is taken in then, unless it was the last step that failed.
pub fn write_incoming<'a>(
    disk: &dyn Disk,
    tag: &str,
    entries: impl IntoIterator<Item = EntryRef<'a>>,
) -> Result<Vec<String>, SpoolError> {
    let mut entries = entries.into_iter().peekable();
    let mut names: Vec<(String, String)> = Vec::new();
    while entries.peek().is_some() {
        let name = format!("{INCOMING}{tag}-{:04}{SEGMENT}", names.len());
        let hidden = format!("{name}.tmp");
        names.push((hidden.clone(), name));
        let bytes = one_segment(&mut entries);
        let written = bytes.and_then(|bytes| write(disk, &hidden, &bytes));
        if let Err(error) = written {
            for (hidden, _) in &names {
                // They are no segments; whoever finds one may delete it.
                let _ = disk.remove(hidden);
            }
            return Err(error);
        }
    }
    for (hidden, name) in &names {
        disk.rename(hidden, name)
            .map_err(|source| disk_error(disk, "rename", hidden, source))?;
    }
    disk.sync_dir()
        .map_err(|source| disk_error(disk, "sync the names in", ".", source))?;
    Ok(names.into_iter().map(|(_, name)| name).collect())
}

/// The bytes of a finished segment with as many entries as it may have.
fn one_segment<'a>(
    entries: &mut impl Iterator<Item = EntryRef<'a>>,
) -> Result<Vec<u8>, SpoolError> {
    let mut bytes = format::header(0).to_vec();
    let mut tally = Tally::default();
    while (bytes.len() as u64) < SEGMENT_BYTES
        && let Some(entry) = entries.next()
    {
        let offset = bytes.len() as u64;
        format::write_entry(&mut bytes, offset, &entry)?;
        tally.count(&entry);
    }
    let offset = bytes.len() as u64;
    format::write_seal(&mut bytes, offset, &tally)?;
    Ok(bytes)
}

fn write(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), SpoolError> {
    let told = |source| disk_error(disk, "write", name, source);
    let file = disk.create_new(name).map_err(told)?;
    file.append(bytes).map_err(told)?;
    file.sync_data().map_err(told)
}
