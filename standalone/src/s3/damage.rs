//! Damaged blobs: files that are not what was acknowledged. How the damage is named, and what the index keeps of it.
//!
//! A blob that was found damaged is refused from then on, whatever part of it is asked for, until it is found whole
//! again. Nothing here reads a blob.

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

/// Beside the tables of the index, in every version of it. An older program takes no notice of them.
///
/// `blob_hashes` has the SHA-256 of each blob that the scrub has read once. `scrub` has one row: where the walk is.
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

/// What is wrong with a blob's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Damage {
    /// It is not there.
    Missing,
    /// It is longer or shorter than what was acknowledged.
    WrongSize,
    /// It has other bytes than what was acknowledged.
    WrongBytes,
    /// The disk cannot read it, or the server may not.
    Unreadable,
}

/// What Linux and macOS call an error of the disk itself.
const EIO: i32 = 5;

impl Damage {
    const ALL: [Self; 4] = [Self::Missing, Self::WrongSize, Self::WrongBytes, Self::Unreadable];

    /// Its name, in the index and in the header of an answer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongSize => "wrong-size",
            Self::WrongBytes => "wrong-bytes",
            Self::Unreadable => "unreadable",
        }
    }

    /// The same in a sentence.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Missing => "its file is missing",
            Self::WrongSize => "its file has another length than what was acknowledged",
            Self::WrongBytes => "its file has other bytes than what was acknowledged",
            Self::Unreadable => "its file cannot be read",
        }
    }

    /// The damage that an error of the operating system indicates. `None`: the error says nothing about the file, such as one that
    /// there are too many open.
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
    /// What was found wrong with a blob.
    pub(super) fn damage(&self, blob: &BlobId) -> rusqlite::Result<Option<Damage>> {
        let mut select = self.0.prepare_cached("SELECT damage FROM damaged_blobs WHERE blob = ?")?;
        let text: Option<String> = select.query_row([blob.as_str()], |row| row.get(0)).optional()?;
        let unknown = || rusqlite::Error::InvalidColumnType(0, "damage".to_owned(), Type::Text);
        text.map(|text| Damage::parse(&text).ok_or_else(unknown)).transpose()
    }

    /// How many blobs are damaged.
    pub(super) fn damaged_blobs(&self) -> rusqlite::Result<u64> {
        self.0.prepare_cached("SELECT count(*) FROM damaged_blobs")?.query_row([], |row| row.get(0))
    }

    /// When the last complete pass of the scrub ended. While the next is under way, that is not known.
    pub(super) fn last_pass(&self) -> rusqlite::Result<Option<Timestamp>> {
        let mut select = self.0.prepare_cached("SELECT ended FROM scrub")?;
        let ended = select.query_row([], |row| row.get::<_, Option<i64>>(0)).optional()?;
        Ok(ended.flatten().map(Timestamp::from_millis))
    }

    /// The keys of all objects that have a blob.
    pub(super) fn keys_of(&self, blob: &str) -> rusqlite::Result<Vec<String>> {
        let mut select = self.0.prepare_cached("SELECT key FROM objects WHERE blob = ? ORDER BY bucket, key")?;
        let key = |row: &rusqlite::Row<'_>| Ok(String::from_utf8_lossy(&row.get::<_, Vec<u8>>(0)?).into_owned());
        select.query_map([blob], key)?.collect()
    }
}

/// Notes that a blob is damaged, unless no object has it any more.
pub(super) fn mark(connection: &Connection, blob: &str, damage: Damage, now: Timestamp) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO damaged_blobs (blob, damage, found)
            SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM objects WHERE blob = ?1)
            ON CONFLICT (blob) DO UPDATE SET damage = excluded.damage",
    )?;
    insert.execute(params![blob, damage.as_str(), now.as_millis()]).map(drop)
}

/// Notes that a blob is whole. Returns true if it was noted as damaged.
pub(super) fn unmark(connection: &Connection, blob: &str) -> rusqlite::Result<bool> {
    let mut delete = connection.prepare_cached("DELETE FROM damaged_blobs WHERE blob = ?")?;
    delete.execute([blob]).map(|rows| rows > 0)
}

/// Forgets everything about a blob that no object has any more.
pub(super) fn forget(connection: &Connection, blob: &BlobId) -> rusqlite::Result<()> {
    for table in ["DELETE FROM blob_hashes WHERE blob = ?", "DELETE FROM damaged_blobs WHERE blob = ?"] {
        connection.prepare_cached(table)?.execute([blob.as_str()])?;
    }
    Ok(())
}

/// What an open store counts of damage and of its scrub. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Counters>);

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Requests that were refused because a blob is damaged.
    pub(super) refused: AtomicU64,
    pub(super) scrubbed_blobs: AtomicU64,
    pub(super) scrubbed_bytes: AtomicU64,
    /// Damaged blobs that are being noted in the index, so that two requests do not report one twice.
    noting: Mutex<HashSet<BlobId>>,
}

impl Watch {
    pub(super) fn counters(&self) -> &Counters {
        &self.0
    }

    /// Counts a request that is refused because its blob is noted as damaged.
    pub(super) fn refuse(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports a blob that a request found damaged, and has every later request refused.
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
        // A set of names is whole whatever its last user did.
        self.0.noting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line in the log. It names the object's directory, because the rest of its key is made from the client's file name.
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

/// A key without its last part.
pub(super) fn directory(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(directory, _)| directory)
}
