//! The lock with which a backup prevents the removal of blobs that its copy of the index needs.
//!
//! It is a lock of the operating system on the directory of blobs. If a backup crashes, its last file descriptor releases
//! the lock, and there is no lock file that could remain or be removed by hand. Any number of backups share the lock;
//! the garbage collector takes it exclusively, for one removal at a time.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// How often the collector checks whether the last backup has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The lock of one directory of blobs.
#[derive(Clone, Debug)]
pub(crate) struct Hold(PathBuf);

impl Hold {
    pub(crate) fn of(blobs: &Path) -> Self {
        Self(blobs.to_owned())
    }

    /// Keeps every blob that is referenced from now on, until the returned handle is dropped.
    pub(crate) fn share(&self) -> io::Result<File> {
        let directory = File::open(&self.0)?;
        directory.lock_shared()?;
        Ok(directory)
    }

    /// Waits until no backup holds the lock, and blocks new ones until the returned handle is dropped. `None` if
    /// `stopping` was set first.
    pub(super) fn alone(&self, stopping: &AtomicBool) -> io::Result<Option<File>> {
        let directory = File::open(&self.0)?;
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Some(directory)),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if stopping.load(Ordering::Relaxed) => return Ok(None),
                Err(TryLockError::WouldBlock) => thread::sleep(LOOK_AGAIN),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_share_and_the_collector_waits_for_the_last_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let hold = Hold::of(directory.path());
        let (first, second) = (hold.share().unwrap(), hold.share().unwrap());
        let stopping = AtomicBool::new(true);
        drop(first);
        assert!(hold.alone(&stopping).unwrap().is_none());
        drop(second);
        let alone = hold.alone(&stopping).unwrap();
        assert!(alone.is_some());
        let waiting = thread::spawn(move || hold.share().map(drop));
        drop(alone);
        waiting.join().unwrap().unwrap();
    }
}
