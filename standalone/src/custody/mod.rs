//! Who has a data directory, and whether its parts belong together.
//!
//! A directory holds one store in several parts: the records (`table.db`), the object index
//! (`objects/index.sqlite3`), the bytes (`objects/blobs/`) and the keys (`secrets.json`). If one of them is missing or of
//! another time than the rest, the store has lost something, and a start that went on as if it had not would destroy
//! more: objects without a row are garbage. So each start proves first that everything which was acknowledged is there.
//!
//! - `store.json` (`identity`) names the store and counts its starts. Both databases carry name and count. A start raises
//!   the count: it announces the new one in `store.json`, stamps the databases, then makes it the count of the store.
//!   A kill between any two of these steps leaves what the next start accepts, and nothing older.
//! - While a server runs, `store.json` says so, and each database has a `mark`: how far its log must reach, and how far
//!   its main file.
//! - At a stop, a `keeper` empties each log into its main file, and `store.json` has the digests of both files.
//! - The `survey` compares all that. What does not fit refuses the start, and `repair` is one way out.
//!
//! Nothing here removes an object.

mod database;
mod identity;
mod keeper;
mod mark;
mod records;
pub mod repair;
mod survey;

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;

pub(crate) use self::{
    database::{INDEX_SCHEMA, Piece},
    keeper::{Keeper, Visit},
    mark::Position,
};
use self::{
    identity::{Identity, Seal, State},
    survey::{Finding, Kind, Survey},
};
use crate::{
    backup,
    room::Room,
    secrets::{Secrets, SecretsError},
};

/// Why a data directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// Another process has it.
    #[error("{} is in use by another process; stop it, or choose another directory with --data", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A restoration into it was interrupted.
    #[error("{} was not restored to its end; run `xf restore` into it again, or remove it", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot use the data directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Its parts do not belong together.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// Its keys cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// A database cannot be opened.
    #[error("cannot open {} in {}: {reason}", piece, path.display())]
    Database {
        /// The directory.
        path: PathBuf,
        /// Which.
        piece: &'static str,
        /// What SQLite says.
        reason: String,
    },
}

/// The parts of a data directory do not belong together. The message says what is wrong, what a start would do, and the
/// ways out.
#[derive(Debug)]
pub struct Mismatch {
    data: PathBuf,
    findings: Vec<Finding>,
}

impl Mismatch {
    /// What is wrong, a sentence for each.
    pub fn findings(&self) -> impl Iterator<Item = String> {
        self.findings.iter().map(Finding::to_string)
    }

    fn is_newer(&self) -> bool {
        self.findings.iter().any(|found| matches!(found, Finding::Newer(_)))
    }
}

impl std::error::Error for Mismatch {}

/// How many findings a message lists.
const LISTED: usize = 4;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data.display();
        write!(f, "the data directory {data} is not whole, and was left as it is")?;
        for finding in self.findings.iter().take(LISTED) {
            write!(f, "\n  - {finding}")?;
        }
        if self.findings.len() > LISTED {
            write!(f, "\n  - and {} more", self.findings.len() - LISTED)?;
        }
        if self.is_newer() {
            return f.write_str("\nStart it with the version of the program that wrote it, or a later one.");
        }
        f.write_str(
            "\nA start would go on without what is lost, and remove objects that nothing refers to any more.\n\
             Put the missing part back if you have it. Otherwise restore the whole directory from a backup with\n\
             `xf restore`, ",
        )?;
        write!(f, "or let `xf repair --data {data} --dry-run` show what can be rebuilt.")
    }
}

/// A data directory whose parts belong together, in the hands of this process.
pub(crate) struct Custody {
    /// Keeps the object index. Held until the index is closed.
    pub(crate) index: Keeper,
    /// Keeps the metadata database, likewise.
    pub(crate) table: Keeper,
    /// The keys.
    pub(crate) secrets: Secrets,
    /// The room of the disk.
    pub(crate) room: Room,
}

/// The directory, from the lock to the last line of `store.json`.
pub(crate) struct Held {
    data: PathBuf,
    identity: Identity,
    sealed: Mutex<Vec<(Piece, Seal, Connection)>>,
    // Let go last.
    _locks: Locks,
}

impl Custody {
    /// Takes a directory for this process, which is made if it is not there, and proves that it is whole. With
    /// `rotate_signing_key`, private URLs are signed with a new key from now on.
    pub(crate) fn open(data: &Path, rotate_signing_key: bool) -> Result<Self, CustodyError> {
        make_directory(data)?;
        let locks = Locks::take(data)?;
        if backup::is_unfinished(data) {
            return Err(CustodyError::Unfinished { path: data.to_owned() });
        }
        let failed = |source| CustodyError::Io { path: data.to_owned(), source };
        let survey = Survey::of(data).map_err(failed)?;
        let found_secrets = survey.secrets.clone().into_iter().collect();
        let kind = survey.kind().map_err(|findings| Mismatch { data: data.to_owned(), findings })?;
        if matches!(kind, Kind::New) {
            find_room(data).map_err(failed)?;
        }
        // Before anything else is written: on a full disk it gives the reserve up for that.
        let room = Room::open(data).map_err(failed)?;
        let identity = match kind {
            Kind::Known(identity) => identity,
            Kind::New if room.is_full() => return Err(failed(io::ErrorKind::StorageFull.into())),
            Kind::New => Identity::mint(State::New, Vec::new()),
            Kind::Earlier => Identity::mint(State::Adopted, found_secrets),
        };
        Self::begin(data, locks, room, identity, rotate_signing_key)
    }

    /// Begins the next start of a store that is whole.
    fn begin(
        data: &Path,
        locks: Locks,
        room: Room,
        mut identity: Identity,
        rotate: bool,
    ) -> Result<Self, CustodyError> {
        let failed = |source| CustodyError::Io { path: data.to_owned(), source };
        let generation = identity.next_generation();
        identity.opening = generation;
        identity.write(data).map_err(failed)?;
        let secrets = ready_secrets(data, &mut identity, rotate)?;

        if identity.state == State::New {
            // From the first stop on they must be there, even if the rest of this start fails.
            for shard in crate::s3::shards() {
                fs::create_dir_all(survey::blobs(data).join(shard)).map_err(failed)?;
            }
        }
        identity.generation = generation;
        identity.state = State::Open;
        let held = Arc::new(Held {
            data: data.to_owned(),
            identity: identity.clone(),
            sealed: Mutex::default(),
            _locks: locks,
        });
        fs::create_dir_all(data.join("objects")).map_err(failed)?;
        let keep = |piece: Piece| {
            Keeper::begin(&held, piece, &identity.store, generation).map_err(|reason| CustodyError::Database {
                path: data.to_owned(),
                piece: piece.name(),
                reason,
            })
        };
        let index = keep(Piece::Index)?;
        let table = keep(Piece::Table)?;
        held.identity.write(data).map_err(failed)?;
        Ok(Self { index, table, secrets, room })
    }
}

/// Declares that the parts of a directory belong together as they are: after a repair, or when a backup has brought them
/// back. They become another store, which the next start takes over if nothing speaks against it.
pub(crate) fn adopt(_held: &Locks, data: &Path) -> Result<(), CustodyError> {
    let failed = |source| CustodyError::Io { path: data.to_owned(), source };
    for piece in Piece::ALL {
        let path = piece.path(data);
        let done = database::settle(&path).and_then(|()| database::unstamp(&path));
        let name = piece.name();
        done.map_err(|reason| CustodyError::Database { path: data.to_owned(), piece: name, reason })?;
    }
    let secrets = Secrets::load(data)?.map(|(_, digest)| digest);
    Identity::mint(State::Adopted, secrets.into_iter().collect()).write(data).map_err(failed)?;
    let findings = Survey::of(data).map_err(failed)?.findings;
    if findings.is_empty() { Ok(()) } else { Err(Mismatch { data: data.to_owned(), findings }.into()) }
}

/// The keys of a store, made if it is new, and replaced by a new one for signatures if that was asked for.
fn ready_secrets(data: &Path, identity: &mut Identity, rotate: bool) -> Result<Secrets, CustodyError> {
    let failed = |source| CustodyError::Io { path: data.to_owned(), source };
    let (mut secrets, mut bytes) = match Secrets::load(data)? {
        Some((secrets, digest)) => (secrets, (digest, None)),
        None => {
            let (secrets, new) = Secrets::generate();
            (secrets, (crate::secrets::digest(&new), Some(new)))
        }
    };
    if rotate {
        let (rotated, new) = secrets.rotated();
        (secrets, bytes) = (rotated, (crate::secrets::digest(&new), Some(new)));
    }
    let (digest, new) = bytes;
    if let Some(new) = new {
        // Either is good until the new one is there.
        if !identity.secrets.is_empty() {
            identity.secrets.push(digest.clone());
            identity.write(data).map_err(failed)?;
        }
        Secrets::write(data, &new)?;
    }
    identity.secrets = vec![digest];
    Ok(secrets)
}

impl Held {
    /// Takes a database that is at rest. Its connection stays open until `store.json` says so.
    fn take_seal(&self, piece: Piece, (seal, connection): (Seal, Connection)) {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).push((piece, seal, connection));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut sealed = std::mem::take(self.sealed.get_mut().unwrap_or_else(PoisonError::into_inner));
        sealed.sort_by_key(|(piece, ..)| *piece);
        if let [(Piece::Index, index, _), (Piece::Table, table, _)] = sealed.as_slice() {
            let state = State::Closed { index: index.clone(), table: table.clone() };
            let closed = Identity { state, ..self.identity.clone() };
            match closed.write(&self.data) {
                Ok(()) => sealed.into_iter().for_each(|(.., connection)| keeper::close_at_rest(connection)),
                // The next start treats it as killed.
                Err(error) => tracing::warn!(%error, "could not note that the data directory was closed"),
            }
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("data", &self.data).finish_non_exhaustive()
    }
}

/// Takes a directory, which is made if it is not there, and says nothing of what is in it.
pub(crate) fn lock(data: &Path) -> Result<Locks, CustodyError> {
    make_directory(data)?;
    Locks::take(data)
}

/// The file that names the store, in the data directory.
pub(crate) const IDENTITY: &str = identity::FILE;

/// The file whose lock says that a process has the directory, since the first version.
pub(crate) const LOCK: &str = "lock";

/// A directory held for this process. The system lets go when the process ends, however it ends.
pub(crate) struct Locks {
    _directory: Option<File>,
    _file: File,
}

impl Locks {
    /// Locks the directory itself, which cannot be removed without its content, and the file that earlier versions lock.
    pub(crate) fn take(data: &Path) -> Result<Self, CustodyError> {
        let failed = |source| CustodyError::Io { path: data.to_owned(), source };
        let locked = || CustodyError::Locked { path: data.to_owned() };
        let directory = File::open(data).map_err(failed)?;
        let directory = match directory.try_lock() {
            Ok(()) => Some(directory),
            Err(TryLockError::WouldBlock) => return Err(locked()),
            Err(TryLockError::Error(error)) => {
                // Some network file systems lock files only. SQLite warns against those anyway.
                tracing::warn!(%error, "the data directory itself cannot be locked; do not remove the file `lock`");
                None
            }
        };
        let file = File::options().create(true).truncate(false).write(true).open(data.join(LOCK)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _directory: directory, _file: file }),
            Err(TryLockError::WouldBlock) => Err(locked()),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// Whether a directory has anything that a start leaves in it.
pub(crate) fn was_served(data: &Path) -> bool {
    data.join(identity::FILE).exists() || Piece::ALL.iter().any(|piece| piece.path(data).exists())
}

fn make_directory(data: &Path) -> Result<(), CustodyError> {
    use std::os::unix::fs::DirBuilderExt as _;

    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|source| CustodyError::Io { path: data.to_owned(), source })
}

/// How much room a first start needs: two empty databases with their logs.
const FIRST_START_BYTES: usize = 1024 * 1024;

/// Fails as a full disk does. SQLite would only speak of an I/O error.
fn find_room(data: &Path) -> io::Result<()> {
    use std::io::Write as _;

    let probe = data.join("room");
    let filled = File::create(&probe).and_then(|mut file| {
        file.write_all(&vec![0; FIRST_START_BYTES])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&probe);
    filled.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if path.is_dir() { copy(&path, &target) } else { assert!(fs::copy(&path, &target).is_ok()) }
        }
    }

    /// Takes the steps of [`Custody::begin`] one by one, and copies the directory after each, as a kill would leave it.
    fn steps_of_a_start(data: &Path, copies: &Path) -> Vec<PathBuf> {
        let (mut done, mut copied) = (0, Vec::new());
        let mut keep = || {
            let to = copies.join(done.to_string());
            copy(data, &to);
            copied.push(to);
            done += 1;
        };
        let locks = Locks::take(data).unwrap();
        let Ok(Kind::Known(mut identity)) = Survey::of(data).unwrap().kind() else { panic!("it was started before") };
        let generation = identity.next_generation();
        identity.opening = generation;
        identity.write(data).unwrap();
        keep();
        drop(ready_secrets(data, &mut identity, true).unwrap());
        keep();
        (identity.generation, identity.state) = (generation, State::Open);
        let held = Held { data: data.to_owned(), identity, sealed: Mutex::default(), _locks: locks };
        let held = Arc::new(held);
        let index = Keeper::begin(&held, Piece::Index, &held.identity.store, generation).unwrap();
        keep();
        let table = Keeper::begin(&held, Piece::Table, &held.identity.store, generation).unwrap();
        keep();
        held.identity.write(data).unwrap();
        keep();
        drop(index);
        keep();
        drop(table);
        keep();
        copied
    }

    #[test]
    fn a_kill_between_any_two_steps_of_a_start_or_a_stop_lets_the_next_start_succeed() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("first");
        let custody = Custody::open(&first, false).unwrap();
        for shard in crate::s3::shards() {
            fs::create_dir_all(survey::blobs(&first).join(shard)).unwrap();
        }
        let killed = folder.path().join("killed");
        copy(&first, &killed);
        drop(custody);
        for (name, data) in [("after a stop", first), ("after a kill", killed)] {
            let copies = folder.path().join(name);
            for (step, copied) in steps_of_a_start(&data, &copies).into_iter().enumerate() {
                // And once more at the same step.
                let again = steps_of_a_start(&copied, &folder.path().join(format!("{name} {step}")));
                for data in again {
                    let started = Custody::open(&data, false);
                    assert!(started.is_ok(), "{name}, step {step}: {}", started.err().unwrap());
                }
            }
        }
    }

    #[test]
    fn a_log_truncated_while_in_use_may_be_missing_until_it_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let custody = Custody::open(&data, false).unwrap();
        for shard in crate::s3::shards() {
            fs::create_dir_all(survey::blobs(&data).join(shard)).unwrap();
        }
        let table = Piece::Table.path(&data);
        let engine = Connection::open(&table).unwrap();
        let change = |bytes: usize| {
            engine.execute_batch("CREATE TABLE IF NOT EXISTS t (b)").unwrap();
            engine.execute("INSERT INTO t VALUES (zeroblob(?))", [bytes]).unwrap();
            custody.table.reached(custody.table.position());
        };
        let log = || fs::metadata(database::beside(&table, "-wal")).map_or(0, |log| log.len());
        let killed = |name: &str, keeps_log: bool| {
            let copied = folder.path().join(name);
            copy(&data, &copied);
            if !keeps_log {
                for end in ["-wal", "-shm"] {
                    fs::remove_file(database::beside(&Piece::Table.path(&copied), end)).unwrap();
                }
            }
            Survey::of(&copied).unwrap().findings
        };
        change(100_000);
        custody.table.trim(u64::MAX);
        assert!(log() > 100_000, "a log within its limit is left");
        assert!(killed("before", true).is_empty());
        assert!(matches!(killed("lost before", false)[..], [Finding::LostLog(Piece::Table)]));

        custody.table.trim(0);
        assert_eq!(log(), 0);
        assert!(killed("emptied", true).is_empty());
        assert!(killed("emptied and removed", false).is_empty());

        change(10);
        assert!(killed("begun again", true).is_empty());
        assert!(matches!(killed("lost again", false)[..], [Finding::LostLog(Piece::Table)]));
    }

    #[test]
    fn an_incomplete_first_start_is_started_over() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        drop(Custody::open(&whole, false).unwrap());
        let made = ["lock", "store.json", "secrets.json", "objects", "index.mark", "table.db", "table.mark"];
        for count in 0..=made.len() {
            let data = folder.path().join(count.to_string());
            fs::create_dir(&data).unwrap();
            for part in &made[..count] {
                match *part {
                    "store.json" => {
                        let new = Identity::mint(State::New, Vec::new());
                        Identity { opening: 1, ..new }.write(&data).unwrap();
                    }
                    "objects" => fs::create_dir(data.join(part)).unwrap(),
                    // Before its first transaction.
                    "table.db" => drop(File::create(data.join(part)).unwrap()),
                    part => assert!(fs::copy(whole.join(part), data.join(part)).is_ok()),
                }
            }
            let started = Custody::open(&data, false);
            assert!(started.is_ok(), "{count}: {}", started.err().unwrap());
        }
    }
}
