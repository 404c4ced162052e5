//! The spool: may it be used, what lies in it, and does it share the database's fate?

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use super::super::check_spool;
use super::super::finding::{Finding, Grade};
use super::super::text::{ago, amount, bytes, count};
use crate::conf::Spool;
use crate::control::messages::Status;
use crate::spool::{Disk as _, Folder, Found, FoundKind, find};

/// A shared disk with less than this free will soon hurt both.
const SHARED_FREE_PERCENT: u64 = 15;

/// A disk of the database with less than this free is filled soon, and with less than that at any moment.
const FREE_PERCENT_ODD: u64 = 10;
const FREE_PERCENT_WRONG: u64 = 3;

/// What lies in the folder; `None`: there is none yet, or this user may not look.
pub(super) fn look(spool: &Spool) -> Option<Vec<Found>> {
    find(&Folder::at(&spool.directory).ok()?).ok()
}

/// What there is to say about it.
pub(super) fn findings(
    spool: &Spool,
    found: Option<&[Found]>,
    status: Option<&Status>,
    now: SystemTime,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let checked = without_name(check_spool::finding(spool), spool);
    match status {
        // The server uses it, whatever this user may do there.
        Some(status) if checked.grade == Grade::Wrong && status.spool.trouble.is_none() => {
            let room = bytes(status.spool.room_bytes);
            findings.push(Finding::new(Grade::Ok, format!("room for {room}")));
        }
        _ => findings.push(checked),
    }
    if let Some(status) = status {
        findings.extend(of_server(status, now));
    } else if let Some(found) = found {
        let waits = found
            .iter()
            .filter(|one| matches!(one.kind, FoundKind::Segment(_)));
        let (n, size) = waits.fold((0, 0), |(n, size), one| (n + 1, size + one.bytes));
        if n > 0 {
            let text = format!(
                "{}, {}, wait for a server that brings them to the database",
                count(n, "file"),
                bytes(size)
            );
            findings.push(Finding::new(Grade::Warning, text).remedy("systemctl start trackport"));
        }
    }
    let aside = found.map_or_else(
        || status.map_or(0, |status| status.spool.set_aside_files),
        |found| {
            // What a crash cut off was acknowledged to nobody.
            let lost =
                |one: &&Found| one.kind == FoundKind::SetAside && !one.name.ends_with(".tail.bad");
            found.iter().filter(lost).count() as u64
        },
    );
    if aside > 0 {
        let files = count(usize::try_from(aside).unwrap_or(usize::MAX), "damaged file");
        let text = format!(
            "{files} set aside; what is whole in them was stored, the rest may have been acknowledged"
        );
        findings.push(Finding::new(Grade::Warning, text).remedy(
            "trackport spool list; trackport spool export FILE; then move the file away. A second one: the disk is ill (smartctl -a)",
        ));
    }
    findings
}

fn of_server(status: &Status, now: SystemTime) -> Vec<Finding> {
    let spool = &status.spool;
    let mut findings = Vec::new();
    if let Some(trouble) = &spool.trouble {
        findings.push(
            Finding::new(Grade::Wrong, trouble.clone())
                .remedy("make room on its disk, or raise [spool] max_size; trackport spool list"),
        );
    }
    if spool.records > 0 {
        let oldest = spool
            .oldest_at
            .as_deref()
            .and_then(|at| at.parse::<jiff::Timestamp>().ok())
            .map_or_else(String::new, |at| {
                format!(", the oldest from {}", ago(SystemTime::from(at), now))
            });
        let text = format!(
            "{}: {} records wait for the database{oldest}",
            spool.state,
            amount(spool.records)
        );
        let remedy = match spool.state.as_str() {
            "draining" => "nothing to do: it is being brought to the database",
            _ => "the database is away or too slow: see there",
        };
        findings.push(Finding::new(Grade::Warning, text).remedy(remedy));
    }
    findings
}

/// The same without the name of the subject and the folder where nothing is wrong with it.
fn without_name(mut finding: Finding, spool: &Spool) -> Finding {
    let name = format!("spool {}: ", spool.directory.display());
    if let Some(rest) = finding.text.strip_prefix(&name) {
        finding.text = match finding.grade {
            Grade::Ok => rest.to_owned(),
            _ => format!("{}: {rest}", spool.directory.display()),
        };
    }
    finding
}

/// How full the disk of a database on this machine is, and whether the spool fills the same one: then neither can take the
/// other's place.
pub(super) fn same_disk(spool: &Path, data: Option<&str>, is_local: bool) -> Option<Finding> {
    let data = data.filter(|_| is_local)?;
    let there = spool.ancestors().find(|folder| folder.exists())?;
    let spool_disk = fs::metadata(there).ok()?.dev();
    // The folder itself belongs to its user alone; its parent tells as well, but for a mount point.
    let mut seen = Path::new(data).ancestors();
    let (data_disk, place) =
        seen.find_map(|folder| Some((fs::metadata(folder).ok()?.dev(), folder)))?;
    let space = Folder::at(place).ok()?.space().ok()?;
    if spool_disk == data_disk {
        Some(shared(space.free, space.total))
    } else {
        Some(own(space.free, space.total))
    }
}

/// A disk that the database has to itself.
fn own(free: u64, total: u64) -> Finding {
    let text = format!("its disk has {} of {} free", bytes(free), bytes(total));
    let grade = match free {
        free if free < total / 100 * FREE_PERCENT_WRONG => Grade::Wrong,
        free if free < total / 100 * FREE_PERCENT_ODD => Grade::Warning,
        _ => return Finding::new(Grade::Ok, text),
    };
    Finding::new(grade, text)
        .remedy("make room, or keep less: [retention] keep; what takes it: du -xh --max-depth=2 of its folder")
}

/// Many machines have one disk; that is worth a word only when it fills.
fn shared(free: u64, total: u64) -> Finding {
    let text = format!(
        "the database shares the spool's disk, of which {} are free",
        bytes(free)
    );
    if free < total / 100 * SHARED_FREE_PERCENT {
        let text = format!("{text}: when it is full neither takes the other's place");
        return Finding::new(Grade::Warning, text)
            .remedy("make room, or let [spool] directory name a folder on another disk");
    }
    Finding::new(Grade::Ok, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::KeepFree;

    fn spool() -> Spool {
        Spool {
            directory: std::env::temp_dir().join("trackport-no-such-spool"),
            keep_free: KeepFree::Bytes(0),
            ..Spool::default()
        }
    }

    fn file(name: &str, kind: FoundKind) -> Found {
        Found {
            name: name.to_owned(),
            bytes: 1 << 20,
            kind,
        }
    }

    fn bad(found: &[Found], status: Option<&Status>) -> Vec<Finding> {
        let mut all = findings(&spool(), Some(found), status, SystemTime::UNIX_EPOCH);
        all.retain(|one| one.grade > Grade::Ok);
        all
    }

    #[test]
    fn files_that_were_set_aside_are_odd_and_torn_ends_are_not() {
        let found = [
            file("0000000000000001.seg.tail.bad", FoundKind::SetAside),
            file("0000000000000002.seg.bad", FoundKind::SetAside),
        ];
        assert_eq!(bad(&found[..1], None), []);
        let all = bad(&found, None);
        assert!(
            all[0].text.starts_with("1 damaged file set aside"),
            "{all:?}"
        );
    }

    #[test]
    fn what_waits_is_told_with_and_without_a_server() {
        let found = [file("0000000000000001.seg", FoundKind::Segment(1))];
        let all = bad(&found, None);
        assert!(all[0].text.contains("1 file, 1.0 MiB"), "{all:?}");
        let mut status = Status::default();
        assert_eq!(bad(&found, Some(&status)), []);
        status.spool.records = 1200;
        status.spool.state = "waiting".to_owned();
        assert!(
            bad(&found, Some(&status))[0]
                .text
                .starts_with("waiting: 1 200 records")
        );
        status.spool.trouble = Some("full".to_owned());
        assert_eq!(bad(&found, Some(&status))[0].grade, Grade::Wrong);
    }

    #[test]
    fn a_disk_that_is_shared_is_named() {
        let data = std::env::temp_dir();
        let data = data.to_str().unwrap();
        assert!(same_disk(&spool().directory, Some(data), true).is_some());
        assert!(same_disk(&spool().directory, Some(data), false).is_none());
        let elsewhere = same_disk(&spool().directory, Some("/dev/shm"), true).unwrap();
        assert!(elsewhere.text.starts_with("its disk has"), "{elsewhere:?}");
        for (free, grade) in [(500, Grade::Ok), (90, Grade::Warning), (20, Grade::Wrong)] {
            assert_eq!(own(free, 1000).grade, grade);
        }
        assert_eq!(shared(200, 1000).grade, Grade::Ok);
        let finding = shared(100, 1000);
        assert_eq!(finding.grade, Grade::Warning);
        assert!(finding.remedy.unwrap().contains("[spool] directory"));
    }
}
