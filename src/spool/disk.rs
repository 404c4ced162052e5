//! What the spool asks of a disk: a folder of files, and when they are safe.
//!
//! A trait, so that the tests can put a disk in its place that loses power, fills up or lies. `Folder` is the real one.
//! Knows no segments. What a write or sync that failed left behind is unknown; who asked never asks that file again.

use std::any::Any;
use std::fmt;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A folder on some disk.
pub trait Disk: Send + Sync + fmt::Debug {
    /// How people find it.
    fn place(&self) -> String;
    /// The files in it, in any order.
    fn list(&self) -> io::Result<Vec<Listed>>;
    /// Makes a file that was not there. Its name is safe after [`sync_dir`](Disk::sync_dir).
    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, which nothing may have.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file away.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes safe which names there are.
    fn sync_dir(&self) -> io::Result<()>;
    /// How large the file system is and what is free of it.
    fn space(&self) -> io::Result<Space>;
    /// Takes the folder for this process alone.
    fn lock(&self, name: &str) -> io::Result<Locking>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at the end.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// Reads what stands at `offset`; fewer bytes than asked for at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes safe what was written.
    fn sync_data(&self) -> io::Result<()>;
    /// Bytes in it.
    fn size(&self) -> io::Result<u64>;
}

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Bytes in it.
    pub bytes: u64,
}

/// A file system's room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that we may still take.
    pub free: u64,
}

/// Whether the folder is ours.
#[derive(Debug)]
pub enum Locking {
    /// It is, until this is dropped.
    Held(Box<dyn Any + Send + Sync>),
    /// Another process has it.
    InUse {
        /// Which, where it could be read.
        pid: Option<u32>,
    },
}

/// A folder of the real file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held open for its syncs.
    handle: File,
}

impl Folder {
    /// The folder at `path`, made with the rights 0750 where it is missing.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn make(path: &Path) -> io::Result<Folder> {
        let missing: Vec<&Path> = path.ancestors().take_while(|one| !one.is_dir()).collect();
        if !missing.is_empty() {
            DirBuilder::new().recursive(true).mode(0o750).create(path)?;
        }
        for parent in missing.iter().filter_map(|made| made.parent()) {
            File::open(parent)?.sync_all()?;
        }
        Folder::at(path)
    }

    /// Opens a file by the folder's handle, as everything here is done: whatever is mounted or moved to its path meanwhile, files lie
    /// where their names are synced.
    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let file = rustix::fs::openat(
            &self.handle,
            name,
            flags | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o640),
        )?;
        Ok(file.into())
    }

    /// The folder at `path`, which must be there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn at(path: &Path) -> io::Result<Folder> {
        Ok(Folder {
            path: path.to_owned(),
            handle: File::open(path)?,
        })
    }
}

impl Disk for Folder {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            let entry = entry?;
            let about = match rustix::fs::statat(
                &self.handle,
                entry.file_name(),
                AtFlags::SYMLINK_NOFOLLOW,
            ) {
                Ok(about) => about,
                // Taken away since the folder was read.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            let is_file = FileType::from_raw_mode(about.st_mode).is_file();
            // A name that is no text is none of ours.
            if let (true, Ok(name)) = (is_file, entry.file_name().to_str()) {
                listed.push(Listed {
                    name: name.to_owned(),
                    bytes: u64::try_from(about.st_size).unwrap_or(0),
                });
            }
        }
        Ok(listed)
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
        Ok(Box::new(self.open_with(name, flags)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.open_with(name, OFlags::RDONLY)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.handle, from, &self.handle, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let about = rustix::fs::fstatvfs(&self.handle)?;
        Ok(Space {
            total: about.f_blocks.saturating_mul(about.f_frsize),
            free: about.f_bavail.saturating_mul(about.f_frsize),
        })
    }

    fn lock(&self, name: &str) -> io::Result<Locking> {
        let mut file = self.open_with(name, OFlags::RDWR | OFlags::CREATE)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                writeln!(file, "{}", std::process::id())?;
                Ok(Locking::Held(Box::new(file)))
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = (&mut file).take(32).read_to_string(&mut pid);
                Ok(Locking::InUse {
                    pid: read.ok().and_then(|_| pid.trim().parse().ok()),
                })
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl DiskFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        // `&File` writes; opened for appending, so always at the end.
        let mut file = self;
        file.write_all(bytes)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
