//! Counts requests at the SDK's HTTP client, and asks DynamoDB for the consumed capacity.
//!
//! The meter changes request bodies after they were signed, so it works with the embedded engines, which do not check
//! DynamoDB's signatures, but not with AWS.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use serde_json::Value;
use xfiles_core::{
    cdn::{Cdn, Invalidate, InvalidateFuture, KeyPairId, Signer, SigningKey, URL_LIFE},
    operations::Files,
};
use xfiles_standalone::Stack;

/// A request to AWS, charged or free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// DynamoDB: one item.
    GetItem,
    /// DynamoDB: a part of an index.
    Query,
    /// DynamoDB: up to a hundred items.
    BatchGetItem,
    /// DynamoDB: one item.
    PutItem,
    /// DynamoDB: one item.
    UpdateItem,
    /// DynamoDB: one item.
    DeleteItem,
    /// DynamoDB: up to a hundred items, all or none, at twice the price.
    TransactWriteItems,
    /// S3: an object or a range of it.
    GetObject,
    /// S3: an object's headers.
    HeadObject,
    /// S3: a new object.
    PutObject,
    /// S3: an object out of another.
    CopyObject,
    /// S3: up to a thousand objects.
    DeleteObjects,
    /// CloudFront: any number of paths.
    CreateInvalidation,
}

/// The price class of an S3 operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Class {
    /// PUT, COPY, POST and LIST.
    Write,
    /// GET and all other charged requests.
    Read,
    /// Deletions are free.
    Free,
}

impl Operation {
    /// The name of the operation in its service's API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GetItem => "GetItem",
            Self::Query => "Query",
            Self::BatchGetItem => "BatchGetItem",
            Self::PutItem => "PutItem",
            Self::UpdateItem => "UpdateItem",
            Self::DeleteItem => "DeleteItem",
            Self::TransactWriteItems => "TransactWriteItems",
            Self::GetObject => "GetObject",
            Self::HeadObject => "HeadObject",
            Self::PutObject => "PutObject",
            Self::CopyObject => "CopyObject",
            Self::DeleteObjects => "DeleteObjects",
            Self::CreateInvalidation => "CreateInvalidation",
        }
    }

    /// The S3 price class; `None` for other services.
    pub const fn s3_class(self) -> Option<S3Class> {
        match self {
            Self::PutObject | Self::CopyObject => Some(S3Class::Write),
            Self::GetObject | Self::HeadObject => Some(S3Class::Read),
            Self::DeleteObjects => Some(S3Class::Free),
            Self::GetItem
            | Self::Query
            | Self::BatchGetItem
            | Self::PutItem
            | Self::UpdateItem
            | Self::DeleteItem
            | Self::TransactWriteItems
            | Self::CreateInvalidation => None,
        }
    }

    const fn reads_items(self) -> bool {
        matches!(self, Self::GetItem | Self::Query | Self::BatchGetItem)
    }

    fn of_dynamodb(target: &str) -> Option<Self> {
        Some(match target.rsplit_once('.')?.1 {
            "GetItem" => Self::GetItem,
            "Query" => Self::Query,
            "BatchGetItem" => Self::BatchGetItem,
            "PutItem" => Self::PutItem,
            "UpdateItem" => Self::UpdateItem,
            "DeleteItem" => Self::DeleteItem,
            "TransactWriteItems" => Self::TransactWriteItems,
            _ => return None,
        })
    }

    fn of_s3(request: &HttpRequest) -> Option<Self> {
        let query = request.uri().split_once('?').map_or("", |(_, query)| query);
        match request.method() {
            "GET" => Some(Self::GetObject),
            "HEAD" => Some(Self::HeadObject),
            "PUT" if request.headers().contains_key("x-amz-copy-source") => Some(Self::CopyObject),
            "PUT" => Some(Self::PutObject),
            "POST" if query.split('&').any(|part| part.trim_end_matches('=') == "delete") => Some(Self::DeleteObjects),
            _ => None,
        }
    }
}

/// The requests to AWS and the consumed capacity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bill {
    /// The number of calls of each operation.
    pub calls: BTreeMap<Operation, u64>,
    /// DynamoDB's read request units: a strongly consistent read of up to 4 KB is one, an eventually consistent one a
    /// half.
    pub read_units: f64,
    /// DynamoDB's write request units: a write of up to 1 KB is one, or two in a transaction.
    pub write_units: f64,
    /// The number of paths invalidated in CloudFront, which charges by the path.
    pub invalidated_paths: u64,
}

impl Bill {
    /// The number of requests in this S3 price class.
    pub fn s3(&self, class: S3Class) -> u64 {
        self.calls.iter().filter(|(operation, _)| operation.s3_class() == Some(class)).map(|(_, count)| count).sum()
    }

    /// The difference between this bill and another.
    #[must_use]
    pub fn less(mut self, other: &Self) -> Self {
        for (operation, count) in &other.calls {
            if let Some(calls) = self.calls.get_mut(operation) {
                *calls = calls.saturating_sub(*count);
            }
        }
        self.calls.retain(|_, count| *count > 0);
        self.read_units -= other.read_units;
        self.write_units -= other.write_units;
        self.invalidated_paths = self.invalidated_paths.saturating_sub(other.invalidated_paths);
        self
    }
}

/// Counts every request of some [`Files`].
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Bill>>);

impl Meter {
    /// A meter without counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// The files of a stack through this meter, like another process on the same stores. Their CDN is a counter that
    /// completes invalidations at once.
    pub fn files(&self, stack: &Stack) -> Files {
        let (key, _) = SigningKey::generate_p256(KeyPairId::mint());
        let cdn = Cdn::new(stack.url().clone(), Signer::new(key, URL_LIFE), Arc::new(self.clone()));
        stack.files_through(|inner| self.wrap(inner)).with_cdn(cdn)
    }

    /// Returns the counts since the last call and resets them.
    pub fn take(&self) -> Bill {
        std::mem::take(&mut *self.bill())
    }

    fn bill(&self) -> MutexGuard<'_, Bill> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrap(&self, inner: SharedHttpClient) -> SharedHttpClient {
        let meter = self.clone();
        http_client_fn(move |settings, components| {
            let inner = inner.http_connector(settings, components);
            SharedHttpConnector::new(Metered { meter: meter.clone(), inner })
        })
    }

    fn count(&self, operation: Operation) {
        *self.bill().calls.entry(operation).or_default() += 1;
    }

    fn consume(&self, operation: Operation, units: f64) {
        let mut bill = self.bill();
        if operation.reads_items() {
            bill.read_units += units;
        } else {
            bill.write_units += units;
        }
    }
}

impl Invalidate for Meter {
    fn invalidate<'a>(&'a self, _caller_reference: &'a str, paths: Vec<String>) -> InvalidateFuture<'a> {
        Box::pin(async move {
            self.count(Operation::CreateInvalidation);
            self.bill().invalidated_paths += paths.len() as u64;
            Ok(())
        })
    }
}

#[derive(Debug)]
struct Metered {
    meter: Meter,
    inner: SharedHttpConnector,
}

impl HttpConnector for Metered {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { meter, inner } = self;
        let target = request.headers().get("x-amz-target");
        let operation = target.map_or_else(|| Operation::of_s3(&request), Operation::of_dynamodb);
        let Some(operation) = operation else {
            return HttpConnectorFuture::ready(Err(ConnectorError::user(
                "the meter does not support this operation".into(),
            )));
        };
        meter.count(operation);
        if target.is_none() {
            return inner.call(request);
        }
        let request = match asking_for_capacity(request) {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(error)),
        };
        let (meter, answer) = (meter.clone(), inner.call(request));
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            if answer.status().is_success() {
                let units = consumed(&answer)
                    .ok_or_else(|| ConnectorError::user("the engine did not return the consumed capacity".into()))?;
                meter.consume(operation, units);
            }
            Ok(answer)
        })
    }
}

fn asking_for_capacity(mut request: HttpRequest) -> Result<HttpRequest, ConnectorError> {
    let body = request.body().bytes().unwrap_or_default();
    let mut body: Value = serde_json::from_slice(body).map_err(|e| ConnectorError::user(e.into()))?;
    body["ReturnConsumedCapacity"] = "TOTAL".into();
    let body = body.to_string();
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = SdkBody::from(body);
    Ok(request)
}

/// The units of a response: of one table, or of each table of a batch or transaction.
fn consumed(answer: &HttpResponse) -> Option<f64> {
    let body: Value = serde_json::from_slice(answer.body().bytes()?).ok()?;
    match &body["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(|table| table["CapacityUnits"].as_f64()).sum(),
        table => table["CapacityUnits"].as_f64(),
    }
}
