//! Sends events to an Amazon EventBridge bus.
//!
//! Only one operation of the service is needed. It is called with the SDK's orchestrator, connections and signatures,
//! which are linked anyway, instead of the client of the whole service. A call is not retried here: an event that the
//! bus does not accept stays in the outbox, and the next run sends it again. The bus therefore gets each event at least
//! once, always with the same `id`.

use std::{collections::BTreeSet, time::Duration};

use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::{
    orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
    result::SdkError,
};
use aws_smithy_types::{body::SdkBody, timeout::TimeoutConfig};
use aws_types::SdkConfig;
use serde_json::{Value, json};
use xfiles_core::{
    error::Cause,
    event::{Event, EventId},
};

/// The `source` by which rules match these events.
pub const SOURCE: &str = "xfiles";

/// The number of events in one call, which is EventBridge's limit.
const AT_ONCE: usize = 10;

/// The timeout of a call.
const PATIENCE: Duration = Duration::from_secs(10);

const DOING: &str = "putting events on the bus";

/// A bus, and credentials with permission to put events on it.
#[derive(Clone, Debug)]
pub struct EventBus {
    name: String,
    region: String,
    endpoint: String,
    credentials: SharedCredentialsProvider,
    time: SharedTimeSource,
    put_events: Operation<HttpRequest, Vec<u8>, Cause>,
}

impl EventBus {
    /// A bus by name or ARN, in the region and with the credentials of the configuration.
    /// # Errors
    /// If the configuration has no region, no credentials or no HTTP client.
    pub fn new(name: impl Into<String>, sdk: &SdkConfig) -> Result<Self, Cause> {
        let missing = |what: &str| Cause::because(DOING, format!("the configuration has no {what}"));
        let region = sdk.region().ok_or_else(|| missing("region"))?.to_string();
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint =
            sdk.endpoint_url().map_or_else(|| format!("https://events.{region}.{domain}"), |url| url.to_owned());
        let time = sdk.time_source().ok_or_else(|| missing("time"))?;
        let put_events = Operation::builder()
            .service_name("events")
            .operation_name("PutEvents")
            .http_client(sdk.http_client().ok_or_else(|| missing("connections"))?)
            .endpoint_url(&endpoint)
            .no_auth()
            .no_retry()
            .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
            .sleep_impl(sdk.sleep_impl().ok_or_else(|| missing("timer"))?)
            .time_source(time.clone())
            .serializer(Ok)
            .deserializer(read_answer)
            .build();
        let credentials = sdk.credentials_provider().ok_or_else(|| missing("credentials"))?;
        Ok(Self { name: name.into(), region, endpoint, credentials, time, put_events })
    }

    /// Puts events on the bus and returns those that it accepted.
    pub(crate) async fn put(&self, events: &[&Event]) -> BTreeSet<EventId> {
        let mut taken = BTreeSet::new();
        for events in events.chunks(AT_ONCE) {
            match self.put_some(events).await {
                Ok(ids) => taken.extend(ids),
                Err(error) => {
                    // The next call would fail for the same reason.
                    tracing::warn!(%error, "events stay in the outbox");
                    break;
                }
            }
        }
        taken
    }

    async fn put_some(&self, events: &[&Event]) -> Result<Vec<EventId>, Cause> {
        let entry = |event: &&Event| {
            json!({
                "EventBusName": self.name, "Source": SOURCE, "DetailType": event.kind.as_str(),
                "Time": event.created.as_secs(), "Detail": event.body,
            })
        };
        let body = json!({"Entries": events.iter().map(entry).collect::<Vec<_>>()}).to_string();
        let request = self.signed(body).await?;
        let answer = self.put_events.invoke(request).await.map_err(|error| match error {
            SdkError::ServiceError(refused) => refused.into_err(),
            other => Cause::new(DOING, &other),
        })?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|e| Cause::new(DOING, &e))?;
        let entries = answer["Entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        if entries.len() != events.len() {
            return Err(Cause::because(DOING, "the response does not have a result for each event"));
        }
        // Results are in the order of the request; an accepted event has an id.
        let mut taken = Vec::new();
        for (event, entry) in events.iter().zip(entries) {
            match entry["EventId"].as_str() {
                Some(_) => taken.push(event.id.clone()),
                None => tracing::warn!(event.id = %event.id, code = %entry["ErrorCode"], "the bus refuses an event"),
            }
        }
        Ok(taken)
    }

    async fn signed(&self, body: String) -> Result<HttpRequest, Cause> {
        let failed = |error: &(dyn std::error::Error + 'static)| Cause::new("signing for the event bus", error);
        let credentials = self.credentials.provide_credentials().await.map_err(|e| failed(&e))?;
        let host: http::Uri = self.endpoint.parse().map_err(|e| failed(&e))?;
        let mut request = http::Request::post("/")
            .header("host", host.authority().map_or("", http::uri::Authority::as_str))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "AWSEvents.PutEvents")
            .body(SdkBody::from(body.as_str()))
            .map_err(|e| failed(&e))?;
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("events")
            .time(self.time.now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| failed(&e))?
            .into();
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
        let signable =
            SignableRequest::new("POST", format!("{}/", self.endpoint), headers, SignableBody::Bytes(body.as_bytes()))
                .map_err(|e| failed(&e))?;
        let (instructions, _) = sign(signable, &params).map_err(|e| failed(&e))?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        request.try_into().map_err(|e| failed(&e))
    }
}

/// The body of a successful response. Of an error, only the type is logged, such as `AccessDeniedException`.
fn read_answer(response: &HttpResponse) -> Result<Vec<u8>, OrchestratorError<Cause>> {
    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() {
        return Ok(body.to_vec());
    }
    let kind = serde_json::from_slice::<Value>(body).ok().and_then(|said| said["__type"].as_str().map(str::to_owned));
    let said = format!("{}, {}", response.status().as_u16(), kind.unwrap_or_default());
    Err(OrchestratorError::operation(Cause::because(DOING, said)))
}
