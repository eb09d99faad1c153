//! The free space of the disk with the data directory, and a reserve for operations that free space.
//!
//! Deleting a file needs space before it frees any, because both databases append to their logs. Part of the disk is
//! therefore held by a file, `reserve`, so that the databases never run on a completely full disk:
//!
//! - While there is space, everything is permitted; uploads stop [`FLOOR_BYTES`] before the end.
//! - When less than that is left, or a write fails for lack of space, the reserve is deleted and the store is *full*.
//!   From then on only operations that free space or revoke access may write. All others are refused at once, so that
//!   they cannot use the space of the reserve.
//! - When there is space for the reserve and some more, it is created again and everything is permitted.
//!
//! Reads are never refused.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

/// The size of the reserve. SQLite checkpoints a log at 1,000 pages of 4 KiB, so that both logs, the shared memory of
/// each and some growth of the databases fit.
pub(crate) const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// The space that all operations except those that free space leave free. The largest transaction of the metadata
/// store, a hundred records with their index entries, writes about two thirds of it.
pub(crate) const FLOOR_BYTES: u64 = 4 * 1024 * 1024;

/// The largest size of a log after a checkpoint. SQLite does not shrink a log by itself.
const LOG_BYTES: u64 = 8 * 1024 * 1024;

const RESERVE: &str = "reserve";

/// The chunk size for writing the reserve.
const PIECE: usize = 1024 * 1024;

/// The free space of one data directory. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    full: AtomicBool,
    /// The total announced size of uploads in progress.
    claimed: AtomicU64,
    /// Held while the reserve is deleted or created.
    change: Mutex<()>,
}

impl Room {
    /// Creates the reserve if there is space. Otherwise the reserve of an earlier run is deleted, so that the databases
    /// can be opened.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let room = Self(Arc::new(Inner {
            directory: directory.to_owned(),
            full: AtomicBool::new(true),
            claimed: AtomicU64::new(0),
            change: Mutex::default(),
        }));
        let held = fs::metadata(room.reserve()).is_ok_and(|reserve| reserve.len() == RESERVE_BYTES);
        if held && room.free()? >= FLOOR_BYTES {
            room.0.full.store(false, SeqCst);
        } else if !room.restore() {
            room.give_up_reserve();
            tracing::warn!(room.free = room.free()?, "the disk is full: uploads are refused until there is space");
        }
        Ok(room)
    }

    /// Returns true if all operations except those that free space are refused.
    pub(crate) fn is_full(&self) -> bool {
        self.0.full.load(SeqCst)
    }

    /// Returns true if a record may be written. May block on disk I/O if there is space again.
    pub(crate) fn admits(&self, frees_room: bool) -> bool {
        // If the free space is unknown, the write itself will fail if there is none.
        if !self.is_full() && self.free().is_ok_and(|free| free < FLOOR_BYTES) {
            self.ran_out();
        }
        !self.is_full() || self.restore() || frees_room
    }

    /// Reserves space for an upload until the result is dropped. `None` if there is not enough. May block on disk I/O
    /// if there is space again.
    pub(crate) fn claim(&self, bytes: u64) -> Option<Claim> {
        if !self.admits(false) {
            return None;
        }
        let claimed = self.0.claimed.fetch_add(bytes, SeqCst).saturating_add(bytes);
        let claim = Claim { room: self.clone(), bytes };
        let fits = self.free().map_or(true, |free| free.saturating_sub(FLOOR_BYTES) >= claimed);
        fits.then_some(claim)
    }

    /// Called when a write failed for lack of space, or hardly any is left: the reserve is deleted and the store
    /// becomes full.
    pub(crate) fn ran_out(&self) {
        if !self.0.full.swap(true, SeqCst) {
            self.give_up_reserve();
            tracing::error!("the disk is full: uploads are refused and the reserve is used for deletions");
        }
    }

    /// Creates the reserve again if there is space for it and for as much as uploads leave free. Returns true if the
    /// store is not full.
    pub(crate) fn restore(&self) -> bool {
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_full() {
            return true;
        }
        if self.free().is_ok_and(|free| free < RESERVE_BYTES + 2 * FLOOR_BYTES) {
            return false;
        }
        if let Err(error) = self.make_reserve() {
            tracing::warn!(%error, "the reserve for deletions could not be created");
            drop(fs::remove_file(self.reserve()));
            return false;
        }
        self.0.full.store(false, SeqCst);
        true
    }

    /// The size of a database's log, in bytes, above which it is truncated.
    pub(crate) fn log_limit(&self) -> u64 {
        if self.is_full() { 0 } else { LOG_BYTES }
    }

    /// The bytes that this user may still write.
    fn free(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.0.directory)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn reserve(&self) -> PathBuf {
        self.0.directory.join(RESERVE)
    }

    fn make_reserve(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(self.reserve())?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES) {
            Ok(()) => return file.sync_all(),
            Err(rustix::io::Errno::NOSPC) => return Err(io::ErrorKind::StorageFull.into()),
            // The file system does not support preallocation.
            Err(_) => {}
        }
        // Random bytes, so that the file system cannot compress or deduplicate them.
        let mut piece = vec![0; PIECE];
        for _ in 0..RESERVE_BYTES / PIECE as u64 {
            getrandom::fill(&mut piece).map_err(|error| io::Error::other(error.to_string()))?;
            file.write_all(&piece)?;
        }
        file.sync_all()
    }

    fn give_up_reserve(&self) {
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        // Truncated first: this frees the space without a journal entry for the directory.
        let truncated = OpenOptions::new().write(true).truncate(true).open(self.reserve()).map(drop::<File>);
        let removed = truncated.and_then(|()| fs::remove_file(self.reserve()));
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, "the reserve for deletions could not be deleted");
        }
    }
}

/// Space that an upload has reserved.
#[derive(Debug)]
pub(crate) struct Claim {
    room: Room,
    bytes: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.room.0.claimed.fetch_sub(self.bytes, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_released_for_deletions_and_created_again() {
        let directory = tempfile::tempdir().unwrap();
        let room = Room::open(directory.path()).unwrap();
        let held = || fs::metadata(directory.path().join(RESERVE)).map_or(0, |reserve| reserve.len());
        assert_eq!((room.is_full(), held()), (false, RESERVE_BYTES));
        assert!(room.admits(false));
        let half = room.free().unwrap() / 8 * 5;
        let first = room.claim(half);
        assert!(first.is_some() && room.claim(half).is_none(), "uploads that do not fit together are refused");
        drop(first);
        assert!(room.claim(half).is_some());
        assert!(!room.is_full());

        room.ran_out();
        assert_eq!((room.is_full(), held()), (true, 0));
        assert!(room.admits(false), "there is space on this disk, so the store is not full");
        assert_eq!((room.is_full(), held()), (false, RESERVE_BYTES));
    }
}
