//! Renders share memory and slots: one that needs more than the limit is refused, the others wait, and no project fills
//! the queue.

use std::time::Duration;

use axum::{body::Body, extract::Request, response::Response};
use futures::future::join_all;
use image::{DynamicImage, RgbaImage};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use xfiles_edge_variants::Worker;
use xfiles_tests::{World, id_of};

/// A PNG of one colour: a small file that needs four bytes of memory for each pixel.
fn flat(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = DynamicImage::from(RgbaImage::from_pixel(width, height, image::Rgba([200, 40, 40, 128])));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

async fn uploaded(world: &World, bytes: &[u8]) -> Value {
    let public =
        json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
    world.client.upload(("p.png", "image/png", bytes), public).await
}

/// The paths of a file's variants.
async fn paths(world: &World, file: &Value) -> Vec<String> {
    let listed = world.client.get(&format!("/api/v1/files/{}?format=webp", id_of(file))).await.ok();
    let path =
        |variant: &Value| variant["url"].as_str().unwrap().strip_prefix(world.stack.url().as_str()).unwrap().to_owned();
    listed["variants"].as_array().unwrap().iter().map(path).collect()
}

async fn ask(worker: &Worker, path: &str) -> Response {
    worker.clone().router().oneshot(Request::builder().uri(path).body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_image_that_needs_more_than_the_memory_limit_is_refused_with_its_reason_and_not_read_again() {
    let world = World::start().await;
    let file = uploaded(&world, &flat(4000, 3000)).await;
    let paths = paths(&world, &file).await;
    let worker = Worker::new(world.files().clone(), 1).rendering_in(32 << 20);
    let refused = ask(&worker, &paths[0]).await;
    assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(refused.headers()["x-variant-refusal"], "too_much_memory");
    let text = axum::body::to_bytes(refused.into_body(), 1 << 10).await.unwrap();
    assert!(text.ends_with(b"and there are 32 for all pictures together"), "{}", String::from_utf8_lossy(&text));
    // Reading it would fail.
    for key in world.objects().await.keys() {
        world.stack.s3_client().delete_object().bucket("xfiles").key(key).send().await.unwrap();
    }
    assert_eq!(ask(&worker, &paths[1]).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    world.pass(Duration::from_secs(61));
    assert_eq!(ask(&worker, &paths[1]).await.status(), StatusCode::NOT_FOUND);
    world.stack.stop().await;
}

#[tokio::test]
async fn images_that_do_not_fit_into_memory_together_are_rendered_one_after_the_other() {
    let world = World::start().await;
    let mut all = Vec::new();
    for number in 0..6 {
        let file = uploaded(&world, &flat(1500 + number, 1000)).await;
        // Several variants of one original, encoded concurrently or not.
        all.extend(paths(&world, &file).await.into_iter().take(3));
    }
    // Memory for one decoded image and its variants.
    let worker = Worker::new(world.files().clone(), 4).rendering_in(48 << 20);
    let answers = join_all(all.iter().map(|path| ask(&worker, path))).await;
    for (path, answer) in all.iter().zip(answers) {
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    world.end().await;
}
