//! A consistent instant of both databases, pinned by read transactions, and its copy.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
    config::DbConfig,
};

use super::{BackupError, CopiedFile, STATE_FILES, hash_file, make_directory, sync_directory, write_file};
use crate::custody::Piece;

/// How long a connection waits for one that writes, or that recovers the log after a crash.
const BUSY: Duration = Duration::from_secs(10);
/// How long the backup waits for a moment without writes to the index. Under load such moments are short.
const STANDSTILL: Duration = Duration::from_secs(60);
/// Pages that are copied in one step.
const PAGES: i32 = 4096;

/// Both databases and the small files, as they were at one moment.
pub(super) struct Instant {
    databases: [Pinned; 2],
    files: Vec<(&'static str, Vec<u8>)>,
}

/// A database in a read transaction, which keeps showing the state at the start of the transaction.
struct Pinned {
    connection: Connection,
    piece: Piece,
    path: PathBuf,
}

impl Instant {
    /// Blocks changes of the index until both read transactions have started.
    pub(super) fn pin(data: &Path) -> Result<Self, BackupError> {
        let path = Piece::Index.path(data);
        let unusable = |e: rusqlite::Error| BackupError::damaged(&path, e);
        let (table, index) = (Pinned::open(data, Piece::Table)?, Pinned::open(data, Piece::Index)?);
        let standstill = open(&path).map_err(unusable)?;
        standstill.busy_timeout(STANDSTILL).map_err(unusable)?;
        standstill.execute_batch("BEGIN IMMEDIATE").map_err(unusable)?;
        table.pin()?;
        index.pin()?;
        let mut files = Vec::new();
        for (name, required) in STATE_FILES {
            let path = data.join(name);
            match fs::read(&path) {
                Ok(bytes) => files.push((name, bytes)),
                Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(BackupError::at(path)(error)),
            }
        }
        standstill.execute_batch("ROLLBACK").map_err(unusable)?;
        Ok(Self { databases: [table, index], files })
    }

    /// Copies everything into a directory, under its paths in the data directory, and ends the read transactions.
    pub(super) fn copy_into(self, directory: &Path) -> Result<Vec<CopiedFile>, BackupError> {
        let mut copied = Vec::new();
        for database in self.databases {
            copied.push(database.copy_into(directory)?);
        }
        for (name, bytes) in self.files {
            let path = directory.join(name);
            write_file(&path, &bytes)?;
            copied.push(describe(name, &path)?);
        }
        sync_directory(directory)?;
        Ok(copied)
    }
}

impl Pinned {
    fn open(data: &Path, piece: Piece) -> Result<Self, BackupError> {
        let path = piece.path(data);
        let connection = open(&path).map_err(|e| BackupError::damaged(&path, e))?;
        Ok(Self { connection, piece, path })
    }

    fn pin(&self) -> Result<(), BackupError> {
        let began = self.connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema");
        began.map_err(|e| BackupError::damaged(&self.path, e))
    }

    fn copy_into(self, directory: &Path) -> Result<CopiedFile, BackupError> {
        let Self { connection, piece, path } = self;
        let target = piece.path(directory);
        make_directory(target.parent().expect("a file is in a directory"))?;
        copy_database(&connection, &target).map_err(|e| BackupError::damaged(&path, e))?;
        drop(connection);
        check_database(&target).map_err(|reason| BackupError::damaged(&path, reason))?;
        let on_disk = fs::File::open(&target).and_then(|file| file.sync_all());
        on_disk.map_err(BackupError::at(&target))?;
        sync_directory(target.parent().expect("a file is in a directory"))?;
        describe(piece.name(), &target)
    }
}

/// Opens an existing database. Closing the connection changes neither the file nor its log, because a start checks
/// both.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// Copies the state of the connection's read transaction. The copy is a single file without a log.
fn copy_database(source: &Connection, target: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(target)?;
    // The file is synced once it is complete.
    copy.pragma_update(None, "synchronous", "off")?;
    let backup = Backup::new(source, &mut copy)?;
    while backup.step(PAGES)? != StepResult::Done {}
    drop(backup);
    copy.pragma_update(None, "journal_mode", "delete")
}

/// Checks a copy page by page. Otherwise damage in a backup would only be noticed at a restore.
pub(super) fn check_database(path: &Path) -> Result<(), String> {
    let checked = super::open_copy(path).map_err(|e| e.to_string())?;
    let said: String = checked.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|e| e.to_string())?;
    if said == "ok" { Ok(()) } else { Err(format!("the database is damaged: {said}")) }
}

fn describe(name: &str, path: &Path) -> Result<CopiedFile, BackupError> {
    let (bytes, sha256) = hash_file(path, |_| Ok(())).map_err(BackupError::at(path))?;
    Ok(CopiedFile { path: name.to_owned(), bytes, sha256 })
}
