//! The real file system: one process per folder, and a reader beside a writer.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder that goes with the test.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new() -> TempFolder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("trackport-spool-{}-{number}", std::process::id());
        TempFolder(std::env::temp_dir().join(name))
    }

    fn open(&self) -> Result<Arc<Spool>, SpoolError> {
        let folder = Folder::make(&self.0).unwrap();
        let free = Settings {
            keep_free: KeepFree::Bytes(0),
            ..settings(1 << 30, 10_000)
        };
        Spool::open(Arc::new(folder), free).map(|(spool, _)| Arc::new(spool))
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn one_process_has_the_folder_and_the_other_is_told_which() {
    let folder = TempFolder::new();
    let spool = folder.open().unwrap();
    let refused = folder.open().unwrap_err().to_string();
    assert!(
        refused.contains(&format!("process {}", std::process::id())),
        "{refused}"
    );
    drop(spool);
    folder.open().unwrap();
}

#[test]
fn others_cannot_read_it() {
    let folder = TempFolder::new();
    let spool = folder.open().unwrap();
    append(&mut spool.appender(), &entries(0..1)).unwrap();
    let rights = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(rights(folder.0.clone()) & 0o007, 0);
    assert_eq!(rights(folder.0.join("0000000000000001.seg")) & 0o007, 0);
    assert!(spool.room().unwrap() > 0);
}

#[test]
fn a_reader_beside_a_writer_gets_everything_in_order() {
    let folder = TempFolder::new();
    let spool = folder.open().unwrap();
    let n_entries = 4000_u64;
    let mut read = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut appender = spool.appender();
            for n in 0..n_entries / 20 {
                append(&mut appender, &entries(n * 20..n * 20 + 20)).unwrap();
            }
        });
        let mut at = None;
        while (read.len() as u64) < n_entries {
            let chunk = spool.read(at, 50, 10_000).unwrap();
            assert_eq!(chunk.damaged, []);
            read.extend(chunk.entries);
            spool.release(chunk.next).unwrap();
            at = Some(chunk.next);
        }
    });
    assert_eq!(read, entries(0..n_entries));
    assert_eq!(spool.depth(), Depth::default());
    drop(spool);
    assert_eq!(folder.open().unwrap().depth(), Depth::default());
}
