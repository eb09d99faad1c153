//! Inspects an unused data directory and finds what is inconsistent, before anything may change it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{
    database::{Blind, Piece, Stamp, View},
    identity::{FILE, Identity, Seal, State, Unusable},
    mark::Mark,
    records::{self, Disagreement},
};
use crate::{
    s3::shards,
    secrets::{self, Secrets, SecretsError},
};

/// The size of a metadata database up to which its records are compared with the index after a kill; takes about two
/// seconds.
const COMPARED_BYTES: u64 = 256 << 20;

/// An inconsistency of a data directory.
#[derive(Debug)]
pub(crate) enum Finding {
    /// `store.json` is missing, although the rest is not from an earlier version.
    NoIdentity,
    /// `store.json` cannot be parsed or its digest is wrong.
    DamagedIdentity,
    /// A part is missing.
    Missing(&'static str),
    /// A directory of objects is missing.
    NoShard(String),
    /// A part is empty.
    Empty(&'static str),
    /// A part is damaged.
    Damaged(&'static str, String),
    /// A part is older than the rest.
    Older(&'static str, String),
    /// A part belongs to another store.
    Foreign(&'static str),
    /// A database's log is missing or truncated.
    LostLog(Piece),
    /// A database that was complete has a log of another database.
    StrayLog(Piece),
    /// The mark of a database is missing or damaged.
    NoMark(Piece),
    /// A newer version of the program wrote a part.
    Newer(&'static str),
    /// `secrets.json` is not the one that was used last.
    OtherSecrets,
    /// Published files whose objects the index does not have, or has differently.
    Unindexed(Disagreement),
}

impl Finding {
    /// The database that the finding affects.
    pub(super) fn piece(&self) -> Option<Piece> {
        match self {
            Self::Missing(part)
            | Self::Empty(part)
            | Self::Damaged(part, _)
            | Self::Older(part, _)
            | Self::Foreign(part)
            | Self::Newer(part) => Piece::ALL.into_iter().find(|piece| piece.name() == *part),
            Self::LostLog(piece) | Self::StrayLog(piece) | Self::NoMark(piece) => Some(*piece),
            Self::Unindexed(_) => Some(Piece::Index),
            Self::NoIdentity | Self::DamagedIdentity | Self::NoShard(_) | Self::OtherSecrets => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity => write!(f, "{FILE} is missing"),
            Self::DamagedIdentity => write!(f, "{FILE} is damaged"),
            Self::Missing(part) => write!(f, "{part} is missing"),
            Self::NoShard(part) => write!(f, "{part} is missing, with every object in it"),
            Self::Empty(part) => write!(f, "{part} is empty"),
            Self::Damaged(part, reason) => write!(f, "{part} is damaged ({reason})"),
            Self::Older(part, reason) => write!(f, "{part} is older than the rest ({reason})"),
            Self::Foreign(part) => write!(f, "{part} belongs to another data directory"),
            Self::LostLog(piece) => {
                write!(f, "{piece}-wal is missing or truncated, so that {piece} lacks its last changes")
            }
            Self::StrayLog(piece) => write!(f, "{piece}-wal does not belong to {piece}, which was complete without it"),
            Self::NoMark(piece) => {
                let mark = piece.mark();
                write!(f, "{mark} is missing or damaged, so that nothing proves that {piece} is complete")
            }
            Self::Newer(part) => write!(f, "{part} was written by a newer version of this program"),
            Self::OtherSecrets => {
                write!(f, "{} is not the one that was used last", secrets::FILE)
            }
            Self::Unindexed(Disagreement { files, example }) => write!(
                f,
                "{} does not have the object of {files} published file{}, such as {example}",
                Piece::Index,
                if *files == 1 { "" } else { "s" }
            ),
        }
    }
}

/// The kind of a data directory.
pub(super) enum Kind {
    /// It never contained data.
    New,
    /// A consistent directory of an earlier version.
    Earlier,
    /// A store of this version.
    Known(Identity),
}

/// The result of the inspection.
pub(super) struct Survey {
    /// The identity, if it exists and can be read.
    pub(super) identity: Option<Identity>,
    /// Whether the directory never contained data.
    pub(super) is_new: bool,
    /// The inconsistencies; empty if the directory can be used.
    pub(super) findings: Vec<Finding>,
    /// The digest of `secrets.json`, if it can be read.
    pub(super) secrets: Option<String>,
}

impl Survey {
    /// The kind of the directory, if there are no findings.
    pub(super) fn kind(self) -> Result<Kind, Vec<Finding>> {
        match (self.findings.is_empty(), self.identity) {
            (false, _) => Err(self.findings),
            (true, Some(identity)) => Ok(Kind::Known(identity)),
            (true, None) if self.is_new => Ok(Kind::New),
            (true, None) => Ok(Kind::Earlier),
        }
    }

    /// Inspects a directory. No other process may use it meanwhile.
    pub(super) fn of(data: &Path) -> io::Result<Self> {
        let mut survey = Self { identity: None, is_new: false, findings: Vec::new(), secrets: None };
        match Identity::read(data) {
            Ok(identity) => survey.identity = identity,
            Err(Unusable::Io(error)) => return Err(error),
            Err(Unusable::Damaged) => survey.findings.push(Finding::DamagedIdentity),
            Err(Unusable::Newer) => {
                survey.findings.push(Finding::Newer(FILE));
                return Ok(survey);
            }
        }
        survey.is_new = match &survey.identity {
            Some(identity) => identity.state == State::New,
            None => survey.findings.is_empty() && is_untouched(data)?,
        };
        survey.look_at_secrets(data)?;
        let mut views = Vec::new();
        for piece in Piece::ALL {
            match View::open(piece, data) {
                Ok(view) => views.push((piece, view)),
                Err(Blind::Io(error)) => return Err(named(piece, error)),
                Err(Blind::Missing | Blind::Empty) if survey.is_new => {}
                Err(Blind::Missing) => survey.findings.push(Finding::Missing(piece.name())),
                Err(Blind::Empty) => survey.findings.push(Finding::Empty(piece.name())),
                Err(Blind::Damaged(reason)) => survey.findings.push(Finding::Damaged(piece.name(), reason)),
                Err(Blind::Newer) => survey.findings.push(Finding::Newer(piece.name())),
            }
        }
        if !survey.is_new {
            survey.look_at_shards(data)?;
        }
        let mut must_compare = survey.identity.is_none();
        for (piece, view) in &views {
            if let Some(identity) = survey.identity.clone() {
                must_compare |= survey.look_at(*piece, view, &identity, data)?;
            } else if !survey.is_new {
                survey.look_without_identity(*piece, view)?;
            }
        }
        if let [(_, index), (_, table)] = views.as_slice()
            && survey.findings.is_empty()
            && !survey.is_new
            && must_compare
            && (survey.identity.is_none() || table.main_bytes <= COMPARED_BYTES)
        {
            let compared = records::compare(&index.connection, &table.connection);
            match compared {
                Ok(None) => {}
                Ok(Some(disagreement)) => survey.findings.push(Finding::Unindexed(disagreement)),
                Err((piece, reason)) => survey.findings.push(Finding::Damaged(piece.name(), reason)),
            }
        }
        Ok(survey)
    }

    fn look_at_secrets(&mut self, data: &Path) -> io::Result<()> {
        match Secrets::load(data) {
            Ok(Some((_, digest))) => {
                let known = self.identity.as_ref().map_or(&[][..], |identity| &identity.secrets);
                if !known.is_empty() && !known.contains(&digest) {
                    self.findings.push(Finding::OtherSecrets);
                }
                self.secrets = Some(digest);
            }
            Ok(None) if self.is_new => {}
            Ok(None) => self.findings.push(Finding::Missing(secrets::FILE)),
            Err(SecretsError::Damaged { .. }) => {
                self.findings.push(Finding::Damaged(secrets::FILE, "it does not contain the keys".to_owned()));
            }
            Err(SecretsError::Newer { .. }) => self.findings.push(Finding::Newer(secrets::FILE)),
            Err(SecretsError::Io { source, .. }) => return Err(source),
        }
        Ok(())
    }

    fn look_at_shards(&mut self, data: &Path) -> io::Result<()> {
        let blobs = blobs(data);
        for shard in shards() {
            if !blobs.join(&shard).try_exists()? {
                self.findings.push(Finding::NoShard(format!("objects/blobs/{shard}")));
            }
        }
        Ok(())
    }

    /// Compares a database with the identity. Returns true if the records must be compared with the index, because
    /// nothing else proves that the two match.
    fn look_at(&mut self, piece: Piece, view: &View, identity: &Identity, data: &Path) -> io::Result<bool> {
        let found = match &identity.state {
            State::New => Ok(false),
            State::Adopted => view.check().map(|()| true).map_err(|blind| damaged(piece, blind)),
            State::Open => {
                let mark = Mark::read(&data.join(piece.mark()))?;
                open_reaches(piece, view, identity, mark).map(|()| true)
            }
            State::Closed { index, table } => {
                let seal = if piece == Piece::Index { index } else { table };
                is_as_sealed(piece, view, identity, seal)?
            }
        };
        let stamped = match (&view.stamp, &identity.state) {
            (Some(stamp), _) => fits(piece, stamp, identity),
            // The first completed start adds the stamp.
            (None, State::New | State::Adopted) => Ok(()),
            (None, State::Open | State::Closed { .. }) => {
                Err(Finding::Older(piece.name(), "it has no stamp of a start".to_owned()))
            }
        };
        let log_is_wrong = match &found {
            Err(Finding::LostLog(_)) => !view.has_log,
            Err(Finding::StrayLog(_)) => true,
            _ => false,
        };
        // The stamp is the more precise finding, unless the wrong log shows or hides one.
        match if log_is_wrong { found } else { stamped.and(found) } {
            Ok(must_compare) => Ok(must_compare),
            Err(finding) => {
                self.findings.push(finding);
                Ok(false)
            }
        }
    }

    /// A directory without an identity is from an earlier version, or has lost it.
    fn look_without_identity(&mut self, piece: Piece, view: &View) -> io::Result<()> {
        if view.stamp.is_some() {
            if !self.findings.iter().any(|found| matches!(found, Finding::NoIdentity | Finding::DamagedIdentity)) {
                self.findings.push(Finding::NoIdentity);
            }
        } else if let Err(blind) = view.check() {
            self.findings.push(damaged(piece, blind));
        } else if piece == Piece::Table && !view.has_table(crate::engines::TABLE).map_err(io::Error::other)? {
            self.findings.push(Finding::Empty(piece.name()));
        }
        Ok(())
    }
}

fn fits(piece: Piece, stamp: &Stamp, identity: &Identity) -> Result<(), Finding> {
    if stamp.store != identity.store {
        return Err(Finding::Foreign(piece.name()));
    }
    if stamp.generation < identity.generation {
        let said = format!("it was last opened by start {} of {}", stamp.generation, identity.generation);
        return Err(Finding::Older(piece.name(), said));
    }
    if stamp.generation > identity.opening {
        let said = format!("{piece} was opened by start {}, and it has only {}", stamp.generation, identity.opening);
        return Err(Finding::Older(FILE, said));
    }
    Ok(())
}

/// After a kill: checks that the database has every acknowledged change.
fn open_reaches(piece: Piece, view: &View, identity: &Identity, mark: Option<Mark>) -> Result<(), Finding> {
    let known = identity.generation..=identity.opening;
    let Some(mark) = mark.filter(|mark| known.contains(&mark.generation)) else {
        return Err(Finding::NoMark(piece));
    };
    // The stamp of the main file alone. While a log is moved, it may have changes that the main file lacks.
    if mark.main_ticks > 0 && !(mark.sealing && view.has_log) {
        match view.stamp_without_log() {
            Some(main) if main.store != identity.store => return Err(Finding::Foreign(piece.name())),
            Some(main) if main.ticks >= mark.main_ticks => {}
            // After a killed checkpoint the main file has pages of two points in time; the log has all of them.
            None if view.has_log => {}
            Some(_) | None => {
                return Err(Finding::Older(piece.name(), "its log continues a later one".to_owned()));
            }
        }
    }
    if view.has_log {
        let position = view.position().map_err(|blind| damaged(piece, blind))?;
        if !position.is_some_and(|position| position.includes(mark.position)) {
            return Err(Finding::LostLog(piece));
        }
    } else if !mark.sealing {
        return Err(Finding::LostLog(piece));
    }
    view.check().map_err(|blind| damaged(piece, blind))
}

/// After a regular stop: compares the main file with its seal. Returns true if only SQLite's own check can detect
/// changes.
fn is_as_sealed(piece: Piece, view: &View, identity: &Identity, seal: &Seal) -> io::Result<Result<bool, Finding>> {
    let Some(stamp) = &view.stamp else { return Ok(Ok(false)) };
    let is_ours = stamp.store == identity.store;
    let is_ahead = is_ours && stamp.ticks > seal.ticks;
    let matches = view.matches(seal)?;
    if view.has_log && !is_ahead && matches {
        return Ok(Err(Finding::StrayLog(piece)));
    }
    if is_ours && stamp.ticks < seal.ticks {
        let said = format!("it is at change {}, and was at {} at the last stop", stamp.ticks, seal.ticks);
        return Ok(Err(Finding::Older(piece.name(), said)));
    }
    if matches && (is_ahead || !view.has_log) {
        return Ok(Ok(false));
    }
    // A tool or an interrupted start may have changed it since.
    if is_ahead {
        return Ok(view.check().map(|()| true).map_err(|blind| damaged(piece, blind)));
    }
    Ok(Err(Finding::Damaged(piece.name(), "its content has changed since the last stop".to_owned())))
}

fn damaged(piece: Piece, blind: Blind) -> Finding {
    let reason = match blind {
        Blind::Damaged(reason) => reason,
        Blind::Io(error) => error.to_string(),
        Blind::Missing | Blind::Empty | Blind::Newer => "it cannot be read".to_owned(),
    };
    Finding::Damaged(piece.name(), reason)
}

fn named(piece: Piece, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{piece}: {error}"))
}

/// The directory of blobs.
pub(super) fn blobs(data: &Path) -> PathBuf {
    data.join("objects/blobs")
}

/// Returns true if a directory without an identity never contained data: it does not exist, or has at most the keys and
/// the empty databases and directories of a first start that failed.
fn is_untouched(data: &Path) -> io::Result<bool> {
    for piece in Piece::ALL {
        let holds = match View::open(piece, data) {
            Err(Blind::Missing | Blind::Empty) => false,
            Ok(view) => {
                let rows = match piece {
                    Piece::Index => "objects",
                    Piece::Table => crate::engines::TABLE,
                };
                let any = || -> rusqlite::Result<bool> {
                    let rows = view.has_table(rows)?.then(|| format!("SELECT 1 FROM \"{rows}\" LIMIT 1"));
                    rows.map_or(Ok(false), |rows| view.connection.prepare(&rows)?.exists([]))
                };
                view.stamp.is_some() || any().unwrap_or(true)
            }
            Err(Blind::Io(error)) => return Err(named(piece, error)),
            Err(Blind::Damaged(_) | Blind::Newer) => true,
        };
        if holds {
            return Ok(false);
        }
    }
    for shard in shards() {
        match fs::read_dir(blobs(data).join(shard)) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
