//! Events on EventBridge: the content of the calls, their signature, and events that the bus refuses.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_credential_types::Credentials;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use aws_types::{SdkConfig, region::Region};
use ring::hmac;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xfiles_cleanup_cron::{Bounds, Courier, EventBus, deliver};
use xfiles_core::webhook::Reach;
use xfiles_tests::{TEXT, World, id_of};

/// The bus at the other end of a connection, with its responses to calls.
#[derive(Clone, Debug)]
struct Bus {
    mood: Arc<Mutex<Mood>>,
    taken: Arc<Mutex<Vec<Value>>>,
    calls: Arc<Mutex<usize>>,
}

#[derive(Clone, Copy, Debug)]
enum Mood {
    Takes,
    /// Refuses the first event of each call.
    RefusesTheFirst,
    /// Denies all calls.
    Denies,
}

const SECRET: &str = "a-secret";

impl Bus {
    fn new(mood: Mood) -> Self {
        Self { mood: Arc::new(Mutex::new(mood)), taken: Arc::default(), calls: Arc::default() }
    }

    fn courier(&self, world: &World) -> Courier {
        let connector = SharedHttpConnector::new(self.clone());
        let sdk = SdkConfig::builder()
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(Credentials::new(
                "AKIDEXAMPLE",
                SECRET,
                Some("a-token".to_owned()),
                None,
                "test",
            )))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(world.clock.clone())
            .build();
        Courier::new(Reach::Anywhere).with_bus(Some(EventBus::new("orders", &sdk).unwrap()))
    }

    async fn deliver(&self, world: &World) -> xfiles_cleanup_cron::Sent {
        deliver(world.files(), &self.courier(world), Bounds::default()).await.unwrap()
    }

    fn answer(&self, request: &HttpRequest) -> (u16, Value) {
        assert_signed(request);
        assert_eq!(request.uri(), "https://events.eu-central-1.amazonaws.com/");
        assert_eq!(request.headers().get("x-amz-target"), Some("AWSEvents.PutEvents"));
        *self.calls.lock().unwrap() += 1;
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let entries = body["Entries"].as_array().unwrap();
        assert!((1..=10).contains(&entries.len()));
        let mood = *self.mood.lock().unwrap();
        if matches!(mood, Mood::Denies) {
            return (400, json!({"__type": "AccessDeniedException", "message": "no"}));
        }
        let answer = |(at, entry): (usize, &Value)| {
            if at == 0 && matches!(mood, Mood::RefusesTheFirst) {
                return json!({"ErrorCode": "InternalFailure", "ErrorMessage": "later"});
            }
            self.taken.lock().unwrap().push(entry.clone());
            json!({"EventId": format!("bus-{at}")})
        };
        let answers: Vec<Value> = entries.iter().enumerate().map(answer).collect();
        let failed = answers.iter().filter(|answer| answer["EventId"].is_null()).count();
        (200, json!({"FailedEntryCount": failed, "Entries": answers}))
    }

    /// The number of times that each event was accepted, by its id.
    fn ids(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for entry in self.taken.lock().unwrap().iter() {
            let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
            *ids.entry(detail["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        ids
    }
}

impl HttpConnector for Bus {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (status, body) = self.answer(&request);
        let status = StatusCode::try_from(status).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body.to_string()))))
    }
}

/// Verifies Signature Version 4 of the received request, according to its documentation.
fn assert_signed(request: &HttpRequest) {
    let header = |name: &str| request.headers().get(name).unwrap_or_else(|| panic!("{name} is sent"));
    let field = |name: &str| {
        let value = header("authorization").split_once(&format!("{name}=")).unwrap().1;
        value.split(',').next().unwrap().to_owned()
    };
    let (date, names) = (header("x-amz-date"), field("SignedHeaders"));
    for bound in ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"] {
        assert!(names.split(';').any(|name| name == bound), "{bound} is signed: {names}");
    }
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", header(name).trim())).collect();
    let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let canonical = format!("POST\n/\n\n{headers}\n{names}\n{}", hash(request.body().bytes().unwrap()));
    let scope = format!("{}/eu-central-1/events/aws4_request", &date[..8]);
    assert_eq!(field("Credential"), format!("AKIDEXAMPLE/{scope}"));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
    let mac =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
    assert_eq!(field("Signature"), hex::encode(mac(&key, &to_sign)));
}

async fn world_with_events(files: usize) -> (World, Vec<String>) {
    let world = World::start().await;
    for _ in 0..files {
        let file = world.client.upload(TEXT, json!({"ownerUserId": "u"})).await;
        world.client.delete(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    }
    let mut ids: Vec<String> = world.told().await.iter().map(|event| event.id.to_string()).collect();
    ids.sort();
    (world, ids)
}

#[tokio::test]
async fn every_event_is_put_on_the_bus_once_signed_and_with_its_own_id() {
    let (world, ids) = world_with_events(8).await;
    let outbox = world.told().await;
    let bus = Bus::new(Mood::Takes);
    bus.deliver(&world).await;
    assert_eq!(bus.ids().into_keys().collect::<Vec<_>>(), ids);
    assert!(bus.ids().values().all(|times| *times == 1) && world.told().await.is_empty());
    let first = bus.taken.lock().unwrap()[0].clone();
    let event = outbox.iter().find(|event| first["Detail"] == event.body).unwrap();
    assert_eq!((&first["Source"], &first["EventBusName"]), (&json!("xfiles"), &json!("orders")));
    assert_eq!((&first["DetailType"], &first["Time"]), (&json!(event.kind.as_str()), &json!(event.created.as_secs())));
    bus.deliver(&world).await;
    assert_eq!(bus.ids().len(), ids.len());
    world.end().await;
}

#[tokio::test]
async fn an_event_that_the_bus_refuses_is_kept_and_delays_no_webhook() {
    let (world, ids) = world_with_events(2).await;
    let hooks = format!("/api/v1/projects/{}/webhooks", world.stack.project());
    let hook = json!({"url": "http://127.0.0.1:9/", "enabled": true});
    assert_eq!(world.client.post(&hooks, &hook).await.status, 201);

    let bus = Bus::new(Mood::Denies);
    let sent = bus.deliver(&world).await;
    assert_eq!((sent.retried, world.told().await.len()), (4, 4), "each was attempted at the webhook, and none is lost");
    assert_eq!(*bus.calls.lock().unwrap(), 1, "a failing bus is not called again in the same run");
    *bus.mood.lock().unwrap() = Mood::RefusesTheFirst;
    while !world.told().await.is_empty() {
        let before = bus.ids().len();
        bus.deliver(&world).await;
        if bus.ids().len() == before {
            *bus.mood.lock().unwrap() = Mood::Takes;
        }
    }
    assert_eq!(bus.ids().into_keys().collect::<Vec<_>>(), ids);
    world.end().await;
}

#[tokio::test]
async fn an_event_is_offered_to_the_bus_for_a_day() {
    let (world, ids) = world_with_events(1).await;
    let bus = Bus::new(Mood::Denies);
    world.pass(Duration::from_secs(24 * 60 * 60 - 60));
    bus.deliver(&world).await;
    assert_eq!(world.told().await.len(), ids.len());
    world.pass(Duration::from_secs(60));
    bus.deliver(&world).await;
    assert!(world.told().await.is_empty());
    world.end().await;
}
