//! The scrub: reads every blob from time to time and compares it with its hashes.
//!
//! Reads of objects compare lengths, and the MD5 if a blob is read completely. The scrub finds damage in objects that
//! are not read, or only in ranges. In the same pass it computes the SHA-256 of blobs without one. An upload only
//! computes the MD5, which is its ETag; until the first pass, only that MD5 protects the bytes.
//!
//! It has its own connection to the index and commits without a sync, because its findings can be reproduced. The same
//! code runs at a bounded rate in the background of a store, and as a separate process on a directory that may be in
//! use.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, config::DbConfig, params};
use xfiles_core::clock::{Clock, Timestamp};

use super::{
    damage::{self, Damage, Watch},
    holding::{self, Examined, Holding, examine, holdings},
    index::Rows,
};
use crate::custody::{self, Custody, CustodyError};

/// Blobs per step. After each step the findings and the position are committed.
const STEP: u32 = 64;
/// The minimum rate in the background, so that a small store is finished within minutes, whatever the period.
const MIN_RATE: u64 = 4 * 1024 * 1024;
/// The maximum rate, in bytes per second. A store that needs more takes longer than the period for a pass.
const MAX_RATE: u64 = 64 * 1024 * 1024;
/// The background scrub reads for at most one eighth of the time, whatever the rate.
const SHARE: u32 = 8;
/// How often the background scrub checks whether a pass is due, and whether a damaged blob has been restored.
const TICK: Duration = Duration::from_secs(60);
/// How long a connection waits for the index's writer.
const BUSY: Duration = Duration::from_secs(10);

/// The reason why a scrub cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// There is no store in the directory.
    #[error("{path} has no object store; name the data directory of `xf serve`")]
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// The index cannot be read or written.
    #[error("the object store's index cannot be used: {0}")]
    Index(#[from] rusqlite::Error),
    /// The data directory is not complete.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// An I/O error that is not the damage of a file.
    #[error("the object store's files cannot be read: {0}")]
    Disk(#[from] io::Error),
}

/// A damaged blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedBlob {
    /// The name of the blob and its file.
    pub blob: String,
    /// The path of its file, relative to the data directory.
    pub path: PathBuf,
    /// The keys of the objects that refer to it.
    pub keys: Vec<String>,
    /// The kind of damage.
    pub damage: Damage,
    /// The expected size in bytes.
    pub size: u64,
}

/// The result of a complete pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// The number of blobs that were read.
    pub blobs: u64,
    /// The number of bytes that were read.
    pub bytes: u64,
    /// The damaged blobs.
    pub damaged: Vec<DamagedBlob>,
    /// The number of blobs that were marked as damaged and are intact again; they are served from now on.
    pub healed: u64,
}

/// Reads every blob of a data directory, in use or not, and marks damaged ones. `seen` is called with the bytes read so
/// far and the total bytes.
pub fn scrub(data: &Path, clock: &Clock, mut seen: impl FnMut(u64, u64)) -> Result<ScrubReport, ScrubError> {
    if !custody::was_served(data) {
        return Err(ScrubError::NoStore { path: data.to_owned() });
    }
    // If no server runs on the directory, this counts the scrub's changes of the index and seals it at the end.
    let _custody = match Custody::open(data, false) {
        Ok(custody) => Some(custody),
        Err(CustodyError::Locked { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let mut scrub = Scrub::open(&data.join(holding::DIRECTORY), clock.clone())?;
    let (_, total) = holding::totals(&scrub.index)?;
    let (mut report, mut after) = (ScrubReport::default(), String::new());
    loop {
        let mut bytes = report.bytes;
        let step = scrub.step(&after, |piece| {
            bytes += piece.len() as u64;
            seen(bytes, total);
            ControlFlow::Continue(())
        })?;
        report.take(step.findings);
        match step.next {
            Some(next) => after = next,
            None => break,
        }
    }
    scrub.end_pass()?;
    Ok(report)
}

impl ScrubReport {
    fn take(&mut self, findings: Findings) {
        self.blobs += findings.blobs;
        self.bytes += findings.bytes;
        self.healed += findings.healed;
        self.damaged.extend(findings.damaged);
    }
}

struct Scrub {
    index: Connection,
    blobs: PathBuf,
    clock: Clock,
}

#[derive(Default)]
struct Findings {
    blobs: u64,
    bytes: u64,
    damaged: Vec<DamagedBlob>,
    healed: u64,
}

struct Step {
    findings: Findings,
    /// The last blob of the step; `None` at the end of the pass.
    next: Option<String>,
}

/// The position of the pass.
struct Place {
    after: String,
    begun: Timestamp,
    ended: Option<Timestamp>,
}

impl Scrub {
    fn open(root: &Path, clock: Clock) -> Result<Self, ScrubError> {
        let path = root.join(holding::INDEX);
        if !path.is_file() {
            let path = root.parent().unwrap_or(root).to_owned();
            return Err(ScrubError::NoStore { path });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let index = Connection::open_with_flags(path, flags)?;
        index.busy_timeout(BUSY)?;
        index.pragma_update(None, "synchronous", "normal")?;
        // The log belongs to the server, or to a killed one: a start checks the directory by it.
        index.pragma_update(None, "wal_autocheckpoint", 0)?;
        index.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        index.execute_batch(damage::TABLES)?;
        Ok(Self { index, blobs: root.join(holding::BLOBS), clock })
    }

    /// Reads the next blobs and stores the findings.
    fn step(&mut self, after: &str, seen: impl FnMut(&[u8]) -> ControlFlow<()>) -> Result<Step, ScrubError> {
        let blobs = holdings(&self.index, after, STEP)?;
        let last = blobs.last().map(|blob| blob.name().to_owned());
        let findings = self.visit(&blobs, seen)?;
        Ok(Step { findings, next: last })
    }

    /// Reads blobs and stores the findings for those that were read.
    fn visit(
        &mut self,
        blobs: &[Holding],
        mut seen: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Findings, ScrubError> {
        let mut findings = Findings::default();
        let mut examined = Vec::new();
        for blob in blobs {
            match examine(&self.blobs.join(blob.path()), blob, &mut seen)? {
                Examined::Stopped => break,
                outcome => {
                    findings.blobs += 1;
                    findings.bytes += if matches!(outcome, Examined::Whole { .. }) { blob.size } else { 0 };
                    examined.push((blob, outcome));
                }
            }
        }
        let now = self.clock.now();
        let notes = self.index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (blob, outcome) in examined {
            let keys = holding::keys_of(&notes, blob.name())?;
            // It was removed meanwhile.
            if keys.is_empty() {
                continue;
            }
            match outcome {
                Examined::Whole { sha256 } => {
                    findings.healed += u64::from(damage::unmark(&notes, blob.name())?);
                    if blob.sha256.is_none() {
                        let insert = "INSERT OR IGNORE INTO blob_hashes (blob, sha256) VALUES (?, ?)";
                        notes.prepare_cached(insert)?.execute(params![blob.name(), sha256])?;
                    }
                }
                Examined::Damaged(damage) => {
                    if Rows(&notes).damage(&blob.id)? != Some(damage) {
                        damage::log(blob.name(), &keys, damage);
                        damage::mark(&notes, blob.name(), damage, now)?;
                    }
                    let path = Path::new(holding::DIRECTORY).join(holding::BLOBS).join(blob.path());
                    let (name, size) = (blob.name().to_owned(), blob.size);
                    findings.damaged.push(DamagedBlob { blob: name, path, keys, damage, size });
                }
                Examined::Stopped => {}
            }
        }
        notes.commit()?;
        Ok(findings)
    }

    /// Blobs that are marked as missing or of another length, and whose file has the right length now.
    fn come_back(&self) -> Result<Vec<Holding>, ScrubError> {
        let mut select = self.index.prepare_cached("SELECT blob, damage FROM damaged_blobs ORDER BY blob")?;
        let noted = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut back = Vec::new();
        for (blob, damage) in noted.collect::<rusqlite::Result<Vec<_>>>()? {
            // Blobs with wrong bytes have the right length anyway; only a pass or `xf scrub` reads them again.
            if !matches!(Damage::parse(&damage), Some(Damage::Missing | Damage::WrongSize)) {
                continue;
            }
            let length = |holding: &Holding| std::fs::metadata(self.blobs.join(holding.path())).map(|file| file.len());
            let found = holding::of_blob(&self.index, &blob)?;
            back.extend(found.filter(|holding| length(holding).is_ok_and(|length| length == holding.size)));
        }
        Ok(back)
    }

    fn place(&self) -> rusqlite::Result<Option<Place>> {
        let mut select = self.index.prepare_cached("SELECT after, begun, ended FROM scrub")?;
        let place = |row: &rusqlite::Row<'_>| {
            let ended: Option<i64> = row.get(2)?;
            Ok(Place {
                after: row.get(0)?,
                begun: Timestamp::from_millis(row.get(1)?),
                ended: ended.map(Timestamp::from_millis),
            })
        };
        select.query_row([], place).optional()
    }

    fn keep(&self, place: &Place) -> rusqlite::Result<()> {
        let replace = "INSERT OR REPLACE INTO scrub (only, after, begun, ended) VALUES (1, ?, ?, ?)";
        let ended = place.ended.map(Timestamp::as_millis);
        self.index.prepare_cached(replace)?.execute(params![place.after, place.begun.as_millis(), ended]).map(drop)
    }

    /// Records the end of a pass.
    fn end_pass(&self) -> rusqlite::Result<()> {
        let now = self.clock.now();
        self.keep(&Place { after: String::new(), begun: now, ended: Some(now) })
    }
}

/// The background scrub of an open store. Dropping it stops it within a chunk.
#[derive(Debug)]
pub(super) struct Background {
    stop: Option<mpsc::Sender<()>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the scrub, so that each pass takes about `period`.
    pub(super) fn start(root: &Path, period: Duration, clock: Clock, watch: Watch) -> Result<Self, ScrubError> {
        let scrub = Scrub::open(root, clock)?;
        let (stop, stopped) = mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let walk = Walk { scrub, period, watch, stopped, stopping: stopping.clone() };
        let thread = thread::Builder::new().name("xf-s3-scrub".to_owned()).spawn(move || walk.run())?;
        Ok(Self { stop: Some(stop), stopping, thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been reported.
            drop(thread.join());
        }
    }
}

struct Walk {
    scrub: Scrub,
    period: Duration,
    watch: Watch,
    stopped: mpsc::Receiver<()>,
    stopping: Arc<AtomicBool>,
}

impl Walk {
    fn run(mut self) {
        loop {
            if let Err(error) = self.go_on() {
                tracing::warn!(%error, "the scrub of stored objects was interrupted by an error; it will retry");
            }
            if !matches!(self.stopped.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    /// Finishes the pass that is in progress or due.
    fn go_on(&mut self) -> Result<(), ScrubError> {
        let back = self.scrub.come_back()?;
        if !back.is_empty() {
            self.read(|scrub, seen| scrub.visit(&back, seen), MIN_RATE)?;
        }
        let now = self.scrub.clock.now();
        let mut place = match self.scrub.place()? {
            Some(place) if place.ended.is_none() => place,
            Some(place) if now.since(place.begun) < self.period => return Ok(()),
            Some(_) | None => Place { after: String::new(), begun: now, ended: None },
        };
        let (_, total) = holding::totals(&self.scrub.index)?;
        let rate = total.checked_div(self.period.as_secs()).unwrap_or(MAX_RATE).clamp(MIN_RATE, MAX_RATE);
        while !self.stopping.load(Ordering::Relaxed) {
            let after = std::mem::take(&mut place.after);
            let blobs = holdings(&self.scrub.index, &after, STEP)?;
            match blobs.last() {
                Some(last) => last.name().clone_into(&mut place.after),
                None => place.ended = Some(self.scrub.clock.now()),
            }
            self.read(|scrub, seen| scrub.visit(&blobs, seen), rate)?;
            // Blobs that were skipped because the store stops are read again.
            if self.stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.scrub.keep(&place)?;
            if place.ended.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Makes one step at a rate in bytes per second.
    fn read(
        &mut self,
        step: impl FnOnce(&mut Scrub, &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<Findings, ScrubError>,
        rate: u64,
    ) -> Result<(), ScrubError> {
        let stopped = &self.stopped;
        let mut begun = Instant::now();
        let mut pace = |piece: &[u8]| {
            let worked = begun.elapsed();
            let nanos = (piece.len() as u64).saturating_mul(1_000_000_000) / rate;
            let rest = Duration::from_nanos(nanos).saturating_sub(worked).max(worked * (SHARE - 1));
            let goes_on = matches!(stopped.recv_timeout(rest), Err(RecvTimeoutError::Timeout));
            begun = Instant::now();
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let findings = step(&mut self.scrub, &mut pace)?;
        let counters = self.watch.counters();
        counters.scrubbed_blobs.fetch_add(findings.blobs, Ordering::Relaxed);
        counters.scrubbed_bytes.fetch_add(findings.bytes, Ordering::Relaxed);
        if findings.healed > 0 {
            tracing::info!(blobs = findings.healed, "damaged stored objects have been repaired and are served again");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use s3s::crypto::{Checksum as _, Md5};
    use tempfile::TempDir;

    use super::*;
    use crate::s3::{
        blob::{BlobId, Blobs, Expected, FinishedBlob},
        index::{Facts, Index, Location, Object},
    };

    /// A store's directory with objects, and an open index like that of a server.
    struct Store {
        directory: TempDir,
        blobs: Blobs,
        index: Index,
        clock: Clock,
    }

    impl Store {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let blobs = Blobs::open(directory.path().join(holding::BLOBS), false).unwrap();
            let clock = Clock::manual(Timestamp::from_millis(1_760_000_000_000));
            let path = directory.path().join(holding::INDEX);
            let index = Index::open(&path, false, &blobs, clock.clone(), None).unwrap();
            Self { directory, blobs, index, clock }
        }

        async fn put(&self, key: &str, bytes: &[u8]) -> BlobId {
            let mut writer = self.blobs.create(bytes.len() as u64, None).unwrap();
            writer.write(bytes).unwrap();
            let FinishedBlob { blob, md5, .. } = writer.finish(&Expected::default()).unwrap();
            let (id, size) = (blob.id().clone(), bytes.len() as u64);
            let (modified, facts) = (self.clock.now(), Facts::default());
            let object = Object { blob: id.clone(), size, md5: hex::encode(md5), modified, facts };
            let at = Location { bucket: "bucket".to_owned(), key: key.to_owned() };
            self.index.change(move |batch| batch.put(&at, &object, blob)).await.unwrap();
            id
        }

        async fn remove(&self, key: &str) {
            let at = Location { bucket: "bucket".to_owned(), key: key.to_owned() };
            self.index.change(move |batch| batch.remove(&at)).await.unwrap();
        }

        fn file(&self, blob: &BlobId) -> PathBuf {
            self.directory.path().join(holding::BLOBS).join(blob.path())
        }

        fn walk(&self, period: Duration) -> (Walk, mpsc::Sender<()>) {
            let scrub = Scrub::open(self.directory.path(), self.clock.clone()).unwrap();
            let (stop, stopped) = mpsc::channel();
            (Walk { scrub, period, watch: Watch::default(), stopped, stopping: Arc::default() }, stop)
        }

        fn damage(&self, blob: &BlobId) -> Option<Damage> {
            self.index.readers().read(|rows| rows.damage(blob)).unwrap()
        }

        fn hashes(&self) -> u64 {
            let count = "SELECT count(*) FROM blob_hashes";
            self.index.readers().read(|rows| rows.0.query_row(count, [], |row| row.get(0))).unwrap()
        }
    }

    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    #[tokio::test]
    async fn a_pass_runs_once_in_its_period_and_finds_damage_since_the_last() {
        let store = Store::new();
        let (first, second) = (store.put("first", b"first").await, store.put("second", b"second").await);
        let (mut walk, _stop) = store.walk(WEEK);
        walk.go_on().unwrap();
        assert_eq!((store.damage(&first), store.hashes()), (None, 2));

        fs::write(store.file(&first), b"worst").unwrap();
        store.clock.advance(WEEK / 2);
        walk.go_on().unwrap();
        assert_eq!(store.damage(&first), None, "no pass is due");
        store.clock.advance(WEEK / 2);
        walk.go_on().unwrap();
        assert_eq!((store.damage(&first), store.damage(&second)), (Some(Damage::WrongBytes), None));
        assert_eq!(walk.watch.counters().scrubbed_blobs.load(Ordering::Relaxed), 4);
        assert!(store.index.readers().read(|rows| rows.last_pass()).unwrap().is_some());
    }

    #[tokio::test]
    async fn a_restored_file_is_noticed_between_passes() {
        let store = Store::new();
        let blob = store.put("key", b"bytes").await;
        let (file, away) = (store.file(&blob), store.directory.path().join("away"));
        fs::rename(&file, &away).unwrap();
        let (mut walk, _stop) = store.walk(WEEK);
        walk.go_on().unwrap();
        assert_eq!(store.damage(&blob), Some(Damage::Missing));
        fs::write(&file, b"bytez").unwrap();
        walk.go_on().unwrap();
        assert_eq!(store.damage(&blob), Some(Damage::WrongBytes), "the restored file has other bytes");
        fs::rename(&away, &file).unwrap();
        store.clock.advance(WEEK);
        walk.go_on().unwrap();
        assert_eq!(store.damage(&blob), None);
    }

    #[tokio::test]
    async fn a_stopped_pass_resumes_after_the_last_verified_blob() {
        let store = Store::new();
        for i in 0..STEP * 2 {
            store.put(&format!("{i}"), format!("bytes {i}").as_bytes()).await;
        }
        let (walk, _stop) = store.walk(WEEK);
        let blobs = holdings(&walk.scrub.index, "", STEP).unwrap();
        let (after, begun) = (blobs.last().unwrap().name().to_owned(), store.clock.now());
        walk.scrub.keep(&Place { after, begun, ended: None }).unwrap();

        let (mut walk, stop) = store.walk(WEEK);
        drop(stop);
        walk.stopping.store(true, Ordering::Relaxed);
        walk.go_on().unwrap();
        assert_eq!(store.hashes(), 0, "it was asked to stop");
        let (mut walk, _stop) = store.walk(WEEK);
        walk.go_on().unwrap();
        assert_eq!(store.hashes(), u64::from(STEP), "the second half");
    }

    #[tokio::test]
    async fn scrub_state_of_a_blob_is_removed_with_the_blob() {
        let store = Store::new();
        let (damaged, whole) = (store.put("damaged", b"damaged").await, store.put("whole", b"whole").await);
        fs::write(store.file(&damaged), b"").unwrap();
        let (mut walk, _stop) = store.walk(WEEK);
        walk.go_on().unwrap();
        assert_eq!((store.damage(&damaged), store.hashes()), (Some(Damage::WrongSize), 1));
        store.remove("damaged").await;
        store.remove("whole").await;
        assert_eq!((store.damage(&damaged), store.damage(&whole), store.hashes()), (None, None, 0));
    }

    #[tokio::test]
    async fn a_stored_sha256_detects_damage_that_the_md5_does_not() {
        let store = Store::new();
        let blob = store.put("key", b"bytes").await;
        let (mut walk, _stop) = store.walk(WEEK);
        walk.go_on().unwrap();
        // Other bytes with the same MD5 can be constructed; changing the stored MD5 has the same effect.
        let mut md5 = Md5::new();
        md5.update(b"other");
        let md5 = hex::encode(md5.finalize());
        fs::write(store.file(&blob), b"other").unwrap();
        walk.scrub.index.execute("UPDATE objects SET md5 = ?", [md5]).unwrap();
        store.clock.advance(WEEK);
        walk.go_on().unwrap();
        assert_eq!(store.damage(&blob), Some(Damage::WrongBytes));
    }

    #[test]
    fn a_directory_without_a_store_is_named_and_not_modified() {
        let directory = TempDir::new().unwrap();
        let scrubbed = scrub(directory.path(), &Clock::system(), |_, _| {});
        assert!(matches!(scrubbed, Err(ScrubError::NoStore { path }) if path == directory.path()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
