//! Image variants: rendered on the first request, stored, and served from the store.

use std::time::Duration;

use axum::{body::Body, extract::Request, response::Response};
use base64::Engine as _;
use futures::future::join_all;
use image::GenericImageView as _;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use xfiles_core::{catalog::Consistency, error::Error, file::Patch, intent::OwnerId};
use xfiles_edge_variants::Worker;
use xfiles_tests::{World, file_id, fixture, id_of, is_gone};

const PUBLIC: &str =
    r#"{"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}}"#;

fn public() -> Value {
    serde_json::from_str(PUBLIC).unwrap()
}

async fn answer(world: &World, file: &Value, format: &str) -> Value {
    world.client.get(&format!("/api/v1/files/{}?format={format}", id_of(file))).await.ok()
}

#[tokio::test]
async fn each_listed_variant_is_upright_and_has_its_width_and_format() {
    let world = World::start().await;
    let photo = fixture("portrait-exif6.jpg");
    let stored = image::load_from_memory(&photo).unwrap();
    let upright = (stored.height(), stored.width());
    let file = world.client.upload(("p.jpg", "image/jpeg", &photo), public()).await;
    for (format, content_type, decoded) in [
        ("webp", "image/webp", image::ImageFormat::WebP),
        ("jpeg", "image/jpeg", image::ImageFormat::Jpeg),
        ("png", "image/png", image::ImageFormat::Png),
    ] {
        let listed = answer(&world, &file, format).await;
        let widths: Vec<u64> =
            listed["variants"].as_array().unwrap().iter().map(|v| v["width"].as_u64().unwrap()).collect();
        assert_eq!(widths, [100, 300, 400, 600, 800, 1000, 1200]);
        for variant in listed["variants"].as_array().unwrap() {
            let served = world.get(variant["url"].as_str().unwrap()).await;
            assert_eq!(served.status(), StatusCode::OK);
            assert_eq!(served.headers()["content-type"], content_type);
            assert_eq!(served.headers()["cache-control"], "public, max-age=3600, s-maxage=31536000");
            let bytes = served.bytes().await.unwrap();
            assert!(!bytes.windows(4).any(|w| w == b"Exif" || w == b"EXIF"), "metadata is gone");
            let picture = image::load_from_memory_with_format(&bytes, decoded).unwrap();
            let width = u32::try_from(variant["width"].as_u64().unwrap()).unwrap().min(upright.0);
            assert_eq!(picture.width(), width, "never enlarged");
            let height = f64::from(width) * f64::from(upright.1) / f64::from(upright.0);
            assert!((f64::from(picture.height()) - height).abs() <= 1.0, "{:?}", picture.dimensions());
        }
    }
    world.end().await;
}

#[tokio::test]
async fn two_hundred_first_requests_store_one_object_and_get_the_same_bytes() {
    let world = World::start().await;
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), public()).await;
    let url = answer(&world, &file, "webp").await["variants"][2]["url"].as_str().unwrap().to_owned();
    let answers = join_all((0..200).map(|_| async { world.get(&url).await.bytes().await.unwrap() })).await;
    assert!(answers.iter().all(|bytes| *bytes == answers[0]));
    let objects = world.objects().await;
    let key = url.strip_prefix(&format!("{}/", world.stack.url())).unwrap();
    assert_eq!((objects.len(), objects[key]), (2, answers[0].len() as u64));
    world.end().await;
}

#[tokio::test]
async fn the_stored_variant_equals_the_response_including_headers() {
    let world = World::start().await;
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), public()).await;
    let url = answer(&world, &file, "webp").await["variants"][0]["url"].as_str().unwrap().to_owned();
    let made = world.get(&url).await;
    let key = url.strip_prefix(&format!("{}/", world.stack.url())).unwrap();
    let stored = world.stack.s3_client().get_object().bucket("xfiles").key(key).send().await.unwrap();
    for (name, stored) in
        [("content-type", stored.content_type()), ("cache-control", stored.cache_control()), ("etag", stored.e_tag())]
    {
        assert_eq!(made.headers()[name].to_str().ok(), stored);
    }
    assert_eq!(made.bytes().await.unwrap(), stored.body.collect().await.unwrap().into_bytes());
    world.end().await;
}

#[tokio::test]
async fn a_private_variant_too_large_for_a_function_response_is_served_with_its_own_signature() {
    let world = World::start().await;
    // 4.7 MB of noise, which no format compresses.
    let mut seed = 1_u32;
    let noise = image::RgbImage::from_fn(1200, 1300, |_, _| {
        image::Rgb([(); 3].map(|()| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        }))
    });
    let mut png = std::io::Cursor::new(Vec::new());
    noise.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let more = json!({"transformations": {"image": {"enabled": true, "visibility": "private"}}});
    let file = world.client.upload(("n.png", "image/png", png.get_ref()), more).await;
    let url = answer(&world, &file, "png").await["variants"][6]["url"].as_str().unwrap().to_owned();

    let sent = world.get(&url).await;
    assert_eq!((sent.status(), sent.headers()["cache-control"].to_str().unwrap()), (StatusCode::FOUND, "no-store"));
    // Path and query, because clients resolve other relative references differently.
    let location = sent.headers()["location"].to_str().unwrap();
    assert!(location.starts_with("/files/variants/private/"), "a path");
    let next = sent.url().join(location).unwrap();
    assert_eq!((next.path(), next.query()), (sent.url().path(), sent.url().query()));
    let got = world.get(next.as_str()).await;
    assert_eq!(got.status(), StatusCode::OK);
    assert!(got.bytes().await.unwrap().len() > 4_500_000);
    world.end().await;
}

#[tokio::test]
async fn a_variant_exists_only_at_the_visibility_that_the_record_says() {
    let world = World::start().await;
    let more =
        json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "private"}}});
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), more).await;
    let url = answer(&world, &file, "webp").await["variants"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(world.get(&url).await.status(), StatusCode::OK);
    let (bare, _) = url.split_once('?').unwrap();
    assert_eq!(world.get(bare).await.status(), StatusCode::FORBIDDEN);
    let public = bare.replace("/variants/private/", "/variants/public/");
    assert_eq!(world.get(&public).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.objects().await.len(), 2);
    world.end().await;
}

#[tokio::test]
async fn every_path_without_an_offered_variant_returns_404_and_stores_nothing() {
    let world = World::start().await;
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), public()).await;
    let off = json!({"visibility": "public"});
    let off = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), off).await;
    let path_of = |file: &Value| {
        let stem = file["filename"].as_str().unwrap().split('.').next().unwrap().to_owned();
        format!("/files/variants/public/{}/{}/{stem}_w400.webp", world.stack.project(), id_of(file))
    };
    let good = path_of(&file);
    let project = world.stack.project().to_string();
    for bad in [
        path_of(&off),
        good.replace("_w400", "_w640"),
        good.replace("_w400", "_w0400"),
        good.replace(".webp", ".bmp"),
        good.replace(".webp", ".gif"),
        good.replace(id_of(&file), "aaaaaaaaaaaaaaaaaaaa"),
        good.replace(&project, "aaaaaaaaaaaa"),
        good.replace("/p-", "/q-"),
        good.replace("/files/", "//files/"),
        good.replace("/variants/", "/variants//"),
        good.replace("/variants/", "/variants/x/%2e%2e%2f"),
        good.replace("/variants/", "%2fvariants/"),
        good.replace("_w400", "%5Fw400"),
        format!("{good}/"),
        good.to_uppercase(),
        format!("/files/variants/public/{}", "a".repeat(6000)),
        "/files/".to_owned(),
        "/staging/".to_owned(),
    ] {
        assert_eq!(world.get(&bad).await.status(), StatusCode::NOT_FOUND, "{bad}");
    }
    assert_eq!(world.objects().await.len(), 2, "only the originals");
    assert_eq!(
        world.get(&format!("{good}?response-content-type=text/html")).await.headers()["content-type"],
        "image/webp"
    );
    let put = world.request(Method::PUT, &good).body("x").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
    world.end().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_decoded_is_refused_and_nothing_is_stored() {
    let world = World::start().await;
    let mut broken = fixture("palette-alpha.png");
    broken.truncate(100);
    let file = world.client.upload(("p.png", "image/png", &broken), public()).await;
    let url = answer(&world, &file, "webp").await["variants"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(world.get(&url).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(world.objects().await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn ranges_conditional_requests_and_head_work_on_variants() {
    let world = World::start().await;
    let photo = fixture("portrait-exif6.jpg");
    let file = world.client.upload(("p.jpg", "image/jpeg", &photo), public()).await;
    let url = answer(&world, &file, "webp").await["url"].as_str().unwrap().to_owned();
    let part = world.request(Method::GET, &url).header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 10-19/{}", photo.len()));
    let etag = part.headers()["etag"].clone();
    assert_eq!(part.bytes().await.unwrap(), photo[10..20]);
    let same = world.request(Method::GET, &url).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    let beyond = world.request(Method::GET, &url).header("range", "bytes=9999999-").send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let head = world.request(Method::HEAD, &url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], photo.len().to_string());
    world.end().await;
}

#[tokio::test]
async fn the_first_variant_stores_a_placeholder_and_changes_nothing_else() {
    let world = World::start().await;
    let photo = fixture("portrait-exif6.jpg");
    let file = world.client.upload(("p.jpg", "image/jpeg", &photo), public()).await;
    assert!(file.get("thumbhash").is_none(), "no image was decoded");
    let urls = answer(&world, &file, "webp").await;
    let (etag, variants) = (urls["file"]["etag"].clone(), urls["variants"].clone());
    world.get(variants[2]["url"].as_str().unwrap()).await;

    let seen = answer(&world, &file, "webp").await["file"].clone();
    let thumbhash = seen["thumbhash"].as_str().unwrap();
    // The image is upright: a portrait has fewer waves horizontally, which the lowest bits of the second constants
    // show.
    let bytes = base64::engine::general_purpose::STANDARD.decode(thumbhash).unwrap();
    assert!(bytes[3] & 7 < 7 && bytes[4] & 0x80 == 0 && bytes.len() > 15, "{bytes:?}");
    assert_eq!(seen["etag"], etag);
    let listed = world.client.get("/api/v1/files?include=urls").await.ok()["files"][0].clone();
    for name in ["width", "height", "thumbhash", "variants"] {
        assert!(!listed[name].is_null(), "a gallery with blurred placeholders is one request: {name} of {listed}");
    }

    // Another width and a change of the record leave it unchanged.
    world.get(variants[0]["url"].as_str().unwrap()).await;
    let path = format!("/api/v1/files/{}", id_of(&file));
    let change = world.client.request(Method::PATCH, &path).header("if-match", etag.as_str().unwrap());
    let changed: Value = change.json(&json!({"ownerUserId": "u1"})).send().await.unwrap().json().await.unwrap();
    assert_eq!((&changed["file"]["thumbhash"], &changed["file"]["ownerUserId"]), (&json!(thumbhash), &json!("u1")));
    world.end().await;
}

#[tokio::test]
async fn a_placeholder_lost_to_a_concurrent_write_is_restored_by_the_next_variant() {
    let world = World::start().await;
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), public()).await;
    let before = world.files().get(world.stack.project(), file_id(&file)).await.unwrap();
    let variants = answer(&world, &file, "webp").await["variants"].clone();
    world.get(variants[0]["url"].as_str().unwrap()).await;
    let patch = Patch { owner: Some(OwnerId::new("u1")), ..Patch::default() };
    let written = before.patch(&patch, world.files().clock().now()).unwrap();
    world.files().inspect().catalog.replace(&written).await.unwrap();
    world.get(variants[1]["url"].as_str().unwrap()).await;
    // The same write by another caller is not mistaken for the first, and removes nothing.
    assert!(matches!(world.files().inspect().catalog.replace(&written).await, Err(Error::Conflict)));

    let now = answer(&world, &file, "webp").await["file"].clone();
    assert_eq!(now["ownerUserId"], "u1");
    assert!(now["thumbhash"].is_string());
    world.end().await;
}

#[tokio::test]
async fn a_placeholder_does_not_restore_a_deleted_record() {
    let world = World::start().await;
    let placeholder = "1QcSHQRnh493V4dIh4eXh1h4kJUI".parse().unwrap();
    let gone = xfiles_core::id::FileId::mint();
    let noted = world.files().inspect().catalog.note_thumbhash(gone, &placeholder).await;
    assert!(is_gone(&noted), "{noted:?}");
    assert!(is_gone(&world.files().inspect().catalog.file(gone, Consistency::Strong).await));
    world.end().await;
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

async fn variant_url(world: &World, file: &Value, format: &str) -> String {
    answer(world, file, format).await["variants"][1]["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_negotiated_variant_has_the_preferred_format_and_vary_accept() {
    let world = World::start().await;
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), public()).await;
    let url = variant_url(&world, &file, "auto").await;
    assert!(url.ends_with("_w300.auto"), "{url}");
    for (accept, content_type) in [
        ("image/avif,image/webp,*/*;q=0.8", "image/avif"),
        ("image/webp,image/png,*/*;q=0.8", "image/webp"),
        ("image/png,*/*;q=0.8", "image/jpeg"),
    ] {
        let served = world.request(Method::GET, &url).header("accept", accept).send().await.unwrap();
        assert_eq!(served.status(), StatusCode::OK);
        assert_eq!((text(served.headers(), "content-type"), text(served.headers(), "vary")), (content_type, "Accept"));
    }
    let clear = world.client.upload(("p.png", "image/png", &fixture("palette-alpha.png")), public()).await;
    let served = world.get(&variant_url(&world, &clear, "auto").await).await;
    assert_eq!((text(served.headers(), "content-type"), text(served.headers(), "vary")), ("image/png", "Accept"));
    world.end().await;
}

#[tokio::test]
async fn a_private_negotiated_variant_opens_with_its_signature_and_not_without() {
    let world = World::start().await;
    let more =
        json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "private"}}});
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), more).await;
    let url = variant_url(&world, &file, "auto").await;
    let ask = |url: &str| world.request(Method::GET, url).header("accept", "image/webp").send();
    let served = ask(&url).await.unwrap();
    assert_eq!((served.status(), text(served.headers(), "content-type")), (StatusCode::OK, "image/webp"));
    assert_eq!(ask(url.split_once('?').unwrap().0).await.unwrap().status(), StatusCode::FORBIDDEN);
    world.end().await;
}

/// Requests a URL of the CDN from a worker.
async fn ask(worker: &Worker, world: &World, url: &str) -> Response {
    let path = url.strip_prefix(world.stack.url().as_str()).unwrap();
    worker.clone().router().oneshot(Request::builder().uri(path).body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn slow_avif_returns_webp_and_is_stored_for_the_next_request() {
    let world = World::start().await;
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), public()).await;
    let url = variant_url(&world, &file, "avif").await;
    let worker = Worker::new(world.files().clone(), 1).patient_for(Duration::ZERO);
    let shown = ask(&worker, &world, &url).await;
    assert_eq!(shown.status(), StatusCode::OK);
    assert_eq!(
        (text(shown.headers(), "content-type"), text(shown.headers(), "cache-control")),
        ("image/webp", "no-store")
    );

    let patient = worker.patient_for(Duration::from_secs(600));
    assert_eq!(ask(&patient, &world, &url).await.headers()["content-type"], "image/avif");
    let key = url.strip_prefix(&format!("{}/", world.stack.url())).unwrap();
    let stored = world.stack.s3_client().get_object().bucket("xfiles").key(key).send().await.unwrap();
    assert_eq!(stored.content_type(), Some("image/avif"));
    world.end().await;
}

#[tokio::test]
async fn a_refused_original_is_not_read_again_for_a_minute() {
    let world = World::start().await;
    let mut broken = fixture("palette-alpha.png");
    broken.truncate(100);
    let file = world.client.upload(("p.png", "image/png", &broken), public()).await;
    let urls = answer(&world, &file, "webp").await;
    let url = |at: usize| urls["variants"][at]["url"].as_str().unwrap().to_owned();
    let worker = Worker::new(world.files().clone(), 1);
    assert_eq!(ask(&worker, &world, &url(0)).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // Reading it would fail.
    let original = urls["url"].as_str().unwrap().strip_prefix(&format!("{}/", world.stack.url())).unwrap().to_owned();
    world.stack.s3_client().delete_object().bucket("xfiles").key(&original).send().await.unwrap();
    assert_eq!(ask(&worker, &world, &url(1)).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    world.pass(Duration::from_secs(61));
    assert_eq!(ask(&worker, &world, &url(1)).await.status(), StatusCode::NOT_FOUND);
    world.stack.stop().await;
}

#[tokio::test]
async fn a_render_that_exceeds_its_timeout_is_cancelled_and_frees_its_slot() {
    let world = World::start().await;
    let photo = fixture("portrait-exif6.jpg");
    let file = world.client.upload(("p.jpg", "image/jpeg", &photo), public()).await;
    let urls = answer(&world, &file, "webp").await["variants"].clone();
    let url = |at: usize| urls[at]["url"].as_str().unwrap();
    let worker = Worker::new(world.files().clone(), 1);
    let hasty = worker.clone().rendering_within(Duration::ZERO);
    let given_up = ask(&hasty, &world, url(0)).await;
    assert_eq!(given_up.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (text(given_up.headers(), "retry-after"), text(given_up.headers(), "cache-control")),
        ("60", "no-store")
    );
    assert_eq!(world.objects().await.len(), 1, "nothing is stored");

    // Both share the one slot: another file has it now, and this one is refused for a minute, in every width.
    let other = world.client.upload(("q.jpg", "image/jpeg", &photo), public()).await;
    assert_eq!(ask(&worker, &world, &variant_url(&world, &other, "webp").await).await.status(), StatusCode::OK);
    assert_eq!(ask(&worker, &world, url(1)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    world.pass(Duration::from_secs(61));
    assert_eq!(ask(&worker, &world, url(1)).await.status(), StatusCode::OK);
    world.end().await;
}

#[tokio::test]
async fn a_worker_with_a_full_queue_returns_retry_after() {
    let world = World::start().await;
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), public()).await;
    let url = variant_url(&world, &file, "webp").await;
    let refused = ask(&Worker::new(world.files().clone(), 0), &world, &url).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((text(refused.headers(), "retry-after"), text(refused.headers(), "cache-control")), ("2", "no-store"));
    world.end().await;
}
