//! The room on the disk under the data directory, and a reserve for what gives room back.
//!
//! Deleting a file needs room before it gives any back: both databases append the change to their logs. So a part of the
//! disk is held by a file, `reserve`, and the databases never work on a disk without a byte:
//!
//! - While the disk has room, everything is permitted, and uploads stop [`FLOOR_BYTES`] before the end.
//! - When less than that is left, or a write finds no room, the reserve is given up and the store is *full*. From then on
//!   only work that frees room or takes a right away may write; all else is refused at once, so that it cannot use up the
//!   room that the reserve has left.
//! - When there is room for the reserve again, and some more, it is made again and everything is as before.
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

/// The size of the reserve. SQLite checkpoints a log at 1,000 pages of 4 KiB, so that both logs, the shared memory
/// beside each and some growth of the databases fit in.
pub(crate) const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// How much of the disk is left free by everything but work that frees room. The largest transaction of the metadata
/// store, a hundred records with their index entries, writes about two thirds of it.
pub(crate) const FLOOR_BYTES: u64 = 4 * 1024 * 1024;

/// How large a log may stay after a checkpoint. SQLite keeps a log that has grown at its size, and would give no room
/// back.
const LOG_BYTES: u64 = 8 * 1024 * 1024;

const RESERVE: &str = "reserve";

/// How much of the reserve is written at once.
const PIECE: usize = 1024 * 1024;

/// The room under one data directory. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    full: AtomicBool,
    /// How many bytes uploads that are under way have announced.
    claimed: AtomicU64,
    /// Held while the reserve is given up or made.
    change: Mutex<()>,
}

impl Room {
    /// Watches the room of a directory, and makes the reserve if there is room for it. If there is not, the reserve that
    /// an earlier run has made is given up, so that the databases can be opened.
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
            tracing::warn!(room.free = room.free()?, "the disk is full: uploads are refused until there is room");
        }
        Ok(room)
    }

    /// Whether everything but work that frees room is refused.
    pub(crate) fn is_full(&self) -> bool {
        self.0.full.load(SeqCst)
    }

    /// Whether a record may be written. May wait for the disk, when there is room again.
    pub(crate) fn admits(&self, frees_room: bool) -> bool {
        // If the system does not say, the write itself will.
        if !self.is_full() && self.free().is_ok_and(|free| free < FLOOR_BYTES) {
            self.ran_out();
        }
        !self.is_full() || self.restore() || frees_room
    }

    /// Takes room for the bytes of an upload until what is returned is dropped. `None`: there is not as much. May wait
    /// for the disk, when there is room again.
    pub(crate) fn claim(&self, bytes: u64) -> Option<Claim> {
        if !self.admits(false) {
            return None;
        }
        let claimed = self.0.claimed.fetch_add(bytes, SeqCst).saturating_add(bytes);
        let claim = Claim { room: self.clone(), bytes };
        let fits = self.free().map_or(true, |free| free.saturating_sub(FLOOR_BYTES) >= claimed);
        fits.then_some(claim)
    }

    /// A write found no room, or hardly any is left: from now on the reserve is for work that frees room.
    pub(crate) fn ran_out(&self) {
        if !self.0.full.swap(true, SeqCst) {
            self.give_up_reserve();
            tracing::error!("the disk is full: uploads are refused and the reserve is used for deletions");
        }
    }

    /// Makes the reserve again if there is room for it, and for as much again as uploads leave free. Whether everything
    /// is as before.
    pub(crate) fn restore(&self) -> bool {
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_full() {
            return true;
        }
        if self.free().is_ok_and(|free| free < RESERVE_BYTES + 2 * FLOOR_BYTES) {
            return false;
        }
        if let Err(error) = self.make_reserve() {
            tracing::warn!(%error, "the reserve for deletions could not be made");
            drop(fs::remove_file(self.reserve()));
            return false;
        }
        self.0.full.store(false, SeqCst);
        true
    }

    /// How large a database's log may be before its room is given back, in bytes.
    pub(crate) fn log_limit(&self) -> u64 {
        if self.is_full() { 0 } else { LOG_BYTES }
    }

    /// How many bytes this user may still write.
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
            // The file system does not know how.
            Err(_) => {}
        }
        // Random bytes, so that it does not store less than that.
        let mut piece = vec![0; PIECE];
        for _ in 0..RESERVE_BYTES / PIECE as u64 {
            getrandom::fill(&mut piece).map_err(|error| io::Error::other(error.to_string()))?;
            file.write_all(&piece)?;
        }
        file.sync_all()
    }

    fn give_up_reserve(&self) {
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        // Truncated first: that needs no room in a journal for the directory, and gives the room back by itself.
        let truncated = OpenOptions::new().write(true).truncate(true).open(self.reserve()).map(drop::<File>);
        let removed = truncated.and_then(|()| fs::remove_file(self.reserve()));
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, "the reserve for deletions could not be given up");
        }
    }
}

/// Room that an upload has taken.
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
        assert!(room.admits(false), "there is room on this disk, so it is as before");
        assert_eq!((room.is_full(), held()), (false, RESERVE_BYTES));
    }
}
