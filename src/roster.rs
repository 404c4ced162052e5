//! A copy of the device list on disk, so that known devices are known when the program starts while the database is away.
//!
//! IMEIs and states only: ids and models are the database's, which may be another one by then. The file is a CSV under a header line
//! with the checksum of what follows, written anew under another name and then renamed, so that it is whole or the one before.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crc_fast::CrcAlgorithm;

use crate::imei::Imei;
use crate::store::device::DeviceState;

/// Its first word; the number is the version of the form.
const MAGIC: &str = "trackport-devices-1";

/// Where the copy lies, for a spool in `directory`.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("devices.csv")
}

/// Writes the copy at `path`. Blocks for a sync of the disk.
///
/// # Errors
/// When the disk refuses; the copy before it stays then.
pub fn write(path: &Path, devices: &[(Imei, DeviceState)]) -> io::Result<()> {
    let mut text = String::with_capacity(devices.len() * 26);
    for (imei, state) in devices {
        writeln!(text, "{imei},{}", state.as_str()).expect("a string takes anything");
    }
    let header = format!("{MAGIC} {:08x}\n", checksum(&text));
    let beside = path.with_extension("csv.new");
    let mut file = File::create(&beside)?;
    file.write_all(header.as_bytes())?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(&beside, path)?;
    // The name is part of it.
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn checksum(text: &str) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, text.as_bytes())
}

/// Reads the copy at `path`; `None` when there is none yet.
///
/// # Errors
/// When it cannot be read, or is not as it was written.
pub fn read(path: &Path) -> io::Result<Option<Vec<(Imei, DeviceState)>>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = || {
        io::Error::new(
            ErrorKind::InvalidData,
            "it is damaged; it is written anew when the database is there",
        )
    };
    let (header, rows) = text.split_once('\n').ok_or_else(damaged)?;
    if header != format!("{MAGIC} {:08x}", checksum(rows)) {
        return Err(damaged());
    }
    let device = |row: &str| -> Option<(Imei, DeviceState)> {
        let (imei, state) = row.split_once(',')?;
        Some((imei.parse().ok()?, state.parse().ok()?))
    };
    let devices = rows.lines().map(|row| device(row).ok_or_else(damaged));
    devices.collect::<io::Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("trackport-roster-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn devices() -> Vec<(Imei, DeviceState)> {
        vec![
            ("356307042441013".parse().unwrap(), DeviceState::Accepted),
            ("012345678901237".parse().unwrap(), DeviceState::Refused),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = folder("same");
        let path = file(&folder);
        assert_eq!(read(&path).unwrap(), None);
        write(&path, &[]).unwrap();
        assert_eq!(read(&path).unwrap(), Some(Vec::new()));
        write(&path, &devices()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(devices()));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_damaged_copy_is_no_copy() {
        let folder = folder("damaged");
        let path = file(&folder);
        write(&path, &devices()).unwrap();
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!(read(&path).is_err(), "byte {place}");
            fs::write(&path, &whole[..place]).unwrap();
            assert!(read(&path).is_err(), "cut at {place}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
