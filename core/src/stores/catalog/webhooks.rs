//! Endpoints and deliveries. Both lie in partitions of their own: a project's endpoints, and an endpoint's deliveries in
//! the order of their events. A delivery that is to be tried is in the due index, beside the records of files.

use std::time::Duration;

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use sha2::{Digest as _, Sha256};

use super::{
    Catalog, Consistency, DuePages, TTL,
    item::{DUE, Item, PK, Reader, SK, corrupt, key, millis, n, s},
    requests::found_instead,
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    event::EventType,
    id::{EndpointId, ProjectId},
    stores::fault::failed,
    webhook::{Attempt, Delivery, DeliveryStatus, Endpoint, Secret},
};

/// How long a delivery is kept, from its event on.
const DELIVERY_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Where a delivery is: its endpoint and its place among the endpoint's deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryKey {
    endpoint: EndpointId,
    place: String,
}

impl DeliveryKey {
    /// The delivery of an endpoint under the name that [`DeliveryKey::name`] gave.
    pub fn new(endpoint: EndpointId, name: &str) -> Self {
        Self { endpoint, place: name.to_owned() }
    }

    /// Its name among its endpoint's deliveries; later events have later names.
    pub fn name(&self) -> &str {
        &self.place
    }
}

impl Delivery {
    /// Where it is kept.
    pub fn key(&self) -> DeliveryKey {
        DeliveryKey { endpoint: self.endpoint, place: format!("{}-{}", millis(self.created), self.event) }
    }
}

/// A page of an endpoint's deliveries.
#[derive(Debug)]
pub struct DeliveryPage {
    /// The deliveries, newest first.
    pub deliveries: Vec<Delivery>,
    /// The name after which the next page begins, if there may be one.
    pub next: Option<String>,
}

impl Catalog {
    /// Adds an endpoint.
    pub async fn create_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        self.put_new("creating an endpoint", endpoint_to_item(endpoint)).await
    }

    /// Writes an endpoint over what it was, unless its secret has changed meanwhile: a secret that
    /// was shown must stay valid.
    pub async fn replace_endpoint(&self, before: &Endpoint, after: &Endpoint) -> Result<()> {
        let item = endpoint_to_item(after);
        let written = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression("secret = :before")
            .expression_attribute_values(":before", s(before.secret.reveal()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written {
            Ok(_) => Ok(()),
            Err(e) if found_instead(&e) == Some(&item) => Ok(()),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Err(Error::Conflict),
            Err(e) => Err(failed("writing an endpoint", e)),
        }
    }

    /// Sends nothing more to an endpoint, if it is still there.
    pub async fn disable_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        let disabled = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(endpoint_key(endpoint.project, endpoint.id)))
            .update_expression("SET enabled = :no")
            .condition_expression(format!("attribute_exists({PK})"))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            .send()
            .await;
        match disabled {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(()),
            Err(e) => Err(failed("disabling an endpoint", e)),
        }
    }

    /// A project's endpoints, in the order of their ids.
    pub async fn endpoints(&self, project: ProjectId) -> Result<Vec<Endpoint>> {
        let page = self
            .dynamodb
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression(format!("{PK} = :project"))
            .expression_attribute_values(":project", s(endpoints_of(project)))
            .send()
            .await
            .map_err(|e| failed("reading endpoints", e))?;
        page.items().iter().map(endpoint_from_item).collect()
    }

    /// One endpoint of a project.
    pub async fn endpoint(&self, project: ProjectId, id: EndpointId) -> Result<Endpoint> {
        let item = self.get("reading an endpoint", endpoint_key(project, id), Consistency::Strong).await?;
        endpoint_from_item(&item.ok_or(Error::EndpointNotFound)?)
    }

    /// Removes an endpoint. What is on its way to it is dropped when it falls due.
    pub async fn remove_endpoint(&self, project: ProjectId, id: EndpointId) -> Result<()> {
        self.delete("removing an endpoint", endpoint_key(project, id)).await
    }

    /// Adds a delivery. `false`: it was there already.
    pub async fn add_delivery(&self, delivery: &Delivery) -> Result<bool> {
        self.put_delivery(delivery, &format!("attribute_not_exists({PK})"), None).await
    }

    /// Writes a delivery over `before`. `false`: it is no longer that.
    pub async fn replace_delivery(&self, before: &Delivery, after: &Delivery) -> Result<bool> {
        match before.due {
            Some(due) => self.put_delivery(after, "due = :due", Some((":due", n(due.as_millis())))).await,
            None => {
                self.put_delivery(after, &format!("attribute_exists({PK}) AND attribute_not_exists(due)"), None).await
            }
        }
    }

    async fn put_delivery(
        &self,
        delivery: &Delivery,
        condition: &str,
        value: Option<(&str, AttributeValue)>,
    ) -> Result<bool> {
        let mut request = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(delivery_to_item(delivery)))
            .condition_expression(condition);
        if let Some((name, value)) = value {
            request = request.expression_attribute_values(name, value);
        }
        match request.send().await {
            Ok(_) => Ok(true),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(e) => Err(failed("writing a delivery", e)),
        }
    }

    /// Removes a delivery.
    pub async fn remove_delivery(&self, delivery: &Delivery) -> Result<()> {
        self.delete("removing a delivery", delivery_key(&delivery.key())).await
    }

    /// Reads a delivery. `None`: there is none such.
    pub async fn delivery(&self, key: &DeliveryKey) -> Result<Option<Delivery>> {
        let item = self.get("reading a delivery", delivery_key(key), Consistency::Strong).await?;
        item.map(|item| delivery_from_item(&item)).transpose()
    }

    /// How many partitions deliveries have in the due index.
    pub const DELIVERY_SHARDS: u8 = 4;

    /// The deliveries that are due.
    pub fn due_deliveries(&self, until: Timestamp) -> DuePages<'_, DeliveryKey> {
        DuePages {
            catalog: self,
            doing: "reading due deliveries",
            partitions: 0..Self::DELIVERY_SHARDS,
            partition: delivery_shard,
            read: key_of,
            until,
            after: None,
        }
    }

    /// A page of an endpoint's deliveries, newest first: of all, or of those in one status.
    pub async fn deliveries(
        &self,
        endpoint: EndpointId,
        status: Option<DeliveryStatus>,
        after: Option<&str>,
        size: u8,
    ) -> Result<DeliveryPage> {
        let start = after.map(|name| delivery_key(&DeliveryKey::new(endpoint, name)));
        let mut request = self
            .dynamodb
            .query()
            .table_name(&self.table)
            .scan_index_forward(false)
            .key_condition_expression(format!("{PK} = :endpoint"))
            .expression_attribute_values(":endpoint", s(deliveries_to(endpoint)))
            .limit(i32::from(size))
            .set_exclusive_start_key(start);
        if let Some(status) = status {
            request = request
                .filter_expression("#status = :status")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":status", s(status.as_str()));
        }
        let page = request.send().await.map_err(|e| failed("reading deliveries", e))?;
        let deliveries = page.items().iter().map(delivery_from_item).collect::<Result<_>>()?;
        let next = page.last_evaluated_key.filter(|key| !key.is_empty());
        let next = next.map(|key| Reader(&key).text(SK).map(str::to_owned)).transpose()?;
        Ok(DeliveryPage { deliveries, next })
    }
}

fn endpoints_of(project: ProjectId) -> String {
    format!("N#{project}")
}

fn endpoint_key(project: ProjectId, id: EndpointId) -> Item {
    key(endpoints_of(project), id.as_str())
}

fn deliveries_to(endpoint: EndpointId) -> String {
    format!("D#{endpoint}")
}

fn delivery_key(delivery: &DeliveryKey) -> Item {
    key(deliveries_to(delivery.endpoint), &delivery.place)
}

fn delivery_shard(shard: u8) -> String {
    format!("D#{shard}")
}

fn key_of(item: &Item) -> Result<DeliveryKey> {
    let read = Reader(item);
    let endpoint = read.text(PK)?.strip_prefix("D#").and_then(|id| id.parse().ok()).ok_or_else(|| corrupt(PK))?;
    Ok(DeliveryKey { endpoint, place: read.text(SK)?.to_owned() })
}

fn endpoint_to_item(endpoint: &Endpoint) -> Item {
    let mut item = endpoint_key(endpoint.project, endpoint.id);
    let types: Vec<&str> = endpoint.types.iter().map(|kind| kind.as_str()).collect();
    item.insert("project".to_owned(), s(endpoint.project.as_str()));
    item.insert("url".to_owned(), s(endpoint.url.to_string()));
    item.insert("types".to_owned(), s(types.join(" ")));
    item.insert("enabled".to_owned(), AttributeValue::Bool(endpoint.enabled));
    item.insert("secret".to_owned(), s(endpoint.secret.reveal()));
    if let Some((secret, until)) = &endpoint.retiring {
        item.insert("retiringSecret".to_owned(), s(secret.reveal()));
        item.insert("retiringUntil".to_owned(), n(until.as_millis()));
    }
    item.insert("created".to_owned(), n(endpoint.created.as_millis()));
    item
}

fn endpoint_from_item(item: &Item) -> Result<Endpoint> {
    let read = Reader(item);
    let types: Result<Vec<EventType>, _> = read.text("types")?.split_whitespace().map(str::parse).collect();
    let secret = |name| -> Result<Option<Secret>> {
        read.maybe_text(name)?.map(|text| Secret::from_stored(text).ok_or_else(|| corrupt(name))).transpose()
    };
    Ok(Endpoint {
        id: read.parsed(SK)?,
        project: read.parsed("project")?,
        url: read.text("url")?.parse().map_err(|()| corrupt("url"))?,
        types: types.map_err(|_| corrupt("types"))?,
        enabled: read.flag("enabled")?,
        secret: secret("secret")?.ok_or_else(|| corrupt("secret"))?,
        retiring: secret("retiringSecret")?.zip(read.maybe_number("retiringUntil")?.map(Timestamp::from_millis)),
        created: Timestamp::from_millis(read.number("created")?),
    })
}

fn delivery_to_item(delivery: &Delivery) -> Item {
    let mut item = delivery_key(&delivery.key());
    let mut set = |name: &str, value: AttributeValue| {
        item.insert(name.to_owned(), value);
    };
    set("project", s(delivery.project.as_str()));
    set("event", s(delivery.event.as_str()));
    set("type", s(delivery.kind.as_str()));
    set("created", n(delivery.created.as_millis()));
    set("body", s(&delivery.body));
    set("status", s(delivery.status.as_str()));
    set("attempts", n(delivery.attempts));
    set("givesUp", n(delivery.gives_up.as_millis()));
    set(TTL, n((delivery.created.max(delivery.gives_up) + DELIVERY_LIFE).as_secs()));
    if let Some((at, attempt)) = &delivery.last {
        set("lastAttempt", n(at.as_millis()));
        match attempt {
            Attempt::Answered(status) => set("lastStatus", n(status)),
            Attempt::Failed(reason) => set("lastError", s(reason)),
        }
    }
    if let Some(due) = delivery.due {
        let shard = Sha256::digest(delivery.event.as_str())[0] % Catalog::DELIVERY_SHARDS;
        set("due", n(due.as_millis()));
        set(DUE.pk, s(delivery_shard(shard)));
        set(DUE.sk, s(format!("{}#{}", millis(due), delivery.event)));
    }
    item
}

fn delivery_from_item(item: &Item) -> Result<Delivery> {
    let read = Reader(item);
    let attempt = match (read.maybe_number("lastStatus")?, read.maybe_text("lastError")?) {
        (Some(status), _) => Some(Attempt::Answered(status)),
        (None, reason) => reason.map(|reason| Attempt::Failed(reason.to_owned())),
    };
    Ok(Delivery {
        endpoint: key_of(item)?.endpoint,
        project: read.parsed("project")?,
        event: read.parsed("event")?,
        kind: read.parsed("type")?,
        created: Timestamp::from_millis(read.number("created")?),
        body: read.text("body")?.to_owned(),
        status: read.text("status")?.parse().map_err(|()| corrupt("status"))?,
        attempts: read.number("attempts")?,
        last: read.maybe_number("lastAttempt")?.map(Timestamp::from_millis).zip(attempt),
        due: read.maybe_number("due")?.map(Timestamp::from_millis),
        gives_up: Timestamp::from_millis(read.number("givesUp")?),
    })
}
