//! Image variants: made on the first request, stored, and served from the store.

use futures::future::join_all;
use image::GenericImageView as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xfiles_tests::{World, fixture, id_of};

const PUBLIC: &str =
    r#"{"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}}"#;

fn public() -> Value {
    serde_json::from_str(PUBLIC).unwrap()
}

async fn answer(world: &World, file: &Value, format: &str) -> Value {
    world.client.get(&format!("/api/v1/files/{}?format={format}", id_of(file))).await.ok()
}

#[tokio::test]
async fn each_listed_variant_is_a_picture_of_its_width_and_format_and_upright() {
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
async fn any_number_of_first_requests_store_one_object_and_get_the_same_bytes() {
    let world = World::start().await;
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), public()).await;
    let url = answer(&world, &file, "webp").await["variants"][2]["url"].as_str().unwrap().to_owned();
    let answers = join_all((0..32).map(|_| async { world.get(&url).await.bytes().await.unwrap() })).await;
    assert!(answers.iter().all(|bytes| *bytes == answers[0]));
    let objects = world.objects().await;
    let key = url.strip_prefix(&format!("{}/", world.stack.url())).unwrap();
    assert_eq!((objects.len(), objects[key]), (2, answers[0].len() as u64));
    world.end().await;
}

#[tokio::test]
async fn what_is_stored_is_what_was_answered_headers_included() {
    let world = World::start().await;
    let file = world.client.upload(("p.jpg", "image/jpeg", &fixture("portrait-exif6.jpg")), public()).await;
    let url = answer(&world, &file, "webp").await["variants"][0]["url"].as_str().unwrap().to_owned();
    let made = world.get(&url).await;
    let key = url.strip_prefix(&format!("{}/", world.stack.url())).unwrap();
    let stored = world.stack.s3_client().get_object().bucket("xfiles").key(key).send().await.unwrap();
    for (name, stored) in [("content-type", stored.content_type()), ("cache-control", stored.cache_control())] {
        assert_eq!(made.headers()[name].to_str().ok(), stored);
    }
    assert_eq!(made.bytes().await.unwrap(), stored.body.collect().await.unwrap().into_bytes());
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
async fn every_path_that_names_no_offered_variant_is_a_404_and_stores_nothing() {
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
        good.replace(".webp", ".avif"),
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
async fn a_picture_that_cannot_be_decoded_is_refused_and_nothing_is_stored() {
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
async fn ranges_conditions_and_head_work_on_what_is_served() {
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
