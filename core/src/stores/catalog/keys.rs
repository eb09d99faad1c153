//! API keys, by their hashes.

use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};

use super::{
    Catalog, Consistency,
    item::{self, LIST, PK, REVOKED_AT, n},
    requests::past_conflicts,
};
use crate::{
    api_key::KeyHash,
    clock::Timestamp,
    error::{Error, Result},
    id::{KeyId, ProjectId},
    records::KeyRecord,
    stores::fault::failed,
};

impl Catalog {
    /// How often this catalog, or a clone of it, has changed what a key may do. What was read of a key before the number
    /// changed may be wrong.
    pub fn key_changes(&self) -> u64 {
        self.key_changes.load(Ordering::SeqCst)
    }

    /// After a write that takes something from a key, and after one that failed: it may have been carried out.
    pub(super) fn note_key_change<T>(&self, written: T) -> T {
        self.key_changes.fetch_add(1, Ordering::SeqCst);
        written
    }

    /// Adds an API key.
    pub async fn create_key(&self, key: &KeyRecord) -> Result<()> {
        self.put_new("creating a key", item::key_to_item(key)).await
    }

    /// Looks a key up by its hash.
    pub async fn key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>> {
        let item = self.get("reading a key", item::api_key_key(hash), Consistency::Eventual).await?;
        item.map(|item| item::key_from_item(&item)).transpose()
    }

    /// A project's keys, oldest first.
    pub async fn keys(&self, project: ProjectId) -> Result<Vec<KeyRecord>> {
        let mut keys = Vec::new();
        for entry in self.index_partition("listing keys", LIST, &item::keys_of(project)).await? {
            keys.extend(self.key(&item::key_hash(&entry)?).await?);
        }
        Ok(keys)
    }

    /// Revokes a project's key. Revoking it again changes nothing.
    pub async fn revoke_key(&self, project: ProjectId, id: KeyId, now: Timestamp) -> Result<KeyRecord> {
        let mut key = self.key_named(project, id).await?;
        if key.revoked_at.is_none() {
            self.note_key_change(self.set_on_key(&key.hash, REVOKED_AT, now).await)?;
            key.revoked_at = Some(now);
        }
        Ok(key)
    }

    /// Adds a key in another's place, which stops working at a time, if it would work longer: both or neither.
    pub async fn succeed_key(&self, old: &KeyRecord, new: &KeyRecord, at: Timestamp) -> Result<()> {
        let there = format!("attribute_exists({PK})");
        let end = Update::builder().table_name(&self.table).set_key(Some(item::api_key_key(&old.hash)));
        let end = match old.expires_at {
            Some(end) if end <= at => None,
            _ => Some(
                end.update_expression("SET expiresAt = :at")
                    .condition_expression(there)
                    .expression_attribute_values(":at", n(at.as_millis()))
                    .build()
                    .expect("table, key and update are set"),
            ),
        };
        let put = self.put(item::key_to_item(new)).condition_expression(format!("attribute_not_exists({PK})"));
        let put = TransactWriteItem::builder().put(put.build().expect("table and item are set")).build();
        let end = end.map(|end| TransactWriteItem::builder().update(end).build());
        match self.note_key_change(self.transact("replacing a key", std::iter::once(put).chain(end).collect()).await)? {
            None => Ok(()),
            Some(_) => Err(Error::KeyNotFound),
        }
    }

    /// Stores when a key was last used.
    pub async fn touch_key(&self, hash: &KeyHash, now: Timestamp) -> Result<()> {
        self.set_on_key(hash, "lastUsed", now).await
    }

    /// Removes a key's record.
    pub async fn remove_key(&self, hash: &KeyHash) -> Result<()> {
        self.note_key_change(self.delete("removing a key", item::api_key_key(hash)).await)
    }

    async fn key_named(&self, project: ProjectId, id: KeyId) -> Result<KeyRecord> {
        self.keys(project).await?.into_iter().find(|k| k.id == id).ok_or(Error::KeyNotFound)
    }

    async fn set_on_key(&self, hash: &KeyHash, attribute: &str, at: Timestamp) -> Result<()> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::api_key_key(hash)))
            .update_expression("SET #attribute = :at")
            .condition_expression(format!("attribute_exists({PK})"))
            .expression_attribute_names("#attribute", attribute)
            .expression_attribute_values(":at", n(at.as_millis()));
        past_conflicts(|| update.clone().send()).await.map_err(|e| failed("changing a key", e))?;
        Ok(())
    }
}
