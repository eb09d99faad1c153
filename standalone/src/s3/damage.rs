//! Damaged blobs: files whose content differs from the acknowledged one. The kinds of damage, and their state in the
//! index.
//!
//! Every read of a blob that was found damaged is refused until it is found intact again. This module reads no blobs.

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, OptionalExtension as _, params, types::Type};
use xfiles_core::clock::Timestamp;

use super::{
    blob::BlobId,
    index::{Index, Rows},
};

/// Additional tables of the index, in every version of it; older programs ignore them.
///
/// `blob_hashes` has the SHA-256 of each blob that the scrub has read. `scrub` has one row, the position of the pass.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS damaged_blobs (blob TEXT PRIMARY KEY, damage TEXT NOT NULL, found INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS blob_hashes (blob TEXT PRIMARY KEY, sha256 BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS scrub (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        after TEXT NOT NULL,
        begun INTEGER NOT NULL,
        ended INTEGER
    );
";

/// A kind of damage of a blob's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Damage {
    /// The file is missing.
    Missing,
    /// The file is longer or shorter than acknowledged.
    WrongSize,
    /// The file has other bytes than acknowledged.
    WrongBytes,
    /// The disk cannot read the file, or the server lacks permission.
    Unreadable,
}

/// The code of an I/O error on Linux and macOS.
const EIO: i32 = 5;

impl Damage {
    const ALL: [Self; 4] = [Self::Missing, Self::WrongSize, Self::WrongBytes, Self::Unreadable];

    /// The name in the index and in response headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongSize => "wrong-size",
            Self::WrongBytes => "wrong-bytes",
            Self::Unreadable => "unreadable",
        }
    }

    /// The description for messages.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Missing => "its file is missing",
            Self::WrongSize => "its file has another length than was acknowledged",
            Self::WrongBytes => "its file has other bytes than were acknowledged",
            Self::Unreadable => "its file cannot be read",
        }
    }

    /// The damage that an error of the operating system indicates. `None` if the error does not concern the file, for
    /// example too many open files.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::NotFound => Some(Self::Missing),
            io::ErrorKind::UnexpectedEof => Some(Self::WrongSize),
            io::ErrorKind::PermissionDenied => Some(Self::Unreadable),
            _ if error.raw_os_error() == Some(EIO) => Some(Self::Unreadable),
            _ => None,
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|damage| damage.as_str() == text)
    }
}

impl Rows<'_> {
    /// The known damage of a blob.
    pub(super) fn damage(&self, blob: &BlobId) -> rusqlite::Result<Option<Damage>> {
        let mut select = self.0.prepare_cached("SELECT damage FROM damaged_blobs WHERE blob = ?")?;
        let text: Option<String> = select.query_row([blob.as_str()], |row| row.get(0)).optional()?;
        let unknown = || rusqlite::Error::InvalidColumnType(0, "damage".to_owned(), Type::Text);
        text.map(|text| Damage::parse(&text).ok_or_else(unknown)).transpose()
    }

    /// The number of damaged blobs.
    pub(super) fn damaged_blobs(&self) -> rusqlite::Result<u64> {
        self.0.prepare_cached("SELECT count(*) FROM damaged_blobs")?.query_row([], |row| row.get(0))
    }

    /// The end of the last complete pass of the scrub; `None` while another is in progress.
    pub(super) fn last_pass(&self) -> rusqlite::Result<Option<Timestamp>> {
        let mut select = self.0.prepare_cached("SELECT ended FROM scrub")?;
        let ended = select.query_row([], |row| row.get::<_, Option<i64>>(0)).optional()?;
        Ok(ended.flatten().map(Timestamp::from_millis))
    }

    /// The keys of all objects with this blob.
    pub(super) fn keys_of(&self, blob: &str) -> rusqlite::Result<Vec<String>> {
        let mut select = self.0.prepare_cached("SELECT key FROM objects WHERE blob = ? ORDER BY bucket, key")?;
        let key = |row: &rusqlite::Row<'_>| Ok(String::from_utf8_lossy(&row.get::<_, Vec<u8>>(0)?).into_owned());
        select.query_map([blob], key)?.collect()
    }
}

/// Marks a blob as damaged, unless no object refers to it any more.
pub(super) fn mark(connection: &Connection, blob: &str, damage: Damage, now: Timestamp) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO damaged_blobs (blob, damage, found)
            SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM objects WHERE blob = ?1)
            ON CONFLICT (blob) DO UPDATE SET damage = excluded.damage",
    )?;
    insert.execute(params![blob, damage.as_str(), now.as_millis()]).map(drop)
}

/// Marks a blob as intact. Returns true if it was marked as damaged.
pub(super) fn unmark(connection: &Connection, blob: &str) -> rusqlite::Result<bool> {
    let mut delete = connection.prepare_cached("DELETE FROM damaged_blobs WHERE blob = ?")?;
    delete.execute([blob]).map(|rows| rows > 0)
}

/// Removes the state of a blob to which no object refers any more.
pub(super) fn forget(connection: &Connection, blob: &BlobId) -> rusqlite::Result<()> {
    for table in ["DELETE FROM blob_hashes WHERE blob = ?", "DELETE FROM damaged_blobs WHERE blob = ?"] {
        connection.prepare_cached(table)?.execute([blob.as_str()])?;
    }
    Ok(())
}

/// The counters of damage and of the scrub of an open store. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Counters>);

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Requests that were refused because a blob is damaged.
    pub(super) refused: AtomicU64,
    pub(super) scrubbed_blobs: AtomicU64,
    pub(super) scrubbed_bytes: AtomicU64,
    /// Damaged blobs that are being marked in the index, so that two requests do not report the same one.
    noting: Mutex<HashSet<BlobId>>,
}

impl Watch {
    pub(super) fn counters(&self) -> &Counters {
        &self.0
    }

    /// Counts a request that is refused because its blob is damaged.
    pub(super) fn refuse(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports a blob that a request found damaged, so that later requests are refused.
    pub(super) fn report(&self, index: &Index, blob: &BlobId, key: &str, damage: Damage, now: Timestamp) {
        self.refuse();
        if !self.noting().insert(blob.clone()) {
            return;
        }
        log(blob.as_str(), &[key.to_owned()], damage);
        let (watch, noted) = (self.clone(), blob.clone());
        let marked = noted.clone();
        index.post(
            move |batch| mark(batch.rows().0, marked.as_str(), damage, now),
            move || {
                watch.noting().remove(&noted);
            },
        );
    }

    fn noting(&self) -> MutexGuard<'_, HashSet<BlobId>> {
        // The set is consistent even after a panic of another thread.
        self.0.noting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs the damage with the object's directory. The rest of the key is derived from the client's file name.
pub(super) fn log(blob: &str, keys: &[String], damage: Damage) {
    let directories: Vec<&str> = keys.iter().map(|key| directory(key)).collect();
    tracing::error!(
        blob,
        objects = directories.join(" "),
        damage = damage.as_str(),
        "a stored object is damaged and no longer served: {}; restore the blob's file from a backup and run `xf scrub`",
        damage.describe()
    );
}

/// A key without its last segment.
pub(super) fn directory(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(directory, _)| directory)
}
