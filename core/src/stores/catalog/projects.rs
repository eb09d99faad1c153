//! Projects: their counters, quotas and clearings.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update},
};

use super::{
    Catalog, Consistency,
    item::{self, CLOSED, DUE, FREE_BYTES, LIST, PK, QUOTA_BYTES, n, s},
    requests::{TRANSACTION_ATTEMPTS, past_conflicts},
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    file::File,
    id::ProjectId,
    records::{Clearing, Project},
    stores::fault::failed,
};

impl Catalog {
    /// Adds a project.
    pub async fn create_project(&self, project: &Project) -> Result<()> {
        self.put_new("creating a project", item::project_to_item(project)).await
    }

    /// Reads a project.
    pub async fn project(&self, id: ProjectId, consistency: Consistency) -> Result<Project> {
        let item = self.get("reading a project", item::project_key(id), consistency).await?;
        item::project_from_item(&item.ok_or(Error::ProjectNotFound)?)
    }

    /// Every project, oldest first.
    pub async fn projects(&self) -> Result<Vec<Project>> {
        let mut projects = Vec::new();
        for entry in self.index_partition("listing projects", LIST, item::PROJECTS).await? {
            let read = match item::project_id(&entry) {
                Ok(id) => self.project(id, Consistency::Strong).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(project) => projects.push(project),
                // The index may lag behind its removal.
                Err(Error::ProjectNotFound) => {}
                Err(error @ Error::Internal(_)) => self.note_unreadable(&item::name(&entry), &error),
                Err(error) => return Err(error),
            }
        }
        Ok(projects)
    }

    /// Renames a project.
    pub async fn rename_project(&self, id: ProjectId, name: &str) -> Result<()> {
        self.update_project(
            id,
            "SET #name = :name",
            &format!("attribute_exists({PK})"),
            &[(":name", s(name))],
            &[("#name", "name")],
        )
        .await?
        .then_some(())
        .ok_or(Error::ProjectNotFound)
    }

    /// Gives a project another quota: what is free changes by as much.
    ///
    /// # Errors
    /// [`QuotaBelowUsage`](Error::QuotaBelowUsage) when the project holds more than that.
    pub async fn set_quota(&self, id: ProjectId, quota_bytes: u64) -> Result<()> {
        for _ in 0..TRANSACTION_ATTEMPTS {
            let project = self.project(id, Consistency::Strong).await?;
            let used = project.used_bytes();
            let free = quota_bytes.checked_sub(used).ok_or(Error::QuotaBelowUsage { used })?;
            let written = self
                .update_project(
                    id,
                    &format!("SET {QUOTA_BYTES} = :quota, {FREE_BYTES} = :free"),
                    &format!("{QUOTA_BYTES} = :quotaBefore AND {FREE_BYTES} = :freeBefore"),
                    &[
                        (":quota", n(quota_bytes)),
                        (":free", n(free)),
                        (":quotaBefore", n(project.quota_bytes)),
                        (":freeBefore", n(project.free_bytes)),
                    ],
                    &[],
                )
                .await?;
            if written {
                return Ok(());
            }
        }
        Err(Error::Conflict)
    }

    /// Begins to clear a project, or moves the time before which files go. What is due at once is due for the cleanup.
    pub async fn begin_clearing(&self, id: ProjectId, clearing: Clearing, due: Timestamp) -> Result<()> {
        let Clearing { before, and_project } = clearing;
        let [(pk, shard), (sk, place)] = item::due_entry(id.as_str(), due);
        let mut set = format!("SET clearBefore = :before, {pk} = :shard, {sk} = :place");
        let mut values = vec![(":before", n(before.as_millis())), (":shard", s(shard)), (":place", s(place))];
        if and_project {
            set.push_str(&format!(", {CLOSED} = :closed"));
            values.push((":closed", AttributeValue::Bool(true)));
        }
        let there = self.update_project(id, &set, &format!("attribute_exists({PK})"), &values, &[]).await?;
        there.then_some(()).ok_or(Error::ProjectNotFound)
    }

    /// A clearing is complete; unless another was begun meanwhile.
    pub async fn end_clearing(&self, project: &Project) -> Result<()> {
        let Some(Clearing { before, .. }) = project.clearing else {
            return Ok(());
        };
        let remove = format!("REMOVE clearBefore, {}, {}", DUE.pk, DUE.sk);
        self.update_project(project.id, &remove, "clearBefore = :before", &[(":before", n(before.as_millis()))], &[])
            .await
            .map(drop)
    }

    /// Removes the record of a project that holds nothing. `false`: it still holds something. Removing it again changes
    /// nothing.
    pub async fn remove_project(&self, id: ProjectId) -> Result<bool> {
        let delete = self
            .dynamodb
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(item::project_key(id)))
            .condition_expression(format!("attribute_not_exists({PK}) OR {FREE_BYTES} = {QUOTA_BYTES}"));
        match past_conflicts(|| delete.clone().send()).await {
            Ok(_) => Ok(true),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(e) => Err(failed("removing a project", e)),
        }
    }

    /// Whether the condition held and the update was made.
    pub(super) async fn update_project(
        &self,
        id: ProjectId,
        update: &str,
        condition: &str,
        values: &[(&str, AttributeValue)],
        names: &[(&str, &str)],
    ) -> Result<bool> {
        let owned = |(name, value): &(&str, AttributeValue)| ((*name).to_owned(), value.clone());
        let names: HashMap<_, _> = names.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::project_key(id)))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_values((!values.is_empty()).then(|| values.iter().map(owned).collect()))
            .set_expression_attribute_names((!names.is_empty()).then_some(names));
        match past_conflicts(|| update.clone().send()).await {
            Ok(_) => Ok(true),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(e) => Err(failed("changing a project", e)),
        }
    }

    pub(super) fn project_update<'a>(
        &self,
        file: &File,
        update: String,
        condition: String,
        values: impl IntoIterator<Item = (&'a str, AttributeValue)>,
    ) -> TransactWriteItem {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(item::project_key(file.project)))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("table, key and update are set");
        TransactWriteItem::builder().update(update).build()
    }
}
