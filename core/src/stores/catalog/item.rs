//! Files, projects and API keys as DynamoDB items, and the table's keys and indexes. The items of webhooks, events,
//! idempotency keys and findings are built in the files of those records.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest as _, Sha256};

use crate::{
    api_key::{KeyHash, Scope},
    clock::Timestamp,
    error::{Cause, Error, Result},
    file::{File, LateCopies, Leftovers, State},
    id::{FileId, KeyId, ProjectId},
    intent::{ByteSize, Entity, EntityWord, OriginalFilename, OwnerId, Position, VariantPolicy},
    object_key::{ObjectKey, Visibility},
    records::{Clearing, Debtor, KeyRecord, NamePrefix, Project},
    sniff::Dimensions,
};

pub(super) type Item = HashMap<String, AttributeValue>;

/// The table's key attributes.
pub(super) const PK: &str = "PK";
pub(super) const SK: &str = "SK";

/// One of the table's sparse global secondary indexes: its name and its key attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// The index's name.
    pub name: &'static str,
    /// Its partition key attribute.
    pub pk: &'static str,
    /// Its sort key attribute.
    pub sk: &'static str,
}

/// What a project has, newest last: confirmed files, and keys.
pub const LIST: Index = Index { name: "list", pk: "listPK", sk: "listSK" };
/// The confirmed files of one type of entity: entity by entity, each by position.
pub const ENTITY: Index = Index { name: "entity", pk: "entityPK", sk: "entitySK" };
/// An owner's confirmed files.
pub const OWNER: Index = Index { name: "owner", pk: "ownerPK", sk: "ownerSK" };
/// Files that owe work, by when it is due.
pub const DUE: Index = Index { name: "due", pk: "duePK", sk: "dueSK" };

/// All indexes.
pub const INDEXES: [Index; 4] = [LIST, ENTITY, OWNER, DUE];

/// What the indexes carry beside their keys, so that a list can be filtered without reading the files.
pub const PROJECTED: [&str; 10] = [
    "visibility",
    "variantsVisibility",
    "owner",
    "entityType",
    "entityId",
    "entityRole",
    "entityPosition",
    "created",
    "contentType",
    "nameKey",
];

/// The only attribute of a file that is written by itself: by the worker, which may write no other.
pub const THUMBHASH: &str = "thumbhash";

/// How many partitions the due index is spread over. One takes about 1,000 written units a second, of which an upload
/// is four; each is a query of every sweep.
pub(super) const DUE_SHARDS: u8 = 8;

/// Project counters, which expressions in the catalog update.
pub(super) const QUOTA_BYTES: &str = "quotaBytes";
pub(super) const FREE_BYTES: &str = "freeBytes";
pub(super) const RESERVED_BYTES: &str = "reservedBytes";
pub(super) const FILE_COUNT: &str = "fileCount";
/// These came later: an item that was written before lacks them, and an expression reads them as zero.
pub(super) const PENDING_UPLOADS: &str = "pendingUploads";
pub(super) const LATE_BYTES: &str = "lateBytes";
/// How the names of the counters of pending uploads begin that each API key has.
const PENDING_OF_KEY: &str = "pendingOf_";
/// Set on a project that takes no new uploads, because it is being removed.
pub(super) const CLOSED: &str = "closed";
pub(super) const VERSION: &str = "version";
/// Which write of a file made its item.
pub(super) const WRITE: &str = "write";
pub(super) const REVOKED_AT: &str = "revokedAt";

/// The counter of the uploads that one API key has pending.
pub(super) fn pending_of_key(key: KeyId) -> String {
    format!("{PENDING_OF_KEY}{key}")
}

pub(super) fn file_key(id: FileId) -> Item {
    key(format!("F#{id}"), "F")
}

pub(super) fn project_key(id: ProjectId) -> Item {
    key(format!("P#{id}"), "P")
}

pub(super) fn api_key_key(hash: &KeyHash) -> Item {
    key(format!("K#{}", hash.as_str()), "K")
}

/// Where the reconciliation's walk is.
pub(super) fn walk_key() -> Item {
    key("R".to_owned(), "R")
}

/// That an object has no record.
pub(super) fn orphan_key(object: &ObjectKey) -> Item {
    key(format!("O#{object}"), "O")
}

/// That a project's free bytes are off.
pub(super) fn drift_key(project: ProjectId) -> Item {
    key(format!("D#{project}"), "D")
}

pub(super) fn key(pk: String, sk: &str) -> Item {
    Item::from([(PK.to_owned(), AttributeValue::S(pk)), (SK.to_owned(), AttributeValue::S(sk.to_owned()))])
}

/// The record of one request under one idempotency key. The key is hashed: it may hold any characters.
pub(super) fn once_key(project: ProjectId, key: &str) -> Item {
    self::key(format!("I#{project}#{}", digest(&[key])), "I")
}

/// The list-index partition of a project's files.
pub(super) fn files_of(project: ProjectId) -> String {
    format!("P#{project}")
}

/// The list-index partition of a project's keys.
pub(super) fn keys_of(project: ProjectId) -> String {
    format!("P#{project}#K")
}

/// The list-index partition of all projects.
pub(super) const PROJECTS: &str = "PROJECTS";

/// The entity-index partition of one type of entity. Words are hashed: whatever they contain, no two types share a
/// partition, and the key stays under DynamoDB's 2,048 bytes.
pub(super) fn files_of_type(project: ProjectId, kind: &EntityWord) -> String {
    format!("P#{project}#E#{}", digest(&[kind.as_str()]))
}

/// How the entity-index sort keys of one entity begin. Half a digest, so that a cursor stays short; whoever reads the
/// entries compares their words as well.
pub(super) fn beginning_of_entity(id: &EntityWord) -> String {
    format!("{}#", &digest(&[id.as_str()])[..32])
}

/// The owner-index partition of one owner.
pub(super) fn files_of_owner(project: ProjectId, owner: &OwnerId) -> String {
    format!("P#{project}#O#{}", digest(&[owner.as_str()]))
}

/// A due-index partition.
pub(super) fn due_shard(shard: u8) -> String {
    format!("W#{shard:02}")
}

/// The due-index attributes of a record that owes work from that time on.
pub(super) fn due_entry(id: &str, due: Timestamp) -> [(&'static str, String); 2] {
    let shard = Sha256::digest(id)[0] % DUE_SHARDS;
    [(DUE.pk, due_shard(shard)), (DUE.sk, format!("{}#{id}", millis(due)))]
}

/// The upload that a due-index entry is about, if it is one of the project's that are under way. An entry that was
/// written before entries named the project is not found; an upload that old is due within half an hour.
pub(super) fn pending_upload(item: &Item, project: ProjectId) -> Result<Option<FileId>> {
    let position = Reader(item).text(DUE.sk)?;
    let of_project = position.split('#').nth(2).is_some_and(|found| found == project.as_str());
    of_project.then(|| file_id(item)).transpose()
}

/// What an item is called in a log: its keys, which hold ids and hashes alone.
pub(super) fn name(item: &Item) -> String {
    let part = |name| item.get(name).and_then(|key| key.as_s().ok()).map_or("?", String::as_str);
    format!("{} {}", part(PK), part(SK))
}

/// Whom a due-index entry is about.
pub(super) fn debtor(item: &Item) -> Result<Debtor> {
    let pk = Reader(item).text(PK)?;
    let file = pk.strip_prefix("F#").and_then(|id| id.parse().ok()).map(Debtor::File);
    let project = || pk.strip_prefix("P#").and_then(|id| id.parse().ok()).map(Debtor::Project);
    file.or_else(project).ok_or_else(|| corrupt(PK))
}

/// The due-index sort key just after everything that is due at `now`.
pub(super) fn due_until(now: Timestamp) -> String {
    format!("{}$", millis(now))
}

fn digest(words: &[&str]) -> String {
    let mut hash = Sha256::new();
    for word in words {
        hash.update((word.len() as u64).to_be_bytes());
        hash.update(word.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// Milliseconds in a fixed number of digits, so that text order is time order until the year 5138.
pub(super) fn millis(t: Timestamp) -> String {
    format!("{:014}", t.as_millis())
}

pub(super) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(super) fn file_to_item(file: &File) -> Item {
    let mut item = file_key(file.id);
    let mut set = |name: &str, value: AttributeValue| {
        item.insert(name.to_owned(), value);
    };
    set("project", s(file.project.as_str()));
    set("name", s(file.name.to_string()));
    set("originalFilename", s(file.original_filename.as_str()));
    // A pending upload is compared with what its client declared; a published one has forgotten it.
    set("contentType", s(file.content_type.declared()));
    set("size", n(file.size.bytes()));
    set("visibility", s(file.visibility.as_str()));
    set("variantsEnabled", AttributeValue::Bool(file.variants.enabled));
    set("variantsVisibility", s(file.variants.visibility.as_str()));
    set("created", n(file.created.as_millis()));
    if let Some(uploader) = file.uploader {
        set("uploader", s(uploader.as_str()));
    }
    if let Some(expires) = file.url_expires {
        set("urlExpires", n(expires.as_millis()));
    }
    set(VERSION, n(file.version));
    set("epoch", n(file.epoch));
    if let Some(owner) = &file.owner {
        set("owner", s(owner.as_str()));
    }
    if let Some(entity) = &file.entity {
        set("entityType", s(entity.kind.as_str()));
        set("entityId", s(entity.id.as_str()));
        set("entityPosition", n(entity.position.0));
        if let Some(role) = &entity.role {
            set("entityRole", s(role.as_str()));
        }
    }
    if let Some(checksum) = file.checksum {
        set("checksumSha256", s(checksum.to_string()));
    }
    if let Some(Dimensions { width, height }) = file.dimensions {
        set("width", n(width));
        set("height", n(height));
    }
    if let Some(thumbhash) = &file.thumbhash {
        set(THUMBHASH, s(thumbhash.to_string()));
    }
    set("status", s(file.state.as_str()));
    if let State::Confirming { etag } | State::Confirmed { etag, .. } | State::Moving { etag, .. } = &file.state {
        set("etag", s(etag));
    }
    if let State::Moving { to, .. } = &file.state {
        set("movingTo", s(to.as_str()));
    }
    if let State::Confirmed { owes: Some(leftovers), .. }
    | State::Moving { leaves: leftovers, .. }
    | State::Deleting { leaves: leftovers }
    | State::Removed { leaves: leftovers, .. } = &file.state
    {
        set("purge", s(leftovers_to_text(*leftovers)));
    }
    if let State::Removed { late: true, .. } = &file.state {
        set("late", AttributeValue::Bool(true));
    }
    set("revision", n(file.revision));

    let place = format!("{}#{}", millis(file.created), file.id);
    if let Some(due) = file.due {
        let [(pk, shard), (sk, mut position)] = due_entry(file.id.as_str(), due);
        if file.is_upload_under_way() {
            position.push_str(&format!("#{}", file.project));
        }
        set(pk, s(shard));
        set(sk, s(position));
        set("due", n(due.as_millis()));
    }
    for (visibility, attribute) in LATE_COPIES {
        if let Some(until) = file.late_copies.at(visibility) {
            set(attribute, n(until.as_millis()));
        }
    }
    if file.is_confirmed() {
        set(LIST.pk, s(files_of(file.project)));
        set(LIST.sk, s(&place));
        set("nameKey", s(NamePrefix::key_of(file.original_filename.as_str())));
        if let Some(owner) = &file.owner {
            set(OWNER.pk, s(files_of_owner(file.project, owner)));
            set(OWNER.sk, s(&place));
        }
        if let Some(entity) = &file.entity {
            set(ENTITY.pk, s(files_of_type(file.project, &entity.kind)));
            set(ENTITY.sk, s(format!("{}{:010}#{place}", beginning_of_entity(&entity.id), entity.position.0)));
        }
    }
    item
}

/// A file from its item in DynamoDB's JSON, as an engine on one machine keeps it.
pub fn file_from_json(json: &serde_json::Value) -> Result<File> {
    let attributes = json.as_object().ok_or_else(|| corrupt(PK))?;
    let value = |value: &serde_json::Value| {
        let (kind, value) = value.as_object()?.iter().next()?;
        match kind.as_str() {
            "S" => value.as_str().map(s),
            "N" => value.as_str().map(n),
            "BOOL" => value.as_bool().map(AttributeValue::Bool),
            _ => None,
        }
    };
    // A file has attributes of these three kinds; one of another kind is missed if it is needed.
    let item = attributes.iter().filter_map(|(name, found)| Some((name.clone(), value(found)?))).collect();
    file_from_item(&item)
}

pub(super) fn file_from_item(item: &Item) -> Result<File> {
    let read = Reader(item);
    let etag = || read.text("etag").map(str::to_owned);
    let leftovers = || Ok::<_, Error>(read.maybe_text("purge")?.map(leftovers_from_text));
    let state = match read.text("status")? {
        "pending" => State::Pending,
        "confirming" => State::Confirming { etag: etag()? },
        "confirmed" => State::Confirmed { etag: etag()?, owes: leftovers()?.filter(|leftovers| !leftovers.is_empty()) },
        "moving" => {
            State::Moving { etag: etag()?, to: read.parsed("movingTo")?, leaves: leftovers()?.unwrap_or_default() }
        }
        "expiring" => State::Expiring,
        "deleting" => State::Deleting { leaves: leftovers()?.unwrap_or_default() },
        "removed" => State::Removed { leaves: leftovers()?.unwrap_or_default(), late: item.contains_key("late") },
        _ => return Err(corrupt("status")),
    };
    let late_copies = |name| Ok::<_, Error>(read.maybe_number(name)?.map(Timestamp::from_millis));
    let dimensions = match (read.maybe_number("width")?, read.maybe_number("height")?) {
        (Some(width), Some(height)) => Some(Dimensions { width, height }),
        _ => None,
    };
    Ok(File {
        id: file_id(item)?,
        project: read.parsed("project")?,
        name: read.parsed("name")?,
        original_filename: OriginalFilename::new(read.text("originalFilename")?)
            .ok_or_else(|| corrupt("originalFilename"))?,
        content_type: read.parsed("contentType")?,
        size: ByteSize::new(read.number("size")?).ok_or_else(|| corrupt("size"))?,
        visibility: read.parsed("visibility")?,
        owner: read.maybe_text("owner")?.and_then(OwnerId::new),
        entity: entity_of(&read)?,
        variants: VariantPolicy {
            enabled: read.flag("variantsEnabled")?,
            visibility: read.parsed("variantsVisibility")?,
        },
        checksum: read
            .maybe_text("checksumSha256")?
            .map(|t| t.parse().map_err(|_| corrupt("checksumSha256")))
            .transpose()?,
        dimensions,
        thumbhash: read.maybe_text(THUMBHASH)?.map(|t| t.parse().map_err(|_| corrupt(THUMBHASH))).transpose()?,
        created: Timestamp::from_millis(read.number("created")?),
        uploader: read.maybe_text("uploader")?.map(|t| t.parse().map_err(|_| corrupt("uploader"))).transpose()?,
        url_expires: read.maybe_number("urlExpires")?.map(Timestamp::from_millis),
        state,
        due: read.maybe_number("due")?.map(Timestamp::from_millis),
        late_copies: LateCopies::new(late_copies(LATE_COPIES[0].1)?, late_copies(LATE_COPIES[1].1)?),
        version: read.number(VERSION)?,
        epoch: read.number("epoch")?,
        revision: read.number("revision")?,
    })
}

/// Until when late copies may create the original, at each visibility.
const LATE_COPIES: [(Visibility, &str); 2] = [(Visibility::Public, "latePublic"), (Visibility::Private, "latePrivate")];

/// Leftovers as words, such as `original:public variants:public again`.
fn leftovers_to_text(leftovers: Leftovers) -> String {
    let original = leftovers.original.map(|v| format!("original:{v}"));
    let variants = leftovers.variants().map(|v| format!("variants:{v}"));
    let again = leftovers.again.then(|| "again".to_owned());
    let moved = leftovers.moved.then(|| "moved".to_owned());
    original.into_iter().chain(variants).chain(again).chain(moved).collect::<Vec<_>>().join(" ")
}

fn leftovers_from_text(text: &str) -> Leftovers {
    let has = |word: &str| text.split(' ').any(|found| found == word);
    Leftovers {
        original: Visibility::ALL.into_iter().find(|v| has(&format!("original:{v}"))),
        public_variants: has("variants:public"),
        private_variants: has("variants:private"),
        again: has("again"),
        moved: has("moved"),
    }
}

fn entity_of(read: &Reader<'_>) -> Result<Option<Entity>> {
    let (Some(kind), Some(id)) = (read.maybe_text("entityType")?, read.maybe_text("entityId")?) else {
        return Ok(None);
    };
    Ok(Some(Entity {
        kind: EntityWord::new(kind).ok_or_else(|| corrupt("entityType"))?,
        id: EntityWord::new(id).ok_or_else(|| corrupt("entityId"))?,
        role: read.maybe_text("entityRole")?.and_then(EntityWord::new),
        position: Position(read.number("entityPosition")?),
    }))
}

/// The file that an item, or an index entry, is about.
pub(super) fn file_id(item: &Item) -> Result<FileId> {
    let pk = Reader(item).text(PK)?;
    pk.strip_prefix("F#").and_then(|id| id.parse().ok()).ok_or_else(|| corrupt(PK))
}

/// What an index entry says about a file: enough to sort. Filters are compared in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: FileId,
    pub(super) position: u32,
    /// The order of arrival.
    pub(super) place: (Timestamp, FileId),
}

pub(super) fn entry_from_item(item: &Item) -> Result<Entry> {
    let read = Reader(item);
    let (id, created) = (file_id(item)?, Timestamp::from_millis(read.number("created")?));
    Ok(Entry { id, position: read.maybe_number("entityPosition")?.unwrap_or(0), place: (created, id) })
}

/// An index entry's sort key.
pub(super) fn sort_key(item: &Item, index: Index) -> Result<String> {
    Reader(item).text(index.sk).map(str::to_owned)
}

pub(super) fn project_to_item(project: &Project) -> Item {
    let mut item = project_key(project.id);
    item.insert("name".to_owned(), s(&project.name));
    item.insert(QUOTA_BYTES.to_owned(), n(project.quota_bytes));
    item.insert(FREE_BYTES.to_owned(), n(project.free_bytes));
    item.insert(RESERVED_BYTES.to_owned(), n(project.reserved_bytes));
    item.insert(FILE_COUNT.to_owned(), n(project.file_count));
    item.insert(PENDING_UPLOADS.to_owned(), n(project.pending_uploads));
    item.insert(LATE_BYTES.to_owned(), n(project.late_bytes));
    for (key, uploads) in &project.pending_by_key {
        item.insert(pending_of_key(*key), n(uploads));
    }
    item.insert("created".to_owned(), n(project.created.as_millis()));
    item.insert(LIST.pk.to_owned(), s(PROJECTS));
    item.insert(LIST.sk.to_owned(), s(format!("{}#{}", millis(project.created), project.id)));
    item
}

pub(super) fn project_from_item(item: &Item) -> Result<Project> {
    let read = Reader(item);
    let id = read.text(PK)?.strip_prefix("P#").and_then(|id| id.parse().ok()).ok_or_else(|| corrupt(PK))?;
    Ok(Project {
        id,
        name: read.text("name")?.to_owned(),
        quota_bytes: read.number(QUOTA_BYTES)?,
        free_bytes: read.number(FREE_BYTES)?,
        reserved_bytes: read.number(RESERVED_BYTES)?,
        file_count: read.number(FILE_COUNT)?,
        pending_uploads: later_counter(&read, PENDING_UPLOADS)?,
        late_bytes: later_counter(&read, LATE_BYTES)?,
        pending_by_key: pending_by_key(item),
        created: Timestamp::from_millis(read.number("created")?),
        clearing: read
            .maybe_number("clearBefore")?
            .map(|before| Clearing { before: Timestamp::from_millis(before), and_project: item.contains_key(CLOSED) }),
    })
}

/// A counter that an older item lacks. One that an older version's writes let drift below zero reads as zero, until the
/// reconciliation repairs it.
fn later_counter(read: &Reader<'_>, name: &'static str) -> Result<u64> {
    let counted: i64 = read.maybe_number(name)?.unwrap_or(0);
    Ok(u64::try_from(counted).unwrap_or(0))
}

fn pending_by_key(item: &Item) -> BTreeMap<KeyId, u64> {
    let counters = item.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PENDING_OF_KEY)?.parse().ok()?;
        let counted: i64 = value.as_n().ok()?.parse().ok()?;
        Some((key, u64::try_from(counted).unwrap_or(0)))
    });
    counters.collect()
}

/// The project that an index entry is about.
pub(super) fn project_id(item: &Item) -> Result<ProjectId> {
    Reader(item).text(PK)?.strip_prefix("P#").and_then(|id| id.parse().ok()).ok_or_else(|| corrupt(PK))
}

pub(super) fn key_to_item(key: &KeyRecord) -> Item {
    let mut item = api_key_key(&key.hash);
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    item.insert("project".to_owned(), s(key.project.as_str()));
    item.insert("keyId".to_owned(), s(key.id.as_str()));
    item.insert("name".to_owned(), s(&key.name));
    item.insert("lastFour".to_owned(), s(&key.last_four));
    item.insert("scopes".to_owned(), s(scopes.join(" ")));
    item.insert("created".to_owned(), n(key.created.as_millis()));
    if let Some(at) = key.expires_at {
        item.insert("expiresAt".to_owned(), n(at.as_millis()));
    }
    if let Some(at) = key.revoked_at {
        item.insert(REVOKED_AT.to_owned(), n(at.as_millis()));
    }
    item.insert(LIST.pk.to_owned(), s(keys_of(key.project)));
    item.insert(LIST.sk.to_owned(), s(format!("{}#{}", millis(key.created), key.id)));
    item
}

pub(super) fn key_from_item(item: &Item) -> Result<KeyRecord> {
    let read = Reader(item);
    let scopes: Result<Vec<Scope>, _> = read.text("scopes")?.split_whitespace().map(str::parse).collect();
    Ok(KeyRecord {
        hash: key_hash(item)?,
        id: read.parsed::<KeyId>("keyId")?,
        project: read.parsed("project")?,
        name: read.text("name")?.to_owned(),
        last_four: read.text("lastFour")?.to_owned(),
        scopes: scopes.map_err(|_| corrupt("scopes"))?,
        created: Timestamp::from_millis(read.number("created")?),
        expires_at: read.maybe_number("expiresAt")?.map(Timestamp::from_millis),
        revoked_at: read.maybe_number(REVOKED_AT)?.map(Timestamp::from_millis),
        last_used: read.maybe_number("lastUsed")?.map(Timestamp::from_millis),
    })
}

/// The key that an index entry is about.
pub(super) fn key_hash(item: &Item) -> Result<KeyHash> {
    let hash = Reader(item).text(PK)?.strip_prefix("K#").ok_or_else(|| corrupt(PK))?;
    Ok(KeyHash::from_stored(hash.to_owned()))
}

pub(super) struct Reader<'a>(pub(super) &'a Item);

impl<'a> Reader<'a> {
    pub(super) fn maybe_text(&self, name: &'static str) -> Result<Option<&'a str>> {
        self.0.get(name).map(|v| v.as_s().map(String::as_str).map_err(|_| corrupt(name))).transpose()
    }

    pub(super) fn text(&self, name: &'static str) -> Result<&'a str> {
        self.maybe_text(name)?.ok_or_else(|| corrupt(name))
    }

    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &'static str) -> Result<T> {
        self.text(name)?.parse().map_err(|_| corrupt(name))
    }

    pub(super) fn maybe_number<T: std::str::FromStr>(&self, name: &'static str) -> Result<Option<T>> {
        let number = self.0.get(name).map(|v| v.as_n().map_err(|_| corrupt(name))).transpose()?;
        number.map(|text| text.parse().map_err(|_| corrupt(name))).transpose()
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T> {
        self.maybe_number(name)?.ok_or_else(|| corrupt(name))
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool> {
        self.0.get(name).and_then(|v| v.as_bool().ok()).copied().ok_or_else(|| corrupt(name))
    }
}

pub(super) fn corrupt(attribute: &'static str) -> Error {
    Error::Internal(Cause::because("reading an item", format!("attribute `{attribute}` is missing or malformed")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::TTL,
        intent::{OriginalFilename, UploadIntent},
    };

    #[test]
    fn nothing_that_holds_quota_is_forgotten_by_itself() {
        let now = Timestamp::from_millis(1_760_000_000_000);
        let project = Project::new("p", 1_000, now);
        let intent = UploadIntent {
            original_filename: OriginalFilename::new("a.txt").unwrap(),
            content_type: "text/plain".parse().unwrap(),
            size: ByteSize::new(13).unwrap(),
            visibility: Visibility::Private,
            owner: None,
            entity: None,
            variants: VariantPolicy::default(),
            checksum: None,
        };
        let pending = File::begin(project.id, intent, now);
        let claimed = pending.claim("etag".to_owned(), None, now).unwrap();
        let confirmed = claimed.finish("etag".to_owned(), now).unwrap();
        let hidden = confirmed.hide(now).unwrap();
        for file in [&pending, &claimed, &confirmed, &hidden, &pending.expire(now).unwrap()] {
            assert!(!file_to_item(file).contains_key(TTL), "{file:?}");
        }
        assert!(!project_to_item(&project).contains_key(TTL));
    }
}
