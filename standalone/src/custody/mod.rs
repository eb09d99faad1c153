//! Exclusive use of a data directory, and the proof that its parts belong together.
//!
//! A directory holds one store in several parts: the records (`table.db`), the object index (`objects/index.sqlite3`),
//! the bytes (`objects/blobs/`) and the keys (`secrets.json`). If one of them is missing or older than the rest, the
//! store has lost data. A start that ignored this would destroy more, because objects without a row are garbage. Each
//! start therefore first proves that every acknowledged change is present.
//!
//! - `store.json` (`identity`) has the id of the store and the number of its starts. Both databases contain id and
//!   number. A start increments the number: it writes the new one to `store.json` as pending, stamps the databases,
//!   then commits it in `store.json`. After a kill between any two of these steps, the next start accepts the
//!   directory, but no older parts.
//! - While a server runs, `store.json` says so, and each database has a `mark`: the minimum positions of its log and of
//!   its main file.
//! - At a stop, a `keeper` moves each log into its main file, and `store.json` gets the digests of both files.
//! - The `survey` compares all this. A mismatch refuses the start; `repair` is one of the remedies.
//!
//! This module never removes an object.

mod database;
mod identity;
mod keeper;
mod mark;
mod records;
pub mod repair;
mod survey;

use std::{
    fmt,
    fs::{self, File},
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
pub(crate) use crate::lock::{LOCK, Locks};
use crate::{
    backup,
    lock::Unlockable,
    room::Room,
    secrets::{Secrets, SecretsError},
};

/// The reason why a data directory is refused.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// Another process uses it.
    #[error("{} is in use by another process; stop it, or choose another directory with --data", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A restore into it was interrupted.
    #[error("{} has an incomplete restore; run `xf restore` into it again, or remove it", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system returned an error.
    #[error("cannot use the data directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
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
        /// The name of the database.
        piece: &'static str,
        /// SQLite's error message.
        reason: String,
    },
}

/// The parts of a data directory do not belong together. The message has the findings, the consequence and the
/// remedies.
#[derive(Debug)]
pub struct Mismatch {
    data: PathBuf,
    findings: Vec<Finding>,
}

impl Mismatch {
    /// The findings, one sentence each.
    pub fn findings(&self) -> impl Iterator<Item = String> {
        self.findings.iter().map(Finding::to_string)
    }

    fn is_newer(&self) -> bool {
        self.findings.iter().any(|found| matches!(found, Finding::Newer(_)))
    }
}

impl std::error::Error for Mismatch {}

/// The number of findings that a message lists.
const LISTED: usize = 4;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.data.display();
        write!(f, "the data directory {data} is not complete; nothing was changed")?;
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
            "\nA start would ignore the lost data, and would remove objects that nothing refers to any more.\n\
             Put the missing part back if you have it. Otherwise restore the whole directory from a backup with\n\
             `xf restore`, ",
        )?;
        write!(f, "or let `xf repair --data {data} --dry-run` show what can be rebuilt.")
    }
}

/// A consistent data directory, locked by this process.
pub(crate) struct Custody {
    /// Maintains the object index. Must be held until the index is closed.
    pub(crate) index: Keeper,
    /// Maintains the metadata database. Must be held until that is closed.
    pub(crate) table: Keeper,

    pub(crate) secrets: Secrets,
    /// The free space of the disk.
    pub(crate) room: Room,
}

/// The directory, from taking its lock to the last write of `store.json`.
pub(crate) struct Held {
    data: PathBuf,
    identity: Identity,
    sealed: Mutex<Vec<(Piece, Seal, Connection)>>,
    // Dropped last.
    _locks: Locks,
}

impl Custody {
    /// Locks a directory for this process, creating it if necessary, and proves that it is consistent. With
    /// `rotate_signing_key`, private URLs are signed with a new key from now on.
    pub(crate) fn open(data: &Path, rotate_signing_key: bool) -> Result<Self, CustodyError> {
        make_directory(data)?;
        let locks = take(data)?;
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
        // Before anything else is written: on a full disk this deletes the reserve.
        let room = Room::open(data).map_err(failed)?;
        let identity = match kind {
            Kind::Known(identity) => identity,
            Kind::New if room.is_full() => return Err(failed(io::ErrorKind::StorageFull.into())),
            Kind::New => Identity::mint(State::New, Vec::new()),
            Kind::Earlier => Identity::mint(State::Adopted, found_secrets),
        };
        Self::begin(data, locks, room, identity, rotate_signing_key)
    }

    /// Performs the start of a consistent store.
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
            // Created here, because they must exist from the first stop on, even if the rest of this start fails.
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

/// Declares that the parts of a directory belong together as they are, after a repair or a restore. They become a new
/// store, which the next start adopts if it finds no mismatch.
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

/// Returns the keys of a store; creates them if it is new, and replaces the signing key if a rotation was requested.
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
        // Both digests are valid until the new file is in place.
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
    /// Takes the seal of a database at rest. Its connection stays open until `store.json` has been written.
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
                // The next start then treats the server as killed.
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

/// Locks a directory without checking it; creates it if it does not exist.
pub(crate) fn lock(data: &Path) -> Result<Locks, CustodyError> {
    make_directory(data)?;
    take(data)
}

/// Holds a directory that is there.
fn take(data: &Path) -> Result<Locks, CustodyError> {
    Locks::take(data).map_err(|unlockable| match unlockable {
        Unlockable::InUse => CustodyError::Locked { path: data.to_owned() },
        Unlockable::Io(source) => CustodyError::Io { path: data.to_owned(), source },
    })
}

/// The name of the file with the identity of the store.
pub(crate) const IDENTITY: &str = identity::FILE;

/// Returns true if a directory contains files that a start creates.
pub(crate) fn was_served(data: &Path) -> bool {
    data.join(identity::FILE).exists() || Piece::ALL.iter().any(|piece| piece.path(data).exists())
}

fn make_directory(data: &Path) -> Result<(), CustodyError> {
    use std::os::unix::fs::DirBuilderExt as _;

    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|source| CustodyError::Io { path: data.to_owned(), source })
}

/// The free space that a first start needs: two empty databases with their logs.
const FIRST_START_BYTES: usize = 1024 * 1024;

/// Fails like a full disk. SQLite would only report an I/O error.
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

    /// Performs the steps of [`Custody::begin`] one by one, and copies the directory after each, as a kill would leave
    /// it.
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
                // And repeated at the same step.
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
                    // As before its first transaction.
                    "table.db" => drop(File::create(data.join(part)).unwrap()),
                    part => assert!(fs::copy(whole.join(part), data.join(part)).is_ok()),
                }
            }
            let started = Custody::open(&data, false);
            assert!(started.is_ok(), "{count}: {}", started.err().unwrap());
        }
    }
}
