//! The data directory of a stack, or the temporary one of an ephemeral stack.

use std::{
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use xfiles_core::{catalog::Catalog, clock::Clock, operations::Projects};

use super::options::{Data, StartError};
use crate::{
    custody::{self, Custody, CustodyError, Keeper, Piece, Visit},
    dynamodb::{Dynamo, Hold},
    engines::{TABLE, dynamodb_client},
    room::Room,
    secrets::Secrets,
};

/// The location of the data, locked by this process.
pub(super) enum Home {
    Directory { path: PathBuf, room: Room, index: Keeper, table: Keeper },
    Temporary(TempDir),
}

impl Home {
    pub(super) fn open(data: &Data, rotate_signing_key: bool) -> Result<(Self, Secrets), StartError> {
        match data {
            Data::Directory(path) => {
                let Custody { index, table, secrets, room } = Custody::open(path, rotate_signing_key)?;
                Ok((Self::Directory { path: path.clone(), room, index, table }, secrets))
            }
            Data::Ephemeral => {
                let failed = |source| StartError::Data { path: std::env::temp_dir(), source };
                let folder = TempDir::with_prefix("xfiles-").map_err(failed)?;
                Ok((Self::Temporary(folder), Secrets::generate().0))
            }
        }
    }
}

/// Opens the projects in a data directory, in use or not. The owner of the machine uses this to create a key if all are
/// lost.
pub async fn open_projects(data: &Path) -> Result<Projects, StartError> {
    let database = Piece::Table.path(data);
    if !custody::was_served(data) {
        let source = io::Error::new(io::ErrorKind::NotFound, "it was never used by `xf serve`");
        return Err(StartError::Data { path: data.to_owned(), source });
    }
    let hold = match Custody::open(data, false) {
        Ok(Custody { table, .. }) => Hold::Keeper(table),
        // A server has it, or another tool for a moment.
        Err(CustodyError::Locked { .. }) => {
            let failed = |e: rusqlite::Error| StartError::Data { path: data.to_owned(), source: io::Error::other(e) };
            Hold::Visit(Visit::begin(data).map_err(failed)?)
        }
        Err(error) => return Err(error.into()),
    };
    let dynamo = Dynamo::open_held(&database, hold, None)?;
    let clock = Clock::system();
    Ok(Projects::new(Catalog::new(dynamodb_client(dynamo.http_client(), clock.clone()), TABLE), clock))
}
