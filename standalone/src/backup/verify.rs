//! Reading a backup back: every file of a snapshot against its manifest, every blob against the index.

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

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many snapshots were read.
    pub snapshots: u64,
    /// How many blobs they need.
    pub blobs: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// How many blobs the store had lost before they could be backed up. A snapshot says so itself.
    pub lost: u64,
    /// What cannot be restored as it was backed up.
    pub faults: Vec<Fault>,
}

/// A file of a backup that is not what was backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first snapshot that needs it.
    pub snapshot: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads back all snapshots of a backup, or one of them. A blob that is not what it must be is set aside, so that the
/// next backup copies it again if the store still has it.
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
    // A blob is read once, however many snapshots need it.
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

/// The files of a snapshot that are not what its manifest says, and why.
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

/// On a backup that cannot be written, which is a good place for one, it stays where it is.
fn set_aside(path: &Path, damage: Damage) {
    if damage != Damage::Missing {
        drop(fs::rename(path, path.with_extension(pool::DAMAGED)));
    }
}
