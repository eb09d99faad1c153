//! One machine: data after a restart, refused starts, and secrets in logs.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::StatusCode;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;
use xfiles_standalone::{Data, Stack, StackOptions, StartError};
use xfiles_tests::{TEXT, World, WorldOptions, fixture, id_of};

fn on(directory: &tempfile::TempDir) -> WorldOptions {
    WorldOptions { data: Data::Directory(directory.path().join("data")), ..WorldOptions::default() }
}

fn options(data: Data, port: u16) -> StackOptions {
    StackOptions { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ..StackOptions::new(data) }
}

#[tokio::test]
async fn a_restart_keeps_files_keys_pending_uploads_and_signatures() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(on(&directory)).await;
    let first_key = world.client.key().to_owned();
    let more = json!({"transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let photo = fixture("portrait-exif6.jpg");
    let file = world.client.upload(("p.jpg", "image/jpeg", &photo), more).await;
    let pending = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    assert_eq!(world.client.put(&pending, TEXT.1, TEXT.2).await, StatusCode::OK);
    world.end().await;

    let world = World::with(on(&directory)).await;
    assert!(world.stack.first_key().is_none(), "a later start creates no key");
    let client = world.client.with_key(&first_key);
    let answer = client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    assert_eq!(answer["file"], file);
    let served = world.get(answer["url"].as_str().unwrap()).await;
    assert_eq!(served.headers()["content-type"], "image/jpeg");
    assert_eq!(served.bytes().await.unwrap(), photo);
    assert_eq!(world.get(answer["variants"][0]["url"].as_str().unwrap()).await.status(), StatusCode::OK);
    client.confirm(id_of(&pending)).await.ok();
    world.end().await;
}

#[tokio::test]
async fn after_a_rotation_new_urls_carry_the_new_key_and_old_ones_work_until_they_expire() {
    const CDN: &str = "https://cdn.example.com";
    let directory = tempfile::tempdir().unwrap();
    let at = |rotate_signing_key| WorldOptions { rotate_signing_key, public_url: CDN.parse().ok(), ..on(&directory) };
    let world = World::with(at(false)).await;
    let file = world.client.upload(TEXT, json!({})).await;
    let path = format!("/api/v1/files/{}", id_of(&file));
    let signed = |answer: serde_json::Value| answer["url"].as_str().unwrap().strip_prefix(CDN).unwrap().to_owned();
    let old = signed(world.client.get(&path).await.ok());
    world.end().await;

    let world = World::with(at(true)).await;
    let new = signed(world.client.get(&path).await.ok());
    let key_of = |url: &str| url.split("Key-Pair-Id=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    assert_ne!(key_of(&new), key_of(&old));
    assert_eq!(world.get(&new).await.status(), StatusCode::OK);
    assert_eq!(world.get(&old).await.status(), StatusCode::OK);
    world.pass(Duration::from_secs(361));
    assert_eq!(world.get(&old).await.status(), StatusCode::FORBIDDEN);
    world.end().await;
}

#[tokio::test]
async fn a_second_process_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(on(&directory)).await;
    let refused = Stack::start(options(on(&directory).data, 0)).await.err().unwrap();
    assert!(matches!(refused, StartError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("--data"), "{refused}");
    world.end().await;
}

#[tokio::test]
async fn a_port_in_use_and_an_unusable_directory_are_named() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = Stack::start(options(Data::Ephemeral, port)).await.err().unwrap().to_string();
    assert!(refused.contains(&port.to_string()) && refused.contains("--listen"), "{refused}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = Stack::start(options(Data::Directory(file.join("data")), 0)).await.err().unwrap();
    assert!(matches!(refused, StartError::Data { .. }), "{refused}");
    assert!(refused.to_string().contains(file.to_str().unwrap()), "{refused}");
}

#[tokio::test]
async fn signing_keys_are_readable_only_by_their_owner_and_raw_api_keys_are_never_stored() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(on(&directory)).await;
    let key = world.client.key().to_owned();
    world.client.upload(TEXT, json!({})).await;
    world.end().await;
    let data = directory.path().join("data");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("secrets.json"))), (0o700, 0o600));
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn requests_in_flight_finish_before_a_stop() {
    let world = World::start().await;
    let intent = world.client.intent(TEXT.0, TEXT.1, TEXT.2.len(), json!({})).await.ok();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<&'static [u8], io::Error>>(1);
    let body = reqwest::Body::wrap_stream(futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    }));
    let put = world.request(reqwest::Method::PUT, intent["uploadUrl"].as_str().unwrap());
    let put = put.header("content-type", TEXT.1).header("content-length", TEXT.2.len()).body(body);
    let put = tokio::spawn(put.send());
    sender.send(Ok(&TEXT.2[..5])).await.unwrap();
    // The client has read it, so the request is in progress.
    sender.send(Ok(&TEXT.2[5..8])).await.unwrap();
    let stop = tokio::spawn(world.stack.stop());
    sender.send(Ok(&TEXT.2[8..])).await.unwrap();
    drop(sender);
    assert_eq!(put.await.unwrap().unwrap().status(), StatusCode::OK);
    stop.await.unwrap();
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_log_line_holds_a_key_a_signature_a_signed_url_or_a_clients_file_name() {
    let log = Log::default();
    let filter = tracing_subscriber::EnvFilter::new(xfiles_standalone::LOG_FILTER);
    // For the whole process, so the logs of other tests are also checked.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).init();

    let world = World::start().await;
    let photo = fixture("portrait-exif6.jpg");
    let more = json!({"transformations": {"image": {"enabled": true}}});
    let intent = world.client.intent("very-secret-name.jpg", "image/jpeg", photo.len(), more).await.ok();
    world.client.put(&intent, "image/png", photo.clone()).await;
    world.client.put(&intent, "image/jpeg", photo.clone()).await;
    world.client.confirm(id_of(&intent)).await.ok();
    let answer = world.client.get(&format!("/api/v1/files/{}", id_of(&intent))).await.ok();
    let url = answer["variants"][0]["url"].as_str().unwrap();
    world.get(url).await;
    world.get(&format!("{url}x")).await;
    world.pass(Duration::from_secs(1000));
    world.client.put(&intent, "image/jpeg", photo).await;
    world.get(answer["url"].as_str().unwrap()).await;
    world.client.with_key("xf_nonsense").get("/api/v1/files").await;
    world.client.delete(&format!("/api/v1/files/{}", id_of(&intent))).await.ok();

    let secrets = [
        world.client.key(),
        &world.client.key()[3..],
        world.stack.s3_credentials().secret_access_key(),
        world.stack.s3_credentials().access_key_id(),
        "X-Amz-Signature",
        "Signature=",
        "Policy=",
        "very-secret-name",
        "xf_nonsense",
    ];
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("/api/v1/files/confirm"), "requests are logged: {text}");
    for secret in secrets {
        assert!(!text.contains(secret), "the log contains {secret}");
    }
    world.end().await;
}
