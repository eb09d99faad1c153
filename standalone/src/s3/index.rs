//! The object index: one SQLite table of buckets and one of objects, whose rows name their blobs.
//!
//! An object is visible if and only if its row is committed. All changes go through one thread, which runs all queued
//! changes as one transaction with one sync. This module neither reads nor writes blobs, and knows no requests.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior, params,
    types::Type,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use xfiles_core::clock::{Clock, Timestamp};

use super::{
    blob::{BlobId, Blobs, FreshBlob},
    checksum::Checksum,
    damage,
    hold::Hold,
};
use crate::custody::{INDEX_SCHEMA, Keeper};

/// The schema without the stamp that the databases of a data directory have since version 2. The tables are the same,
/// but a program that supports only version 1 would change them without incrementing the counter.
const SCHEMA_WITHOUT_STAMP: i64 = 1;

/// Keys are SQLite blobs, so that they are compared byte by byte, as in S3.
pub(super) const SCHEMA: &str = "
    CREATE TABLE buckets (name TEXT PRIMARY KEY, created INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE objects (
        bucket TEXT NOT NULL,
        key BLOB NOT NULL,
        blob TEXT NOT NULL,
        size INTEGER NOT NULL,
        md5 TEXT NOT NULL,
        modified INTEGER NOT NULL,
        facts TEXT NOT NULL,
        PRIMARY KEY (bucket, key)
    ) WITHOUT ROWID;
    CREATE INDEX objects_by_blob ON objects (blob);
";

/// How long a blob of an earlier run without a row is kept after it was written.
pub(super) const GARBAGE_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum number of changes per transaction. More would only delay the first of them.
const MAX_BATCH: usize = 256;
/// Read connections that are kept open; additional ones are closed after use.
const IDLE_READERS: usize = 8;
/// How long a connection waits for one that recovers the log after a crash.
const BUSY: Duration = Duration::from_secs(10);
/// How often blobs of earlier runs that were too young to be removed are checked again.
const SEARCH_EVERY: Duration = Duration::from_secs(60 * 60);
/// Rows that are skipped one by one before a listing seeks past a common prefix.
const SKIP_BEFORE_SEEK: usize = 16;

/// The place of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) bucket: String,
    pub(super) key: String,
}

/// An object without its bytes.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) blob: BlobId,
    pub(super) size: u64,
    /// The MD5 of the bytes in hex, which is the ETag.
    pub(super) md5: String,
    pub(super) modified: Timestamp,
    pub(super) facts: Facts,
}

/// The headers that are returned with the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    pub(super) headers: Headers,
    pub(super) checksum: Option<Checksum>,
}

/// The headers of an upload or a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Headers {
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) expires: Option<i64>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) md5: String,
    pub(super) modified: Timestamp,
}

/// A bucket in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) created: Timestamp,
}

/// A change was not committed, and none of it is visible. The cause is in the log.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the index could not be written")]
pub(super) struct Unwritten;

/// The reason why an index cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("it was written by a newer version of this program")]
    TooNew,
    #[error("cannot start its threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// The index. Dropping it commits queued changes and stops its threads.
pub(super) struct Index {
    readers: Readers,
    changes: Option<mpsc::Sender<Change>>,
    threads: Vec<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    // Dropped last, because it seals the database.
    keeper: Option<Arc<Keeper>>,
}

/// Makes one change and returns a function that runs after its commit. If the commit fails, that function is dropped.
type Change = Box<dyn FnOnce(&mut Batch<'_>) -> rusqlite::Result<Acknowledge> + Send>;
type Acknowledge = Box<dyn FnOnce() + Send>;

impl Index {
    /// Opens the index, creating it if necessary, and starts the removal of garbage of earlier runs in the background.
    /// With `durable`, committed changes are synced. `keeper` is informed of each.
    pub(super) fn open(
        path: &Path,
        durable: bool,
        blobs: &Blobs,
        clock: Clock,
        keeper: Option<Keeper>,
    ) -> Result<Self, IndexError> {
        let writer = open_writer(path, durable)?;
        let readers = Readers { path: path.to_owned(), idle: Arc::default() };
        let stopping = Arc::new(AtomicBool::new(false));
        let (changes, queue) = mpsc::channel();
        let (garbage, bin) = mpsc::channel();
        let (hold, collected) = (blobs.hold(), blobs.clone());
        let collector =
            Collector { blobs: collected, readers: readers.clone(), clock, stopping: stopping.clone(), hold };
        let keeper = keeper.map(Arc::new);
        let writers_keeper = keeper.clone();
        let threads = vec![
            named("xf-s3-index").spawn(move || write_all(writer, &queue, &garbage, writers_keeper.as_deref()))?,
            named("xf-s3-garbage").spawn(move || collector.run(&bin))?,
        ];
        Ok(Self { readers, changes: Some(changes), threads, stopping, keeper })
    }

    /// Truncates the log if it is larger than `most` bytes.
    pub(super) fn trim_log(&self, most: u64) {
        if let Some(keeper) = &self.keeper {
            keeper.trim(most);
        }
    }

    /// For reading, on threads that may block.
    pub(super) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Queues a change and waits until it is committed. It runs even if the caller is dropped meanwhile.
    ///
    /// `change` sees every change that was queued before it. An SQLite error rolls back the whole transaction; a
    /// refusal must be part of `T`.
    /// must be part of `T`.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unwritten> {
        self.change_then(change, |_| {}).await
    }

    /// Like `change`; also calls `committed` with the outcome on the index's thread after the commit, even if the
    /// caller has been dropped. It must not block.
    pub(super) async fn change_then<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<T> + Send + 'static,
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Unwritten> {
        let (acknowledge, acknowledged) = oneshot::channel();
        let change: Change = Box::new(move |batch| {
            let value = change(batch)?;
            Ok(Box::new(move || {
                committed(&value);
                // A dropped caller needs no result.
                drop(acknowledge.send(value));
            }))
        });
        let queue = self.changes.as_ref().expect("the queue is open until the index is dropped");
        queue.send(change).map_err(|_| Unwritten)?;
        acknowledged.await.map_err(|_| Unwritten)
    }

    /// Queues a change without waiting for it. `then` runs after the commit, and is dropped if the commit fails.
    pub(super) fn post(
        &self,
        change: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<()> + Send + 'static,
        then: impl FnOnce() + Send + 'static,
    ) {
        let change: Change = Box::new(move |batch| {
            change(batch)?;
            Ok(Box::new(then))
        });
        let queue = self.changes.as_ref().expect("the queue is open until the index is dropped");
        // The writer's thread only ends early after a panic, which was reported.
        drop(queue.send(change));
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.changes = None;
        for thread in self.threads.drain(..) {
            // A panic of the thread has already been reported.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("path", &self.readers.path).finish_non_exhaustive()
    }
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

fn open_writer(path: &Path, durable: bool) -> Result<Connection, IndexError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "synchronous", if durable { "full" } else { "off" })?;
    // On macOS, plain fsync does not reach the disk; elsewhere this has no effect.
    connection.pragma_update(None, "fullfsync", durable)?;
    // After `synchronous`, which determines whether this waits for a sync.
    connection.pragma_update(None, "journal_mode", "wal")?;
    let schema = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match schema.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
        0 => schema.execute_batch(SCHEMA)?,
        SCHEMA_WITHOUT_STAMP | INDEX_SCHEMA => {}
        _ => return Err(IndexError::TooNew),
    }
    schema.pragma_update(None, "user_version", INDEX_SCHEMA)?;
    schema.execute_batch(damage::TABLES)?;
    schema.commit()?;
    Ok(connection)
}

/// The writer's thread: commits all queued changes together and then acknowledges them, until the queue is closed.
fn write_all(
    mut connection: Connection,
    queue: &mpsc::Receiver<Change>,
    garbage: &mpsc::Sender<BlobId>,
    keeper: Option<&Keeper>,
) {
    while let Ok(first) = queue.recv() {
        let changes = std::iter::once(first).chain(queue.try_iter()).take(MAX_BATCH);
        match commit(&mut connection, changes) {
            Ok(Committed { acknowledgements, unused }) => {
                // The commit was synced.
                if let Some(keeper) = keeper {
                    keeper.reached(keeper.position());
                }
                acknowledgements.into_iter().for_each(|acknowledge| acknowledge());
                // If the collector has ended, the next start collects the blob.
                unused.into_iter().for_each(|blob| drop(garbage.send(blob)));
            }
            Err(error) => tracing::error!(%error, "the object index could not be written"),
        }
    }
}

struct Committed {
    acknowledgements: Vec<Acknowledge>,
    unused: Vec<BlobId>,
}

fn commit(connection: &mut Connection, changes: impl Iterator<Item = Change>) -> rusqlite::Result<Committed> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut batch = Batch { transaction: &transaction, fresh: Vec::new(), unused: Vec::new() };
    let acknowledgements = changes.map(|change| change(&mut batch)).collect::<rusqlite::Result<_>>()?;
    let Batch { fresh, unused, .. } = batch;
    let outcome = transaction.commit();
    // With a full disk nothing was written. After any other error recovery may still find the transaction complete, so
    // its blobs stay until the next start.
    if !outcome.as_ref().is_err_and(|e| e.sqlite_error_code() == Some(ErrorCode::DiskFull)) {
        fresh.into_iter().for_each(FreshBlob::adopt);
    }
    outcome.map(|()| Committed { acknowledgements, unused })
}

/// The changes of one transaction.
pub(super) struct Batch<'t> {
    transaction: &'t Transaction<'t>,
    fresh: Vec<FreshBlob>,
    unused: Vec<BlobId>,
}

impl Batch<'_> {
    /// The rows after the changes so far.
    pub(super) fn rows(&self) -> Rows<'_> {
        Rows(self.transaction)
    }

    /// Creates a bucket, which must not exist.
    pub(super) fn create_bucket(&mut self, bucket: &Bucket) -> rusqlite::Result<()> {
        let mut insert = self.transaction.prepare_cached("INSERT INTO buckets (name, created) VALUES (?, ?)")?;
        insert.execute(params![bucket.name, bucket.created.as_millis()]).map(drop)
    }

    /// Removes a bucket, which must be empty.
    pub(super) fn delete_bucket(&mut self, name: &str) -> rusqlite::Result<()> {
        self.transaction.prepare_cached("DELETE FROM buckets WHERE name = ?")?.execute([name]).map(drop)
    }

    /// Puts an object with its own blob, replacing an existing object.
    pub(super) fn put(&mut self, at: &Location, object: &Object, blob: FreshBlob) -> rusqlite::Result<()> {
        self.fresh.push(blob);
        self.link(at, object)
    }

    /// Puts an object that shares the blob of another, replacing an existing object.
    pub(super) fn link(&mut self, at: &Location, object: &Object) -> rusqlite::Result<()> {
        let replaced = self.rows().blob(at)?;
        let facts = serde_json::to_string(&object.facts).expect("facts are plain data");
        let size = i64::try_from(object.size).expect("an object is smaller than 2^63 bytes");
        let mut put = self.transaction.prepare_cached(
            "INSERT OR REPLACE INTO objects (bucket, key, blob, size, md5, modified, facts) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?;
        put.execute(params![
            at.bucket,
            at.key.as_bytes(),
            object.blob.as_str(),
            size,
            object.md5,
            object.modified.as_millis(),
            facts
        ])?;
        self.release(replaced)
    }

    /// Removes an object if it exists.
    pub(super) fn remove(&mut self, at: &Location) -> rusqlite::Result<()> {
        let removed = self.rows().blob(at)?;
        let mut remove = self.transaction.prepare_cached("DELETE FROM objects WHERE bucket = ? AND key = ?")?;
        remove.execute(params![at.bucket, at.key.as_bytes()])?;
        self.release(removed)
    }

    /// Records that a row no longer refers to a blob, which is garbage if this was the last reference.
    fn release(&mut self, blob: Option<BlobId>) -> rusqlite::Result<()> {
        if let Some(blob) = blob
            && !self.rows().uses(&blob)?
        {
            damage::forget(self.transaction, &blob)?;
            self.unused.push(blob);
        }
        Ok(())
    }
}

/// Connections for reading. Clones share them.
#[derive(Clone)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Reads the committed state. Blocks on disk I/O.
    pub(super) fn read<T>(&self, read: impl FnOnce(Rows<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle().pop();
        let connection = idle.map_or_else(|| open_reader(&self.path), Ok)?;
        let result = read(Rows(&connection));
        let mut idle = self.idle();
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
        result
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // The list is consistent even after a panic of another thread.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// The rows that a connection sees.
#[derive(Clone, Copy)]
pub(super) struct Rows<'c>(pub(super) &'c Connection);

/// How a walk over the keys continues after an entry.
pub(super) enum Step {
    /// With the next key.
    Next,
    /// After all keys with this prefix.
    After(String),
    /// It ends.
    Stop,
}

impl Rows<'_> {
    pub(super) fn has_bucket(&self, name: &str) -> rusqlite::Result<bool> {
        self.0.prepare_cached("SELECT 1 FROM buckets WHERE name = ?")?.exists([name])
    }

    /// All buckets, sorted by name.
    pub(super) fn buckets(&self) -> rusqlite::Result<Vec<Bucket>> {
        let mut select = self.0.prepare_cached("SELECT name, created FROM buckets ORDER BY name")?;
        let bucket = |row: &Row<'_>| Ok(Bucket { name: row.get(0)?, created: Timestamp::from_millis(row.get(1)?) });
        select.query_map([], bucket)?.collect()
    }

    pub(super) fn is_empty(&self, bucket: &str) -> rusqlite::Result<bool> {
        self.0.prepare_cached("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1")?.exists([bucket]).map(|any| !any)
    }

    pub(super) fn object(&self, at: &Location) -> rusqlite::Result<Option<Object>> {
        let mut select = self
            .0
            .prepare_cached("SELECT blob, size, md5, modified, facts FROM objects WHERE bucket = ? AND key = ?")?;
        let object = |row: &Row<'_>| {
            let facts: String = row.get(4)?;
            Ok(Object {
                blob: blob(row, 0)?,
                size: size(row, 1)?,
                md5: row.get(2)?,
                modified: Timestamp::from_millis(row.get(3)?),
                facts: serde_json::from_str(&facts).map_err(|e| unreadable(4, Type::Text, e))?,
            })
        };
        select.query_row(params![at.bucket, at.key.as_bytes()], object).optional()
    }

    fn blob(&self, at: &Location) -> rusqlite::Result<Option<BlobId>> {
        let mut select = self.0.prepare_cached("SELECT blob FROM objects WHERE bucket = ? AND key = ?")?;
        select.query_row(params![at.bucket, at.key.as_bytes()], |row| blob(row, 0)).optional()
    }

    /// Returns true if any object refers to this blob.
    fn uses(&self, blob: &BlobId) -> rusqlite::Result<bool> {
        self.0.prepare_cached("SELECT 1 FROM objects WHERE blob = ? LIMIT 1")?.exists([blob.as_str()])
    }

    /// Visits the objects of a bucket whose keys have the prefix and are not before `from`, in byte order.
    pub(super) fn walk(
        &self,
        bucket: &str,
        prefix: &str,
        from: &[u8],
        mut visit: impl FnMut(Entry) -> Step,
    ) -> rusqlite::Result<()> {
        let end = end_of_prefix(prefix);
        let mut from = from.max(prefix.as_bytes()).to_vec();
        let mut select = self.0.prepare_cached(
            "SELECT key, size, md5, modified FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key",
        )?;
        'seek: loop {
            let mut rows = select.query(params![bucket, from, end])?;
            let mut passed: Option<(String, usize)> = None;
            while let Some(row) = rows.next()? {
                let entry = entry(row)?;
                if let Some((prefix, skipped)) = &mut passed
                    && entry.key.starts_with(prefix.as_str())
                {
                    *skipped += 1;
                    if *skipped == SKIP_BEFORE_SEEK {
                        from = end_of_prefix(prefix);
                        continue 'seek;
                    }
                    continue;
                }
                match visit(entry) {
                    Step::Next => {}
                    Step::After(prefix) => passed = Some((prefix, 0)),
                    Step::Stop => return Ok(()),
                }
            }
            return Ok(());
        }
    }
}

/// The smallest byte string that sorts after every key with this prefix. UTF-8 never contains the byte 255.
pub(super) fn end_of_prefix(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(u8::MAX),
    }
    end
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let key: Vec<u8> = row.get(0)?;
    Ok(Entry {
        key: String::from_utf8(key).map_err(|e| unreadable(0, Type::Blob, e))?,
        size: size(row, 1)?,
        md5: row.get(2)?,
        modified: Timestamp::from_millis(row.get(3)?),
    })
}

fn size(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).and_then(|n| u64::try_from(n).map_err(|e| unreadable(column, Type::Integer, e)))
}

fn blob(row: &Row<'_>, column: usize) -> rusqlite::Result<BlobId> {
    let text: String = row.get(column)?;
    BlobId::parse(&text).ok_or_else(|| rusqlite::Error::InvalidColumnType(column, "blob".to_owned(), Type::Text))
}

fn unreadable(column: usize, stored: Type, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, stored, Box::new(error))
}

/// Removes blobs without a row: leftovers of earlier runs, and blobs that this run no longer refers to.
///
/// A blob of this run is garbage as soon as its last row is removed. For a blob of an earlier run it is only known that
/// it has no row. It is kept for a day after it was written, so that there is time to restore the index if the index
/// lost the row.
/// there is time to notice, and to put the index back.
struct Collector {
    blobs: Blobs,
    readers: Readers,
    clock: Clock,
    stopping: Arc<AtomicBool>,
    /// A backup prevents all removals while it copies.
    hold: Hold,
}

impl Collector {
    fn run(&self, bin: &mpsc::Receiver<BlobId>) {
        let mut unused = Vec::new();
        let searched = self.blobs.of_earlier_runs(|blobs| unused.extend(self.unused_of(blobs)));
        if let Err(error) = searched {
            tracing::warn!(%error, "could not search the object store for abandoned uploads");
        }
        self.remove_old(&mut unused);
        loop {
            match bin.recv_timeout(SEARCH_EVERY) {
                Ok(blob) => {
                    self.remove(&blob);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.remove_old(&mut unused),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A blob without a row stays without one, because a row can only take over a blob from another row.
    fn unused_of(&self, blobs: Vec<BlobId>) -> Vec<BlobId> {
        let is_unused = |blob: &BlobId| {
            if self.stopping.load(Ordering::Relaxed) {
                return false;
            }
            let used = self.readers.read(|rows| rows.uses(blob));
            if let Err(error) = &used {
                tracing::warn!(%error, "could not tell whether a blob is in use");
            }
            used.is_ok_and(|used| !used)
        };
        blobs.into_iter().filter(is_unused).collect()
    }

    /// Removes those that are old enough, and keeps the others for later.
    fn remove_old(&self, unused: &mut Vec<BlobId>) {
        let now = self.clock.now();
        let before = unused.len();
        unused.retain(|blob| {
            if self.stopping.load(Ordering::Relaxed) {
                return true;
            }
            match self.blobs.modified(blob) {
                Ok(Some(written)) if now.since(written) < GARBAGE_GRACE => true,
                Ok(Some(_)) => !self.remove(blob),
                Ok(None) => false,
                Err(error) => {
                    tracing::warn!(%error, "could not tell how old a blob is");
                    true
                }
            }
        });
        if unused.len() < before {
            let removed = before - unused.len();
            tracing::info!(blobs.removed = removed, "removed abandoned uploads from the object store");
        }
    }

    /// Returns true if the blob has been removed.
    fn remove(&self, blob: &BlobId) -> bool {
        let removed = match self.hold.alone(&self.stopping) {
            Ok(Some(_alone)) => self.blobs.remove(blob),
            // Stopped while a backup is running.
            Ok(None) => return false,
            Err(error) => Err(error),
        };
        if let Err(error) = &removed {
            tracing::warn!(%error, "could not remove an unused blob; the next start will");
        }
        removed.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::s3::blob::{Expected, FinishedBlob};

    struct Home {
        directory: TempDir,
        blobs: Blobs,
    }

    impl Home {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let blobs = Blobs::open(directory.path().join("blobs"), false).unwrap();
            Self { directory, blobs }
        }

        fn index(&self) -> Index {
            let path = self.directory.path().join("index");
            Index::open(&path, false, &self.blobs, Clock::system(), None).unwrap()
        }

        fn blob(&self, bytes: &[u8]) -> FreshBlob {
            let mut writer = self.blobs.create(bytes.len() as u64, None).unwrap();
            writer.write(bytes).unwrap();
            let FinishedBlob { blob, .. } = writer.finish(&Expected::default()).unwrap();
            blob
        }

        fn has(&self, blob: &BlobId) -> bool {
            self.directory.path().join("blobs").join(blob.path()).exists()
        }
    }

    fn at(key: &str) -> Location {
        Location { bucket: "bucket".to_owned(), key: key.to_owned() }
    }

    fn object(blob: &FreshBlob) -> Object {
        let blob = blob.id().clone();
        let modified = Timestamp::from_millis(1_760_000_000_000);
        Object { blob, size: 1, md5: "0".repeat(32), modified, facts: Facts::default() }
    }

    async fn put(home: &Home, index: &Index, key: &str) -> Object {
        let blob = home.blob(b"1");
        let (at, object) = (at(key), object(&blob));
        let put = object.clone();
        index.change(move |batch| batch.put(&at, &put, blob)).await.unwrap();
        object
    }

    fn keys(index: &Index, prefix: &str, visit: impl Fn(&str) -> Step) -> Vec<String> {
        let mut keys = Vec::new();
        let walked = index.readers().read(|rows| {
            rows.walk("bucket", prefix, &[], |entry| {
                let step = visit(&entry.key);
                keys.push(entry.key);
                step
            })
        });
        walked.unwrap();
        keys
    }

    #[tokio::test]
    async fn a_blob_is_removed_with_the_last_object_that_refers_to_it() {
        let home = Home::new();
        let index = home.index();
        let first = put(&home, &index, "first").await;
        let shared = first.clone();
        index.change(move |batch| batch.link(&at("second"), &shared)).await.unwrap();
        let kept = put(&home, &index, "first").await;
        drop(index);
        assert!(home.has(&first.blob) && home.has(&kept.blob), "the second object still has the first blob");

        let index = home.index();
        index.change(|batch| batch.remove(&at("second"))).await.unwrap();
        drop(index);
        assert!(!home.has(&first.blob) && home.has(&kept.blob));
    }

    #[tokio::test]
    async fn a_change_that_fails_leaves_neither_row_nor_blob() {
        let home = Home::new();
        let index = home.index();
        let blob = home.blob(b"1");
        let (id, object) = (blob.id().clone(), object(&blob));
        let failed: Result<(), Unwritten> = index
            .change(move |batch| {
                batch.put(&at("x"), &object, blob)?;
                Err(rusqlite::Error::InvalidQuery)
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(keys(&index, "", |_| Step::Next), [""; 0]);
        put(&home, &index, "x").await;
        drop(index);
        assert!(!home.has(&id));
    }

    #[tokio::test]
    async fn a_change_is_executed_even_if_its_caller_is_dropped() {
        let home = Home::new();
        let index = home.index();
        let blob = home.blob(b"1");
        let object = object(&blob);
        let mut change = Box::pin(index.change(move |batch| batch.put(&at("x"), &object, blob)));
        // Queued now, and possibly executed already.
        let _ = futures::poll!(change.as_mut());
        drop(change);
        put(&home, &index, "y").await;
        assert_eq!(keys(&index, "", |_| Step::Next), ["x", "y"]);
    }

    #[tokio::test]
    async fn garbage_of_an_earlier_run_is_removed_and_nothing_else() {
        let mut home = Home::new();
        let index = home.index();
        let kept = put(&home, &index, "x").await;
        drop(index);
        let garbage = home.blob(b"garbage");
        let abandoned = garbage.id().clone();
        garbage.adopt();

        home.blobs = Blobs::open(home.directory.path().join("blobs"), false).unwrap();
        let in_progress = home.blob(b"2");
        let readers = home.index().readers().clone();
        let collect_at = |now| {
            let (bin, closed) = mpsc::channel();
            drop(bin);
            let (clock, stopping) = (Clock::manual(now), Arc::new(AtomicBool::new(false)));
            let (readers, hold) = (readers.clone(), home.blobs.hold());
            Collector { blobs: home.blobs.clone(), readers, clock, stopping, hold }.run(&closed);
        };
        let written = home.blobs.modified(&abandoned).unwrap().unwrap();
        collect_at(written + (GARBAGE_GRACE - Duration::from_millis(1)));
        assert!(home.has(&abandoned), "a lost row may be noticed in time");
        collect_at(written + GARBAGE_GRACE);
        assert!(!home.has(&abandoned));
        assert!(home.has(&kept.blob) && home.has(in_progress.id()));
    }

    #[tokio::test]
    async fn unreferenced_blobs_are_kept_during_a_backup_and_removed_afterwards() {
        let mut home = Home::new();
        let index = home.index();
        let (removed, kept) = (put(&home, &index, "removed").await, put(&home, &index, "kept").await);
        let backup = home.blobs.hold().share().unwrap();
        index.change(|batch| batch.remove(&at("removed"))).await.unwrap();
        // The collector waits for the backup, and ends when the index is closed.
        drop(index);
        assert!(home.has(&removed.blob));

        home.blobs = Blobs::open(home.directory.path().join("blobs"), false).unwrap();
        let readers = home.index().readers().clone();
        let written = home.blobs.modified(&removed.blob).unwrap().unwrap();
        drop(backup);
        let (bin, closed) = mpsc::channel();
        drop(bin);
        let (clock, stopping) = (Clock::manual(written + GARBAGE_GRACE), Arc::new(AtomicBool::new(false)));
        let hold = home.blobs.hold();
        Collector { blobs: home.blobs.clone(), readers, clock, stopping, hold }.run(&closed);
        assert!(!home.has(&removed.blob) && home.has(&kept.blob));
    }

    #[tokio::test]
    async fn a_listing_skips_a_common_prefix_of_any_size() {
        let home = Home::new();
        let index = home.index();
        for i in 0..SKIP_BEFORE_SEEK * 2 {
            put(&home, &index, &format!("b/{i:03}")).await;
        }
        for key in ["a", "b0", "c"] {
            put(&home, &index, key).await;
        }
        let skip = |key: &str| if key.starts_with("b/") { Step::After("b/".to_owned()) } else { Step::Next };
        assert_eq!(keys(&index, "", skip), ["a", "b/000", "b0", "c"]);
        assert_eq!(keys(&index, "b", |_| Step::Stop), ["b/000"]);
    }

    #[test]
    fn an_index_of_a_newer_version_is_refused() {
        let home = Home::new();
        drop(home.index());
        let path = home.directory.path().join("index");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", INDEX_SCHEMA + 1).unwrap();
        let refused = Index::open(&path, false, &home.blobs, Clock::system(), None);
        assert!(matches!(refused, Err(IndexError::TooNew)));
    }
}
