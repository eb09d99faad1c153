//! Webhooks: signatures, permitted endpoints, retries, parking and replay.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xfiles_core::webhook::Reach;
use xfiles_tests::{Answer, Client, TEXT, World, WorldOptions, id_of};

/// A received message.
type Message = (HeaderMap, Vec<u8>);

/// A receiver on this machine that returns a status and records the messages.
#[derive(Clone, Default)]
struct Receiver {
    status: Arc<AtomicU16>,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Receiver {
    async fn start(status: u16) -> (Self, String) {
        let receiver = Self::default();
        receiver.answer(status);
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/hook?for=xfiles", listener.local_addr().unwrap());
        let app = Router::new().route("/hook", post(Self::take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, url)
    }

    async fn take(State(receiver): State<Self>, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap) {
        receiver.messages.lock().unwrap().push((headers, body.to_vec()));
        let status = StatusCode::from_u16(receiver.status.load(Ordering::SeqCst)).unwrap();
        let elsewhere = ("location".parse().unwrap(), "/hook?again".parse().unwrap());
        (status, HeaderMap::from_iter([elsewhere]))
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn taken(&self) -> Vec<Message> {
        std::mem::take(&mut self.messages.lock().unwrap())
    }
}

fn hooks(world: &World) -> String {
    format!("/api/v1/projects/{}/webhooks", world.stack.project())
}

/// Creates a webhook; returns its path and its secret.
async fn add(world: &World, body: Value) -> (String, String) {
    let answer = world.client.post(&hooks(world), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let id = answer.body["webhook"]["id"].as_str().unwrap();
    (format!("{}/{id}", hooks(world)), answer.body["secret"].as_str().unwrap().to_owned())
}

async fn patch(client: &Client, path: &str, change: Value) -> Answer {
    Answer::of(client.request(Method::PATCH, path).json(&change).send().await.unwrap()).await
}

async fn deliveries(world: &World, hook: &str) -> Vec<Value> {
    let answer = world.client.get(&format!("{hook}/deliveries?cursor=")).await.ok();
    answer["deliveries"].as_array().unwrap().clone()
}

/// HMAC-SHA256 as in RFC 2104, as an independent implementation.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

fn signed_by(secret: &str, (headers, body): &Message) -> bool {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let text = String::from_utf8(body.clone()).unwrap();
    let message = format!("{}.{}.{text}", header("webhook-id"), header("webhook-timestamp"));
    let expected = format!("v1,{}", BASE64_STANDARD.encode(hmac(&key, message.as_bytes())));
    header("webhook-signature").split(' ').any(|signature| signature == expected)
}

#[tokio::test]
async fn an_event_is_sent_once_signed_and_recorded() {
    let world = World::start().await;
    let (receiver, url) = Receiver::start(204).await;
    let (hook, secret) = add(&world, json!({ "url": url })).await;
    let file = world.client.upload(TEXT, json!({})).await;
    assert_eq!(world.deliver().await.delivered, 1);
    assert_eq!(world.deliver().await, xfiles_cleanup_cron::Sent::default());

    let messages = receiver.taken();
    assert_eq!(messages.len(), 1);
    assert!(signed_by(&secret, &messages[0]));
    assert!(!signed_by(&secret.replacen("whsec_", "whsec_AAAA", 1)[..], &messages[0]));
    let body: Value = serde_json::from_slice(&messages[0].1).unwrap();
    assert_eq!((&body["type"], &body["data"]["fileId"]), (&json!("file.confirmed"), &json!(id_of(&file))));
    assert_eq!(messages[0].0["webhook-id"].to_str().ok(), body["id"].as_str());
    assert_eq!(messages[0].0["content-type"], "application/json");

    let noted = &deliveries(&world, &hook).await[0];
    assert_eq!(
        (&noted["status"], &noted["attempts"], &noted["lastStatus"]),
        (&json!("delivered"), &json!(1), &json!(204))
    );
    assert_eq!(noted["eventId"], body["id"]);
    assert!(noted["nextAttemptAt"].is_null());
    world.end().await;
}

#[tokio::test]
async fn an_endpoint_gets_its_subscribed_types_while_it_is_enabled() {
    let world = World::start().await;
    let (receiver, url) = Receiver::start(200).await;
    let (hook, _) = add(&world, json!({"url": url, "events": ["file.deleted"]})).await;
    let file = world.client.upload(TEXT, json!({})).await;
    world.client.delete(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    world.deliver().await;
    let types = |messages: Vec<Message>| -> Vec<Value> {
        messages.iter().map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap()["type"].clone()).collect()
    };
    assert_eq!(types(receiver.taken()), ["file.deleted"]);

    assert_eq!(
        patch(&world.client, &hook, json!({"enabled": false, "events": []})).await.ok()["webhook"]["enabled"],
        false
    );
    world.client.upload(TEXT, json!({})).await;
    world.deliver().await;
    assert!(receiver.taken().is_empty());
    patch(&world.client, &hook, json!({"enabled": true})).await.ok();
    world.client.upload(TEXT, json!({})).await;
    world.deliver().await;
    assert_eq!(types(receiver.taken()), ["file.confirmed"]);
    world.client.delete(&hook).await.ok();
    world.client.upload(TEXT, json!({})).await;
    world.deliver().await;
    assert!(receiver.taken().is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_failed_delivery_is_retried_with_the_same_id_until_acknowledged() {
    let world = World::start().await;
    let (receiver, url) = Receiver::start(500).await;
    let (hook, secret) = add(&world, json!({ "url": url })).await;
    world.client.upload(TEXT, json!({})).await;
    assert_eq!(world.deliver().await.retried, 1);
    assert_eq!(world.deliver().await.retried, 0, "not before it is due");
    world.pass(Duration::from_secs(40));
    // Redirects are not followed.
    receiver.answer(302);
    assert_eq!(world.deliver().await.retried, 1);
    world.pass(Duration::from_secs(80));
    receiver.answer(200);
    assert_eq!(world.deliver().await.delivered, 1);
    let messages = receiver.taken();
    assert_eq!(messages.len(), 3);
    for message in &messages {
        assert!(signed_by(&secret, message));
        assert_eq!(message.0["webhook-id"], messages[0].0["webhook-id"]);
        assert_eq!(message.1, messages[0].1);
    }
    assert_ne!(messages[0].0["webhook-timestamp"], messages[2].0["webhook-timestamp"]);
    assert_eq!(deliveries(&world, &hook).await[0]["attempts"], 3);
    world.end().await;
}

#[tokio::test]
async fn after_a_day_of_failures_a_delivery_is_parked_and_can_be_replayed() {
    let world = World::start().await;
    let (receiver, url) = Receiver::start(503).await;
    let (hook, _) = add(&world, json!({ "url": url })).await;
    for _ in 0..2 {
        world.client.upload(TEXT, json!({})).await;
    }
    let mut parked = 0;
    for _ in 0..200 {
        parked += world.deliver().await.parked;
        world.pass(Duration::from_secs(15 * 60));
    }
    assert_eq!(parked, 2);
    let tried = receiver.taken().len();
    assert!((20..=40).contains(&tried), "{tried}");
    assert_eq!(world.client.get(&format!("{hook}/deliveries?status=pending")).await.ok()["deliveries"], json!([]));
    let listed = world.client.get(&format!("{hook}/deliveries?status=parked")).await.ok();
    let id = listed["deliveries"][1]["id"].as_str().unwrap();

    receiver.answer(200);
    let replay = format!("{hook}/replay");
    assert_eq!(world.client.post(&replay, &json!({ "deliveryId": id })).await.ok()["replayed"], 1);
    assert_eq!(world.deliver().await.delivered, 1);
    assert_eq!(world.client.post(&replay, &json!({})).await.ok(), json!({"replayed": 1, "more": false}));
    assert_eq!(world.deliver().await.delivered, 1);
    assert!(deliveries(&world, &hook).await.iter().all(|delivery| delivery["status"] == "delivered"));
    world.client.post(&replay, &json!({"deliveryId": "x"})).await.refused(400, "invalid_request");
    let unknown = format!("00000000000000-evt_{}", "0".repeat(32));
    world.client.post(&replay, &json!({ "deliveryId": unknown })).await.refused(404, "not_found");
    world.end().await;
}

#[tokio::test]
async fn a_rotated_secret_keeps_signing_during_its_grace_period() {
    let world = World::start().await;
    let (receiver, url) = Receiver::start(200).await;
    let (hook, old) = add(&world, json!({ "url": url })).await;
    let answer = world.client.post(&format!("{hook}/rotate"), &json!({"gracePeriod": 600})).await.ok();
    let new = answer["secret"].as_str().unwrap();
    assert_ne!(new, old);
    world.client.upload(TEXT, json!({})).await;
    world.deliver().await;
    let message = &receiver.taken()[0];
    assert!(signed_by(&old, message) && signed_by(new, message));

    world.pass(Duration::from_secs(600));
    world.client.upload(TEXT, json!({})).await;
    world.deliver().await;
    let message = &receiver.taken()[0];
    assert!(!signed_by(&old, message) && signed_by(new, message));
    let listed = world.client.get(&hooks(&world)).await.ok().to_string();
    assert!(!listed.contains("whsec_"), "secrets are shown once");
    world.end().await;
}

#[tokio::test]
async fn an_endpoint_that_returns_410_is_disabled() {
    let world = World::start().await;
    let (receiver, url) = Receiver::start(410).await;
    let (hook, _) = add(&world, json!({ "url": url })).await;
    world.client.upload(TEXT, json!({})).await;
    world.deliver().await;
    assert_eq!(world.client.get(&hooks(&world)).await.ok()["webhooks"][0]["enabled"], false);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.deliver().await.parked, 1);
    assert_eq!(receiver.taken().len(), 1);
    assert_eq!(deliveries(&world, &hook).await[0]["status"], "parked");
    world.end().await;
}

#[tokio::test]
async fn a_webhook_must_be_a_public_https_url_unless_it_is_permitted() {
    let world = World::with(WorldOptions { webhooks: Reach::Public, ..WorldOptions::default() }).await;
    for url in
        ["http://example.com/", "https://127.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest"]
    {
        let refusal = world.client.post(&hooks(&world), &json!({ "url": url })).await.refused(400, "invalid_request");
        assert_eq!(refusal["errors"][0]["pointer"], "/url", "{url}");
    }
    let refusal = world.client.post(&hooks(&world), &json!({"events": ["file.opened"]})).await;
    let refusal = refusal.refused(400, "invalid_request");
    let pointers: Vec<&Value> = refusal["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, ["/url", "/events"]);
    world.end().await;
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_not_connected_to() {
    let world = World::start().await;
    let (receiver, url) = Receiver::start(200).await;
    let port = url.split([':', '/']).nth(4).unwrap();
    // The URL is accepted; only its addresses are refused.
    let (hook, _) = add(&world, json!({"url": format!("https://localhost:{port}/hook")})).await;
    world.client.upload(TEXT, json!({})).await;
    let courier = xfiles_cleanup_cron::Courier::new(Reach::Public);
    let sent = xfiles_cleanup_cron::deliver(world.files(), &courier, xfiles_cleanup_cron::Bounds::default());
    assert_eq!(sent.await.unwrap().retried, 1);
    assert!(receiver.taken().is_empty());
    let noted = &deliveries(&world, &hook).await[0];
    assert_eq!(noted["lastError"], "the host has an address that is not public");
    world.end().await;
}

#[tokio::test]
async fn a_project_has_at_most_ten_webhooks_and_only_an_admin_sees_them() {
    let world = World::start().await;
    for _ in 0..10 {
        add(&world, json!({"url": "https://example.com/"})).await;
    }
    world.client.post(&hooks(&world), &json!({"url": "https://example.com/"})).await.refused(409, "too_many_webhooks");
    let reader = world.client_with(&xfiles_core::api_key::Scope::DEFAULT).await;
    reader.get(&hooks(&world)).await.refused(403, "missing_scope");
    world.client.get(&format!("{}/none/deliveries", hooks(&world))).await.refused(404, "not_found");
    world.end().await;
}

#[tokio::test]
async fn concurrent_runs_send_each_event_once() {
    let world = World::start().await;
    let (receiver, url) = Receiver::start(200).await;
    add(&world, json!({ "url": url })).await;
    for _ in 0..5 {
        world.client.upload(TEXT, json!({})).await;
    }
    futures::future::join_all((0..4).map(|_| world.deliver())).await;
    let mut ids: Vec<_> = receiver.taken().iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), 5);
    ids.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    ids.dedup();
    assert_eq!(ids.len(), 5);
    world.end().await;
}
