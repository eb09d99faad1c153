//! How the worker reads originals: no further than needed, and never a partial one as if it were complete.

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
use futures::{StreamExt as _, future::join_all};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::StatusCode;
use serde_json::json;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use xfiles_core::variant::{ImageFormat, VariantSpec, Width};
use xfiles_edge_variants::{Worker, render::render};
use xfiles_tests::{
    World, fixture, id_of,
    wire::{self, Line},
};

/// A fault of an original's body after a number of bytes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Stall,
    Reset,
    End,
}

/// Returns an original's body in small chunks, counts the bytes, and injects a fault.
#[derive(Debug)]
struct Tap {
    fault: Fault,
    after: usize,
    reads: AtomicUsize,
    taken: Arc<AtomicUsize>,
    /// Lets bodies pass when opened.
    gate: Arc<Semaphore>,
    /// The number of records that were read.
    records: Arc<AtomicUsize>,
}

impl Line for Tap {
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture {
        const PART: usize = 16 << 10;

        if request.method() != "GET" || !request.uri().contains("/files/originals/") {
            let records = request.headers().get("x-amz-target").map(|_| Arc::clone(&self.records));
            return HttpConnectorFuture::new(async move {
                let answer = store.call(request).await;
                if let Some(records) = records {
                    records.fetch_add(1, Ordering::SeqCst);
                }
                answer
            });
        }
        self.reads.fetch_add(1, Ordering::SeqCst);
        let (fault, after, taken) = (self.fault, self.after, Arc::clone(&self.taken));
        let gate = Arc::clone(&self.gate);
        HttpConnectorFuture::new(async move {
            drop(gate.acquire().await.expect("it is never closed"));
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

/// A worker with one slot that reads originals through a tap.
fn worker(world: &World, fault: Fault, after: usize) -> (Worker, Arc<Tap>) {
    tapped(world, fault, after, 1)
}

fn tapped(world: &World, fault: Fault, after: usize, gate: usize) -> (Worker, Arc<Tap>) {
    let (gate, records) = (Arc::new(Semaphore::new(gate)), Arc::default());
    let tap = Arc::new(Tap { fault, after, reads: AtomicUsize::new(0), taken: Arc::default(), gate, records });
    let files = world.stack.files_through(|client| wire::through(tap.clone(), client));
    (Worker::new(files, 1), tap)
}

/// Uploads an original and returns the path of its WebP of this width.
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
async fn an_interrupted_or_truncated_original_returns_unavailable_stores_nothing_and_is_read_again() {
    let world = World::start().await;
    let photo = fixture("photo-12mp.jpg");
    for fault in [Fault::Reset, Fault::End] {
        // In the first bytes, and where nearly the whole image has arrived.
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
            // The same worker reads it again, because nothing was cached.
            drop(ask(&broken, &path).await);
            assert_eq!(tap.reads.load(Ordering::SeqCst), 2);
            assert_eq!(world.get(&path).await.status(), StatusCode::OK);
        }
    }
    world.end().await;
}

#[tokio::test]
async fn a_request_that_follows_an_error_at_once_reads_the_original_itself() {
    let world = World::start().await;
    let picture = fixture("photo-baseline.jpg");
    let path = uploaded(&world, "image/jpeg", &picture, 300).await;
    let (broken, tap) = worker(&world, Fault::End, 0);
    for reads in 1..=500 {
        assert_eq!(ask(&broken, &path).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(tap.reads.load(Ordering::SeqCst), reads);
    }
    world.end().await;
}

#[tokio::test]
async fn a_stalled_original_holds_its_slot_no_longer_than_the_render_timeout() {
    let world = World::start().await;
    let photo = fixture("photo-12mp.jpg");
    let path = uploaded(&world, "image/jpeg", &photo, 300).await;
    let (stalled, tap) = worker(&world, Fault::Stall, 100_000);
    let stalled = stalled.rendering_within(Duration::from_secs(2));
    // If the slot were not free, the second would not be served.
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
async fn an_original_refused_by_its_header_is_not_read_to_its_end() {
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
async fn data_after_the_image_in_a_jpeg_is_not_read_and_has_no_effect() {
    let world = World::start().await;
    let photo = fixture("photo-12mp.jpg");
    // As phones append a video to a photo.
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

#[tokio::test]
async fn concurrent_requests_for_all_widths_read_the_original_once_and_equal_separate_renders() {
    const FORMATS: [ImageFormat; 3] = [ImageFormat::WebP, ImageFormat::Jpeg, ImageFormat::Png];

    let world = World::start().await;
    let photo = fixture("photo-12mp.jpg");
    let path = uploaded(&world, "image/jpeg", &photo, 100).await;
    let specs: Vec<VariantSpec> =
        Width::ALL.into_iter().flat_map(|width| FORMATS.map(|format| VariantSpec { width, format })).collect();
    let (worker, tap) = tapped(&world, Fault::None, 0, 0);
    let path_of =
        |spec: &VariantSpec| path.replace("_w100.webp", &format!("_w{}.{}", spec.width, spec.format.extension()));
    let asked = join_all(specs.iter().map(|spec| {
        let (worker, path) = (worker.clone(), path_of(spec));
        async move { ask(&worker, &path).await }
    }));
    let asked = tokio::spawn(asked);
    // All requests have been read before the first byte arrives.
    while tap.records.load(Ordering::SeqCst) < specs.len() {
        tokio::task::yield_now().await;
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    tap.gate.add_permits(1);
    for (answer, spec) in asked.await.unwrap().into_iter().zip(&specs) {
        assert_eq!(answer.status(), StatusCode::OK, "{spec:?}");
        let alone = render(&photo, *spec).unwrap().bytes;
        assert!(bytes(answer).await == alone, "{spec:?}");
    }
    assert_eq!(tap.reads.load(Ordering::SeqCst), 1);
    assert_eq!(world.objects().await.len(), 1 + specs.len());
    // A later request reads the original again.
    let avif = path.replace("_w100.webp", "_w100.avif");
    assert_eq!(ask(&worker, &avif).await.status(), StatusCode::OK);
    assert_eq!(tap.reads.load(Ordering::SeqCst), 2);
    world.end().await;
}
