//! Restoring a snapshot into a data directory.
//!
//! During the restore the directory contains a marker file, and a start refuses it. An interrupted restore starts over.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{
    BackupError, LostBlob, Manifest, Progress, Repository, create, each_blob, hash_file, is_empty, make_directory,
    pool::{Pool, Taken},
    sync_directory, write_file,
};
use crate::{
    custody::{self, LOCK, Locks, Piece},
    s3::holding,
};

/// The marker file of a directory that is being restored.
const UNFINISHED: &str = "restoring";

/// The result of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The name of the snapshot.
    pub snapshot: String,
    /// When it was taken, in RFC 3339.
    pub taken_at: String,
    /// The number of restored blobs.
    pub blobs: u64,
    /// The total size of these blobs.
    pub bytes: u64,
    /// Blobs that the directory refers to but does not have: the store had lost them when it was backed up, or the
    /// backup has lost them since. Requests for their files fail.
    pub lost: Vec<LostBlob>,
}

/// Returns true if a restore into this directory was interrupted.
pub(crate) fn is_unfinished(data: &Path) -> bool {
    data.join(UNFINISHED).exists()
}

/// Restores a snapshot, by default the newest one. The data directory must be empty, must not exist, or must contain an
/// interrupted restore.
pub fn restore(
    destination: &Path,
    snapshot: Option<&str>,
    data: &Path,
    mut progress: impl FnMut(Progress),
) -> Result<Restored, BackupError> {
    let repository = Repository::open(destination)?;
    let name = repository.find(snapshot)?;
    let manifest = repository.manifest(&name)?;
    let lock = begin(data)?;
    let source = repository.snapshot(&name);
    // The metadata database comes last: without it, the directory is not a data directory.
    let (last, others): (Vec<_>, Vec<_>) = manifest.files.iter().partition(|file| file.path == Piece::Table.name());
    for file in others {
        copy_file(&source.join(&file.path), &data.join(&file.path), file)?;
    }
    let objects = data.join(holding::DIRECTORY);
    let (blobs, bytes, lost) = restore_blobs(&repository, &source, &manifest, &objects, &mut progress)?;
    let restored = objects.join(holding::INDEX);
    holding::forget_damage(&restored).map_err(|e| BackupError::damaged(&restored, e))?;
    for file in last {
        copy_file(&source.join(&file.path), &data.join(&file.path), file)?;
    }
    custody::adopt(&lock, data).map_err(|error| BackupError::damaged(data, error))?;
    for directory in [&objects, &data.to_owned()] {
        sync_directory(directory)?;
    }
    let marker = data.join(UNFINISHED);
    fs::remove_file(&marker).map_err(BackupError::at(&marker))?;
    sync_directory(data)?;
    Ok(Restored { snapshot: name, taken_at: manifest.taken_at, blobs, bytes, lost })
}

/// Locks the directory like a server, empties it if it contains an interrupted restore, and marks it.
fn begin(data: &Path) -> Result<Locks, BackupError> {
    let occupied = || {
        let text = format!("{} is not empty; restore into a directory that is empty or does not exist", data.display());
        BackupError::Refused(text)
    };
    let unfinished = is_unfinished(data);
    if data.exists() && !unfinished && !is_empty(data, &[LOCK])? {
        return Err(occupied());
    }
    let lock = custody::lock(data).map_err(|error| BackupError::Refused(error.to_string()))?;
    if unfinished {
        for name in
            super::entries(data)?.into_iter().filter(|name| ![LOCK, UNFINISHED, "lost+found"].contains(&name.as_str()))
        {
            let path = data.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(BackupError::at(path))?;
        }
    } else {
        write_file(&data.join(UNFINISHED), b"This directory is being restored; see xf restore.\n")?;
    }
    sync_directory(data)?;
    if let Some(parent) = data.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_directory(parent)?;
    }
    Ok(lock)
}

fn restore_blobs(
    repository: &Repository,
    source: &Path,
    manifest: &Manifest,
    objects: &Path,
    progress: &mut impl FnMut(Progress),
) -> Result<(u64, u64, Vec<LostBlob>), BackupError> {
    let blobs = objects.join(holding::BLOBS);
    let mut pool = Pool::open(&blobs)?;
    holding::make_shards(&blobs).map_err(BackupError::at(&blobs))?;
    let (mut lost, mut done) = (Vec::new(), 0);
    let index = source.join(holding::DIRECTORY).join(holding::INDEX);
    each_blob(&index, |blob| {
        if let Taken::Damaged(damage) = pool.take(&repository.blobs(), blob)? {
            let known = manifest.lost.iter().find(|lost| lost.blob == blob.name());
            let damage = known.map_or_else(|| damage.as_str().to_owned(), |lost| lost.damage.clone());
            lost.push(LostBlob { blob: blob.name().to_owned(), damage });
        }
        done += blob.size;
        progress(Progress { done, total: manifest.bytes });
        Ok(())
    })?;
    let (blobs, bytes) = pool.finish()?;
    Ok((blobs, bytes, lost))
}

/// Copies a file of a snapshot and compares it with the manifest.
fn copy_file(from: &Path, to: &Path, file: &super::CopiedFile) -> Result<(), BackupError> {
    let directory: PathBuf = to.parent().expect("a file is in a directory").to_owned();
    make_directory(&directory)?;
    let partial = to.with_extension("partial");
    let mut copy = create(&partial).map_err(BackupError::at(&partial))?;
    let mut unwritten = None;
    let hashed = hash_file(from, |piece| {
        copy.write_all(piece).map_err(|error| {
            let again = std::io::Error::new(error.kind(), error.to_string());
            unwritten = Some(error);
            again
        })
    });
    if let Some(error) = unwritten {
        return Err(BackupError::at(partial)(error));
    }
    let (bytes, sha256) = hashed.map_err(BackupError::at(from))?;
    if bytes != file.bytes || sha256 != file.sha256 {
        return Err(BackupError::damaged(from, "it is not what was backed up; choose another snapshot"));
    }
    copy.sync_all().map_err(BackupError::at(&partial))?;
    fs::rename(&partial, to).map_err(BackupError::at(to))?;
    sync_directory(&directory)
}
