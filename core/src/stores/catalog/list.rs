//! Lists of confirmed files: filters, order, pages.
//!
//! The indexes carry what filters need, so the store compares index entries with the filter, and a list then reads only
//! the files it shows. The indexes may lag behind; each shown file is read from the table itself, and one that is no
//! longer there is left out.
//!
//! A numbered page counts and skips entries, which is linear in the entries by nature and therefore has a ceiling. A
//! cursor names the place where the last page ended, so every page costs the same. Both read in slices, between which an
//! embedded store serves others.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
    time::Duration,
};

use aws_sdk_dynamodb::{
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, KeysAndAttributes, Select},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sha2::{Digest as _, Sha256};

use super::{
    Catalog, Consistency,
    item::{self, ENTITY, Entry, Index, Item, LIST, OWNER, PK, n, s},
    requests::{SLICE, jittered},
};
use crate::{
    clock::Timestamp,
    error::{Cause, Error, Result},
    file::File,
    id::{FileId, ProjectId},
    intent::EntityWord,
    records::{FileFilter, PageNumber, PageSize, TypeFilter},
    stores::fault::failed,
};

impl FileFilter {
    fn is_empty(&self) -> bool {
        self.index_answers() == Some(LIST) && !self.dated()
    }

    /// An entity's files have an order of their own: by position, then oldest first. Others are newest first.
    fn by_entity(&self) -> bool {
        self.entity_type.is_some() || self.entity_id.is_some() || self.role.is_some()
    }

    /// Whether the order of the index is not that of the list.
    fn is_sorted_afterwards(&self) -> bool {
        self.by_entity() && !(self.index() == ENTITY && self.entity_id.is_some())
    }

    fn dated(&self) -> bool {
        self.created_after.is_some() || self.created_before.is_some()
    }

    /// The index that is read. One entity has few files, and so has one owner; a time is a range of the others.
    fn index(&self) -> Index {
        match (&self.entity_type, &self.entity_id, &self.owner) {
            (Some(_), Some(_), _) => ENTITY,
            (_, _, Some(_)) => OWNER,
            (Some(_), None, None) if !self.dated() => ENTITY,
            _ => LIST,
        }
    }

    /// Which part of the partition is read.
    fn part(&self) -> Part {
        match (self.index(), &self.entity_id) {
            (ENTITY, Some(id)) => Part::Beginning(item::beginning_of_entity(id)),
            (ENTITY, None) => Part::Whole,
            _ if self.dated() => {
                // These sort keys begin with the time.
                let from = self.created_after.unwrap_or(Timestamp::from_millis(0));
                let until = self.created_before.unwrap_or(Timestamp::from_millis(99_999_999_999_999));
                if from < until { Part::Between(item::millis(from), item::millis(until)) } else { Part::Nothing }
            }
            _ => Part::Whole,
        }
    }

    /// The index of which every entry in the key range matches, if there is one.
    fn index_answers(&self) -> Option<Index> {
        let index = self.index();
        let rest = [self.visibility.is_none(), self.variants_visibility.is_none(), self.content_type.is_none()];
        let plain = self.role.is_none() && self.name_prefix.is_none() && rest.into_iter().all(|none| none);
        let keys = match index {
            ENTITY => self.owner.is_none() && !self.dated(),
            _ => self.entity_type.is_none() && self.entity_id.is_none(),
        };
        (plain && keys).then_some(index)
    }

    fn partition(&self, project: ProjectId) -> String {
        match (self.index(), &self.entity_type, &self.owner) {
            (ENTITY, Some(kind), _) => item::files_of_type(project, kind),
            (OWNER, _, Some(owner)) => item::files_of_owner(project, owner),
            _ => item::files_of(project),
        }
    }

    /// The filter as an expression on what the index carries, with its names and values. `None`: every entry of the part
    /// that is read matches. The words of an entity are compared as well, for its sort key has only a part of a digest.
    fn expression(&self) -> Option<Expression> {
        let mut expression = Expression::default();
        let word = |word: &Option<EntityWord>| word.as_ref().map(|word| s(word.as_str()));
        expression.equal("entityType", word(&self.entity_type));
        expression.equal("entityId", word(&self.entity_id));
        expression.equal("entityRole", word(&self.role));
        expression.equal("owner", self.owner.as_ref().map(|owner| s(owner.as_str())));
        expression.equal("visibility", self.visibility.map(|visibility| s(visibility.as_str())));
        expression.equal("variantsVisibility", self.variants_visibility.map(|visibility| s(visibility.as_str())));
        expression.compare("created", ">=", self.created_after.map(|time| n(time.as_millis())));
        expression.compare("created", "<", self.created_before.map(|time| n(time.as_millis())));
        expression.begins("nameKey", self.name_prefix.as_ref().map(|prefix| s(prefix.as_str())));
        match &self.content_type {
            None => {}
            Some(TypeFilter::Exact(mime)) => expression.equal_or_with_parameters("contentType", mime),
            Some(TypeFilter::Family(family)) => expression.begins("contentType", Some(s(family))),
        }
        (!expression.terms.is_empty()).then_some(expression)
    }

    /// What tells one filter from another, so that a cursor is not used with the wrong one.
    fn digest(&self, project: ProjectId) -> [u8; 8] {
        let digest = Sha256::digest(format!("{project} {self:?}"));
        digest[..8].try_into().expect("a digest has 32 bytes")
    }
}

/// A filter expression of DynamoDB. Every name is a placeholder, because `owner` and others are reserved words.
#[derive(Default)]
struct Expression {
    terms: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Expression {
    fn compare(&mut self, name: &str, operator: &str, value: Option<AttributeValue>) {
        self.term(name, value, |name, value| format!("{name} {operator} {value}"));
    }

    fn equal(&mut self, name: &str, value: Option<AttributeValue>) {
        self.compare(name, "=", value);
    }

    fn begins(&mut self, name: &str, value: Option<AttributeValue>) {
        self.term(name, value, |name, value| format!("begins_with({name}, {value})"));
    }

    /// A media type is followed by its charset, if it has one.
    fn equal_or_with_parameters(&mut self, name: &str, mime: &str) {
        let parameters = format!(":p{}", self.terms.len());
        let written = parameters.clone();
        self.term(name, Some(s(mime)), |name, value| format!("({name} = {value} OR begins_with({name}, {written}))"));
        self.values.insert(parameters, s(format!("{mime};")));
    }

    fn term(&mut self, name: &str, value: Option<AttributeValue>, write: impl FnOnce(&str, &str) -> String) {
        let Some(value) = value else { return };
        let (name_placeholder, value_placeholder) = (format!("#{name}"), format!(":f{}", self.terms.len()));
        self.terms.push(write(&name_placeholder, &value_placeholder));
        self.names.insert(name_placeholder, name.to_owned());
        self.values.insert(value_placeholder, value);
    }
}

/// A numbered page of a list.
#[derive(Clone, Debug)]
pub struct FilePage {
    /// The files, in the list's order.
    pub files: Vec<File>,
    /// How many files the whole list has, or at least has.
    pub total: u64,
    /// Whether that is all: counting stops at [`PAGE_CEILING`] entries.
    pub total_is_exact: bool,
    /// Which page this is.
    pub page: PageNumber,
    /// How many pages `total` files make.
    pub total_pages: u64,
}

/// A page of a list that is walked.
#[derive(Clone, Debug)]
pub struct FileRun {
    /// The files, in the list's order. There may be fewer than asked for, even none, with more to come.
    pub files: Vec<File>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// Ids of confirmed files, from the index and perhaps a moment old.
#[derive(Debug)]
pub(crate) struct IdRun {
    pub(crate) ids: Vec<FileId>,
    pub(crate) next: Option<Cursor>,
}

/// A place in a list: just after the entry with this sort key. Displays as an opaque text and parses back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    sort_key: String,
    filter: [u8; 8],
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&BASE64.encode([&self.filter, self.sort_key.as_bytes()].concat()))
    }
}

/// A text that no list gave out, or that another list did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a `nextCursor` of the same list with the same filters")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() > 128 {
            return Err(InvalidCursor);
        }
        let bytes = BASE64.decode(text).map_err(|_| InvalidCursor)?;
        let (filter, sort_key) = bytes.split_first_chunk().ok_or(InvalidCursor)?;
        let sort_key = String::from_utf8(sort_key.to_vec()).map_err(|_| InvalidCursor)?;
        let cursor = Self { sort_key, filter: *filter };
        cursor.file().map(|_| cursor).ok_or(InvalidCursor)
    }
}

impl Cursor {
    /// Whether this filter of this project gave it out.
    pub fn belongs_to(&self, project: ProjectId, filter: &FileFilter) -> bool {
        self.filter == filter.digest(project)
    }

    /// Every sort key ends in the file's id.
    fn file(&self) -> Option<FileId> {
        self.sort_key.rsplit_once('#')?.1.parse().ok()
    }

    /// The key of the index entry that it names.
    fn start(&self, index: Index, partition: &str) -> Option<Item> {
        let mut key = item::file_key(self.file()?);
        key.insert(index.pk.to_owned(), s(partition));
        key.insert(index.sk.to_owned(), s(&self.sort_key));
        Some(key)
    }
}

/// How many index entries a numbered page may look at to count and skip. Beyond it the cursor is the way.
pub const PAGE_CEILING: usize = 20_000;

/// How many index entries one step of a walk looks at, whether or not they match.
const STEP: usize = 2_000;

impl Catalog {
    /// One numbered page of a project's confirmed files. The total is that of the project's counter where nothing is
    /// filtered; otherwise matches are counted, up to [`PAGE_CEILING`] entries.
    ///
    /// # Errors
    /// [`TooDeep`](Error::TooDeep) when the page lies beyond that ceiling, or needs entries beyond it.
    pub async fn list(
        &self,
        project: ProjectId,
        filter: &FileFilter,
        page: PageNumber,
        size: PageSize,
    ) -> Result<FilePage> {
        let per_page = size.get() as usize;
        let skip = (page.get() as usize - 1).saturating_mul(per_page);
        if skip >= PAGE_CEILING {
            return Err(Error::TooDeep { ceiling: PAGE_CEILING });
        }
        let (ids, total, total_is_exact) = if filter.is_empty() {
            let total = self.project(project, Consistency::Strong).await?.file_count;
            (self.ids_after(project, filter, skip, per_page).await?, total, true)
        } else {
            let Counted { entries, complete } = self.count(project, filter).await?;
            if !complete && (entries.len() <= skip || filter.is_sorted_afterwards()) {
                return Err(Error::TooDeep { ceiling: PAGE_CEILING });
            }
            let ids = entries.iter().skip(skip).take(per_page).map(|entry| entry.id).collect();
            (ids, entries.len() as u64, complete)
        };
        let files = self.confirmed_files(project, &ids).await?;
        Ok(FilePage { files, total, total_is_exact, page, total_pages: total.div_ceil(u64::from(size.get())) })
    }

    /// One page of a walk through a project's confirmed files, from the beginning or from where the last page ended.
    /// The order is that of the index that is read: with an entity's type and id by position, then oldest first; with
    /// the type and neither an owner nor a time the same, entity by entity; otherwise newest first.
    ///
    /// A page looks at no more than 2,000 entries, so it may be short, even empty, with more to come.
    pub async fn walk(
        &self,
        project: ProjectId,
        filter: &FileFilter,
        from: Option<&Cursor>,
        size: PageSize,
    ) -> Result<FileRun> {
        let run = self.step(project, filter, from, size.get() as usize).await?;
        Ok(FileRun { files: self.confirmed_files(project, &run.ids).await?, next: run.next })
    }

    /// The next ids of a walk, as many as one step finds.
    pub(crate) async fn scan(&self, project: ProjectId, filter: &FileFilter, from: Option<&Cursor>) -> Result<IdRun> {
        self.step(project, filter, from, PageSize::MAX as usize).await
    }

    async fn step(
        &self,
        project: ProjectId,
        filter: &FileFilter,
        from: Option<&Cursor>,
        wanted: usize,
    ) -> Result<IdRun> {
        let (index, partition) = (filter.index(), filter.partition(project));
        let mut start = from.and_then(|cursor| cursor.start(index, &partition));
        // An index that answers alone is read just as far as needed; another in whole slices.
        let slice = if filter.index_answers().is_some() { wanted } else { SLICE };
        let at = |sort_key: String| Some(Cursor { sort_key, filter: filter.digest(project) });
        let (mut ids, mut looked_at) = (Vec::new(), 0);
        loop {
            let page = self.query(index, &partition, filter, slice, start).await?;
            looked_at += page.looked_at;
            let last = page.items.len();
            for (i, found) in page.items.iter().enumerate() {
                ids.push(item::entry_from_item(found)?.id);
                let end = i + 1 == last && page.next.is_none();
                if ids.len() == wanted && !end {
                    return Ok(IdRun { ids, next: at(item::sort_key(found, index)?) });
                }
            }
            match page.next {
                Some(next) if looked_at >= STEP => {
                    return Ok(IdRun { ids, next: at(item::sort_key(&next, index)?) });
                }
                Some(next) => start = Some(next),
                None => return Ok(IdRun { ids, next: None }),
            }
        }
    }

    /// The ids of the entries after the first `skip`, in the order of the index. What is skipped is counted in the store
    /// and not read.
    async fn ids_after(
        &self,
        project: ProjectId,
        filter: &FileFilter,
        skip: usize,
        wanted: usize,
    ) -> Result<Vec<FileId>> {
        let (index, partition) = (filter.index(), filter.partition(project));
        let (mut skipped, mut start) = (0, None);
        while skipped < skip {
            let slice = SLICE.min(skip - skipped);
            let query = self.index_query(index, &partition, filter, slice, start);
            let Some(query) = query else { return Ok(Vec::new()) };
            let page = query.select(Select::Count).send().await.map_err(|e| failed("counting files", e))?;
            skipped += usize::try_from(page.scanned_count).unwrap_or(slice);
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(Vec::new());
            }
        }
        let mut ids = Vec::new();
        loop {
            let page = self.query(index, &partition, filter, wanted - ids.len(), start).await?;
            for found in &page.items {
                ids.push(item::entry_from_item(found)?.id);
            }
            start = page.next;
            if start.is_none() || ids.len() >= wanted {
                return Ok(ids);
            }
        }
    }

    /// The matching entries in the list's order: all, or those among the first [`PAGE_CEILING`].
    async fn count(&self, project: ProjectId, filter: &FileFilter) -> Result<Counted> {
        let (index, partition) = (filter.index(), filter.partition(project));
        let (mut entries, mut looked_at, mut start) = (Vec::new(), 0, None);
        let complete = loop {
            let page = self.query(index, &partition, filter, SLICE.min(PAGE_CEILING - looked_at), start).await?;
            looked_at += page.looked_at;
            for found in &page.items {
                entries.push(item::entry_from_item(found)?);
            }
            start = page.next;
            if start.is_none() {
                break true;
            }
            if looked_at >= PAGE_CEILING {
                break false;
            }
        };
        if filter.is_sorted_afterwards() {
            entries.sort_by_key(|entry| (entry.position, entry.place));
        }
        Ok(Counted { entries, complete })
    }

    /// One query of an index, of at most this many entries. `None`: its part of the index is empty by itself.
    fn index_query(
        &self,
        index: Index,
        partition: &str,
        filter: &FileFilter,
        limit: usize,
        start: Option<Item>,
    ) -> Option<QueryFluentBuilder> {
        let mut query = self
            .dynamodb
            .query()
            .table_name(&self.table)
            .index_name(index.name)
            .expression_attribute_values(":partition", s(partition))
            .scan_index_forward(index == ENTITY)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start);
        let mut condition = format!("{} = :partition", index.pk);
        match filter.part() {
            Part::Whole => {}
            Part::Nothing => return None,
            Part::Beginning(text) => {
                condition.push_str(&format!(" AND begins_with({}, :beginning)", index.sk));
                query = query.expression_attribute_values(":beginning", s(text));
            }
            Part::Between(from, until) => {
                condition.push_str(&format!(" AND {} BETWEEN :from AND :until", index.sk));
                query =
                    query.expression_attribute_values(":from", s(from)).expression_attribute_values(":until", s(until));
            }
        }
        if let Some(Expression { terms, names, values }) = filter.expression() {
            query = query.filter_expression(terms.join(" AND "));
            for (placeholder, name) in names {
                query = query.expression_attribute_names(placeholder, name);
            }
            for (placeholder, value) in values {
                query = query.expression_attribute_values(placeholder, value);
            }
        }
        Some(query.key_condition_expression(condition))
    }

    async fn query(
        &self,
        index: Index,
        partition: &str,
        filter: &FileFilter,
        limit: usize,
        start: Option<Item>,
    ) -> Result<IndexPage> {
        let Some(query) = self.index_query(index, partition, filter, limit, start) else {
            return Ok(IndexPage { items: Vec::new(), looked_at: 0, next: None });
        };
        // Only what places an entry: the rest has been compared in the store.
        let query = query.projection_expression(format!("{PK}, {}, created, entityPosition", index.sk));
        let page = query.send().await.map_err(|e| failed("listing files", e))?;
        let looked_at = usize::try_from(page.scanned_count).unwrap_or(limit);
        let next = page.last_evaluated_key.filter(|key| !key.is_empty());
        Ok(IndexPage { items: page.items.unwrap_or_default(), looked_at, next })
    }

    /// Those of the files that are confirmed and the project's, in the order of `ids`; at most 100.
    pub(crate) async fn confirmed_files(&self, project: ProjectId, ids: &[FileId]) -> Result<Vec<File>> {
        let mut found = self.records(ids).await?;
        found.retain(|_, file| file.project == project && file.is_confirmed());
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// The files that there are and can be read, in whatever state; at most 100.
    pub async fn records(&self, ids: &[FileId]) -> Result<HashMap<FileId, File>> {
        let mut found = HashMap::new();
        let distinct: HashSet<FileId> = ids.iter().copied().collect();
        let mut keys: Vec<_> = distinct.into_iter().map(item::file_key).collect();
        // DynamoDB may answer a part and hand the rest back; each round makes progress or the store is busy.
        for round in 1..=10 {
            if keys.is_empty() {
                return Ok(found);
            }
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut keys)))
                .consistent_read(true)
                .build()
                .expect("keys are set");
            let mut answer = self
                .dynamodb
                .batch_get_item()
                .request_items(&self.table, wanted)
                .send()
                .await
                .map_err(|e| failed("reading files", e))?;
            let items = answer.responses.as_mut().and_then(|r| r.remove(&self.table)).unwrap_or_default();
            found.extend(self.readable(&items, item::file_from_item).into_iter().map(|file| (file.id, file)));
            let rest = answer.unprocessed_keys.and_then(|mut rest| rest.remove(&self.table));
            keys = rest.map(|rest| rest.keys).unwrap_or_default();
            if !keys.is_empty() {
                tokio::time::sleep(jittered(round)).await;
            }
        }
        if keys.is_empty() {
            return Ok(found);
        }
        let source = Cause::because("reading files", "the table keeps handing keys back");
        Err(Error::Unavailable { retry_after: Duration::from_secs(1), source })
    }
}

/// The matching entries that were found.
struct Counted {
    entries: Vec<Entry>,
    /// Whether every entry was looked at.
    complete: bool,
}

/// A part of an index partition, by its sort keys.
enum Part {
    Whole,
    Beginning(String),
    Between(String, String),
    Nothing,
}

/// What one query of an index answers.
struct IndexPage {
    /// The entries that match.
    items: Vec<Item>,
    /// How many entries were compared with the filter.
    looked_at: usize,
    next: Option<HashMap<String, AttributeValue>>,
}
