//! What waits on disk, in the hands of people: listed beside its owner, written out, put in elsewhere, with nothing lost.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use serde_json::Value;
use trackport::conf::KeepFree;
use trackport::spool::{Entry, EntryContent, Position, Settings, Spool};

use crate::harness::daemon::{Folder, run, text};
use crate::harness::device::packet;
use crate::harness::imei;

fn entry(number: u64, second: u64) -> Entry {
    Entry {
        imei: imei(number),
        received_at_us: 1_790_000_000_000_000 + i64::try_from(second).unwrap(),
        port: 5027,
        peer: IpAddr::from([10, 0, 0, 7]),
        n_records: 2,
        maybe_resend: false,
        is_new: false,
        content: EntryContent::Packet,
        frame: packet(second, 2).into(),
    }
}

fn entries(seconds: std::ops::Range<u64>) -> Vec<Entry> {
    seconds.map(|second| entry(second % 3, second)).collect()
}

/// A spool with its conf file.
struct Place {
    folder: Folder,
    spool: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = Folder::new();
        let spool = folder.file("spool");
        let conf = format!(
            "[spool]\ndirectory = \"{}\"\n[[port]]\nlisten = 5027\n",
            spool.display()
        );
        fs::write(folder.file("conf.toml"), conf).unwrap();
        Place { folder, spool }
    }

    fn open(&self) -> Arc<Spool> {
        let disk = trackport::spool::Folder::make(&self.spool).unwrap();
        let settings = Settings {
            max_size: 1 << 30,
            keep_free: KeepFree::Bytes(0),
            segment_size: 1000,
        };
        Arc::new(Spool::open(Arc::new(disk), settings).unwrap().0)
    }

    fn fill(&self, entries: &[Entry]) -> Arc<Spool> {
        let spool = self.open();
        let mut appender = spool.appender();
        for entry in entries {
            appender.append([entry.as_ref()]).unwrap();
        }
        spool
    }

    fn command(&self, args: &[&str]) -> Output {
        let conf = self.folder.file("conf.toml");
        run(&[&["spool"], args, &["--conf", conf.to_str().unwrap()]].concat())
    }

    #[track_caller]
    fn must(&self, args: &[&str]) -> String {
        let output = self.command(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn all(spool: &Spool) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at: Option<Position> = None;
    loop {
        let chunk = spool.read(at, 100, 100_000).unwrap();
        if chunk.entries.is_empty() {
            return entries;
        }
        entries.extend(chunk.entries);
        at = Some(chunk.next);
    }
}

#[test]
fn the_spool_is_listed_beside_its_owner() {
    let place = Place::new();
    let output = place.command(&["list"]);
    assert_eq!(output.status.code(), Some(1), "there is no folder yet");
    let owner = place.fill(&entries(0..30));
    fs::write(place.spool.join("0000000000000099.seg.bad"), "what?").unwrap();
    let listed = place.must(&["list"]);
    assert!(
        listed.contains("60 records wait to be stored, 30 packets in"),
        "{listed}"
    );
    assert!(listed.contains("set aside: 1 file"), "{listed}");
    assert!(listed.contains("nothing in it can be read"), "{listed}");
    let lines: Vec<Value> = place
        .must(&["list", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len() as u64, owner.depth().segments + 1);
    let n_entries: u64 = lines
        .iter()
        .map(|line| line["entries"].as_u64().unwrap())
        .sum();
    assert_eq!(n_entries, 30);
    let by_device = place.must(&["list", "--devices", "--json"]);
    assert_eq!(by_device.lines().count(), 3);
    for line in by_device.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["entries"], &line["records"]),
            (&10.into(), &20.into())
        );
    }
}

#[test]
fn what_is_exported_is_imported_on_another_machine() {
    let here = Place::new();
    let owner = here.fill(&entries(0..30));
    let file = here.folder.file("spooled.jsonl");
    here.must(&["export", "--to", path(&file)]);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 30);
    assert_eq!(all(&owner).len(), 30, "an export takes nothing out");

    let there = Place::new();
    let other = there.fill(&entries(100..102));
    there.must(&["import", path(&file)]);
    assert_eq!(other.adopt_incoming().unwrap().tally.entries, 30);
    assert_eq!(all(&other), [entries(100..102), entries(0..30)].concat());
    // And without anybody running: the next start takes it in.
    drop(other);
    there.must(&["import", path(&file)]);
    assert_eq!(there.open().depth().entries, 62);
}

#[test]
fn one_wrong_line_and_nothing_is_imported() {
    let place = Place::new();
    drop(place.fill(&entries(0..5)));
    let exported = place.must(&["export"]);
    let wrong = exported.replace(&imei(1).to_string(), "12345");
    let file = place.folder.file("wrong.jsonl");
    fs::write(&file, wrong).unwrap();
    let output = place.command(&["import", path(&file)]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("wrong.jsonl:2: ") && told.contains("wrong.jsonl:5: "),
        "{told}"
    );
    assert!(told.contains("nothing is imported"), "{told}");
    assert_eq!(place.open().depth().entries, 5);
}

#[test]
fn a_damaged_file_gives_what_is_whole_in_it() {
    let place = Place::new();
    drop(place.fill(&entries(0..1)));
    let segment = place.spool.join("0000000000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    // A byte of its only entry.
    bytes[60] ^= 1;
    let bad = place.folder.file("old.seg.bad");
    fs::write(&bad, &bytes).unwrap();
    let output = place.command(&["export", path(&bad)]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(
        text(&output.stderr).contains("are damaged"),
        "{}",
        text(&output.stderr)
    );

    let one = imei(1).to_string();
    drop(place.fill(&entries(1..10)));
    let exported = place.must(&["export", "--imei", &one, path(&place.spool), path(&bad)]);
    assert_eq!(exported.lines().count(), 3);
    assert!(exported.lines().all(|line| line.contains(&one)));
}
