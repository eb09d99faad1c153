//! Lists of confirmed files: filters, order, pages.
//!
//! The indexes carry what filters need, so a list reads index entries and then only the files it shows. The indexes
//! may lag behind; each shown file is read from the table itself, and one that is no longer there is left out.

use std::{collections::HashMap, num::NonZeroU32};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use super::{
    Catalog, Consistency, failed,
    item::{self, ENTITY, Entry, Index, LIST, OWNER, s},
};
use crate::{
    error::{Cause, Error, Result},
    file::File,
    id::{FileId, ProjectId},
    intent::{EntityWord, OwnerId},
    object_key::Visibility,
};

/// Which confirmed files of a project to list; everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct FileFilter {
    /// Attached to an entity of this type.
    pub entity_type: Option<EntityWord>,
    /// Attached to an entity with this id.
    pub entity_id: Option<EntityWord>,
    /// In this role.
    pub role: Option<EntityWord>,
    /// Belonging to this user of the application.
    pub owner: Option<OwnerId>,
    /// The original readable so.
    pub visibility: Option<Visibility>,
    /// The variants readable so.
    pub variants_visibility: Option<Visibility>,
}

impl FileFilter {
    fn is_empty(&self) -> bool {
        !self.by_entity() && self.owner.is_none() && self.visibility.is_none() && self.variants_visibility.is_none()
    }

    /// An entity's files have an order of their own: by position, then oldest first. Others are newest first.
    fn by_entity(&self) -> bool {
        self.entity_type.is_some() || self.entity_id.is_some() || self.role.is_some()
    }

    fn accepts(&self, entry: &Entry) -> bool {
        let word = |wanted: &Option<EntityWord>, found: &Option<String>| {
            wanted.as_ref().is_none_or(|w| found.as_deref() == Some(w.as_str()))
        };
        word(&self.entity_type, &entry.entity_type)
            && word(&self.entity_id, &entry.entity_id)
            && word(&self.role, &entry.entity_role)
            && self.owner.as_ref().is_none_or(|o| entry.owner.as_deref() == Some(o.as_str()))
            && self.visibility.is_none_or(|v| entry.visibility == v)
            && self.variants_visibility.is_none_or(|v| entry.variants_visibility == v)
    }
}

/// A page's number, from 1.
pub type PageNumber = NonZeroU32;

/// How many files a page shows, 1..=100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// The most.
    pub const MAX: u32 = 100;

    /// Checks the bounds.
    pub const fn new(files: u32) -> Option<Self> {
        if files >= 1 && files <= Self::MAX { Some(Self(files)) } else { None }
    }

    /// Files.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(20)
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct FilePage {
    /// The files, in the list's order.
    pub files: Vec<File>,
    /// How many files the whole list has.
    pub total: u64,
    /// Which page this is.
    pub page: PageNumber,
    /// How many pages the whole list has.
    pub total_pages: u64,
}

impl Catalog {
    /// One page of a project's confirmed files.
    pub async fn list(
        &self,
        project: ProjectId,
        filter: &FileFilter,
        page: PageNumber,
        size: PageSize,
    ) -> Result<FilePage> {
        let per_page = size.get() as usize;
        let skip = (page.get() as usize - 1).saturating_mul(per_page);
        let (shown, total) = if filter.is_empty() {
            let total = self.project(project, Consistency::Strong).await?.file_count;
            let entries = self.entries(project, filter, Some(skip.saturating_add(per_page))).await?;
            (entries, total)
        } else {
            let entries = self.entries(project, filter, None).await?;
            let total = entries.len() as u64;
            (entries, total)
        };
        let ids: Vec<FileId> = shown.into_iter().skip(skip).take(per_page).map(|entry| entry.id).collect();
        let files = self.confirmed_files(project, &ids).await?;
        Ok(FilePage { files, total, page, total_pages: total.div_ceil(u64::from(size.get())) })
    }

    /// The matching index entries in the list's order, at least the first `enough` of them.
    async fn entries(&self, project: ProjectId, filter: &FileFilter, enough: Option<usize>) -> Result<Vec<Entry>> {
        let (index, partition) = match (&filter.entity_type, &filter.entity_id, &filter.owner) {
            (Some(kind), Some(id), _) => (ENTITY, item::files_of_entity(project, kind, id)),
            (_, _, Some(owner)) => (OWNER, item::files_of_owner(project, owner)),
            _ => (LIST, item::files_of(project)),
        };
        let mut entries = self.scan_index(index, &partition, filter, enough).await?;
        if filter.by_entity() && index != ENTITY {
            entries.sort_by(|a, b| (a.position, &a.place).cmp(&(b.position, &b.place)));
        }
        Ok(entries)
    }

    async fn scan_index(
        &self,
        index: Index,
        partition: &str,
        filter: &FileFilter,
        enough: Option<usize>,
    ) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut start: Option<HashMap<String, AttributeValue>> = None;
        loop {
            let wanted = enough.map(|enough| i32::try_from(enough - entries.len()).unwrap_or(i32::MAX));
            let page = self
                .dynamodb
                .query()
                .table_name(&self.table)
                .index_name(index.name)
                .key_condition_expression(format!("{} = :partition", index.pk))
                .expression_attribute_values(":partition", s(partition))
                .scan_index_forward(index == ENTITY)
                .set_limit(wanted)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|e| failed("listing files", e))?;
            for item in page.items() {
                let entry = item::entry_from_item(item)?;
                if filter.accepts(&entry) {
                    entries.push(entry);
                }
            }
            let done = enough.is_some_and(|enough| entries.len() >= enough);
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() && !done => start = Some(key),
                _ => return Ok(entries),
            }
        }
    }

    /// Those of the files that are confirmed and the project's, in the order of `ids`.
    async fn confirmed_files(&self, project: ProjectId, ids: &[FileId]) -> Result<Vec<File>> {
        let mut found = HashMap::new();
        let mut keys: Vec<_> = ids.iter().map(|id| item::file_key(*id)).collect();
        // DynamoDB may answer a part and hand the rest back; each round makes progress or the store is busy.
        for _ in 0..10 {
            if keys.is_empty() {
                break;
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
            for item in answer.responses.as_mut().and_then(|r| r.remove(&self.table)).unwrap_or_default() {
                let file = item::file_from_item(&item)?;
                if file.project == project && file.is_confirmed() {
                    found.insert(file.id, file);
                }
            }
            let rest = answer.unprocessed_keys.and_then(|mut rest| rest.remove(&self.table));
            keys = rest.map(|rest| rest.keys).unwrap_or_default();
        }
        if keys.is_empty() {
            Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
        } else {
            let source = Cause::because("reading files", "the table keeps handing keys back");
            Err(Error::Unavailable { retry_after: std::time::Duration::from_secs(1), source })
        }
    }
}
