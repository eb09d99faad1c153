//! A mark: the position that a database's write-ahead log must reach, in a small file that is overwritten in place.
//!
//! SQLite cannot distinguish a truncated log from a shorter one. The mark can: after each group of changes is synced,
//! and before any of them is acknowledged, the log's position is written to the mark. This costs one `pread` of the
//! log's shared index and one `pwrite`, without a sync. After a kill the mark is exact. After a power failure it may be
//! older than the log, but never newer.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use ring::digest::{SHA256, digest};

const MAGIC: [u8; 8] = *b"XFMARK1\n";
const BYTES: usize = 64;

/// How often the shared index is read again while a writer changes it.
const READS: usize = 8;

/// A position in a write-ahead log, as in its shared index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Identifies the log: the first half is incremented when the log is restarted, the second is random.
    pub(super) salt: [u8; 8],
    /// The number of frames.
    pub(super) frames: u32,
    /// The running checksum after the last frame.
    check: [u8; 8],
}

impl Position {
    /// The current position in the shared index of a log. `None` if a writer changed it during every attempt.
    pub(super) fn read(index: &File) -> io::Result<Option<Self>> {
        // The header is stored twice, so that a reader can detect a concurrent change.
        let mut copies = [0; 96];
        for _ in 0..READS {
            index.read_exact_at(&mut copies, 0)?;
            let (first, second) = copies.split_at(48);
            let is_initialised = first[12] != 0;
            if first == second && is_initialised {
                return Ok(Some(Self {
                    salt: part(first, 32),
                    frames: u32::from_ne_bytes(part(first, 16)),
                    check: part(first, 24),
                }));
            }
        }
        Ok(None)
    }

    pub(super) fn is_empty(self) -> bool {
        self.frames == 0
    }

    /// Returns true if the log at this position contains everything that it contained at `earlier`.
    pub(super) fn includes(self, earlier: Self) -> bool {
        if self.salt == earlier.salt {
            return self.frames > earlier.frames || (self.frames == earlier.frames && self.check == earlier.check);
        }
        let round = |position: Self| u32::from_be_bytes(part(&position.salt, 0));
        // The log was restarted, which happens only after all of it has been moved into the main file.
        (1..=u32::MAX / 2).contains(&round(self).wrapping_sub(round(earlier)))
    }
}

/// The content of a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The start that wrote it.
    pub(super) generation: u64,
    /// The minimum of the counter of changes in the main file alone. 0 if unknown.
    pub(super) main_ticks: u64,
    /// The position that the log has reached.
    pub(super) position: Position,
    /// Whether the log is being moved into the main file: it may then be missing if the main file has `main_ticks`.
    pub(super) sealing: bool,
}

impl Mark {
    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.main_ticks.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.position.salt);
        bytes[32..36].copy_from_slice(&self.position.frames.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.position.check);
        bytes[44] = u8::from(self.sealing);
        let check = digest(&SHA256, &bytes[..48]);
        bytes[48..].copy_from_slice(&check.as_ref()[..16]);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.len() == BYTES && bytes[0..8] == MAGIC;
        if !whole || digest(&SHA256, &bytes[..48]).as_ref()[..16] != bytes[48..] {
            return None;
        }
        Some(Self {
            generation: u64::from_le_bytes(part(bytes, 8)),
            main_ticks: u64::from_le_bytes(part(bytes, 16)),
            position: Position {
                salt: part(bytes, 24),
                frames: u32::from_le_bytes(part(bytes, 32)),
                check: part(bytes, 36),
            },
            sealing: bytes[44] != 0,
        })
    }

    /// Reads the mark; `None` if the file is missing or damaged.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::from_bytes(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The file of a mark. It is overwritten in place, which needs no additional disk space.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    mark: Mark,
}

impl MarkFile {
    /// Creates or replaces the file with this mark, and syncs it.
    pub(super) fn begin(path: &Path, mark: Mark) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all_at(&mark.to_bytes(), 0)?;
        file.set_len(BYTES as u64)?;
        file.sync_all()?;
        Ok(Self { file, mark })
    }

    /// Changes the mark without syncing it.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Mark)) -> io::Result<()> {
        let before = self.mark;
        change(&mut self.mark);
        if self.mark == before { Ok(()) } else { self.file.write_all_at(&self.mark.to_bytes(), 0) }
    }

    /// The minimum of the main file's counter.
    pub(super) fn main_ticks(&self) -> u64 {
        self.mark.main_ticks
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the length is N")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(round: u32, frames: u32) -> Position {
        let mut salt = [9; 8];
        salt[..4].copy_from_slice(&round.to_be_bytes());
        Position { salt, frames, check: [frames.to_le_bytes(); 2].concat().try_into().unwrap() }
    }

    #[test]
    fn a_log_contains_its_earlier_positions_also_after_a_restart() {
        assert!(at(5, 7).includes(at(5, 7)) && at(5, 8).includes(at(5, 7)));
        assert!(!at(5, 6).includes(at(5, 7)));
        assert!(!Position { check: [0; 8], ..at(5, 7) }.includes(at(5, 7)), "another log of the same length");
        assert!(at(6, 1).includes(at(5, 7)) && at(0, 1).includes(at(u32::MAX, 7)));
        assert!(!at(4, 9).includes(at(5, 7)));
    }

    #[test]
    fn a_mark_is_read_completely_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        assert_eq!(Mark::read(&path).unwrap(), None);
        let first = Mark { generation: 3, ..Mark::default() };
        let mut file = MarkFile::begin(&path, first).unwrap();
        assert_eq!(Mark::read(&path).unwrap(), Some(first));
        let last = Mark { generation: 3, main_ticks: 8, position: at(1, 2), sealing: true };
        file.change(|mark| *mark = last).unwrap();
        assert_eq!(Mark::read(&path).unwrap(), Some(last));

        let whole = fs::read(&path).unwrap();
        for byte in 0..BYTES {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1;
            assert_eq!(Mark::from_bytes(&flipped).filter(|mark| *mark == last), None, "byte {byte}");
        }
        assert_eq!(Mark::from_bytes(&whole[..BYTES - 1]), None);
    }
}
