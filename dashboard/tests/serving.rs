//! The console as it is served: headers, encodings, and the proof that `dist/` was built from `app/`.
#![cfg(test)]

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use sha2::{Digest, Sha256};
use tower::ServiceExt as _;
use xfiles_dashboard::Hosts;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

async fn get(path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let hosts =
        Hosts { store: Some("http://127.0.0.1:9000".to_owned()), cdn: Some("https://cdn.example.com".to_owned()) };
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    xfiles_dashboard::router(&hosts).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

/// The name of the one file of `dist/` with this extension.
fn built(extension: &str) -> String {
    let names: Vec<_> = fs::read_dir(here().join("dist"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|found| found == extension))
        .collect();
    assert_eq!(names.len(), 1, "dist has one .{extension}: {names:?}");
    names[0].clone()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("there is no {name}")).to_str().unwrap()
}

#[tokio::test]
async fn both_roots_lead_to_the_console() {
    for path in ["/", "/dashboard"] {
        let response = get(path, &[]).await;
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT, "{path}");
        assert_eq!(header(&response, "location"), "/dashboard/");
    }
}

#[tokio::test]
async fn every_path_without_a_dot_is_the_page_and_its_policy_names_two_hosts() {
    for path in ["/dashboard/", "/dashboard/projects", "/dashboard/p/qt1o0u6wfflw/files/0000"] {
        let response = get(path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
        assert_eq!(header(&response, "cache-control"), "no-cache");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        assert_eq!(header(&response, "cross-origin-opener-policy"), "same-origin");
        assert_eq!(header(&response, "cross-origin-resource-policy"), "same-origin");
        assert_eq!(
            header(&response, "content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; \
             img-src 'self' data: blob: https://cdn.example.com; media-src 'self' blob: https://cdn.example.com; \
             connect-src 'self' https://cdn.example.com http://127.0.0.1:9000; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'"
        );
    }
}

#[tokio::test]
async fn the_page_loads_only_files_that_exist_and_holds_no_inline_script_or_style() {
    let page = String::from_utf8(bytes(get("/dashboard/", &[]).await).await).unwrap();
    for extension in ["js", "css"] {
        let path = format!("/dashboard/{}", built(extension));
        assert!(page.contains(&path), "the page names {path}");
        let response = get(&path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "cache-control"), "public, max-age=31536000, immutable");
    }
    assert!(!page.contains("<style") && !page.contains("style="), "no inline style");
    assert_eq!(
        page.matches("<script").count(),
        page.matches("<script type=\"module\" src=").count(),
        "no inline script"
    );
}

#[tokio::test]
async fn an_unknown_file_is_404_and_never_the_page() {
    for path in
        ["/dashboard/app.00000000.js", "/dashboard/index.html.map", "/dashboard/SOURCES.sha256", "/dashboard/x/app.js"]
    {
        let response = get(path, &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert!(response.headers().contains_key("content-security-policy"));
        assert!(!String::from_utf8(bytes(response).await).unwrap().contains("<html"), "{path}");
    }
}

#[tokio::test]
async fn gzip_is_sent_to_those_who_take_it_and_each_encoding_has_its_own_tag() {
    let mut tags = Vec::new();
    for name in [built("js"), built("css"), "index.html".to_owned()] {
        let path = format!("/dashboard/{name}");
        let plain = get(&path, &[("accept-encoding", "br, gzip;q=0")]).await;
        let gzip = get(&path, &[("accept-encoding", "deflate, gzip, br")]).await;
        assert!(!plain.headers().contains_key("content-encoding"));
        assert_eq!(header(&gzip, "content-encoding"), "gzip");
        assert_eq!(header(&gzip, "vary"), "accept-encoding");
        for response in [&plain, &gzip] {
            tags.push(header(response, "etag").to_owned());
        }
        let tag = header(&gzip, "etag").to_owned();
        let (plain, gzip) = (bytes(plain).await, bytes(gzip).await);
        assert!(gzip.len() < plain.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain, "{name} is the same in both encodings");
        assert!(fs::read(here().join("dist").join(&name)).unwrap() == plain, "{name} is the file of dist");

        let again = get(&path, &[("accept-encoding", "gzip"), ("if-none-match", &tag)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(bytes(again).await.is_empty());
        let other = get(&path, &[("if-none-match", &tag)]).await;
        assert_eq!(other.status(), StatusCode::OK, "the tag of one encoding does not stand for the other");
    }
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "no two answers share a tag");
}

/// What a visitor downloads, compressed, is the budget of the whole console.
#[tokio::test]
async fn the_console_is_at_most_80_kb() {
    let mut sum = 0;
    for name in [built("js"), built("css"), "index.html".to_owned()] {
        sum += bytes(get(&format!("/dashboard/{name}"), &[("accept-encoding", "gzip")]).await).await.len();
    }
    assert!(sum <= 80_000, "{sum} bytes");
}

#[test]
fn an_origin_that_is_none_does_not_reach_the_policy() {
    let hosts = Hosts { store: Some("https://x; script-src *".to_owned()), cdn: Some("javascript:".to_owned()) };
    let router = xfiles_dashboard::router(&hosts);
    let response = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(router.oneshot(Request::get("/dashboard/").body(Body::empty()).unwrap()))
        .unwrap();
    let policy = header(&response, "content-security-policy");
    assert!(
        policy.contains("connect-src 'self'; ") && !policy.contains("javascript") && !policy.contains('*'),
        "{policy}"
    );
}

/// A forgotten build is found without Node: the sums that the build wrote are those of the sources.
#[test]
fn dist_was_built_from_these_sources() {
    let listed: BTreeMap<String, String> = fs::read_to_string(here().join("dist/SOURCES.sha256"))
        .unwrap()
        .lines()
        .map(|line| {
            let (sum, name) = line.split_once("  ").unwrap();
            (name.to_owned(), sum.to_owned())
        })
        .collect();
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::from("app"), PathBuf::from("build.mjs"), PathBuf::from("package-lock.json")];
    while let Some(path) = waiting.pop() {
        let full = here().join(&path);
        if full.is_dir() {
            waiting.extend(fs::read_dir(full).unwrap().map(|entry| path.join(entry.unwrap().file_name())));
        } else {
            let sum = hex::encode(Sha256::digest(fs::read(full).unwrap()));
            found.insert(path.to_str().unwrap().replace('\\', "/"), sum);
        }
    }
    assert_eq!(listed, found, "run `npm ci --ignore-scripts && npm run build` in dashboard/ and commit dist/");
}
