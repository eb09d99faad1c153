//! The blobs of a store, for code that reads its directory without opening the store: the scrub, the backup and the
//! restore. They share how a blob is named, found and verified.
//!
//! Nothing here changes files of the store or its index.

use std::{
    fs::File,
    io::{self, Read as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};
use s3s::crypto::{Checksum as _, Md5};

use super::{
    blob::{BlobId, Blobs},
    damage::Damage,
};

/// The store's directory in a data directory.
pub(crate) const DIRECTORY: &str = "objects";
/// The index, relative to the store's directory.
pub(crate) const INDEX: &str = "index.sqlite3";
/// The blobs, relative to the store's directory.
pub(crate) const BLOBS: &str = "blobs";

/// The chunk size for reading and hashing.
const PIECE_BYTES: usize = 256 * 1024;

/// A blob that the index refers to, with its expected content.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub(super) id: BlobId,
    pub(crate) size: u64,
    md5: String,
    pub(super) sha256: Option<[u8; 32]>,
}

impl Holding {
    pub(crate) fn name(&self) -> &str {
        self.id.as_str()
    }

    /// The path of its file, relative to the directory of blobs.
    pub(crate) fn path(&self) -> PathBuf {
        self.id.path()
    }
}

/// The next blobs that the index refers to, sorted by name. An index from before the first scrub has no SHA-256.
pub(crate) fn holdings(index: &Connection, after: &str, limit: u32) -> rusqlite::Result<Vec<Holding>> {
    let mut select = index.prepare_cached(
        "SELECT o.blob, o.size, o.md5, h.sha256 FROM objects AS o LEFT JOIN blob_hashes AS h ON h.blob = o.blob
            WHERE o.blob > ? GROUP BY o.blob ORDER BY o.blob LIMIT ?",
    )?;
    select.query_map(rusqlite::params![after, limit], holding)?.collect()
}

/// One blob; `None` if no object refers to it.
pub(crate) fn of_blob(index: &Connection, blob: &str) -> rusqlite::Result<Option<Holding>> {
    let mut select = index.prepare_cached(
        "SELECT o.blob, o.size, o.md5, h.sha256 FROM objects AS o LEFT JOIN blob_hashes AS h ON h.blob = o.blob
            WHERE o.blob = ? LIMIT 1",
    )?;
    select.query_row([blob], holding).optional()
}

fn holding(row: &Row<'_>) -> rusqlite::Result<Holding> {
    let unreadable =
        |column, name: &str| rusqlite::Error::InvalidColumnType(column, name.to_owned(), rusqlite::types::Type::Text);
    let name: String = row.get(0)?;
    Ok(Holding {
        id: BlobId::parse(&name).ok_or_else(|| unreadable(0, "blob"))?,
        size: u64::try_from(row.get::<_, i64>(1)?).map_err(|_| unreadable(1, "size"))?,
        md5: row.get(2)?,
        sha256: row.get(3)?,
    })
}

/// The number of blobs that the index refers to, and their total size.
pub(crate) fn totals(index: &Connection) -> rusqlite::Result<(u64, u64)> {
    let sum = "SELECT count(*), coalesce(sum(size), 0) FROM (SELECT size FROM objects GROUP BY blob)";
    let (count, bytes): (i64, i64) = index.query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((count.unsigned_abs(), bytes.unsigned_abs()))
}

/// Removes all damage marks from an index: a restored store has new copies of its blobs.
pub(crate) fn forget_damage(index: &Path) -> rusqlite::Result<()> {
    let index = Connection::open_with_flags(index, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    index.execute_batch(super::damage::TABLES)?;
    index.execute_batch("DELETE FROM damaged_blobs")
}

/// The keys of the objects with this blob.
pub(crate) fn keys_of(index: &Connection, blob: &str) -> rusqlite::Result<Vec<String>> {
    super::index::Rows(index).keys_of(blob)
}

/// The hashes of a blob, computed in one pass.
struct Hashes {
    bytes: u64,
    md5: Md5,
    sha256: Context,
}

impl Hashes {
    fn new() -> Self {
        Self { bytes: 0, md5: Md5::new(), sha256: Context::new(&SHA256) }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.md5.update(bytes);
        self.sha256.update(bytes);
    }

    /// Compares the hashes with the expected ones and returns the SHA-256.
    fn check(self, holding: &Holding) -> Result<[u8; 32], Damage> {
        let sha256: [u8; 32] = self.sha256.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes");
        if self.bytes != holding.size {
            return Err(Damage::WrongSize);
        }
        let same =
            hex::encode(self.md5.finalize()) == holding.md5 && holding.sha256.is_none_or(|expected| expected == sha256);
        if same { Ok(sha256) } else { Err(Damage::WrongBytes) }
    }
}

/// Creates all shard directories of a directory of blobs.
pub(crate) fn make_shards(blobs: &Path) -> io::Result<()> {
    Blobs::open(blobs.to_owned(), true).map(drop)
}

/// The result of a verification.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Examined {
    /// Every byte matches.
    Whole {
        sha256: [u8; 32],
    },
    Damaged(Damage),
    /// The verification was cancelled.
    Stopped,
}

/// Reads a blob's file completely. `seen` is called with each chunk and may cancel. An error is not a finding about the
/// file.
pub(crate) fn examine(
    file: &Path,
    holding: &Holding,
    mut seen: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<Examined> {
    let mut read = || {
        let mut file = File::open(file)?;
        if file.metadata()?.len() != holding.size {
            return Ok(Examined::Damaged(Damage::WrongSize));
        }
        let mut hashes = Hashes::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = file.read(&mut piece)?;
            if length == 0 {
                break;
            }
            hashes.update(&piece[..length]);
            if seen(&piece[..length]).is_break() {
                return Ok(Examined::Stopped);
            }
        }
        Ok(hashes.check(holding).map_or_else(Examined::Damaged, |sha256| Examined::Whole { sha256 }))
    };
    read().or_else(|error: io::Error| Damage::of(&error).map(Examined::Damaged).ok_or(error))
}
