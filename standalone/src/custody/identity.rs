//! `store.json`: the id of the store, the number of its starts, and the state of its databases at the last stop.

use std::{fs, io, path::Path};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xfiles_core::random;

use crate::secrets::write_private;

/// The name of the file in the data directory.
pub(super) const FILE: &str = "store.json";

/// The version of the file's format. A program that finds a higher one refuses the directory.
const FORMAT: u64 = 1;

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    /// The version of this format.
    pub(super) format: u64,
    /// A random id, which the databases also contain.
    pub(super) store: String,
    /// The number of the last completed start. Each database has this or a higher number.
    pub(super) generation: u64,
    /// The number of the start in progress or interrupted. No database has a higher number.
    pub(super) opening: u64,
    /// The state of the databases.
    pub(super) state: State,
    /// SHA-256 of `secrets.json` in hex: one value, or the values before and after a rotation in progress.
    pub(super) secrets: Vec<String>,
}

/// The state of the databases in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// The first start has not completed, so nothing was acknowledged and anything may be missing.
    New,
    /// The directory was created by an earlier version or a repair, and was found to be consistent. Nothing may be
    /// missing.
    Adopted,
    /// A server uses the directory, or used it when it was killed. The marks have the position that each log must
    /// reach.
    Open,
    /// Stopped: each main file is complete and has exactly this content.
    Closed {
        /// The object index.
        index: Seal,
        /// The metadata database.
        table: Seal,
    },
}

/// A database at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seal {
    /// The value of its counter of changes.
    pub(super) ticks: u64,
    /// The size of its main file.
    pub(super) bytes: u64,
    /// The SHA-256 of its main file in hex. `None` if the file is too large to be hashed at each start.
    pub(super) sha256: Option<String>,
}

/// The reason why the file cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It cannot be read.
    Io(io::Error),
    /// The file is damaged.
    Damaged,
    /// A newer version wrote the file.
    Newer,
}

/// The file format: the identity and its digest, which detects damage.
#[derive(Serialize, Deserialize)]
struct Stored {
    identity: Identity,
    sha256: String,
}

impl Identity {
    /// Creates the identity of a new store.
    pub(super) fn mint(state: State, secrets: Vec<String>) -> Self {
        Self { format: FORMAT, store: random::hex::<16>(), generation: 0, opening: 0, state, secrets }
    }

    /// The identity of a data directory; `None` if it has none.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, Unusable> {
        let bytes = match fs::read(data.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Unusable::Io(error)),
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| Unusable::Damaged)?;
        match value.pointer("/identity/format").and_then(Value::as_u64) {
            Some(format) if format > FORMAT => return Err(Unusable::Newer),
            Some(FORMAT) => {}
            _ => return Err(Unusable::Damaged),
        }
        let stored: Stored = serde_json::from_value(value).map_err(|_| Unusable::Damaged)?;
        if stored.sha256 == stored.identity.digest() { Ok(Some(stored.identity)) } else { Err(Unusable::Damaged) }
    }

    /// Writes and syncs the file atomically.
    pub(super) fn write(&self, data: &Path) -> io::Result<()> {
        let stored = Stored { identity: self.clone(), sha256: self.digest() };
        write_private(&data.join(FILE), &serde_json::to_vec_pretty(&stored).expect("an identity is plain data"))
    }

    fn digest(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("an identity is plain data");
        hex::encode(digest(&SHA256, &bytes))
    }

    /// The number of the next start, higher than that of any start that was begun.
    pub(super) fn next_generation(&self) -> u64 {
        self.generation.max(self.opening) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_identity_file_is_reported_as_damaged_and_a_newer_one_as_newer() {
        let data = tempfile::tempdir().unwrap();
        assert!(matches!(Identity::read(data.path()), Ok(None)));
        let seal = Seal { ticks: 7, bytes: 4096, sha256: Some("00".repeat(32)) };
        let state = State::Closed { index: seal.clone(), table: seal };
        let identity = Identity { generation: 3, opening: 3, ..Identity::mint(state, vec!["ab".to_owned()]) };
        identity.write(data.path()).unwrap();
        assert_eq!(Identity::read(data.path()).unwrap(), Some(identity.clone()));

        let path = data.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"ticks\": 7", "\"ticks\": 6")).unwrap();
        assert!(matches!(Identity::read(data.path()), Err(Unusable::Damaged)));
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(matches!(Identity::read(data.path()), Err(Unusable::Damaged)));
        Identity { format: FORMAT + 1, ..identity }.write(data.path()).unwrap();
        assert!(matches!(Identity::read(data.path()), Err(Unusable::Newer)));
    }
}
