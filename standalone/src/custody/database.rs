//! The two databases of a data directory, as files: the checks that can be made before anything may be changed.
//!
//! Each database has a stamp, a table with one row: the id of its store, the number of the start that opened it last,
//! and a counter of changes. Nothing here writes to a database that it inspects.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use ring::digest::{Context, SHA256};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};

use super::{identity::Seal, mark::Position};

/// The table of the stamp.
pub(super) const STAMP: &str = "_xfiles_custody";

/// How long a connection waits for one that recovers the log after a crash, or that writes.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// The largest main file that is hashed at a stop and at a start, to detect changes in between; this takes a second or
/// two. A larger one is compared by its stamp and its log only.
const DIGESTED_BYTES: u64 = 1 << 30;

/// The largest main file that SQLite checks page by page at the start after a kill; this takes about two seconds.
pub(super) const CHECKED_BYTES: u64 = 256 << 20;

/// A log with content is longer than its header and the header of one frame.
const LEAST_LOG_BYTES: u64 = 32 + 24;

/// The version of the index's schema, stored in the database's `user_version`.
pub(crate) const INDEX_SCHEMA: i64 = 2;

/// The version that this program stores in the metadata database's `user_version`, which the engine does not use.
pub(super) const TABLE_SCHEMA: i64 = 1;

/// The version of the metadata engine's own schema, stored in its `_config`. The engine checks for a newer one only
/// after it has opened the database for writing.
const ENGINE_SCHEMA: i64 = 11;

/// One of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Piece {
    /// The object index.
    Index,
    /// The metadata database.
    Table,
}

impl Piece {
    /// Both, in the order in which a start stamps them.
    pub(crate) const ALL: [Self; 2] = [Self::Index, Self::Table];

    /// The path of the main file, relative to the data directory.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Index => "objects/index.sqlite3",
            Self::Table => "table.db",
        }
    }

    /// The path of the mark, relative to the data directory. It is not beside the index, so that a copy of `objects/`
    /// from another day does not contain a matching mark.
    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Index => "index.mark",
            Self::Table => "table.mark",
        }
    }

    pub(crate) fn path(self, data: &Path) -> PathBuf {
        data.join(self.name())
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The file beside a database with this suffix.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The content of a stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) store: String,
    pub(super) generation: u64,
    pub(super) ticks: u64,
}

/// The reason why a database cannot be inspected.
#[derive(Debug)]
pub(super) enum Blind {
    /// There is no such file.
    Missing,
    /// The file is empty.
    Empty,
    /// The database is damaged; the text is SQLite's.
    Damaged(String),
    /// A newer version of this program wrote it.
    Newer,
    /// The operating system returned an error.
    Io(io::Error),
}

impl From<rusqlite::Error> for Blind {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::DiskFull) => {
                Self::Io(io::Error::other(error))
            }
            _ => Self::Damaged(error.to_string()),
        }
    }
}

/// A view of a database and its log, while no process has it open for writing.
pub(super) struct View {
    pub(super) connection: Connection,
    path: PathBuf,
    pub(super) main_bytes: u64,
    /// Whether its log has content.
    pub(super) has_log: bool,
    pub(super) stamp: Option<Stamp>,
}

impl View {
    /// Opens the database for reading. If it has a log, SQLite builds the shared index and does not change the log.
    pub(super) fn open(piece: Piece, data: &Path) -> Result<Self, Blind> {
        Self::of(piece, data, true)
    }

    /// Opens the main file alone, ignoring the files beside it.
    pub(super) fn without_log(piece: Piece, data: &Path) -> Result<Self, Blind> {
        Self::of(piece, data, false)
    }

    fn of(piece: Piece, data: &Path, with_log: bool) -> Result<Self, Blind> {
        let path = piece.path(data);
        let main_bytes = match fs::metadata(&path) {
            Ok(found) if found.len() == 0 => return Err(Blind::Empty),
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Blind::Missing),
            Err(error) => return Err(Blind::Io(error)),
        };
        let log_bytes = match fs::metadata(beside(&path, "-wal")) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(Blind::Io(error)),
        };
        let has_log = with_log && log_bytes > LEAST_LOG_BYTES;
        let connection = if has_log { open_with_log(&path)? } else { open_alone(&path)? };
        let schema: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let known = match piece {
            Piece::Index => schema <= INDEX_SCHEMA,
            Piece::Table => schema <= TABLE_SCHEMA && engine_schema(&connection)? <= ENGINE_SCHEMA,
        };
        if !known {
            return Err(Blind::Newer);
        }
        let stamp = read_stamp(&connection)?;
        Ok(Self { connection, path, main_bytes, has_log, stamp })
    }

    /// The end of the log; `None` without a log.
    pub(super) fn position(&self) -> Result<Option<Position>, Blind> {
        // Closing this file would release the locks of other connections of this process; there are none.
        let index = File::open(beside(&self.path, "-shm")).map_err(Blind::Io)?;
        Position::read(&index).map_err(Blind::Io)
    }

    /// The stamp in the main file alone. `None` if the main file has none yet, or cannot be read without its log.
    pub(super) fn stamp_without_log(&self) -> Option<Stamp> {
        read_stamp(&open_alone(&self.path).ok()?).ok().flatten()
    }

    /// Returns true if the main file matches the seal, or is too large to be compared.
    pub(super) fn matches(&self, seal: &Seal) -> io::Result<bool> {
        match &seal.sha256 {
            Some(expected) => Ok(self.main_bytes == seal.bytes && digest_of(&self.path)?.as_ref() == Some(expected)),
            None => Ok(self.main_bytes == seal.bytes),
        }
    }

    /// Lets SQLite check every page and every index, unless the file is too large.
    pub(super) fn check(&self) -> Result<(), Blind> {
        if self.main_bytes > CHECKED_BYTES {
            return Ok(());
        }
        let said: String = self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if said == "ok" { Ok(()) } else { Err(Blind::Damaged(said.lines().last().unwrap_or_default().to_owned())) }
    }

    pub(super) fn has_table(&self, name: &str) -> rusqlite::Result<bool> {
        has_table(&self.connection, name)
    }
}

/// A connection that reads the main file and its log.
fn open_with_log(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// A connection that reads only the main file and creates no file beside it.
fn open_alone(path: &Path) -> Result<Connection, Blind> {
    let text = path.to_str().ok_or_else(|| Blind::Io(io::Error::other("its path is not UTF-8")))?;
    let text = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(format!("file:{text}?immutable=1"), flags)?)
}

pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?")?.exists([name])
}

pub(super) fn read_stamp(connection: &Connection) -> rusqlite::Result<Option<Stamp>> {
    if !has_table(connection, STAMP)? {
        return Ok(None);
    }
    let stamp = |row: &rusqlite::Row<'_>| {
        let count = |column| row.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or(0));
        Ok(Stamp { store: row.get(0)?, generation: count(1)?, ticks: count(2)? })
    };
    connection.query_row(&format!("SELECT store, generation, ticks FROM {STAMP}"), [], stamp).optional()
}

fn engine_schema(connection: &Connection) -> rusqlite::Result<i64> {
    if !has_table(connection, "_config")? {
        return Ok(0);
    }
    let version =
        connection
            .query_row("SELECT CAST(value AS INTEGER) FROM _config WHERE key = 'schema_version'", [], |row| row.get(0));
    Ok(version.optional()?.unwrap_or(0))
}

/// Moves the whole log of an unused database into its main file.
pub(super) fn settle(path: &Path) -> Result<(), String> {
    let database = Connection::open(path).map_err(|e| e.to_string())?;
    let busy: i64 =
        database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(|e| e.to_string())?;
    match busy {
        0 => database.close().map_err(|(_, e)| e.to_string()),
        _ => Err("another process is reading it".to_owned()),
    }
}

/// Removes the stamp of an unused database; the next start adds another.
pub(super) fn unstamp(path: &Path) -> Result<(), String> {
    let database = Connection::open(path).map_err(|e| e.to_string())?;
    database.execute_batch(&format!("DROP TABLE IF EXISTS {STAMP}")).map_err(|e| e.to_string())?;
    database.close().map_err(|(_, e)| e.to_string())
}

/// The SHA-256 of a main file in hex, unless it is too large.
///
/// Closing the file releases the locks that this process holds on it. No other connection may be open except the one
/// that is closed next.
pub(super) fn digest_of(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() > DIGESTED_BYTES {
        return Ok(None);
    }
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Some(hex::encode(context.finish()))),
            read => context.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::Dynamo;

    #[test]
    fn the_engine_schema_has_the_expected_version() {
        let data = tempfile::tempdir().unwrap();
        let path = Piece::Table.path(data.path());
        drop(Dynamo::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        assert_eq!(engine_schema(&connection).unwrap(), ENGINE_SCHEMA);
    }

    #[test]
    fn a_path_with_query_characters_is_opened_literally() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("50% of it? #1");
        fs::create_dir(&data).unwrap();
        drop(Dynamo::open(&Piece::Table.path(&data)).unwrap());
        let view = View::open(Piece::Table, &data).unwrap();
        assert!(!view.has_log && view.has_table("_config").unwrap());
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "inspecting creates no file");
    }
}
