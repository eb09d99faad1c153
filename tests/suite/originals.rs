//! How the worker reads originals: no further than it needs, and never half of one for the whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use axum::{body::Body, extract::Request, response::Response};
use futures::StreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::StatusCode;
use serde_json::json;
use tower::ServiceExt as _;
use xfiles_edge_variants::Worker;
use xfiles_tests::{
    World, fixture, id_of,
    wire::{self, Line},
};

/// What happens to the body of an original behind so many bytes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Stall,
    Reset,
    End,
}

/// Hands out an original's body in small parts, counts what was taken of it, and lets it meet a fault.
#[derive(Debug)]
struct Tap {
    fault: Fault,
    after: usize,
    reads: AtomicUsize,
    taken: Arc<AtomicUsize>,
}

impl Line for Tap {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        const PART: usize = 16 << 10;

        if request.method() != "GET" || !request.uri().contains("/files/originals/") {
            return HttpConnectorFuture::new(async move { store.call(request).await });
        }
        self.reads.fetch_add(1, Ordering::SeqCst);
        let (fault, after, taken) = (self.fault, self.after, Arc::clone(&self.taken));
        HttpConnectorFuture::new(async move {
            let mut answer = store.call(request).await?;
            let body = std::mem::replace(answer.body_mut(), SdkBody::empty());
            let bytes = ByteStream::new(body).collect().await.expect("the store gives its bytes").into_bytes();
            let parts = (0..bytes.len()).step_by(PART).map(move |at| bytes.slice(at..(at + PART).min(bytes.len())));
            let parts = futures::stream::iter(parts).then(move |part| {
                let before = taken.fetch_add(part.len(), Ordering::SeqCst);
                let fault = if before >= after { fault } else { Fault::None };
                async move {
                    match fault {
                        Fault::None => Some(Ok(Frame::data(part))),
                        Fault::Stall => std::future::pending().await,
                        Fault::Reset => Some(Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))),
                        Fault::End => None,
                    }
                }
            });
            let parts = parts.take_while(|part| std::future::ready(part.is_some())).filter_map(std::future::ready);
            *answer.body_mut() = SdkBody::from_body_1_x(StreamBody::new(parts));
            Ok(answer)
        })
    }
}

/// A worker with one place that reads originals through a tap.
fn worker(world: &World, fault: Fault, after: usize) -> (Worker, Arc<Tap>) {
    let tap = Arc::new(Tap { fault, after, reads: AtomicUsize::new(0), taken: Arc::default() });
    let files = world.stack.files_through(|client| wire::through(tap.clone(), client));
    (Worker::new(files, 1), tap)
}

/// Uploads an original and gives the path of its WebP of this width.
async fn uploaded(world: &World, content_type: &str, bytes: &[u8], width: u32) -> String {
    let more = json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
    let file = world.client.upload(("p", content_type, bytes), more).await;
    let read = world.client.get(&format!("/api/v1/files/{}", id_of(&file))).await.ok();
    let of_width = |variant: &&serde_json::Value| variant["width"] == width;
    let variant = read["variants"].as_array().unwrap().iter().find(of_width).unwrap();
    variant["url"].as_str().unwrap().strip_prefix(world.stack.url().as_str()).unwrap().to_owned()
}

async fn ask(worker: &Worker, path: &str) -> Response {
    worker.clone().router().oneshot(Request::builder().uri(path).body(Body::empty()).unwrap()).await.unwrap()
}

async fn bytes(answer: Response) -> Vec<u8> {
    axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap().into()
}

#[tokio::test]
async fn an_original_that_breaks_off_or_ends_early_is_unavailable_stores_nothing_and_is_read_again() {
    let world = World::start().await;
    let photo = fixture("photo-12mp.jpg");
    for fault in [Fault::Reset, Fault::End] {
        // In the first bytes, and where nearly all of the picture is there.
        for after in [0, 100_000, photo.len() - 40_000] {
            let path = uploaded(&world, "image/jpeg", &photo, 300).await;
            let objects = world.objects().await.len();
            let (broken, tap) = worker(&world, fault, after);
            let answer = ask(&broken, &path).await;
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{fault:?} after {after}");
            assert_eq!(
                (&answer.headers()["retry-after"], &answer.headers()["cache-control"]),
                (&"1".parse().unwrap(), &"no-store".parse().unwrap())
            );
            assert_eq!(world.objects().await.len(), objects, "{fault:?} after {after}");
            // The same worker looks at it again: it remembers nothing.
            drop(ask(&broken, &path).await);
            assert_eq!(tap.reads.load(Ordering::SeqCst), 2);
            assert_eq!(world.get(&path).await.status(), StatusCode::OK);
        }
    }
    world.end().await;
}

#[tokio::test]
async fn an_original_that_stalls_keeps_its_place_no_longer_than_a_picture_may_take() {
    let world = World::start().await;
    let photo = fixture("photo-12mp.jpg");
    let path = uploaded(&world, "image/jpeg", &photo, 300).await;
    let (stalled, tap) = worker(&world, Fault::Stall, 100_000);
    let stalled = stalled.rendering_within(Duration::from_millis(300));
    // Were the place not free again, the second would never get it.
    for reads in 1..=2 {
        let answer = ask(&stalled, &path).await;
        assert_eq!(
            (answer.status(), &answer.headers()["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
        );
        assert_eq!(tap.reads.load(Ordering::SeqCst), reads);
    }
    assert_eq!(world.objects().await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn what_its_header_refuses_is_not_read_to_its_end() {
    let world = World::start().await;
    let header = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\0\xEA\x60\0\0\xEA\x60\x08\x06\0\0\0";
    let original = [header.as_slice(), &vec![0x55; 8 << 20]].concat();
    let path = uploaded(&world, "image/png", &original, 300).await;
    let (worker, tap) = worker(&world, Fault::None, 0);
    assert_eq!(ask(&worker, &path).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let taken = tap.taken.load(Ordering::SeqCst);
    assert!((64 << 10..256 << 10).contains(&taken), "{taken} bytes of {}", original.len());
    world.end().await;
}

#[tokio::test]
async fn what_follows_the_picture_in_a_jpeg_is_not_read_and_changes_nothing() {
    let world = World::start().await;
    let photo = fixture("photo-12mp.jpg");
    // As telephones append a film.
    let with_film = [photo.as_slice(), &vec![0x55; 8 << 20]].concat();
    let (plain, long) =
        (uploaded(&world, "image/jpeg", &photo, 400).await, uploaded(&world, "image/jpeg", &with_film, 400).await);
    let (worker, tap) = worker(&world, Fault::None, 0);
    let expected = bytes(ask(&worker, &plain).await).await;
    let whole = tap.taken.swap(0, Ordering::SeqCst);
    assert!(expected == bytes(ask(&worker, &long).await).await);
    let taken = tap.taken.load(Ordering::SeqCst);
    assert!(taken < whole + (256 << 10), "{taken} bytes of {}", with_film.len());
    world.end().await;
}
