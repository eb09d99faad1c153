//! Backups of a data directory: taken while it is served or stopped, verified, and restored.
//!
//! A backup is a directory. `blobs/` has the bytes of objects, each blob once for all snapshots, because blobs never
//! change. `snapshots/NAME/` has one instant of everything else: copies of the two databases, the keys, and a manifest
//! with the hash of each. A snapshot gets its name when everything that it needs is on disk. A backup that is killed
//! therefore leaves earlier snapshots unchanged, and the next one continues with the blobs already copied.
//!
//! The instant: writes to the index are blocked for some milliseconds, in which both databases are pinned by read
//! transactions. Their state is the state after a power cut at that moment, which every operation survives. No blob is
//! removed between the pinning and the end of the backup (see `s3::hold`).
//!
//! This module does not interpret records or objects. Blobs are never hard-linked, because damage to a file would
//! affect all its links.

mod instant;
mod pool;
mod restore;
mod verify;

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    num::NonZeroUsize,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256, digest};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use xfiles_core::clock::{Clock, Timestamp};

use self::{
    instant::Instant,
    pool::{Pool, Taken},
};
use crate::{
    custody::{self, Piece},
    s3::{
        hold::Hold,
        holding::{self, holdings},
    },
    secrets::{self, access_key_id},
};

pub(crate) use self::restore::is_unfinished;
pub use self::{
    restore::{Restored, restore},
    verify::{Fault, Verified, verify},
};

/// The version of the layout of backups.
const FORMAT: u32 = 1;
/// The file that identifies a directory as a backup.
const MARKER: &str = "xfiles-backup.json";
const MARKER_PARTIAL: &str = "xfiles-backup.json.partial";
/// Locked by the process that uses the backup. A file, because network file systems cannot lock directories.
const LOCK: &str = "lock";
const SNAPSHOTS: &str = "snapshots";
const BLOBS: &str = "blobs";
const MANIFEST: &str = "manifest.json";
/// The suffix of a snapshot that is incomplete, and of one that is being removed.
const PARTIAL: &str = "partial";
const REMOVING: &str = "removing";
/// The number of blobs that one index query returns.
const STEP: u32 = 256;

/// The state files of a data directory besides the two databases and the blobs, and whether each must exist. They are
/// read in the same instant as the databases. Files that each start creates again are not listed.
const STATE_FILES: [(&str, bool); 2] = [(secrets::FILE, true), (custody::IDENTITY, false)];

/// The progress of a backup, a verification or a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes processed so far.
    pub done: u64,
    /// Total bytes.
    pub total: u64,
}

/// The reason why a backup, a verification or a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A directory is unsuitable; the text names it and says what to do.
    #[error("{0}")]
    Refused(String),
    /// There is no such snapshot.
    #[error("{0}")]
    NoSnapshot(String),
    /// A database, a manifest or a file is damaged.
    #[error("{path}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system returned an error.
    #[error("{path}: {source}")]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl BackupError {
    fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Disk { path, source }
    }

    fn damaged(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Damaged { path: path.into(), reason: reason.to_string() }
    }
}

/// The result of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The snapshot's name.
    pub snapshot: String,
    /// The number of blobs in the snapshot.
    pub blobs: u64,
    /// The total size of these blobs.
    pub bytes: u64,
    /// The number of blobs that were copied.
    pub copied_blobs: u64,
    /// The total size of the copied blobs.
    pub copied_bytes: u64,
    /// Blobs that the store has lost; the snapshot does not contain them.
    pub lost: Vec<LostBlob>,
    /// The number of older snapshots that were removed.
    pub removed_snapshots: u64,
}

/// A blob that the store had lost when the backup was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostBlob {
    /// The name of the blob.
    pub blob: String,
    /// The kind of damage: the name of a [`Damage`](crate::s3::Damage).
    pub damage: String,
}

/// A snapshot of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name: an increasing number and the time.
    pub name: String,
    /// When it was taken, in RFC 3339.
    pub taken_at: String,
    /// The number of blobs that it refers to.
    pub blobs: u64,
    /// The total size of these blobs.
    pub bytes: u64,
    /// The number of these blobs that the store had lost.
    pub lost: u64,
}

/// The content of a snapshot.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    format: u32,
    store: String,
    taken_at: String,
    blobs: u64,
    bytes: u64,
    lost: Vec<LostBlob>,
    files: Vec<CopiedFile>,
}

/// A file of a snapshot; its path is relative to the data directory.
#[derive(Serialize, Deserialize)]
struct CopiedFile {
    path: String,
    bytes: u64,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
    store: String,
}

/// Takes a snapshot of a data directory, served or stopped, into a directory of backups, which is created if it does
/// not exist. With `keep`, all but that number of the newest snapshots are removed, with the blobs that only those
/// needed.
pub fn back_up(
    data: &Path,
    destination: &Path,
    keep: Option<NonZeroUsize>,
    clock: &Clock,
    mut progress: impl FnMut(Progress),
) -> Result<BackedUp, BackupError> {
    let objects = data.join(holding::DIRECTORY);
    for database in Piece::ALL.map(|piece| piece.path(data)) {
        if !database.is_file() {
            let text = format!("{} is not a data directory: it has no {}", data.display(), database.display());
            return Err(BackupError::Refused(text));
        }
    }
    let store = store_of(&data.join(secrets::FILE))?;
    let repository = Repository::prepare(destination, data, &store)?;
    let blobs = objects.join(holding::BLOBS);
    // Taken before the instant, so that no blob of that instant is removed.
    let hold = Hold::of(&blobs).share().map_err(BackupError::at(&blobs))?;
    let now = clock.now();
    let snapshot = repository.begin_snapshot(now)?;
    let files = Instant::pin(data)?.copy_into(&snapshot.path)?;

    let index = open_copy(&snapshot.path.join(holding::DIRECTORY).join(holding::INDEX))?;
    let unreadable = |e: rusqlite::Error| BackupError::damaged(objects.join(holding::INDEX), e);
    let (count, total) = holding::totals(&index).map_err(unreadable)?;
    let mut pool = Pool::open(&repository.blobs())?;
    let (mut after, mut done, mut lost) = (String::new(), 0, Vec::new());
    loop {
        let page = holdings(&index, &after, STEP).map_err(unreadable)?;
        let Some(last) = page.last() else { break };
        last.name().clone_into(&mut after);
        for blob in &page {
            if let Taken::Damaged(damage) = pool.take(&blobs, blob)? {
                lost.push(LostBlob { blob: blob.name().to_owned(), damage: damage.as_str().to_owned() });
            }
            done += blob.size;
            progress(Progress { done, total });
        }
    }
    let (copied_blobs, copied_bytes) = pool.finish()?;
    drop(hold);
    drop(index);

    let manifest = Manifest {
        format: FORMAT,
        store,
        taken_at: now.to_string(),
        blobs: count,
        bytes: total,
        lost: lost.clone(),
        files,
    };
    let name = snapshot.complete(&manifest)?;
    let removed_snapshots = keep.map_or(Ok(0), |keep| repository.prune(keep))?;
    Ok(BackedUp { snapshot: name, blobs: count, bytes: total, copied_blobs, copied_bytes, lost, removed_snapshots })
}

/// The snapshots of a backup, oldest first.
pub fn snapshots(destination: &Path) -> Result<Vec<Snapshot>, BackupError> {
    let repository = Repository::open(destination)?;
    let mut found = Vec::new();
    for name in repository.names()? {
        let Manifest { taken_at, blobs, bytes, lost, .. } = repository.manifest(&name)?;
        found.push(Snapshot { name, taken_at, blobs, bytes, lost: lost.len() as u64 });
    }
    Ok(found)
}

/// The identity of the store: the key id of its object store is created at the first start and never changes.
fn store_of(secrets: &Path) -> Result<String, BackupError> {
    let bytes = fs::read(secrets).map_err(BackupError::at(secrets))?;
    let id = access_key_id(&bytes).ok_or_else(|| BackupError::damaged(secrets, "it is damaged"))?;
    Ok(hex::encode(&digest(&SHA256, id.as_bytes()).as_ref()[..16]))
}

/// A directory of backups, locked against other writers.
struct Repository {
    root: PathBuf,
    /// Released when the file is closed.
    _lock: Option<File>,
}

impl Repository {
    /// Opens the directory for a snapshot of this store; creates it if it does not exist.
    fn prepare(root: &Path, data: &Path, store: &str) -> Result<Self, BackupError> {
        let is_new = !root.exists();
        make_directory(root)?;
        let whole = |path: &Path| path.canonicalize().map_err(BackupError::at(path));
        if whole(root)?.starts_with(whole(data)?) {
            if is_new {
                fs::remove_dir(root).map_err(BackupError::at(root))?;
            }
            let text = format!(
                "{} is inside {}; choose a directory outside, so that the backup is not lost with the data",
                root.display(),
                data.display()
            );
            return Err(BackupError::Refused(text));
        }
        let marker = root.join(MARKER);
        if !marker.exists() && !is_empty(root, &[MARKER_PARTIAL, LOCK])? {
            let text = format!("{} is not empty and contains no backup; choose an empty directory", root.display());
            return Err(BackupError::Refused(text));
        }
        let path = root.join(LOCK);
        let lock = create(&path).map_err(BackupError::at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("{} is in use by another backup, verification or restore", root.display());
                return Err(BackupError::Refused(text));
            }
            Err(TryLockError::Error(source)) => return Err(BackupError::at(path)(source)),
        }
        if marker.exists() {
            if read_marker(root)?.store != store {
                let text = format!("{} has the backups of another store; choose another directory", root.display());
                return Err(BackupError::Refused(text));
            }
        } else {
            let bytes = serde_json::to_vec_pretty(&Marker { format: FORMAT, store: store.to_owned() });
            write_file(&root.join(MARKER_PARTIAL), &bytes.expect("texts are JSON"))?;
            fs::rename(root.join(MARKER_PARTIAL), &marker).map_err(BackupError::at(&marker))?;
        }
        let repository = Self { root: root.to_owned(), _lock: Some(lock) };
        make_directory(&repository.snapshots())?;
        make_directory(&repository.blobs())?;
        sync_directory(root)?;
        repository.remove_remains()?;
        Ok(repository)
    }

    /// Opens the directory for reading. Snapshots and blobs are not removed while it is open.
    fn open(root: &Path) -> Result<Self, BackupError> {
        if !root.join(MARKER).is_file() {
            return Err(BackupError::Refused(format!("{} is not a backup: it has no {MARKER}", root.display())));
        }
        read_marker(root)?;
        // If the backup is read-only, no other command can change it.
        let lock = File::open(root.join(LOCK)).ok();
        if let Some(lock) = &lock {
            lock.lock_shared().map_err(BackupError::at(root))?;
        }
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    fn snapshots(&self) -> PathBuf {
        self.root.join(SNAPSHOTS)
    }

    fn snapshot(&self, name: &str) -> PathBuf {
        self.snapshots().join(name)
    }

    fn blobs(&self) -> PathBuf {
        self.root.join(BLOBS)
    }

    /// The names of the complete snapshots, oldest first.
    fn names(&self) -> Result<Vec<String>, BackupError> {
        let mut names: Vec<String> = entries(&self.snapshots())?.into_iter().filter(|name| is_complete(name)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Finds a snapshot by name or number; the newest one by default.
    fn find(&self, wanted: Option<&str>) -> Result<String, BackupError> {
        let mut names = self.names()?;
        let number = |name: &str| name.split('-').next().and_then(|number| number.parse::<u64>().ok());
        let found = match wanted {
            None => names.pop(),
            Some(wanted) => {
                let asked: Option<u64> = wanted.parse().ok();
                names.into_iter().find(|name| name == wanted || (asked.is_some() && number(name) == asked))
            }
        };
        found.ok_or_else(|| {
            let root = self.root.display();
            BackupError::NoSnapshot(match wanted {
                Some(wanted) => {
                    format!("{root} has no snapshot {wanted}; `xf backup --list {root}` shows those it has")
                }
                None => format!("{root} has no complete snapshot"),
            })
        })
    }

    fn manifest(&self, name: &str) -> Result<Manifest, BackupError> {
        let path = self.snapshot(name).join(MANIFEST);
        let bytes = fs::read(&path).map_err(BackupError::at(&path))?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|_| BackupError::damaged(&path, "it is not a manifest"))?;
        if manifest.format > FORMAT {
            return Err(BackupError::damaged(&path, "it was written by a newer version of this program"));
        }
        Ok(manifest)
    }

    fn begin_snapshot(&self, now: Timestamp) -> Result<NewSnapshot, BackupError> {
        let last = self.names()?.last().and_then(|name| name.split('-').next()?.parse::<u64>().ok()).unwrap_or(0);
        let time: String = now.to_string().chars().take_while(|c| *c != '.').filter(|c| !"-:".contains(*c)).collect();
        // Numbered, because the clock may be set back.
        let name = format!("{:06}-{time}Z", last + 1);
        let path = self.snapshot(&format!("{name}.{PARTIAL}"));
        make_directory(&path)?;
        Ok(NewSnapshot { name, path })
    }

    /// Removes the leftovers of killed backups.
    fn remove_remains(&self) -> Result<(), BackupError> {
        for name in entries(&self.snapshots())? {
            if !is_complete(&name) {
                let path = self.snapshot(&name);
                fs::remove_dir_all(&path).map_err(BackupError::at(&path))?;
            }
        }
        Ok(())
    }

    /// Removes all but the newest snapshots, and the blobs that none of these needs.
    fn prune(&self, keep: NonZeroUsize) -> Result<u64, BackupError> {
        let mut names = self.names()?;
        let kept = names.split_off(names.len().saturating_sub(keep.get()));
        let mut needed = HashSet::new();
        for name in &kept {
            let path = self.snapshot(name).join(holding::DIRECTORY).join(holding::INDEX);
            each_blob(&path, |blob| {
                needed.insert(blob.name().to_owned());
                Ok(())
            })?;
        }
        for name in &names {
            // The rename makes the snapshot incomplete atomically.
            let (path, removing) = (self.snapshot(name), self.snapshot(&format!("{name}.{REMOVING}")));
            fs::rename(&path, &removing).map_err(BackupError::at(&path))?;
            sync_directory(&self.snapshots())?;
            fs::remove_dir_all(&removing).map_err(BackupError::at(&removing))?;
        }
        pool::remove_all_but(&self.blobs(), &needed)?;
        Ok(names.len() as u64)
    }
}

fn read_marker(root: &Path) -> Result<Marker, BackupError> {
    let path = root.join(MARKER);
    let bytes = fs::read(&path).map_err(BackupError::at(&path))?;
    let marker: Marker = serde_json::from_slice(&bytes).map_err(|_| BackupError::damaged(&path, "it is damaged"))?;
    if marker.format > FORMAT {
        return Err(BackupError::damaged(&path, "it was written by a newer version of this program"));
    }
    Ok(marker)
}

fn is_complete(name: &str) -> bool {
    !name.contains('.')
}

/// A snapshot in progress.
struct NewSnapshot {
    name: String,
    path: PathBuf,
}

impl NewSnapshot {
    /// Writes the manifest and gives the snapshot its name. Everything that it refers to is on disk.
    fn complete(self, manifest: &Manifest) -> Result<String, BackupError> {
        let bytes = serde_json::to_vec_pretty(manifest).expect("a manifest is plain data");
        write_file(&self.path.join(MANIFEST), &bytes)?;
        sync_directory(&self.path)?;
        let parent = self.path.parent().expect("a snapshot is in a directory");
        let complete = parent.join(&self.name);
        fs::rename(&self.path, &complete).map_err(BackupError::at(&complete))?;
        sync_directory(parent)?;
        Ok(self.name)
    }
}

/// Calls `visit` with each blob that a copy of an index refers to.
fn each_blob(
    index: &Path,
    mut visit: impl FnMut(&holding::Holding) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let connection = open_copy(index)?;
    let mut after = String::new();
    loop {
        let page = holdings(&connection, &after, STEP).map_err(|e| BackupError::damaged(index, e))?;
        let Some(last) = page.last() else { return Ok(()) };
        last.name().clone_into(&mut after);
        page.iter().try_for_each(&mut visit)?;
    }
}

/// Opens a copy of a database without creating files beside it.
fn open_copy(path: &Path) -> Result<Connection, BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|e| BackupError::damaged(path, e))
}

fn entries(directory: &Path) -> Result<Vec<String>, BackupError> {
    let read = fs::read_dir(directory).map_err(BackupError::at(directory))?;
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    read.map(name).collect::<io::Result<_>>().map_err(BackupError::at(directory))
}

/// Returns true if a directory contains nothing but these names and the usual entries in the root of a file system.
fn is_empty(directory: &Path, but: &[&str]) -> Result<bool, BackupError> {
    Ok(entries(directory)?.iter().all(|name| name == "lost+found" || but.contains(&name.as_str())))
}

/// Creates a directory that only its owner can read, and its parents.
fn make_directory(path: &Path) -> Result<(), BackupError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(BackupError::at(path))
}

/// Writes and syncs a file that only its owner can read.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let write = || {
        let mut file = create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(BackupError::at(path))
}

fn create(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn sync_directory(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(BackupError::at(path))
}

/// The size of a file and its SHA-256 in hex. `seen` is called with each chunk.
fn hash_file(path: &Path, mut seen: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(u64, String)> {
    use std::io::Read as _;

    let (mut file, mut context, mut size) = (File::open(path)?, Context::new(&SHA256), 0);
    let mut piece = vec![0; 256 * 1024];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok((size, hex::encode(context.finish())));
        }
        size += length as u64;
        context.update(&piece[..length]);
        seen(&piece[..length])?;
    }
}

/// Returns true if the manifest lists the blob as lost.
fn is_lost(manifest: &Manifest, blob: &str) -> bool {
    manifest.lost.iter().any(|lost| lost.blob == blob)
}
