//! The template compared with the code: variable names, table keys, behaviours of the distribution, and the permissions
//! of each function compared with its requests. `infra/tests` has the tests of the template alone.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use axum::{Router, body::Body};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use serde_norway::Value as Yaml;
use tower::ServiceExt as _;
use xfiles_control_api::{Api, ApiOptions, router};
use xfiles_core::{
    catalog::{INDEXES, PROJECTED, TTL},
    cdn::{Cdn, Invalidate, InvalidateFuture, KeyPairId, Signer, SigningKey, URL_LIFE, disposition},
    config::{API_VARIABLES, CDN_VARIABLES, EVENT_VARIABLES, STORE_VARIABLES, WORKER_VARIABLES},
    metrics::Metric,
    object_key::ObjectKey,
    operations::Files,
    variant::Colour,
};
use xfiles_edge_variants::Worker;
use xfiles_tests::{World, fixture, id_of};

const TEMPLATE: &str = include_str!("../../infra/template.yaml");
const VECTORS: &str = include_str!("../vectors/cdn.json");

fn resource(name: &str) -> Yaml {
    let template: Yaml = serde_norway::from_str(TEMPLATE).unwrap();
    template["Resources"].get(name).unwrap_or_else(|| panic!("the template has no {name}")).clone()
}

fn texts(list: &Yaml) -> Vec<String> {
    match list {
        Yaml::Sequence(items) => items.iter().flat_map(texts).collect(),
        Yaml::String(text) => vec![text.clone()],
        Yaml::Tagged(tagged) => texts(&tagged.value),
        other => panic!("{other:?} is no text"),
    }
}

fn text(value: &Yaml) -> String {
    texts(value).join(".")
}

#[test]
fn each_function_gets_exactly_the_variables_that_its_configuration_reads() {
    let stores = STORE_VARIABLES.as_slice();
    let worker = [stores, &WORKER_VARIABLES].concat();
    let with_cdn = [stores, &CDN_VARIABLES].concat();
    let cron = [&with_cdn, EVENT_VARIABLES.as_slice()].concat();
    // The API has no metrics, and gets its key from a secret instead of a variable.
    let api = [&with_cdn, API_VARIABLES.as_slice()].concat();
    let api: Vec<&str> =
        api.into_iter().filter(|n| !["XFILES_METRICS_NAMESPACE", "XFILES_SIGNING_KEY"].contains(n)).collect();
    for (function, names) in [("EdgeVariants", &worker), ("CleanupCron", &cron), ("ControlApi", &api)] {
        let variables = resource(function)["Properties"]["Environment"]["Variables"].clone();
        let given: BTreeSet<String> = variables.as_mapping().unwrap().keys().map(text).collect();
        assert_eq!(given, names.iter().map(ToString::to_string).collect(), "{function}");
    }
}

#[test]
fn the_default_jpeg_background_is_white_on_aws_as_in_the_code() {
    let template: Yaml = serde_norway::from_str(TEMPLATE).unwrap();
    assert_eq!(text(&template["Parameters"]["JpegBackground"]["Default"]), Colour::WHITE.to_string());
}

#[test]
fn the_table_has_the_catalogs_keys_indexes_and_expiry() {
    let table = resource("Table")["Properties"].clone();
    let keys = |schema: &Yaml| -> Vec<(String, String)> {
        let keys = schema.as_sequence().unwrap().iter();
        keys.map(|key| (text(&key["KeyType"]), text(&key["AttributeName"]))).collect()
    };
    let pair = |pk: &str, sk: &str| vec![("HASH".to_owned(), pk.to_owned()), ("RANGE".to_owned(), sk.to_owned())];
    assert_eq!(keys(&table["KeySchema"]), pair("PK", "SK"));
    let indexes = table["GlobalSecondaryIndexes"].as_sequence().unwrap();
    assert_eq!(indexes.len(), INDEXES.len());
    for (index, expected) in indexes.iter().zip(INDEXES) {
        assert_eq!(text(&index["IndexName"]), expected.name);
        assert_eq!(keys(&index["KeySchema"]), pair(expected.pk, expected.sk));
        assert_eq!(text(&index["Projection"]["ProjectionType"]), "INCLUDE");
        assert_eq!(texts(&index["Projection"]["NonKeyAttributes"]), PROJECTED);
    }
    assert_eq!(text(&table["TimeToLiveSpecification"]["AttributeName"]), TTL);
    // DynamoDB refuses additional definitions as well as missing ones.
    let defined = table["AttributeDefinitions"].as_sequence().unwrap().iter();
    let defined: BTreeSet<_> = defined.map(|a| (text(&a["AttributeName"]), text(&a["AttributeType"]))).collect();
    let keys = ["PK", "SK"].into_iter().chain(INDEXES.iter().flat_map(|index| [index.pk, index.sk]));
    assert_eq!(defined, keys.map(|key| (key.to_owned(), "S".to_owned())).collect());
}

#[test]
fn alarms_watch_the_metrics_that_the_functions_count() {
    let template: Yaml = serde_norway::from_str(TEMPLATE).unwrap();
    let resources = template["Resources"].as_mapping().unwrap().values();
    let ours = resources.map(|r| &r["Properties"]).filter(|p| matches!(&p["Namespace"], Yaml::Tagged(_)));
    let ours: Vec<_> = ours.collect();
    let watched: BTreeSet<String> = ours.iter().map(|alarm| text(&alarm["MetricName"])).collect();
    assert_eq!(watched, Metric::ALL.map(|metric| metric.as_str().to_owned()).into());
    for alarm in ours {
        assert!(alarm.get("Dimensions").is_none(), "a metric with dimensions is a different metric");
        for function in ["EdgeVariants", "CleanupCron"] {
            let given = &resource(function)["Properties"]["Environment"]["Variables"]["XFILES_METRICS_NAMESPACE"];
            assert_eq!(text(given), text(&alarm["Namespace"]), "{function}");
        }
    }
}

/// The template's behaviour for a path: whether it needs a signature, and its origins. `None` for the default
/// behaviour, which serves nothing.
fn behaviour(path: &str) -> Option<(bool, String)> {
    let config = resource("Distribution")["Properties"]["DistributionConfig"].clone();
    let behaviours = config["CacheBehaviors"].as_sequence().unwrap().clone();
    let of_path = |b: &&Yaml| path.starts_with(text(&b["PathPattern"]).strip_suffix('*').expect("a prefix"));
    let found = behaviours.iter().find(of_path)?;
    Some((found.get("TrustedKeyGroups").is_some(), text(&found["TargetOriginId"])))
}

#[tokio::test]
async fn each_path_has_the_same_signing_and_origin_rules_as_in_the_stand_in() {
    let world = World::start().await;
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for path in vectors["served"].as_array().unwrap() {
        let path = path.as_str().unwrap();
        let key: ObjectKey = path[1..].parse().unwrap();
        let (signed, origin) = behaviour(path).unwrap();
        assert_eq!(world.get(path).await.status() == StatusCode::FORBIDDEN, signed, "{path}");
        let made = matches!(key, ObjectKey::Variant { .. });
        assert_eq!(origin, if made { "bucket-then-worker" } else { "bucket" }, "{path}");
    }
    for path in vectors["refused"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()) {
        let key = path.strip_prefix('/').and_then(|key| key.parse::<ObjectKey>().ok());
        assert!(key.is_none_or(|key| matches!(key, ObjectKey::Staging { .. })), "{path}");
    }
    world.end().await;
}

#[test]
fn the_vectors_of_save_as_names_match_the_code() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for vector in vectors["downloads"].as_array().unwrap() {
        let key: ObjectKey = vector["path"].as_str().unwrap()[1..].parse().unwrap();
        let query = format!("download={}", vector["download"].as_str().unwrap());
        assert_eq!(disposition(&key, Some(&query)).as_deref(), vector["disposition"].as_str(), "{query}");
    }
}

/// A permission and its resource: `table`, `index`, a directory of the bucket, or `distribution`.
type Right = (String, String);

/// Records the permissions that the requests need.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<BTreeSet<Right>>>);

impl Recorder {
    fn note(&self, action: &str, on: &str) {
        self.0.lock().unwrap().insert((action.to_owned(), on.to_owned()));
    }

    fn rights(&self) -> BTreeSet<Right> {
        self.0.lock().unwrap().clone()
    }

    /// The files of a stack as in a Lambda function.
    fn files(&self, world: &World) -> Files {
        let (key, _) = SigningKey::generate_p256(KeyPairId::mint());
        let cdn = Cdn::new(world.stack.url().clone(), Signer::new(key, URL_LIFE), Arc::new(self.clone()));
        world.stack.files_through(|inner| self.wrap(inner)).with_cdn(cdn)
    }

    fn wrap(&self, inner: SharedHttpClient) -> SharedHttpClient {
        let recorder = self.clone();
        http_client_fn(move |settings, components| {
            let inner = inner.http_connector(settings, components);
            SharedHttpConnector::new(Recorded { recorder: recorder.clone(), inner })
        })
    }

    fn note_request(&self, request: &HttpRequest) {
        match request.headers().get("x-amz-target").and_then(|target| target.rsplit_once('.')) {
            Some((_, operation)) => self.note_dynamodb(operation, request.body().bytes().unwrap()),
            None => self.note_s3(request),
        }
    }

    fn note_dynamodb(&self, operation: &str, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap();
        match operation {
            "TransactWriteItems" => {
                for write in body["TransactItems"].as_array().unwrap() {
                    for kind in write.as_object().unwrap().keys() {
                        let action = if kind == "ConditionCheck" { kind.clone() } else { format!("{kind}Item") };
                        self.note(&format!("dynamodb:{action}"), "table");
                    }
                }
            }
            operation => {
                let on = if body["IndexName"].is_null() { "table" } else { "index" };
                self.note(&format!("dynamodb:{operation}"), on);
            }
        }
    }

    fn note_s3(&self, request: &HttpRequest) {
        let uri: http::Uri = request.uri().parse().unwrap();
        let key = uri.path().trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
        match request.method() {
            "GET" if key.is_empty() => self.note("s3:ListBucket", "bucket"),
            "GET" | "HEAD" => self.note("s3:GetObject", folder(key)),
            "PUT" => {
                if let Some(source) = request.headers().get("x-amz-copy-source") {
                    self.note("s3:GetObject", folder(source.split_once('/').unwrap().1));
                }
                self.note("s3:PutObject", folder(key));
            }
            "POST" => {
                let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
                for key in body.split("<Key>").skip(1) {
                    self.note("s3:DeleteObject", folder(key));
                }
            }
            other => panic!("no right is known for {other}"),
        }
    }
}

impl Invalidate for Recorder {
    fn invalidate<'a>(&'a self, _: &'a str, _: Vec<String>) -> InvalidateFuture<'a> {
        self.note("cloudfront:CreateInvalidation", "distribution");
        Box::pin(async { Ok(()) })
    }
}

#[derive(Debug)]
struct Recorded {
    recorder: Recorder,
    inner: SharedHttpConnector,
}

impl HttpConnector for Recorded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.recorder.note_request(&request);
        self.inner.call(request)
    }
}

fn folder(key: &str) -> &'static str {
    ["staging", "files/originals", "files/variants"].into_iter().find(|f| key.starts_with(f)).expect("a known folder")
}

/// The permissions on stores and CDN that a policy of the template grants.
fn granted(statements: &Yaml) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for statement in statements.as_sequence().unwrap() {
        // Conditional statements are included; traces do not concern our stores.
        let statement = match statement {
            Yaml::Tagged(choice) => &choice.value[1],
            statement => statement,
        };
        for action in texts(&statement["Action"]) {
            for on in resources(&statement["Resource"]) {
                let of_ours =
                    ["dynamodb:", "s3:", "cloudfront:", "events:"].iter().any(|service| action.starts_with(service));
                if of_ours {
                    rights.insert((action.clone(), on));
                }
            }
        }
    }
    rights
}

fn resources(value: &Yaml) -> Vec<String> {
    if let Yaml::Sequence(items) = value {
        return items.iter().flat_map(resources).collect();
    }
    let on = match text(value).as_str() {
        "Table.Arn" => &["table"][..],
        "${Table.Arn}/index/*" => &["index"],
        "Bucket.Arn" => &["bucket"],
        "${Bucket.Arn}/staging/*" => &["staging"],
        "${Bucket.Arn}/files/originals/*" => &["files/originals"],
        "${Bucket.Arn}/files/variants/*" => &["files/variants"],
        "${Bucket.Arn}/files/*" => &["files/originals", "files/variants"],
        bus if bus.ends_with(":event-bus/${EventBusName}") => &["event-bus"],
        distribution if distribution.ends_with("distribution/${Distribution}") => &["distribution"],
        _ => &["other"],
    };
    on.iter().map(ToString::to_string).collect()
}

fn policy_of(role: &str) -> BTreeSet<Right> {
    granted(&resource(role)["Properties"]["Policies"][0]["PolicyDocument"]["Statement"])
}

struct Caller(Router, String);

impl Caller {
    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let request = Request::builder().method(method.clone()).uri(path);
        let request = request.header("authorization", format!("Bearer {}", self.1));
        let request = request.header("content-type", "application/json");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.0.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{method} {path}: {status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or(Value::Null)
    }
}

const PICTURE: &str = r#"{"visibility": "private", "transformations": {"image": {"enabled": true, "visibility": "public"}},
    "entity": {"type": "listing", "id": "1"}}"#;

#[tokio::test]
async fn the_api_may_do_what_its_requests_need_and_nothing_else() {
    let (world, recorder) = (World::start().await, Recorder::default());
    let admin = world.client_with(&xfiles_core::api_key::Scope::ALL).await;
    let api = Api::new(recorder.files(&world), ApiOptions::default());
    let caller = Caller(router(api), admin.key().to_owned());
    let photo = fixture("portrait-exif6.jpg");

    caller.call(Method::GET, "/readyz", Value::Null).await;
    let mut asked: Value = serde_json::from_str(PICTURE).unwrap();
    for (name, value) in
        [("filename", json!("p.jpg")), ("contentType", json!("image/jpeg")), ("size", json!(photo.len()))]
    {
        asked[name] = value;
    }
    let intent = caller.call(Method::POST, "/api/v1/files/upload-intent", asked).await;
    world.client.put(&intent, "image/jpeg", photo).await;
    let id = intent["fileId"].as_str().unwrap().to_owned();
    caller.call(Method::POST, "/api/v1/files/confirm", json!({"fileId": id})).await;
    caller.call(Method::GET, "/api/v1/files?page=1", Value::Null).await;
    caller.call(Method::PATCH, &format!("/api/v1/files/{id}"), json!({"visibility": "public"})).await;
    caller.call(Method::DELETE, &format!("/api/v1/files/{id}?erase=true"), Value::Null).await;
    let project = caller.call(Method::POST, "/api/v1/projects", json!({"name": "p", "quotaBytes": 1000})).await;
    let project = id_of(&project["project"]).to_owned();
    caller.call(Method::POST, &format!("/api/v1/projects/{project}/keys"), json!({"name": "k"})).await;
    caller.call(Method::GET, &format!("/api/v1/projects/{project}/webhooks"), Value::Null).await;
    caller.call(Method::DELETE, &format!("/api/v1/projects/{project}"), Value::Null).await;
    caller.call(Method::POST, "/api/v1/cleanup", json!({})).await;
    caller.call(Method::POST, "/api/v1/cleanup", json!({"report": true})).await;

    let policy = granted(&resource("ControlApiPolicy")["Properties"]["PolicyDocument"]["Statement"]);
    assert_eq!(recorder.rights(), policy);
    world.end().await;
}

#[tokio::test]
async fn the_worker_may_do_what_its_requests_need_and_nothing_else() {
    let (world, recorder) = (World::start().await, Recorder::default());
    let more = serde_json::from_str(PICTURE).unwrap();
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), more).await;
    let stem = file["filename"].as_str().unwrap().split('.').next().unwrap();
    let path = format!("/files/variants/public/{}/{}/{stem}_w100.webp", world.stack.project(), id_of(&file));
    let worker = Worker::new(recorder.files(&world), 1).router();
    let made = worker.oneshot(Request::builder().uri(path).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(made.status(), StatusCode::OK);

    // A separate placeholder needs less.
    let (apart, more) = (Recorder::default(), json!({}));
    let file = world.client.upload(("q.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), more).await;
    Worker::new(apart.files(&world), 1).note_placeholder(xfiles_tests::file_id(&file)).await.unwrap();
    assert!(apart.rights().is_subset(&recorder.rights()), "{:?}", apart.rights());

    // It only removes its stored variant if the record changes while it renders.
    let mut needed = recorder.rights();
    needed.insert(("s3:DeleteObject".to_owned(), "files/variants".to_owned()));
    assert_eq!(needed, policy_of("EdgeVariantsRole"));
    world.end().await;
}

#[tokio::test]
async fn the_cleanup_may_do_what_its_requests_need_and_nothing_else() {
    let (world, recorder) = (World::start().await, Recorder::default());
    let files = recorder.files(&world);
    let more: Value = serde_json::from_str(PICTURE).unwrap();
    let photo = fixture("portrait-exif6.jpg");
    // A file whose process crashed during a move, an upload that never arrives, one whose process crashed before the
    // publication, and a project that is being emptied.
    let moved = world.client.upload(("p.jpg", "image/jpeg", &photo), more.clone()).await;
    world.client.intent("q.jpg", "image/jpeg", photo.len(), more.clone()).await.ok();
    let published = world.client.intent("r.jpg", "image/jpeg", photo.len(), more).await.ok();
    world.client.put(&published, "image/jpeg", photo).await;
    let crashed = world.stack.files_through(|inner| {
        http_client_fn(move |settings, components| {
            SharedHttpConnector::new(NoCopies(inner.http_connector(settings, components)))
        })
    });
    crashed.confirm(world.stack.project(), xfiles_tests::file_id(&published)).await.unwrap_err();
    let patch = Request::patch(format!("/api/v1/files/{}", id_of(&moved)));
    let patch = patch.header("authorization", format!("Bearer {}", world.client.key()));
    let patch =
        patch.header("content-type", "application/json").body(Body::from(r#"{"visibility": "public"}"#)).unwrap();
    let stopped = router(Api::new(crashed, ApiOptions::default())).oneshot(patch).await.unwrap();
    assert_eq!(stopped.status(), StatusCode::SERVICE_UNAVAILABLE);
    world.pass_expiry();
    xfiles_cleanup_cron::run(&files, xfiles_cleanup_cron::Bounds::default()).await.unwrap();
    let empty = format!("/api/v1/projects/{}/empty", world.stack.project());
    world.client.post(&empty, &json!({})).await;
    world.pass(Duration::from_secs(3600));
    xfiles_cleanup_cron::run(&files, xfiles_cleanup_cron::Bounds::default()).await.unwrap();
    let courier = xfiles_cleanup_cron::Courier::new(xfiles_core::webhook::Reach::Public);
    xfiles_cleanup_cron::deliver(&files, &courier, xfiles_cleanup_cron::Bounds::default()).await.unwrap();

    // The bus has its own connections; tests/suite/bus.rs tests its requests.
    let mut needed = recorder.rights();
    needed.insert(("events:PutEvents".to_owned(), "event-bus".to_owned()));
    assert_eq!(needed, policy_of("CleanupCronRole"));
    world.end().await;
}

/// A connection on which every copy fails.
#[derive(Debug)]
struct NoCopies(SharedHttpConnector);

impl HttpConnector for NoCopies {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if request.headers().contains_key("x-amz-copy-source") {
            return HttpConnectorFuture::ready(Err(ConnectorError::user("the process crashed".into())));
        }
        self.0.call(request)
    }
}
