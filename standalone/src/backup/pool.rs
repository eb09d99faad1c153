//! The blobs of a backup: copying them into it, and removing those that no snapshot needs.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File},
    io::{self, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{BackupError, create, entries, make_directory, sync_directory};
use crate::s3::{
    Damage,
    holding::{Examined, Holding, examine},
};

/// The number of files, and of bytes, that are synced together. A separate sync for each file would dominate the time.
const BATCH: usize = 64;
const BATCH_BYTES: u64 = 64 * 1024 * 1024;

/// The suffix of a file that is being written, and of one that a verification found damaged.
const PARTIAL: &str = "partial";
pub(super) const DAMAGED: &str = "damaged";

/// A directory of blobs that is being filled.
pub(super) struct Pool {
    root: PathBuf,
    written: Vec<Written>,
    waiting_bytes: u64,
    shards: BTreeSet<PathBuf>,
    blobs: u64,
    bytes: u64,
}

struct Written {
    file: File,
    partial: PathBuf,
    complete: PathBuf,
    holding: Holding,
}

/// The result of [`Pool::take`].
pub(super) enum Taken {
    /// An earlier snapshot has the blob.
    Had,
    /// The blob was copied and its hashes match.
    Copied,
    /// The blob of the store is damaged or missing.
    Damaged(Damage),
}

impl Pool {
    pub(super) fn open(root: &Path) -> Result<Self, BackupError> {
        make_directory(root)?;
        let root = root.to_owned();
        Ok(Self { root, written: Vec::new(), waiting_bytes: 0, shards: BTreeSet::new(), blobs: 0, bytes: 0 })
    }

    /// Copies a blob from a directory of blobs, unless it is already here. Its bytes are compared with its hashes while
    /// they are read.
    pub(super) fn take(&mut self, from: &Path, holding: &Holding) -> Result<Taken, BackupError> {
        let complete = self.root.join(holding.path());
        if fs::metadata(&complete).is_ok_and(|file| file.len() == holding.size) {
            return Ok(Taken::Had);
        }
        let shard = complete.parent().expect("a blob is in a shard");
        if !self.shards.contains(shard) {
            make_directory(shard)?;
            self.shards.insert(shard.to_owned());
        }
        let partial = complete.with_extension(PARTIAL);
        let mut file = create(&partial).map_err(BackupError::at(&partial))?;
        let mut unwritten = None;
        let source = from.join(holding.path());
        let examined = examine(&source, holding, |piece| match file.write_all(piece) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                unwritten = Some(error);
                ControlFlow::Break(())
            }
        });
        if let Some(error) = unwritten {
            return Err(BackupError::at(partial)(error));
        }
        match examined.map_err(BackupError::at(source))? {
            Examined::Whole { .. } => {
                self.waiting_bytes += holding.size;
                self.blobs += 1;
                self.bytes += holding.size;
                self.written.push(Written { file, partial, complete, holding: holding.clone() });
                if self.written.len() >= BATCH || self.waiting_bytes >= BATCH_BYTES {
                    self.settle()?;
                }
                Ok(Taken::Copied)
            }
            Examined::Damaged(damage) => {
                fs::remove_file(&partial).map_err(BackupError::at(partial))?;
                Ok(Taken::Damaged(damage))
            }
            Examined::Stopped => unreachable!("only a failed write ends an examination"),
        }
    }

    /// Syncs the written files, reads them back, and renames them to their final names.
    fn settle(&mut self) -> Result<(), BackupError> {
        self.waiting_bytes = 0;
        let written = std::mem::take(&mut self.written);
        for Written { file, partial, .. } in &written {
            file.sync_all().map_err(BackupError::at(partial))?;
        }
        for Written { file, partial, complete, holding } in written {
            drop(file);
            let read = examine(&partial, &holding, |_| ControlFlow::Continue(()));
            match read.map_err(BackupError::at(&partial))? {
                Examined::Whole { .. } => fs::rename(&partial, &complete).map_err(BackupError::at(&partial))?,
                Examined::Damaged(_) | Examined::Stopped => {
                    return Err(BackupError::damaged(partial, "it does not read back as it was written"));
                }
            }
        }
        Ok(())
    }

    /// Syncs everything. Returns the number and the total size of the copied blobs.
    pub(super) fn finish(mut self) -> Result<(u64, u64), BackupError> {
        self.settle()?;
        for shard in &self.shards {
            sync_directory(shard)?;
        }
        sync_directory(&self.root)?;
        Ok((self.blobs, self.bytes))
    }
}

/// Removes all files of a pool except those with these names.
pub(super) fn remove_all_but(root: &Path, needed: &HashSet<String>) -> Result<(), BackupError> {
    for shard in entries(root)? {
        let shard = root.join(shard);
        for name in entries(&shard)? {
            if !needed.contains(&name) {
                let path = shard.join(name);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(BackupError::at(path)(error)),
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }
    Ok(())
}
