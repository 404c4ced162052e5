//! The part of `trackport check` that looks at the spool: may its folder be used, and is there room?
//!
//! Changes nothing: a folder that is missing is looked at by the one that it would be made in.

use std::path::Path;

use rustix::fs::{Access, access};

use super::finding::{Finding, Grade};
use super::text::bytes;
use crate::conf::Spool;
use crate::spool::{Disk, Folder};

/// Less room than this is used up by an outage of minutes.
const ROOM_LITTLE: u64 = 256 << 20;

/// What is found at `[spool] directory`.
pub(super) fn finding(spool: &Spool) -> Finding {
    let directory = &spool.directory;
    let place = directory.display();
    let Some(there) = directory.ancestors().find(|folder| folder.exists()) else {
        return Finding::new(
            Grade::Wrong,
            format!("spool {place}: there is no such path"),
        );
    };
    if !there.is_dir() {
        let text = format!(
            "spool {place}: {} is no folder; name another [spool] directory",
            there.display()
        );
        return Finding::new(Grade::Wrong, text);
    }
    if let Err(error) = access(there, Access::WRITE_OK | Access::EXEC_OK) {
        let text = format!(
            "spool {place}: this user may not write in {} ({error}); run this as the user of the server, or give it the \
             folder: install -d -o trackport -g trackport -m 0750 {place}",
            there.display()
        );
        return Finding::new(Grade::Wrong, text);
    }
    match room(spool, there) {
        Err(error) => {
            let text = format!("spool {place}: its disk does not say how full it is: {error}");
            Finding::new(Grade::Wrong, text)
        }
        Ok(0) => {
            let text = format!(
                "spool {place}: no room, so nothing is acknowledged while the database is away: make room on its disk, or lower \
                 [spool] keep_free"
            );
            Finding::new(Grade::Wrong, text)
        }
        Ok(room) => {
            let grade = if room < ROOM_LITTLE {
                Grade::Warning
            } else {
                Grade::Ok
            };
            let text = format!(
                "spool {place}: room for {}, some {} records",
                bytes(room),
                super::text::amount(room / 120)
            );
            Finding::new(grade, text)
        }
    }
}

/// Bytes that the spool may take, whatever lies in it already.
fn room(spool: &Spool, folder: &Path) -> std::io::Result<u64> {
    let space = Folder::at(folder)?.space()?;
    let kept = spool.keep_free.bytes(space.total);
    Ok(space.free.saturating_sub(kept).min(spool.max_size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::KeepFree;

    fn spool(directory: &str, keep_free: KeepFree) -> Spool {
        Spool {
            directory: directory.into(),
            keep_free,
            ..Spool::default()
        }
    }

    #[test]
    fn a_folder_that_can_be_made_is_well() {
        let folder = std::env::temp_dir().join("not/yet/there");
        let spool = spool(folder.to_str().unwrap(), KeepFree::Bytes(0));
        let finding = finding(&spool);
        assert_ne!(finding.grade, Grade::Wrong, "{}", finding.text);
        assert!(finding.text.contains("room for"), "{}", finding.text);
    }

    #[test]
    fn what_is_no_folder_and_a_disk_without_room_are_wrong() {
        let at = |directory: &str, keep_free| finding(&spool(directory, keep_free));
        let no_folder = at("/dev/null/spool", KeepFree::Bytes(0));
        assert_eq!(no_folder.grade, Grade::Wrong);
        assert!(
            no_folder.text.contains("/dev/null is no folder"),
            "{}",
            no_folder.text
        );
        let full = at("/", KeepFree::Bytes(u64::MAX));
        assert_eq!(full.grade, Grade::Wrong);
        assert!(full.text.contains("keep_free"), "{}", full.text);
    }
}
