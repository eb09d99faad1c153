//! `xf doctor` with working and broken stacks, and the plan of `xf deploy`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, StatusCode, header, request::Parts};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use xfiles_cli::{Console, Exit};
use xfiles_core::{
    api_key::Scope,
    cdn::{Cdn, Signer, URL_LIFE},
    error::{Cause, Error},
};
use xfiles_standalone::BUCKET;
use xfiles_tests::{TEXT, World, WorldOptions, id_of};

/// Runs `xf` with these arguments; returns the exit code and the output.
async fn xf(arguments: &[&str]) -> (Exit, String) {
    let arguments: Vec<_> = ["xf"].iter().chain(arguments).map(Into::into).collect();
    let run = move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = xfiles_cli::run(arguments, &mut Console::new(&mut out, &mut err));
        out.extend(err);
        (exit, String::from_utf8(out).expect("text"))
    };
    tokio::task::spawn_blocking(run).await.expect("it returns")
}

/// The findings of `xf doctor` for a world and a key.
async fn findings(world: &World, key: &str) -> (Exit, Vec<Value>) {
    let url = world.stack.listens_at().to_string();
    let arguments = ["doctor", "--json", "--purge-within", "5", "--url", &url, "--api-key", key];
    let (exit, out) = xf(&arguments).await;
    (exit, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}")))
}

/// The only failed check.
fn only_fault(findings: &[Value]) -> &Value {
    let faults: Vec<_> = findings.iter().filter(|finding| finding["ok"] == false).collect();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0]
}

#[tokio::test]
async fn a_healthy_stack_passes_every_check_and_nothing_is_left_behind() {
    let world = World::start().await;
    let (exit, findings) = findings(&world, world.client.key()).await;
    assert_eq!(exit, Exit::Ok, "{findings:#?}");
    for check in ["CORS", "failover", "signed URL", "without the signature", "deleted files"] {
        assert!(findings.iter().any(|f| f["check"].as_str().unwrap().contains(check)), "{check}: {findings:#?}");
    }
    assert!(world.objects().await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn an_unknown_key_is_named_as_the_cause() {
    let world = World::start().await;
    let (exit, findings) = findings(&world, &format!("xf_{}", "a".repeat(32))).await;
    assert_eq!(exit, Exit::Failed);
    let fault = only_fault(&findings);
    assert_eq!(fault["check"], "the API key is accepted");
    assert!(fault["fix"].as_str().unwrap().contains("key"), "{fault}");
    world.end().await;
}

#[tokio::test]
async fn a_key_without_upload_scope_is_distinguished_from_a_failing_store() {
    let world = World::start().await;
    let reader = world.client_with(&[Scope::Read]).await;
    let (exit, findings) = findings(&world, reader.key()).await;
    assert_eq!(exit, Exit::Failed);
    let fault = only_fault(&findings);
    assert_eq!(fault["check"], "a public upload begins");
    assert!(fault["cause"].as_str().unwrap().contains("write"), "{fault}");
    world.end().await;
}

#[tokio::test]
async fn an_unreachable_cdn_is_named_and_no_signed_url_is_shown() {
    let nowhere = "http://127.0.0.1:1".parse().unwrap();
    let world = World::with(WorldOptions { public_url: Some(nowhere), ..WorldOptions::default() }).await;
    let (exit, findings) = findings(&world, world.client.key()).await;
    assert_eq!(exit, Exit::Failed);
    let fault = findings.iter().find(|f| f["check"] == "the CDN reads the bucket").unwrap();
    assert_eq!(fault["ok"], false);
    assert!(fault["cause"].as_str().unwrap().contains("does not respond"), "{fault}");
    let all = Value::Array(findings).to_string();
    assert!(!all.contains("Signature") && !all.contains(world.client.key()), "{all}");
    assert!(world.objects().await.is_empty(), "the uploads are deleted nevertheless");
    world.end().await;
}

#[tokio::test]
async fn an_unreachable_server_is_the_only_finding() {
    let key = format!("xf_{}", "a".repeat(32));
    let (exit, out) = xf(&["doctor", "--url", "http://127.0.0.1:1", "--api-key", &key]).await;
    assert_eq!(exit, Exit::Failed);
    assert!(out.starts_with("FAIL  the API answers\n      cause: 127.0.0.1 does not respond"), "{out}");
}

/// The fault of a deployment.
#[derive(Clone, Copy)]
enum Wrong {
    /// These requests get this response.
    Answers(fn(&Parts) -> Option<Response>),
    /// Every response has this date.
    Date(&'static str),
    /// Public originals are cached forever.
    Remembers,
}

/// A stack behind a faulty proxy: API, CDN and object store at one address.
struct Broken {
    wrong: Wrong,
    stack: String,
    store: String,
    address: String,
    http: reqwest::Client,
    remembered: Mutex<HashMap<String, Bytes>>,
}

impl Broken {
    async fn start(wrong: Wrong) -> (World, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let public_url = Some(address.parse().unwrap());
        let world = World::with(WorldOptions { public_url, ..WorldOptions::default() }).await;
        let (stack, store) = (world.stack.listens_at().to_string(), world.stack.s3_url().to_string());
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let broken = Self { wrong, stack, store, address: address.clone(), http, remembered: Mutex::default() };
        let router = Router::new().fallback(Self::answer).with_state(Arc::new(broken));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (world, address)
    }

    async fn answer(State(broken): State<Arc<Self>>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let answers = if let Wrong::Answers(answers) = broken.wrong { answers(&parts) } else { None };
        if let Some(answer) = answers {
            return answer;
        }
        let path = parts.uri.path().to_owned();
        if let Some(bytes) = broken.remembered.lock().unwrap().get(&path) {
            return bytes.clone().into_response();
        }
        let to = if path.starts_with(&format!("/{BUCKET}/")) { &broken.store } else { &broken.stack };
        let mut headers = parts.headers;
        headers.remove(header::HOST);
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let sent = broken.http.request(parts.method, format!("{to}{}", parts.uri)).headers(headers).body(body);
        let answer = sent.send().await.unwrap();
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRANSFER_ENCODING);
        if let Wrong::Date(date) = broken.wrong {
            headers.insert(header::DATE, date.parse().unwrap());
        }
        let mut bytes = answer.bytes().await.unwrap();
        if path.starts_with("/api/") {
            // Uploads also pass through the proxy.
            bytes = String::from_utf8(bytes.into()).unwrap().replace(&broken.store, &broken.address).into();
        }
        if matches!(broken.wrong, Wrong::Remembers) && path.starts_with("/files/originals/public/") {
            broken.remembered.lock().unwrap().insert(path, bytes.clone());
        }
        (status, headers, bytes).into_response()
    }
}

/// An error response of S3 or CloudFront.
fn refused(status: u16, code: &str) -> Option<Response> {
    let body = format!("<Error><Code>{code}</Code><StringToSign>never shown</StringToSign></Error>");
    Some((StatusCode::from_u16(status).unwrap(), body).into_response())
}

fn uploads(request: &Parts) -> bool {
    request.method == Method::PUT && request.headers[header::CONTENT_TYPE] == "image/png"
}

fn at(request: &Parts, prefix: &str) -> bool {
    request.uri.path().starts_with(prefix)
}

/// CloudFront's response if a function of the distribution fails.
fn function_failed(name: &str) -> Option<Response> {
    let cache = [("x-cache", format!("{name} from cloudfront"))];
    let page = "<html>The CloudFront function associated with the CloudFront distribution is invalid or could not run.";
    Some((StatusCode::SERVICE_UNAVAILABLE, cache, page).into_response())
}

/// The fault, the check that finds it, and parts of its cause and fix.
const FAULTS: [(Wrong, &str, &str, &str); 21] = [
    (Wrong::Date("Sun, 06 Nov 1994 08:49:37 GMT"), "the clocks agree", "ahead of the server's", "NTP"),
    (
        Wrong::Answers(|r| (r.method == Method::OPTIONS).then(|| refused(403, "AccessForbidden")).flatten()),
        "the store lets browsers upload (CORS)",
        "https://doctor.example may not upload",
        "UploadOrigins",
    ),
    (
        Wrong::Answers(|r| (r.method == Method::PUT && !uploads(r)).then(|| StatusCode::OK.into_response())),
        "the store checks upload URLs",
        "is 200 and not 403",
        "emulator",
    ),
    (
        Wrong::Answers(|r| uploads(r).then(|| refused(403, "AccessDenied")).flatten()),
        "the store accepts the upload",
        "AccessDenied",
        "presign role",
    ),
    (
        Wrong::Answers(|r| uploads(r).then(|| refused(403, "RequestTimeTooSkewed")).flatten()),
        "the store accepts the upload",
        "RequestTimeTooSkewed",
        "clock",
    ),
    (
        Wrong::Answers(|r| uploads(r).then(|| refused(403, "SignatureDoesNotMatch")).flatten()),
        "the store accepts the upload",
        "SignatureDoesNotMatch",
        "change requests",
    ),
    (
        Wrong::Answers(|r| {
            let problem =
                r#"{"status":500,"code":"internal","detail":"Something broke","requestId":"r-1","hint":"Tell"}"#;
            let problem = (StatusCode::INTERNAL_SERVER_ERROR, problem).into_response();
            at(r, "/api/v1/files/confirm").then_some(problem)
        }),
        "the API publishes it",
        "Something broke (request r-1)",
        "s3:GetObject on staging/*",
    ),
    (
        Wrong::Answers(|r| at(r, "/files/originals/public/").then(|| refused(403, "AccessDenied")).flatten()),
        "the CDN reads the bucket",
        "is 403 (AccessDenied) and not 200",
        "bucket policy",
    ),
    (
        Wrong::Answers(|r| {
            at(r, "/files/originals/public/").then(|| function_failed("FunctionExecutionError")).flatten()
        }),
        "the CDN reads the bucket",
        "is 503 (FunctionExecutionError) and not 200",
        "a CloudFront function of the distribution fails",
    ),
    (
        Wrong::Answers(|r| at(r, "/files/variants/").then(|| function_failed("FunctionThrottledError")).flatten()),
        "a variant is rendered on its first request (failover to the worker)",
        "is 503 (FunctionThrottledError) and not 200",
        "ComputeUtilization",
    ),
    (
        Wrong::Answers(|r| {
            (at(r, "/files/originals/private/") && r.uri.query().is_none())
                .then(|| function_failed("FunctionValidationError"))
                .flatten()
        }),
        "without the signature it is refused",
        "is 503 and not 403",
        "a CloudFront function of the distribution fails",
    ),
    (
        Wrong::Answers(|r| at(r, "/files/originals/public/").then(|| StatusCode::NOT_FOUND.into_response())),
        "the CDN reads the bucket",
        "is 404 and not 200",
        "alias of this stack's distribution",
    ),
    (
        Wrong::Answers(|r| at(r, "/files/variants/").then(|| refused(403, "AccessDenied")).flatten()),
        "a variant is rendered on its first request (failover to the worker)",
        "(AccessDenied)",
        "origin group",
    ),
    (
        Wrong::Answers(|r| {
            let forbidden = (StatusCode::FORBIDDEN, r#"{"Message":"Forbidden"}"#).into_response();
            at(r, "/files/variants/").then_some(forbidden)
        }),
        "a variant is rendered on its first request (failover to the worker)",
        "(Forbidden)",
        "lambda:InvokeFunctionUrl and lambda:InvokeFunction",
    ),
    (
        Wrong::Answers(|r| at(r, "/files/variants/").then(|| StatusCode::TOO_MANY_REQUESTS.into_response())),
        "a variant is rendered on its first request (failover to the worker)",
        "429",
        "WorkerConcurrency",
    ),
    (
        Wrong::Answers(|r| at(r, "/files/variants/").then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())),
        "a variant is rendered on its first request (failover to the worker)",
        "503",
        "WorkerConcurrency",
    ),
    (
        Wrong::Answers(|r| at(r, "/files/variants/").then(|| StatusCode::NOT_FOUND.into_response())),
        "a variant is rendered on its first request (failover to the worker)",
        "404",
        "XFILES_TABLE",
    ),
    (
        Wrong::Answers(|r| {
            (at(r, "/files/originals/private/") && r.uri.query().is_some())
                .then(|| refused(403, "InvalidKey"))
                .flatten()
        }),
        "a signed URL opens a private file",
        "(InvalidKey)",
        "key group does not hold",
    ),
    (
        Wrong::Answers(|r| {
            (at(r, "/files/originals/private/") && r.uri.query().is_some())
                .then(|| refused(403, "AccessDenied"))
                .flatten()
        }),
        "a signed URL opens a private file",
        "(AccessDenied)",
        "DomainName",
    ),
    (
        Wrong::Answers(|r| {
            (at(r, "/files/originals/private/") && r.uri.query().is_none()).then(|| StatusCode::OK.into_response())
        }),
        "without the signature it is refused",
        "is 200 and not 403",
        "trusted key group",
    ),
    (
        Wrong::Remembers,
        "the CDN removes deleted files",
        "still served with status 200",
        "cloudfront:CreateInvalidation",
    ),
];

#[tokio::test]
async fn each_fault_of_a_deployment_is_found_by_its_check_with_its_cause_and_its_fix() {
    for (wrong, check, cause, fix) in FAULTS {
        let (world, address) = Broken::start(wrong).await;
        let arguments = ["doctor", "--json", "--purge-within", "1", "--url", &address, "--api-key", world.client.key()];
        let (exit, out) = xf(&arguments).await;
        assert_eq!(exit, Exit::Failed, "{check}: {out}");
        assert!(
            !out.contains("never shown") && !out.contains("Signature=") && !out.contains(world.client.key()),
            "{out}"
        );
        let findings: Vec<Value> = serde_json::from_str(&out).unwrap();
        let fault = only_fault(&findings);
        assert_eq!(fault["check"], check, "{fault}");
        assert!(fault["cause"].as_str().unwrap().contains(cause), "{cause}: {fault}");
        assert!(fault["fix"].as_str().unwrap().contains(fix), "{fix}: {fault}");
        world.end().await;
    }
}

#[tokio::test]
async fn an_unreadable_signing_key_is_distinguished_from_failing_stores() {
    let world = World::start().await;
    let unread = || -> BoxFuture<'static, _> {
        Box::pin(async { Err(Error::Internal(Cause::because("reading the signing key", "AccessDeniedException"))) })
    };
    let invalidations = Arc::new(world.stack.distribution().clone());
    let cdn = Cdn::new(world.stack.url().clone(), Signer::reading(unread, URL_LIFE), invalidations);
    let client = world.client_through(world.files().clone().with_cdn(cdn)).await;
    let arguments = ["doctor", "--json", "--url", client.url(), "--api-key", client.key()];
    let (exit, out) = xf(&arguments).await;
    assert_eq!(exit, Exit::Failed);
    assert!(!out.contains("AccessDeniedException"), "the service's error is only for the log: {out}");
    let findings: Vec<Value> = serde_json::from_str(&out).unwrap();
    let fault = findings.iter().find(|f| f["check"] == "the API reaches its stores and can sign").unwrap();
    assert!(fault["cause"].as_str().unwrap().contains("(reading the signing key failed)"), "{fault}");
    assert!(fault["fix"].as_str().unwrap().contains("secretsmanager:GetSecretValue"), "{fault}");

    // Requests without signatures still work.
    let file = client.upload(TEXT, json!({"visibility": "public"})).await;
    client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    let private = client.upload(TEXT, json!({"visibility": "private"})).await;
    client.get(&format!("/api/v1/files/{}", id_of(&private))).await.refused(500, "internal");
    world.end().await;
}

#[tokio::test]
async fn the_plan_of_a_deployment_needs_no_credentials_and_names_every_command() {
    let (exit, out) = xf(&["deploy", "--dry-run", "--stack", "files-test", "--parameter", "LogDays=7"]).await;
    assert_eq!(exit, Exit::Ok, "{out}");
    let commands: Vec<_> = out.lines().filter(|line| !line.starts_with('#')).collect();
    for (command, begins) in commands.iter().zip([
        "aws cloudformation describe-stacks --stack-name files-test",
        "aws lambda get-account-settings",
        "cargo lambda build --locked --profile function --arm64",
        "aws s3 mb",
        "aws secretsmanager create-secret --name xfiles/files-test/signing-key",
        "aws cloudformation package --template-file infra/template.yaml",
        "aws cloudfront create-function",
        "aws cloudfront test-function",
        "aws cloudfront delete-function",
        "aws cloudformation deploy",
        "aws dynamodb put-item",
    ]) {
        assert!(command.starts_with(begins), "{command}");
    }
    assert_eq!(commands.len(), 11);
    assert!(commands[9].contains("--stack-name files-test") && commands[9].ends_with(" LogDays=7"), "{out}");
}

#[tokio::test]
async fn an_invalid_stack_name_or_parameter_is_refused_with_the_rule() {
    for (arguments, rule) in [
        (["deploy", "--dry-run", "--stack", "1st"], "a stack's name is a letter"),
        (["deploy", "--dry-run", "--parameter", "LogDays"], "a parameter is NAME=VALUE"),
    ] {
        let (exit, out) = xf(&arguments).await;
        assert_eq!(exit, Exit::Usage);
        assert!(out.contains(rule), "{out}");
    }
    for arguments in
        [&["destroy"][..], &["destroy", "--and-data", "--plan"], &["destroy", "--confirm", "xfiles", "--plan"]]
    {
        assert_eq!(xf(arguments).await.0, Exit::Usage, "{arguments:?}");
    }
}
