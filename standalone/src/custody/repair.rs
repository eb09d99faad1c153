//! Repairs a data directory that a start refuses, from the remaining parts, and reports what is lost.
//!
//! A repair first plans without changing anything; the plan can be shown. It can be repeated after a kill. It deletes
//! nothing: files that it replaces are moved to `set-aside/`, and blobs that no record refers to are moved to
//! `objects/unclaimed/`. Afterwards the next start adopts the directory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use xfiles_core::{
    blobs::HEAD_BYTES,
    catalog::Catalog,
    clock::{Clock, Timestamp},
    content_type::ContentType,
    error::Error,
    file::{File, LateCopies, State as FileState},
    id::{FileId, ProjectId},
    intent::{ByteSize, OriginalFilename, VariantPolicy},
    object_key::{ObjectKey, Visibility},
    operations::{NewProject, Projects},
    sniff,
};

use super::{
    CustodyError, Locks, Mismatch, adopt,
    database::{Blind, Piece, View, beside, settle},
    identity::FILE,
    records,
    survey::{Finding, Survey, blobs},
    take,
};
use crate::{
    dynamodb::Dynamo,
    engines::{BUCKET, TABLE, dynamodb_client},
    s3::salvage::{self, Blob, Row, Rows},
    secrets::{self, Secrets},
    stack::StackOptions,
};

/// The directory for replaced files, in the data directory.
const SET_ASIDE: &str = "set-aside";

/// The directory for unclaimed blobs, in the data directory.
const UNCLAIMED: &str = "objects/unclaimed";

/// The number of files without bytes that a report lists by id.
const NAMED: usize = 1_000;

/// The reason why nothing was repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The directory cannot be used.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The directory never contained data.
    #[error("{} is not a data directory: it was never used by `xf serve`", .0.display())]
    NoData(PathBuf),
    /// Too much is lost.
    #[error(
        "{} cannot be rebuilt: both the records (table.db) and the object index (objects/index.sqlite3) are lost. Only a \
         backup helps: `xf restore`. The bytes in objects/blobs are not changed or removed",
        .0.display()
    )]
    Hopeless(PathBuf),
    /// A part could not be read or written.
    #[error("{0}: {1}")]
    Failed(String, String),
    /// The records could not be written.
    #[error("writing the records: {0}")]
    Records(#[from] Error),
}

/// The findings, the steps, and the losses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings, one sentence each. Empty if there is nothing to repair.
    pub found: Vec<String>,
    /// The steps.
    pub steps: Vec<String>,
    /// Data that cannot be recovered, or may be wrong.
    pub lost: Vec<String>,
    /// Published files whose bytes are missing. Reading them fails until they are uploaded again or deleted.
    pub without_bytes: Vec<FileId>,
    /// The number of unclaimed blobs.
    pub unclaimed: u64,
    /// The number of records that are rebuilt from the index.
    pub readmitted: u64,
}

/// A planned repair. The directory is locked meanwhile.
pub struct Repair {
    data: PathBuf,
    locks: Locks,
    report: Report,
    strays: Vec<Piece>,
    shards: Vec<PathBuf>,
    index: Option<Rows>,
    unclaimed: Vec<Blob>,
    table: Table,
    secrets: bool,
}

/// The action for the metadata database.
enum Table {
    /// It is not changed.
    Keep,
    /// Some records are changed.
    Amend(Amendments),
    /// It is replaced by a new one.
    Rebuild(Amendments),
}

/// Changes of records.
#[derive(Default)]
struct Amendments {
    /// Published files whose records are lost.
    readmit: Vec<File>,
    /// Files whose objects were moved to this visibility after the records were written.
    moved: Vec<(FileId, Visibility)>,
}

impl Amendments {
    fn is_empty(&self) -> bool {
        self.readmit.is_empty() && self.moved.is_empty()
    }
}

impl Repair {
    /// Inspects an unused directory and plans the repair. Nothing is changed.
    pub fn plan(data: &Path) -> Result<Self, RepairError> {
        if !super::was_served(data) {
            return Err(RepairError::NoData(data.to_owned()));
        }
        let locks = take(data)?;
        let failed = |source| CustodyError::Io { path: data.to_owned(), source };
        let survey = Survey::of(data).map_err(failed)?;
        let mut repair = Self {
            data: data.to_owned(),
            locks,
            report: Report { found: survey.findings.iter().map(Finding::to_string).collect(), ..Report::default() },
            strays: Vec::new(),
            shards: Vec::new(),
            index: None,
            unclaimed: Vec::new(),
            table: Table::Keep,
            secrets: false,
        };
        let findings = survey.findings;
        if findings.iter().any(|found| matches!(found, Finding::Newer(_))) {
            return Err(CustodyError::from(Mismatch { data: data.to_owned(), findings }).into());
        }
        if !findings.is_empty() {
            repair.plan_parts(&findings);
            repair.plan_stores(&findings)?;
            repair.step(format_args!("record in {FILE} that the parts belong together"));
        }
        Ok(repair)
    }

    /// The findings and the planned steps.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns true if there is nothing to repair.
    pub fn is_needless(&self) -> bool {
        self.report.found.is_empty()
    }

    fn step(&mut self, step: impl ToString) {
        self.report.steps.push(step.to_string());
    }

    fn lost(&mut self, what: impl ToString) {
        self.report.lost.push(what.to_string());
    }

    /// Plans for keys, directories and logs.
    fn plan_parts(&mut self, findings: &[Finding]) {
        for finding in findings {
            match finding {
                Finding::Missing(secrets::FILE) | Finding::Damaged(secrets::FILE, _) => {
                    self.secrets = true;
                    self.step(format_args!("create new keys in {}", secrets::FILE));
                    self.lost(
                        "the keys: every signed URL and every upload URL that was issued is invalid, and S3 clients \
                         need the new access key",
                    );
                }
                Finding::OtherSecrets => {
                    self.step(format_args!("accept {} as it is", secrets::FILE));
                    self.lost("the keys that were used last: URLs signed with them may be invalid");
                }
                Finding::NoShard(shard) => {
                    self.shards.push(self.data.join(shard));
                    self.step(format_args!("create an empty directory {shard}"));
                }
                Finding::StrayLog(piece) => {
                    self.strays.push(*piece);
                    self.step(format_args!("move {piece}-wal aside"));
                }
                Finding::LostLog(piece) | Finding::NoMark(piece) => {
                    self.lost(format_args!("possibly the last changes in {piece} before the server ended"));
                }
                Finding::Older(part, reason) => self.lost(format_args!("later changes of {part} ({reason})")),
                _ => {}
            }
        }
    }

    /// Opens a database without changing it, if it can be read completely.
    fn view(&self, piece: Piece) -> Result<View, String> {
        let view = match self.strays.contains(&piece) {
            true => View::without_log(piece, &self.data),
            false => View::open(piece, &self.data),
        };
        let said = |blind: Blind| match blind {
            Blind::Missing => "it is missing".to_owned(),
            Blind::Empty => "it is empty".to_owned(),
            Blind::Damaged(reason) => reason,
            Blind::Newer => "a newer version wrote it".to_owned(),
            Blind::Io(error) => error.to_string(),
        };
        let view = view.map_err(said)?;
        view.check().map_err(said)?;
        Ok(view)
    }

    /// Plans for records, index and bytes.
    fn plan_stores(&mut self, findings: &[Finding]) -> Result<(), RepairError> {
        let is_suspect = |piece: Piece| findings.iter().any(|finding| finding.piece() == Some(piece));
        let is_damaged = |piece: Piece| {
            findings.iter().any(|found| matches!(found, Finding::Damaged(part, _) if *part == piece.name()))
        };
        let records = self.view(Piece::Table).and_then(|view| {
            let mut records = BTreeMap::new();
            records::each(&view.connection, |file| {
                records.insert(file.id.as_str().to_owned(), file);
                Ok(())
            })?;
            Ok(records)
        });
        let rows = self.view(Piece::Index).and_then(|view| Rows::read(&view.connection));
        let root = blobs(&self.data);
        let on_disk = salvage::blobs(&root)
            .map_err(|error| RepairError::Failed(root.display().to_string(), error.to_string()))?;
        let sorter = Sorter { root: &root, blobs: &on_disk, damaged_index: is_damaged(Piece::Index) };
        match (records, rows) {
            (Err(_), Err(_)) => return Err(RepairError::Hopeless(self.data.clone())),
            (Err(reason), Ok(rows)) => self.plan_records(&reason, rows, &sorter, is_suspect(Piece::Index)),
            (Ok(records), rows) => {
                if is_damaged(Piece::Table) {
                    let table = Piece::Table;
                    self.step(format_args!("accept {table} as it is"));
                    self.lost(format_args!(
                        "certainty about {table}: its content has changed, although SQLite finds no fault in \
                         it and every record of a file can be read"
                    ));
                } else if is_suspect(Piece::Table) && rows.is_ok() {
                    self.lost(
                        "changes of projects, API keys and webhooks after the time of table.db: keys that were revoked \
                         since then work again, so check them with `xf keys list`",
                    );
                }
                let trusts_index = is_suspect(Piece::Table) && !is_suspect(Piece::Index);
                let rows = rows.unwrap_or_else(|reason| {
                    self.lost(format_args!(
                        "the object index ({reason}): objects that S3 clients stored under other keys, and stored \
                         variants, which are rendered again on request"
                    ));
                    Rows::default()
                });
                self.plan_index(&records, rows, &sorter, is_suspect(Piece::Index), trusts_index);
            }
        }
        Ok(())
    }

    /// The records are lost: plans to rebuild them from the index.
    fn plan_records(&mut self, reason: &str, rows: Rows, sorter: &Sorter<'_>, rewrite: bool) {
        let mut amendments = Amendments::default();
        let (kept, gone): (Vec<Row>, Vec<Row>) = rows.objects.into_iter().partition(|row| sorter.has(row));
        let variants = variants_of(&kept);
        let mut strange = 0;
        for row in &kept {
            if let Some(Ok(ObjectKey::Original { .. })) = (row.bucket == BUCKET).then(|| row.key.parse()) {
                match sorter.record_of(row, &variants) {
                    Some(file) => amendments.readmit.push(file),
                    None => strange += 1,
                }
            }
        }
        let files = amendments.readmit.len();
        self.report.readmitted = files as u64;
        self.step(format_args!(
            "create a new table.db ({reason}) with a record for each of {files} published files, in projects with new names"
        ));
        self.lost(
            "names of projects, clients' file names, owners, entities, quotas, API keys and webhooks; the next start \
             creates a project's first key and prints it",
        );
        self.lost("uploads that were not confirmed");
        if strange > 0 {
            self.lost(format_args!("{strange} objects with a type or size that no file can have"));
        }
        if !gone.is_empty() {
            self.lost(format_args!("{} objects whose bytes are missing", gone.len()));
        }
        if rewrite || !gone.is_empty() {
            self.step(format_args!("create a new {} with {} objects", Piece::Index, kept.len()));
            self.unclaim(sorter, &kept);
            self.index = Some(Rows { buckets: rows.buckets, objects: kept });
        }
        self.table = Table::Rebuild(amendments);
    }

    /// Plans to rebuild the index from the records. `trusts_index` is set if the records may be the outdated part.
    fn plan_index(
        &mut self,
        records: &BTreeMap<String, File>,
        rows: Rows,
        sorter: &Sorter<'_>,
        rewrite: bool,
        trusts_index: bool,
    ) {
        let Rows { mut buckets, objects } = rows;
        let mut amendments = Amendments::default();
        let variants = variants_of(&objects);
        let mut moved: BTreeSet<String> = BTreeSet::new();
        // Rows of our bucket by key; and rows of other clients.
        let (mut ours, mut others): (BTreeMap<String, Row>, Vec<Row>) = Default::default();
        // Rows that are not kept still identify the content of blobs.
        let mut known: HashMap<(String, u64), &Row> = HashMap::new();
        let mut dropped = 0_u64;
        for row in &objects {
            if !sorter.has(row) {
                continue;
            }
            if !sorter.damaged_index {
                known.insert((row.md5.clone(), row.size), row);
            }
            let key = if row.bucket == BUCKET { row.key.parse::<ObjectKey>().ok() } else { None };
            let Some(key) = key else {
                others.push(row.clone());
                continue;
            };
            match records.get(key.file().as_str()) {
                Some(file) if is_published_at(file, &key) => {
                    if records::published_etag(file) == Some(row.md5.as_str()) && sorter.vouches_for(row) {
                        ours.insert(row.key.clone(), row.clone());
                    }
                }
                Some(file) if file.accounts_for(&key) => match key {
                    ObjectKey::Variant { .. } if sorter.damaged_index => dropped += 1,
                    _ if sorter.vouches_for(row) => drop(ours.insert(row.key.clone(), row.clone())),
                    _ => dropped += 1,
                },
                Some(file) if trusts_index && has_moved(file, &key, row) => {
                    if let ObjectKey::Original { visibility, .. } = key {
                        amendments.moved.push((file.id, visibility));
                        moved.insert(file.id.as_str().to_owned());
                    }
                    ours.insert(row.key.clone(), row.clone());
                }
                None if trusts_index => {
                    if let (ObjectKey::Original { .. }, Some(file)) = (&key, sorter.record_of(row, &variants)) {
                        amendments.readmit.push(file);
                    }
                    ours.insert(row.key.clone(), row.clone());
                }
                _ => dropped += 1,
            }
        }
        let mut wanted: Vec<(&File, ObjectKey)> = Vec::new();
        let mut unfinished = 0_u64;
        for file in records.values().filter(|file| !moved.contains(file.id.as_str())) {
            let at = |key: &ObjectKey| ours.contains_key(&key.to_string());
            match &file.state {
                FileState::Confirmed { .. } | FileState::Moving { .. } if !at(&file.original_key()) => {
                    wanted.push((file, file.original_key()));
                }
                FileState::Confirming { .. } if !at(&file.staging_key()) && !at(&file.original_key()) => {
                    wanted.push((file, file.staging_key()));
                }
                FileState::Pending if rewrite && !at(&file.staging_key()) => match file.checksum {
                    Some(_) => wanted.push((file, file.staging_key())),
                    None => unfinished += 1,
                },
                _ => {}
            }
        }
        let changes_rows = rewrite || !wanted.is_empty();
        let used: BTreeSet<&str> = ours.values().chain(&others).map(|row| row.blob.as_str()).collect();
        let hashed = sorter.hash(&wanted, &used);
        let (mut found, mut missing) = (0_u64, Vec::new());
        for (file, key) in wanted {
            let etag = match &file.state {
                FileState::Confirming { etag } => Some(etag.trim_matches('"')),
                _ => records::published_etag(file),
            };
            let size = file.size.bytes();
            let row = etag.and_then(|etag| {
                let row = known.get(&(etag.to_owned(), size))?;
                let blob = Blob { modified: row.modified, ..sorter.blobs[&row.blob].clone() };
                Some(Row::of_record(BUCKET, file, &key, &blob, etag))
            });
            let row = row.or_else(|| {
                let digests = hashed.iter().find(|hashed| hashed.is_of(file, etag))?;
                Some(Row::of_record(BUCKET, file, &key, digests.blob, &digests.md5))
            });
            match (row, etag) {
                (Some(row), _) => {
                    found += 1;
                    ours.insert(row.key.clone(), row);
                }
                (None, Some(etag)) if file.is_confirmed() => {
                    let row = Row::of_record(BUCKET, file, &key, &Blob::gone(size, file.created), etag);
                    ours.insert(row.key.clone(), row);
                    missing.push(file.id);
                }
                (None, _) => unfinished += 1,
            }
        }
        self.report.readmitted = amendments.readmit.len() as u64;
        if !amendments.is_empty() {
            let (readmit, moved) = (amendments.readmit.len(), amendments.moved.len());
            self.step(format_args!(
                "add {readmit} records of published files that table.db does not have, and correct the visibility of {moved}"
            ));
            self.lost(
                "of the added records: clients' file names, owners and entities; a file that was deleted after the time of \
                 table.db and before that of the index is not restored",
            );
            self.table = Table::Amend(amendments);
        }
        if !changes_rows {
            return;
        }
        let rows: Vec<Row> = ours.into_values().chain(others).collect();
        self.step(format_args!(
            "create a new {} with {} objects, {found} of them found by their bytes",
            Piece::Index,
            rows.len() - missing.len()
        ));
        if dropped > 0 {
            self.lost(format_args!(
                "{dropped} rows of objects that no record accounts for, or variants, which are rendered again on \
                 request"
            ));
        }
        if unfinished > 0 {
            self.lost(format_args!(
                "{unfinished} uploads that were not confirmed: if their bytes had arrived, they must be uploaded again"
            ));
        }
        if !missing.is_empty() {
            self.lost(format_args!(
                "the bytes of {} published file(s); their records remain, and reading them fails: upload them again, \
                 or delete them with `xf rm`",
                missing.len()
            ));
            missing.truncate(NAMED);
            self.report.without_bytes = missing;
        }
        self.unclaim(sorter, &rows);
        if !buckets.contains_key(BUCKET) {
            let oldest = rows.iter().map(|row| row.modified.as_millis()).min();
            buckets.insert(BUCKET.to_owned(), oldest.unwrap_or_default());
        }
        self.index = Some(Rows { buckets, objects: rows });
    }

    /// Collects the blobs that no row refers to.
    fn unclaim(&mut self, sorter: &Sorter<'_>, rows: &[Row]) {
        let used: BTreeSet<&str> = rows.iter().map(|row| row.blob.as_str()).collect();
        self.unclaimed = sorter.blobs.values().filter(|blob| !used.contains(blob.name.as_str())).cloned().collect();
        self.report.unclaimed = self.unclaimed.len() as u64;
        if !self.unclaimed.is_empty() {
            self.step(format_args!("move {} blobs that no record refers to into {UNCLAIMED}", self.unclaimed.len()));
        }
    }

    /// Carries out the plan. After a kill, it can be repeated on the remaining state.
    pub async fn carry_out(mut self) -> Result<Report, RepairError> {
        if self.is_needless() {
            return Ok(self.report);
        }
        let aside = self.make_aside()?;
        for piece in std::mem::take(&mut self.strays) {
            let path = piece.path(&self.data);
            set_aside(&beside(&path, "-wal"), &aside)?;
            set_aside(&beside(&path, "-shm"), &aside)?;
        }
        for shard in &self.shards {
            fs::create_dir_all(shard).map_err(|e| failed(shard, &e))?;
        }
        self.settle_secrets(&aside)?;
        match std::mem::replace(&mut self.table, Table::Keep) {
            Table::Keep => {}
            Table::Amend(amendments) => {
                let path = Piece::Table.path(&self.data);
                for ending in ["", "-wal"] {
                    copy_aside(&beside(&path, ending), &aside)?;
                }
                write_records(&path, &amendments).await?;
            }
            Table::Rebuild(amendments) => {
                let path = self.data.join("table.rebuilt");
                remove(&path)?;
                write_records(&path, &amendments).await?;
                settle(&path).map_err(|reason| RepairError::Failed(path.display().to_string(), reason))?;
                replace(&path, &Piece::Table.path(&self.data), &aside)?;
            }
        }
        if let Some(rows) = self.index.take() {
            let path = self.data.join("objects/index.rebuilt");
            remove(&path)?;
            rows.write(&path).map_err(|reason| RepairError::Failed(path.display().to_string(), reason))?;
            replace(&path, &Piece::Index.path(&self.data), &aside)?;
        }
        self.move_unclaimed()?;
        adopt(&self.locks, &self.data)?;
        drop(self.locks);
        Ok(self.report)
    }

    /// A new directory for the files that this repair replaces.
    fn make_aside(&self) -> Result<PathBuf, RepairError> {
        use std::os::unix::fs::DirBuilderExt as _;

        let all = self.data.join(SET_ASIDE);
        let private = |recursive| {
            let mut builder = fs::DirBuilder::new();
            builder.mode(0o700).recursive(recursive);
            builder
        };
        private(true).create(&all).map_err(|e| failed(&all, &e))?;
        for number in 1_u32.. {
            let aside = all.join(number.to_string());
            match private(false).create(&aside) {
                Ok(()) => return Ok(aside),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&aside, &error)),
            }
        }
        unreachable!("some number is free")
    }

    /// Creates new keys if they are lost.
    fn settle_secrets(&self, aside: &Path) -> Result<(), RepairError> {
        if self.secrets {
            set_aside(&self.data.join(secrets::FILE), aside)?;
            let (_, bytes) = Secrets::generate();
            Secrets::write(&self.data, &bytes).map_err(CustodyError::from)?;
        }
        Ok(())
    }

    fn move_unclaimed(&self) -> Result<(), RepairError> {
        if self.unclaimed.is_empty() {
            return Ok(());
        }
        let (root, unclaimed) = (blobs(&self.data), self.data.join(UNCLAIMED));
        fs::create_dir_all(&unclaimed).map_err(|e| failed(&unclaimed, &e))?;
        for blob in &self.unclaimed {
            let path = blob.path(&root);
            fs::rename(&path, unclaimed.join(&blob.name)).map_err(|e| failed(&path, &e))?;
        }
        Ok(())
    }
}

/// Returns true if this key is the place of the published bytes according to the record.
fn is_published_at(file: &File, key: &ObjectKey) -> bool {
    records::published_etag(file).is_some() && *key == file.original_key()
}

/// Returns true if the published bytes are at the other visibility than the record says.
fn has_moved(file: &File, key: &ObjectKey, row: &Row) -> bool {
    let ObjectKey::Original { visibility, .. } = key else { return false };
    *key == file.original_key_at(*visibility) && records::published_etag(file) == Some(row.md5.as_str())
}

/// The files that have stored variants, with the visibility of these.
fn variants_of(rows: &[Row]) -> HashMap<String, Visibility> {
    let variant = |row: &Row| match (row.bucket == BUCKET).then(|| row.key.parse()) {
        Some(Ok(ObjectKey::Variant { visibility, file, .. })) => Some((file.as_str().to_owned(), visibility)),
        _ => None,
    };
    rows.iter().filter_map(variant).collect()
}

/// Matches blobs and files.
struct Sorter<'a> {
    root: &'a Path,
    blobs: &'a BTreeMap<String, Blob>,
    /// Whether a row of the index may refer to a wrong blob.
    damaged_index: bool,
}

struct Hashed<'a> {
    blob: &'a Blob,
    md5: String,
    sha256: [u8; 32],
}

impl Hashed<'_> {
    /// Returns true if the bytes are those of the file, by ETag, size, and checksum if it has one.
    fn is_of(&self, file: &File, etag: Option<&str>) -> bool {
        let declared = file.checksum.map(|sum| sum.to_string());
        self.blob.size == file.size.bytes()
            && etag.is_none_or(|etag| etag == self.md5)
            && declared.as_ref().is_none_or(|sum| *sum == BASE64_STANDARD.encode(self.sha256))
            && (etag.is_some() || declared.is_some())
    }
}

impl Sorter<'_> {
    /// Returns true if the bytes of an object exist with the right length.
    fn has(&self, row: &Row) -> bool {
        self.blobs.get(&row.blob).is_some_and(|blob| blob.size == row.size)
    }

    /// Returns true if the row's blob has the row's content. It is read only if the row may be wrong.
    fn vouches_for(&self, row: &Row) -> bool {
        !self.damaged_index || self.blobs[&row.blob].digests(self.root).is_ok_and(|(md5, _)| md5 == row.md5)
    }

    /// Hashes the blobs whose size is that of a wanted file.
    fn hash<'b>(&'b self, wanted: &[(&File, ObjectKey)], used: &BTreeSet<&str>) -> Vec<Hashed<'b>> {
        let sizes: BTreeSet<u64> = wanted.iter().map(|(file, _)| file.size.bytes()).collect();
        let fits =
            |blob: &&Blob| sizes.contains(&blob.size) && (self.damaged_index || !used.contains(blob.name.as_str()));
        let digests = |blob: &'b Blob| match blob.digests(self.root) {
            Ok((md5, sha256)) => Some(Hashed { blob, md5, sha256 }),
            Err(error) => {
                tracing::warn!(%error, "a blob cannot be read and is treated as lost");
                None
            }
        };
        self.blobs.values().filter(fits).filter_map(digests).collect()
    }

    /// Rebuilds the record of a published file from its object. `None` if no file can have such an object.
    fn record_of(&self, row: &Row, variants: &HashMap<String, Visibility>) -> Option<File> {
        let ObjectKey::Original { visibility, project, file: id, name } = row.key.parse().ok()? else { return None };
        let content_type: ContentType = row.content_type()?.parse().ok()?;
        let head = self.blobs.get(&row.blob).and_then(|blob| blob.head(self.root, HEAD_BYTES).ok());
        let dimensions = head.and_then(|head| sniff::dimensions(&content_type, &head));
        let shown = variants.get(id.as_str());
        Some(File {
            id,
            project,
            original_filename: OriginalFilename::new(name.to_string())?,
            name,
            size: ByteSize::new(row.size)?,
            visibility,
            owner: None,
            entity: None,
            variants: shown.map_or_else(VariantPolicy::default, |visibility| VariantPolicy {
                enabled: true,
                visibility: *visibility,
            }),
            checksum: row.sha256(),
            dimensions,
            thumbhash: None,
            created: row.modified,
            uploader: None,
            url_expires: None,
            state: FileState::Confirmed { etag: format!("\"{}\"", row.md5), owes: None },
            due: None,
            late_copies: LateCopies::default(),
            version: 1,
            epoch: 1,
            revision: 1,
            content_type,
        })
    }
}

/// Writes records into a metadata database, which is created if it does not exist.
async fn write_records(path: &Path, amendments: &Amendments) -> Result<(), RepairError> {
    let dynamo = Dynamo::open(path).map_err(|e| RepairError::Failed(path.display().to_string(), e.to_string()))?;
    let clock = Clock::system();
    let projects = Projects::new(Catalog::new(dynamodb_client(dynamo.http_client(), clock.clone()), TABLE), clock);
    projects.create_table().await?;
    let mut oldest: BTreeMap<String, (ProjectId, Timestamp)> = BTreeMap::new();
    for file in &amendments.readmit {
        let (_, created) = oldest.entry(file.project.as_str().to_owned()).or_insert((file.project, file.created));
        *created = (*created).min(file.created);
    }
    for (id, created) in oldest.into_values() {
        let new = NewProject { name: format!("recovered {id}"), quota_bytes: StackOptions::DEFAULT_QUOTA };
        projects.readmit_project(id, new, created).await?;
    }
    for file in &amendments.readmit {
        projects.readmit_file(file).await?;
    }
    for (id, visibility) in &amendments.moved {
        projects.correct_visibility(*id, *visibility).await?;
    }
    // Dropping the engine closes and syncs the database.
    drop(projects);
    drop(tokio::task::spawn_blocking(move || drop(dynamo)).await);
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> RepairError {
    RepairError::Failed(path.display().to_string(), error.to_string())
}

/// Replaces a database, and moves the old one with its log aside.
fn replace(new: &Path, old: &Path, aside: &Path) -> Result<(), RepairError> {
    // The log first, so that it is not used with the new database.
    for ending in ["-wal", "-shm"] {
        set_aside(&beside(old, ending), aside)?;
    }
    copy_aside(old, aside)?;
    fs::rename(new, old).map_err(|e| failed(old, &e))?;
    let directory = old.parent().expect("a database is in a directory");
    fs::File::open(directory).and_then(|open| open.sync_all()).map_err(|e| failed(directory, &e))
}

fn name_of(path: &Path) -> &std::ffi::OsStr {
    path.file_name().expect("a part of a data directory has a name")
}

/// Moves a file aside, if it exists.
fn set_aside(path: &Path, aside: &Path) -> Result<(), RepairError> {
    match fs::rename(path, aside.join(name_of(path))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

/// Copies a file aside, if it exists.
fn copy_aside(path: &Path, aside: &Path) -> Result<(), RepairError> {
    match fs::copy(path, aside.join(name_of(path))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

/// Removes the leftovers of an earlier repair.
fn remove(path: &Path) -> Result<(), RepairError> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let path = beside(path, ending);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path, &error)),
            _ => {}
        }
    }
    Ok(())
}
