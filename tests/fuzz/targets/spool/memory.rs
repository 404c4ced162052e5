//! A folder in memory, as far as a reader of the spool needs one.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trackport::spool::{Disk, DiskFile, Listed, Locking, Space};

type Files = BTreeMap<String, Arc<Mutex<Vec<u8>>>>;

/// The folder; a clone is the same folder.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: Arc<Mutex<Files>>,
}

struct File(Arc<Mutex<Vec<u8>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Puts a file into the folder.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let file = Arc::new(Mutex::new(bytes.to_vec()));
        lock(&self.files).insert(name.to_owned(), file);
    }

    /// All files with what is in them.
    pub fn all(&self) -> Vec<(String, Vec<u8>)> {
        let files = lock(&self.files);
        files
            .iter()
            .map(|(name, file)| (name.clone(), lock(file).clone()))
            .collect()
    }
}

impl Disk for Memory {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let files = self.all().into_iter();
        Ok(files
            .map(|(name, bytes)| Listed {
                name,
                bytes: bytes.len() as u64,
            })
            .collect())
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if lock(&self.files).contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.put(name, &[]);
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let files = lock(&self.files);
        let file = files.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(File(Arc::clone(file))))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.files);
        assert!(!files.contains_key(to), "{to} would be overwritten");
        let file = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = lock(&self.files).remove(name);
        removed.map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            total: 1 << 40,
            free: 1 << 40,
        })
    }

    fn lock(&self, _name: &str) -> io::Result<Locking> {
        Ok(Locking::Held(Box::new(())))
    }
}

impl DiskFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = lock(&self.0);
        let begin = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
        let n = buffer.len().min(bytes.len() - begin);
        buffer[..n].copy_from_slice(&bytes[begin..begin + n]);
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }
}
