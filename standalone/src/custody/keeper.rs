//! Maintains the stamp and the mark of an open database, and moves the log into the main file at the end.

use std::{
    fmt,
    fs::File,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, config::DbConfig, params};

use super::{
    Held,
    database::{BUSY, Piece, STAMP, TABLE_SCHEMA, beside, digest_of, read_stamp},
    identity::Seal,
    mark::{Mark, MarkFile, Position},
};

/// How often the counter in a stamp is updated. A main file that is older than its log by more than this is detected.
const TICK: Duration = Duration::from_secs(1);

/// A connection beside those that use a database. Dropping it waits until the database is at rest; users of the
/// database must hold it until they have closed their own connections.
pub(crate) struct Keeper {
    held: Arc<Held>,
    piece: Piece,
    watch: Arc<Watch>,
    ticker: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

struct Watch {
    state: Mutex<Option<Watched>>,
    /// The log's shared index. It stays open as long as the connection, because closing it earlier would release
    /// SQLite's locks.
    log_index: File,
    mark: Mutex<MarkFile>,
    /// Set while the log is moved into the main file, so that the mark of a concurrent change does not require the log
    /// to exist.
    emptying: AtomicBool,
}

struct Watched {
    connection: Connection,
    /// The last value of `PRAGMA data_version`, which changes when another connection commits.
    version: i64,
    ticks: u64,
    /// The salt of the log after the last tick.
    salt: [u8; 8],
}

impl Keeper {
    /// Stamps a database, which is created if it does not exist, and creates its mark, which is synced.
    pub(super) fn begin(held: &Arc<Held>, piece: Piece, store: &str, generation: u64) -> Result<Self, String> {
        let path = piece.path(&held.data);
        let connection = open_beside(&path, piece).map_err(|e| e.to_string())?;
        let ticks = stamp(&connection, piece, store, generation).map_err(|e| e.to_string())?;
        let log_index = File::open(beside(&path, "-shm")).map_err(|e| e.to_string())?;
        let position = Position::read(&log_index).map_err(|e| e.to_string())?.unwrap_or_default();
        let mark = Mark { generation, position, ..Mark::default() };
        let mark = MarkFile::begin(&held.data.join(piece.mark()), mark).map_err(|e| e.to_string())?;
        let version = data_version(&connection).map_err(|e| e.to_string())?;
        let watched = Watched { connection, version, ticks, salt: position.salt };
        let watch = Arc::new(Watch {
            state: Mutex::new(Some(watched)),
            log_index,
            mark: Mutex::new(mark),
            emptying: AtomicBool::new(false),
        });
        let (stop, stopped) = mpsc::channel();
        let watching = watch.clone();
        let tick = move || {
            while stopped.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Err(error) = watching.follow() {
                    tracing::warn!(%error, database = piece.name(), "could not write the mark of a database");
                }
            }
        };
        let name = format!("xf-keep-{}", piece.mark().trim_end_matches(".mark"));
        let thread = thread::Builder::new().name(name).spawn(tick).map_err(|e| e.to_string())?;
        Ok(Self { held: held.clone(), piece, watch, ticker: Some((stop, thread)) })
    }

    /// The current end of the log. A later sync covers at least this position.
    pub(crate) fn position(&self) -> Option<Position> {
        Position::read(&self.watch.log_index).ok().flatten()
    }

    /// Records that the log has been synced up to this position. Called before a change in it is acknowledged.
    pub(crate) fn reached(&self, position: Option<Position>) {
        let Some(position) = position else { return };
        let changed = self.watch.mark().change(|mark| {
            mark.position = position;
            // An emptied log that is written again must exist from now on.
            mark.sealing &= self.watch.emptying.load(SeqCst) || position.is_empty();
        });
        if let Err(error) = changed {
            tracing::warn!(%error, database = self.piece.name(), "could not write the mark of a database");
        }
    }

    /// Checkpoints and truncates the log if it is larger than `most` bytes. If readers or a full disk prevent this, a
    /// later call does it.
    pub(crate) fn trim(&self, most: u64) {
        let log = beside(&self.piece.path(&self.held.data), "-wal");
        if std::fs::metadata(log).map_or(0, |log| log.len()) <= most {
            return;
        }
        let mut state = self.watch.state();
        let Some(watched) = state.as_mut() else { return };
        if let Err(reason) = self.watch.empty_log(watched) {
            tracing::warn!(reason, database = self.piece.name(), "the log of a database could not be truncated");
        }
    }

    /// Moves the log into the main file and returns the seal of the main file.
    fn seal(&self) -> Result<(Seal, Connection), String> {
        let mut watched = self.watch.state().take().expect("a keeper seals once");
        let path = self.piece.path(&self.held.data);
        self.watch.empty_log(&mut watched)?;
        let ticks = watched.ticks;
        let file = File::open(&path).and_then(|file| file.metadata()).map_err(|e| e.to_string())?;
        let sha256 = digest_of(&path).map_err(|e| e.to_string())?;
        Ok((Seal { ticks, bytes: file.len(), sha256 }, watched.connection))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.ticker.take() {
            drop(stop);
            // A panic of the thread has already been reported.
            drop(thread.join());
        }
        match self.seal() {
            Ok(sealed) => self.held.take_seal(self.piece, sealed),
            // The next start uses the log, as after a kill.
            Err(reason) => {
                tracing::warn!(
                    reason,
                    database = self.piece.name(),
                    "a database was closed without checkpointing its log"
                );
            }
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("piece", &self.piece).finish_non_exhaustive()
    }
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, Option<Watched>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self) -> MutexGuard<'_, MarkFile> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the log into the main file. Before, the mark is changed to allow a missing log; afterwards, it says
    /// whether the log has been written again meanwhile.
    fn empty_log(&self, watched: &mut Watched) -> Result<(), String> {
        watched.tick().map_err(|e| e.to_string())?;
        let ticks = watched.ticks;
        let before = {
            let mut mark = self.mark();
            let before = mark.main_ticks();
            self.emptying.store(true, SeqCst);
            let emptying = |mark: &mut Mark| (mark.main_ticks, mark.sealing) = (ticks, true);
            mark.change(emptying).and_then(|()| mark.sync()).map_err(|e| e.to_string())?;
            before
        };
        let emptied = watched.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        let emptied = match emptied {
            Ok(0) => Ok(()),
            Ok(_) => Err("another process is reading it".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let position = Position::read(&self.log_index).map_err(|e| e.to_string())?.unwrap_or_default();
        let mut mark = self.mark();
        self.emptying.store(false, SeqCst);
        let noted = mark.change(|mark| {
            mark.sealing = emptied.is_ok() && position.is_empty();
            if emptied.is_err() {
                mark.main_ticks = before;
            }
        });
        if emptied.is_ok() {
            watched.salt = position.salt;
        }
        noted.map_err(|e| e.to_string())?;
        emptied
    }

    /// Increments the counter if the database has changed, and records the state of the main file.
    fn follow(&self) -> Result<(), String> {
        let mut state = self.state();
        let Some(watched) = state.as_mut() else { return Ok(()) };
        let version = data_version(&watched.connection).map_err(|e| e.to_string())?;
        if version == watched.version {
            return Ok(());
        }
        let before = watched.ticks;
        watched.tick().map_err(|e| e.to_string())?;
        watched.version = version;
        let position = Position::read(&self.log_index).map_err(|e: io::Error| e.to_string())?;
        if let Some(position) = position
            && position.salt != watched.salt
        {
            // The log was restarted, at the latest at this tick, and all its earlier content is in the main file.
            watched.salt = position.salt;
            self.mark().change(|mark| mark.main_ticks = before).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

impl Watched {
    fn tick(&mut self) -> rusqlite::Result<()> {
        self.connection.execute(&format!("UPDATE {STAMP} SET ticks = ticks + 1"), [])?;
        self.ticks = read_stamp(&self.connection)?.map_or(self.ticks + 1, |stamp| stamp.ticks);
        Ok(())
    }
}

/// Writes the stamp of a new start and returns its counter.
fn stamp(connection: &Connection, piece: Piece, store: &str, generation: u64) -> rusqlite::Result<u64> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {STAMP} (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            store TEXT NOT NULL,
            generation INTEGER NOT NULL,
            ticks INTEGER NOT NULL
        )"
    ))?;
    if piece == Piece::Table {
        transaction.pragma_update(None, "user_version", TABLE_SCHEMA)?;
    }
    let generation = i64::try_from(generation).expect("a server is started less than 2^63 times");
    transaction.execute(
        &format!(
            "INSERT INTO {STAMP} (one, store, generation, ticks) VALUES (1, ?, ?, 1)
             ON CONFLICT (one) DO UPDATE
             SET store = excluded.store, generation = excluded.generation, ticks = ticks + 1"
        ),
        params![store, generation],
    )?;
    let ticks = read_stamp(&transaction)?.expect("it was just written").ticks;
    transaction.commit()?;
    Ok(ticks)
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}

/// A connection that does not checkpoint and does not remove the log when it is closed.
fn open_beside(path: &Path, piece: Piece) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // The content of the index's log counts as synced, so every write to it must be. The metadata's log is synced by
    // the code that acknowledges changes.
    let synchronous = match piece {
        Piece::Index => "full",
        Piece::Table => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// Lets SQLite remove the empty log together with the connection.
pub(super) fn close_at_rest(connection: Connection) {
    // If this fails, an empty file remains.
    drop(connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false));
    drop(connection);
}

/// A connection of a tool that changes the metadata while a server or another tool uses it. It increments the counter
/// and prevents the removal of the log that the server uses.
pub(crate) struct Visit(Mutex<Connection>);

impl Visit {
    pub(crate) fn begin(data: &Path) -> rusqlite::Result<Self> {
        let visit = Self(Mutex::new(open_beside(&Piece::Table.path(data), Piece::Table)?));
        visit.tick()?;
        Ok(visit)
    }

    fn tick(&self) -> rusqlite::Result<()> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connection.execute(&format!("UPDATE {STAMP} SET ticks = ticks + 1"), []).map(drop)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Err(error) = self.tick() {
            tracing::warn!(%error, "could not increment the change counter of the metadata");
        }
    }
}
