//! A directory that one process holds.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

/// The file whose lock says that a process has the directory. Earlier versions lock nothing else.
pub(crate) const LOCK: &str = "lock";

/// A directory held for this process. The operating system releases it when the process ends for any reason.
#[derive(Debug)]
pub(crate) struct Locks {
    _directory: Option<File>,
    _file: File,
}

/// Why a directory could not be held.
#[derive(Debug)]
pub(crate) enum Unlockable {
    /// Another process holds it.
    InUse,
    /// The system refused.
    Io(io::Error),
}

impl From<io::Error> for Unlockable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TryLockError> for Unlockable {
    fn from(error: TryLockError) -> Self {
        match error {
            TryLockError::WouldBlock => Self::InUse,
            TryLockError::Error(error) => Self::Io(error),
        }
    }
}

impl Locks {
    /// Locks the directory itself, which cannot be removed with its content in it, and the file [`LOCK`].
    pub(crate) fn take(directory: &Path) -> Result<Self, Unlockable> {
        let whole = File::open(directory)?;
        let whole = match whole.try_lock() {
            Ok(()) => Some(whole),
            Err(TryLockError::WouldBlock) => return Err(Unlockable::InUse),
            Err(TryLockError::Error(error)) => {
                // Some network file systems lock only files. SQLite recommends against these anyway.
                tracing::warn!(%error, "the directory itself cannot be locked; do not remove its file `lock`");
                None
            }
        };
        let file = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK))?;
        file.try_lock()?;
        Ok(Self { _directory: whole, _file: file })
    }
}
