//! Verifying a backup: every file of a snapshot against its manifest, every blob against the index.

use std::{
    collections::{HashMap, HashSet},
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{
    BackupError, Manifest, Progress, Repository, each_blob, hash_file, instant::check_database, is_lost, pool,
};
use crate::{
    custody::Piece,
    s3::{
        Damage,
        holding::{self, Examined, examine},
    },
};

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The number of snapshots that were read.
    pub snapshots: u64,
    /// The number of blobs that they need.
    pub blobs: u64,
    /// The number of bytes that were read.
    pub bytes: u64,
    /// The number of blobs that the store had already lost when they were backed up, according to the manifests.
    pub lost: u64,
    /// Files that cannot be restored as they were backed up.
    pub faults: Vec<Fault>,
}

/// A damaged file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first snapshot that needs it.
    pub snapshot: String,
    /// The path of the file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Verifies all snapshots of a backup, or one of them. A damaged blob is renamed, so that the next backup copies it
/// again if the store still has it.
pub fn verify(
    destination: &Path,
    snapshot: Option<&str>,
    mut progress: impl FnMut(Progress),
) -> Result<Verified, BackupError> {
    let repository = Repository::open(destination)?;
    let names = match snapshot {
        Some(_) => vec![repository.find(snapshot)?],
        None => repository.names()?,
    };
    if names.is_empty() {
        repository.find(None)?;
    }
    let mut verified = Verified::default();
    let mut manifests = HashMap::new();
    let mut total = 0;
    for name in &names {
        match repository.manifest(name) {
            Ok(manifest) => {
                total += manifest.bytes;
                manifests.insert(name, manifest);
            }
            Err(error) => verified.faults.push(fault(name, &repository.snapshot(name), &error)),
        }
    }
    // Each blob is read once for all snapshots.
    let mut read = HashSet::new();
    let mut done = 0;
    for name in &names {
        let Some(manifest) = manifests.get(name) else { continue };
        verified.snapshots += 1;
        verified.lost += manifest.lost.len() as u64;
        let faults = verified.faults.len();
        for (path, reason) in damaged_files(&repository, name, manifest)? {
            verified.faults.push(Fault { snapshot: name.clone(), path, reason });
        }
        if verified.faults.len() > faults {
            continue;
        }
        let index = repository.snapshot(name).join(holding::DIRECTORY).join(holding::INDEX);
        each_blob(&index, |blob| {
            done += blob.size;
            progress(Progress { done, total });
            if is_lost(manifest, blob.name()) || !read.insert(blob.name().to_owned()) {
                return Ok(());
            }
            verified.blobs += 1;
            let path = repository.blobs().join(blob.path());
            match examine(&path, blob, |_| ControlFlow::Continue(())).map_err(BackupError::at(&path))? {
                Examined::Whole { .. } => verified.bytes += blob.size,
                Examined::Damaged(damage) => {
                    set_aside(&path, damage);
                    let (snapshot, reason) = (name.clone(), damage.describe().to_owned());
                    verified.faults.push(Fault { snapshot, path, reason });
                }
                Examined::Stopped => {}
            }
            Ok(())
        })?;
    }
    Ok(verified)
}

fn is_database(path: &str) -> bool {
    Piece::ALL.iter().any(|piece| piece.name() == path)
}

fn fault(name: &str, path: &Path, error: &BackupError) -> Fault {
    Fault { snapshot: name.to_owned(), path: path.to_owned(), reason: error.to_string() }
}

/// The files of a snapshot that do not match its manifest, with the reasons.
fn damaged_files(
    repository: &Repository,
    name: &str,
    manifest: &Manifest,
) -> Result<Vec<(PathBuf, String)>, BackupError> {
    let mut damaged = Vec::new();
    for file in &manifest.files {
        let path = repository.snapshot(name).join(&file.path);
        match hash_file(&path, |_| Ok(())) {
            Ok((bytes, sha256)) if bytes == file.bytes && sha256 == file.sha256 => {}
            Ok(_) => damaged.push((path, Damage::WrongBytes.describe().to_owned())),
            Err(error) => match Damage::of(&error) {
                Some(damage) => damaged.push((path, damage.describe().to_owned())),
                None => return Err(BackupError::at(path)(error)),
            },
        }
    }
    if damaged.is_empty() {
        for file in manifest.files.iter().filter(|file| is_database(&file.path)) {
            let path = repository.snapshot(name).join(&file.path);
            if let Err(reason) = check_database(&path) {
                damaged.push((path, reason));
            }
        }
    }
    Ok(damaged)
}

/// On a read-only backup the blob stays where it is.
fn set_aside(path: &Path, damage: Damage) {
    if damage != Damage::Missing {
        drop(fs::rename(path, path.with_extension(pool::DAMAGED)));
    }
}
