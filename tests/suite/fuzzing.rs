//! Every parser of untrusted input, with damaged input.
//!
//! A target is a function of bytes. Each runs on its corpus in `__fuzz__/TARGET/corpus`, on random bytes, and on
//! randomly changed corpus files, which yields files with a valid header and a damaged end. `tests/fuzz` runs one
//! target for any time, guided by coverage.

use std::{fs, path::Path, str, sync::LazyLock};

use axum::{Router, body::Body};
use base64::{Engine as _, alphabet::Alphabet, engine::GeneralPurpose};
use http::{Method, Request, StatusCode, header};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use xfiles_control_api::{Api, ApiOptions};
use xfiles_core::{
    catalog::Cursor,
    cdn::{self, BaseUrl, KeyPairId, SigningKey},
    content_type::ContentType,
    id::{FileId, ProjectId},
    intent::{Filename, OriginalFilename},
    object_key::{ObjectKey, Visibility},
    sniff::{self, Raster},
    store_event,
    variant::{ImageFormat, VariantSpec, Width},
    webhook::{Reach, TargetUrl, is_public},
};
use xfiles_standalone::{
    BUCKET,
    distribution::{Bucket, Distribution, Options, TrustedKey},
};
use xfiles_tests::{TEXT, World, fixture};

/// Runs a target on its corpus, and this many times on random bytes and on changed corpus files.
fn fuzz(name: &str, rounds: usize, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/__fuzz__").join(name).join("corpus");
    let files = fs::read_dir(&corpus).unwrap_or_else(|e| panic!("{}: {e}", corpus.display()));
    let mut seeds: Vec<Vec<u8>> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{name} has a corpus");
    bolero::check!(name = name).with_iterations(rounds).with_max_len(256).for_each(move |input: &[u8]| {
        target(input);
        target(&damaged(&seeds, input));
    });
}

/// A seed changed by the input: its first byte selects the seed, then every four bytes are a change.
fn damaged(seeds: &[Vec<u8>], input: &[u8]) -> Vec<u8> {
    let Some((first, changes)) = input.split_first() else {
        return Vec::new();
    };
    let mut bytes = seeds[usize::from(*first) % seeds.len()].clone();
    for change in changes.as_chunks::<4>().0.iter().take(12) {
        let [kind, high, low, value] = *change;
        let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len().max(1);
        match kind % 8 {
            _ if bytes.is_empty() => bytes.push(value),
            0 => bytes[at] = value,
            1 => bytes[at] ^= 1 << (value % 8),
            // Boundary values, for arithmetic errors.
            2 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFE, 0xFF][usize::from(value) % 6],
            3 => bytes.insert(at, value),
            4 => drop(bytes.remove(at)),
            5 => bytes.truncate(at),
            6 => {
                let end = bytes.len().min(at + usize::from(value));
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = bytes.len().min(at + 4);
                bytes[at..end].fill(if value % 2 == 0 { 0xFF } else { 0 });
            }
        }
    }
    bytes
}

#[test]
fn object_keys_and_variant_paths() {
    fuzz("object-keys", 20_000, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(key) = text.parse::<ObjectKey>() {
            assert_eq!(key.to_string(), text, "one key has one text");
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b)),
                "{text}"
            );
            assert!(!text.contains("..") && !text.contains("//"), "{text}");
        }
    });
}

#[test]
fn file_names_as_they_are_stored_and_saved() {
    fuzz("file-names", 5_000, |input| {
        let text = String::from_utf8_lossy(input);
        let kind: ContentType = "image/jpeg".parse().unwrap();
        let name = Filename::mint(&text, &kind);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        let stored = name.to_string();
        assert!(stored.bytes().all(plain) && stored.len() <= 120, "{stored}");
        assert_eq!(stored.parse::<Filename>().unwrap(), name);
        if let Some(original) = OriginalFilename::new(text.clone()) {
            assert!((1..=1024).contains(&original.as_str().chars().count()));
        }
        let (project, file) = (ProjectId::mint(), FileId::mint());
        let key = ObjectKey::Original { visibility: Visibility::Public, project, file, name };
        for query in [format!("download={text}"), text.into_owned()] {
            if let Some(disposition) = cdn::disposition(&key, Some(&query)) {
                assert!(
                    disposition.starts_with("attachment; filename=\"") && disposition.len() < 2_000,
                    "{disposition}"
                );
                assert!(disposition.bytes().all(|b| (b' '..=b'~').contains(&b)), "{disposition}");
                assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
            }
        }
    });
}

#[test]
fn cursors() {
    fuzz("cursors", 20_000, |input| {
        if let Ok(cursor) = String::from_utf8_lossy(input).parse::<Cursor>() {
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap().to_string(), cursor.to_string());
        }
    });
}

#[test]
fn webhook_urls() {
    fuzz("webhook-urls", 20_000, |input| {
        let text = String::from_utf8_lossy(input);
        for reach in [Reach::Public, Reach::Anywhere] {
            let Some(url) = TargetUrl::parse(&text, reach) else { continue };
            assert!(!url.host().is_empty() && url.port() > 0 && url.path_and_query().starts_with('/'), "{text}");
            assert!(
                Request::post(url.path_and_query()).header(header::HOST, url.authority()).body(()).is_ok(),
                "{text}"
            );
            let literal = url.host().parse().ok();
            assert!(reach == Reach::Anywhere || url.is_https() && literal.is_none_or(is_public), "{text}");
        }
    });
}

#[test]
fn first_bytes() {
    const TYPES: [&str; 12] = [
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "image/avif",
        "image/tiff",
        "image/bmp",
        "image/x-icon",
        "image/svg+xml",
        "application/pdf",
        "application/x-tar",
        "text/plain",
    ];
    fuzz("first-bytes", 20_000, |input| {
        for kind in TYPES.map(|kind| kind.parse::<ContentType>().unwrap()) {
            let agrees = sniff::agrees(&kind, input);
            let size = sniff::dimensions(&kind, input);
            assert!(size.is_none_or(|size| size.width > 0 && size.height > 0 && kind.is_raster()));
            let page = input.trim_ascii_start().first() == Some(&b'<');
            assert!(!(agrees && kind.is_raster() && page), "HTML was accepted as {kind}");
        }
        assert!(sniff::boxes(input).count() <= input.len() / 8);
    });
}

#[test]
fn notifications_of_the_store() {
    fuzz("store-events", 5_000, |input| {
        let Ok(notification) = serde_json::from_slice::<Value>(input) else { return };
        for key in store_event::created(&notification) {
            assert_eq!(key.to_string().parse::<ObjectKey>().unwrap(), key);
        }
    });
}

#[test]
fn pictures() {
    fuzz("pictures", 10_000, |input| {
        if Raster::of(input).is_none() {
            return;
        }
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let spec = VariantSpec { width: Width::ALL[0], format };
            if let Ok(made) = xfiles_edge_variants::render::render(input, spec) {
                assert!((1..=spec.width.pixels()).contains(&made.width) && made.height > 0);
                assert!(Raster::of(&made.bytes).is_some());
            }
        }
    });
}

/// A stack without a socket, with a text and an image.
struct House {
    runtime: Runtime,
    world: World,
    api: Router,
    cdn: Router,
    /// The key that the CDN trusts.
    signer: EcdsaKeyPair,
    text: String,
    private_text: String,
    variant: String,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (world, paths) = runtime.block_on(async {
        let world = World::start().await;
        let picture = fixture("palette-alpha.png");
        let variants =
            json!({"visibility": "public", "transformations": {"image": {"enabled": true, "visibility": "public"}}});
        let text = world.client.upload(TEXT, json!({"visibility": "public"})).await;
        let private = world.client.upload(TEXT, json!({})).await;
        let picture = world.client.upload(("a.png", "image/png", &picture), variants).await;
        let path = |file: &Value| {
            let id = file["id"].as_str().unwrap().parse().unwrap();
            let files = world.files().clone();
            async move { files.inspect().catalog.file(id, xfiles_core::catalog::Consistency::Strong).await.unwrap() }
        };
        let text = format!("/{}", path(&text).await.original_key());
        let private = format!("/{}", path(&private).await.original_key());
        let picture = path(&picture).await;
        let spec = VariantSpec { width: Width::ALL[0], format: ImageFormat::Auto };
        let variant = format!("/{}", picture.variant_key(Visibility::Public, spec));
        (world, (text, private, variant))
    });
    let (key, pem) = SigningKey::generate_p256(KeyPairId::mint());
    let trusted = TrustedKey::from_pem("KFUZZ".parse().unwrap(), &key.public_key_pem()).unwrap();
    let der: String = pem.reveal().lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::prelude::BASE64_STANDARD.decode(der).unwrap();
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &SystemRandom::new()).unwrap();
    let distribution = Distribution::new(Options {
        base_url: BASE.parse::<BaseUrl>().unwrap(),
        bucket: Bucket { client: world.stack.s3_client(), name: BUCKET.to_owned() },
        trusted_keys: vec![trusted],
        clock: world.clock.clone(),
        cache_bytes: 1 << 20,
    });
    let worker = xfiles_edge_variants::Worker::new(world.files().clone(), 1).router();
    let api = xfiles_control_api::router(Api::new(world.files().clone(), ApiOptions::default()));
    let (text, private_text, variant) = paths;
    House { runtime, api, cdn: distribution.router(worker), world, signer, text, private_text, variant }
});

const BASE: &str = "https://cdn.example.com";

struct Answered {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

/// Sends a request, unless HTTP does not allow it, and asserts that there is no server error.
fn ask(router: &Router, request: Result<Request<Body>, http::Error>) -> Option<Answered> {
    let request = request.ok()?;
    HOUSE.runtime.block_on(async {
        let answer = router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let (head, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec();
        assert!(!head.status.is_server_error(), "{}: {}", head.status, String::from_utf8_lossy(&body));
        Some(Answered { status: head.status, headers: head.headers, body })
    })
}

#[test]
fn ranges_of_an_object() {
    fuzz("ranges", 1_000, |input| {
        let request = Request::get(&HOUSE.text).header(header::RANGE, input).body(Body::empty());
        let Some(answer) = ask(&HOUSE.cdn, request) else { return };
        match answer.status.as_u16() {
            200 => assert_eq!(answer.body, TEXT.2),
            206 => {
                let range = answer.headers[header::CONTENT_RANGE].to_str().unwrap();
                let (range, length) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
                let (first, last) = range.split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                assert_eq!(length.parse::<usize>().unwrap(), TEXT.2.len());
                assert_eq!(answer.body, TEXT.2[first..=last]);
            }
            416 => {}
            other => panic!("{other}"),
        }
    });
}

#[test]
fn what_a_viewer_accepts() {
    fuzz("accept", 2_000, |input| {
        let request = Request::get(&HOUSE.variant).header(header::ACCEPT, input).body(Body::empty());
        let Some(answer) = ask(&HOUSE.cdn, request) else { return };
        assert_eq!(answer.status, 200);
        assert!(Raster::of(&answer.body).is_some() && answer.headers[header::VARY] == "Accept");
    });
}

/// CloudFront's Base64 variant.
fn url_safe(bytes: &[u8]) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-~";
    let plain = GeneralPurpose::new(&Alphabet::new(ALPHABET).unwrap(), base64::engine::general_purpose::PAD);
    plain.encode(bytes).replace('=', "_")
}

#[test]
fn policies_that_are_signed() {
    fuzz("policies", 1_000, |input| {
        let house = &*HOUSE;
        // A policy for any path would distinguish existing objects from missing ones.
        let policy = String::from_utf8_lossy(input).replace("{path}", &house.private_text);
        let signature = house.signer.sign(&SystemRandom::new(), policy.as_bytes()).unwrap();
        let (policy_text, signature) = (url_safe(policy.as_bytes()), url_safe(signature.as_ref()));
        let signed = format!("Policy={policy_text}&Signature={signature}&Key-Pair-Id=KFUZZ&Hash-Algorithm=SHA256");
        let request = Request::get(format!("{}?{signed}", house.private_text)).body(Body::empty());
        let Some(answer) = ask(&house.cdn, request) else { return };
        if answer.status != 200 {
            return;
        }
        let policy: Value = serde_json::from_str(&policy).unwrap();
        let statement = &policy["Statement"][0];
        let until = statement["Condition"]["DateLessThan"]["AWS:EpochTime"].as_i64().unwrap();
        assert!(until > house.world.clock.now().as_millis() / 1000, "{policy}");
        let resource = statement["Resource"].as_str().unwrap();
        let same = resource == format!("{BASE}{}", house.private_text);
        assert!(same || resource.contains(['*', '?']), "{policy}");
    });
}

#[test]
fn queries_of_a_private_path() {
    fuzz("signed-queries", 1_000, |input| {
        let query = String::from_utf8_lossy(input);
        let request = Request::get(format!("{}?{query}", HOUSE.private_text)).body(Body::empty());
        if let Some(answer) = ask(&HOUSE.cdn, request) {
            assert!(answer.status.is_client_error() && answer.body != TEXT.2, "{query}");
        }
    });
}

/// Calls the API with a key that has all scopes.
fn ask_api(method: Method, path: &str, name: &str, value: &[u8], body: Vec<u8>) -> Option<Answered> {
    let bearer = format!("Bearer {}", HOUSE.world.client.key());
    let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, bearer);
    let request = request.header(header::CONTENT_TYPE, "application/json").header(name, value);
    let answer = ask(&HOUSE.api, request.body(body.into()))?;
    if !answer.status.is_success() {
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
        assert!(serde_json::from_slice::<Value>(&answer.body).unwrap()["code"].is_string());
    }
    Some(answer)
}

#[test]
fn queries_of_the_api() {
    fuzz("queries", 500, |input| {
        let query = String::from_utf8_lossy(input);
        if !query.contains("wait=") {
            ask_api(Method::GET, &format!("/api/v1/files?{query}"), "x-none", b"", Vec::new());
        }
    });
}

#[test]
fn idempotency_keys() {
    fuzz("idempotency-keys", 500, |input| {
        let answer = ask_api(Method::POST, "/api/v1/files/upload-intent", "idempotency-key", input, b"{}".to_vec());
        assert!(answer.is_none_or(|answer| answer.status == 400));
    });
}

#[test]
fn bodies_of_the_api() {
    fuzz("bodies", 500, |input| {
        const PATHS: [&str; 4] = ["upload-intent", "upload-intents", "confirms", "delete"];
        let (first, body) = input.split_first().unwrap_or((&0, &[]));
        let path = PATHS[usize::from(*first) % PATHS.len()];
        ask_api(Method::POST, &format!("/api/v1/files/{path}"), "x-none", b"", body.to_vec());
    });
}
