//! The web console: three files that are compiled into the program, and the headers under which a browser gets them.
//!
//! The crate knows nothing of files, keys or sessions. The page does its work with the same API as every other client,
//! from the same origin. Whoever serves it says where the object store and the CDN are; the content security policy
//! admits these two and no other host.

#![warn(missing_docs)]

use std::fmt::Write as _;

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// The hosts besides its own that the page talks to. Each is an origin, such as `https://cdn.example.com`.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Where the page sends the bytes of uploads.
    pub store: Option<String>,
    /// Where the page loads pictures and videos from.
    pub cdn: Option<String>,
}

/// A file of the console.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    /// The first 128 bits of the SHA-256 of the bytes, in hex.
    digest: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The page that every path of the console answers.
const PAGE: &str = "index.html";

/// Serves `/dashboard/` and redirects `/` and `/dashboard` to it.
pub fn router(hosts: &Hosts) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/dashboard/") }))
        .route("/dashboard", get(|| async { Redirect::temporary("/dashboard/") }))
        .route("/dashboard/", get(page))
        .route("/dashboard/{*path}", get(file))
        .with_state(policy(hosts))
}

/// The policy of the page: scripts and styles only from files of this origin, and no HTML from strings.
fn policy(hosts: &Hosts) -> HeaderValue {
    let mut images = String::from("'self' data: blob:");
    let mut media = String::from("'self' blob:");
    let mut requests = String::from("'self'");
    for origin in hosts.cdn.as_deref().into_iter().filter(|origin| is_origin(origin)) {
        for list in [&mut images, &mut media, &mut requests] {
            list.push(' ');
            list.push_str(origin);
        }
    }
    for origin in hosts.store.as_deref().into_iter().filter(|origin| is_origin(origin)) {
        requests.push(' ');
        requests.push_str(origin);
    }
    let mut policy = String::from("default-src 'none'; script-src 'self'; style-src 'self'");
    write!(policy, "; img-src {images}; media-src {media}; connect-src {requests}")
        .expect("a String takes every write");
    policy.push_str("; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    policy.push_str("; require-trusted-types-for 'script'; trusted-types 'none'");
    HeaderValue::try_from(policy).expect("origins are printable ASCII")
}

/// Returns true if the text can stand in a policy as one source: a scheme, a host and perhaps a port.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    })
}

async fn page(State(policy): State<HeaderValue>, request: HeaderMap) -> Response {
    answer(PAGE, &policy, &request)
}

/// A path of the page has no dot in its last segment; everything else names a file. An unknown file is 404 and never the
/// page, because a script that turns out to be HTML is an error that says nothing.
async fn file(State(policy): State<HeaderValue>, Path(path): Path<String>, request: HeaderMap) -> Response {
    let last = path.rsplit('/').next().unwrap_or_default();
    let name = if last.contains('.') { path.as_str() } else { PAGE };
    answer(name, &policy, &request)
}

fn answer(name: &str, policy: &HeaderValue, request: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
        let mut response = (StatusCode::NOT_FOUND, headers, "The console has no such file.\n").into_response();
        protect(response.headers_mut(), policy);
        return response;
    };
    let gzip = accepts_gzip(request);
    let etag = format!("\"{}{}\"", asset.digest, if gzip { "-gzip" } else { "" });
    let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let fresh = known.is_some_and(|known| {
        known.split(',').any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/") == etag)
    });

    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(if gzip { asset.gzip } else { asset.plain }).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::try_from(etag).expect("an entity tag is ASCII"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let lasting = if asset.name == PAGE { "no-cache" } else { "public, max-age=31536000, immutable" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(lasting));
    if !fresh {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
        if gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    protect(headers, policy);
    response
}

/// The headers of every answer, errors included.
fn protect(headers: &mut HeaderMap, policy: &HeaderValue) {
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}

/// Returns true if `Accept-Encoding` admits gzip (RFC 9110, 12.5.3): it is named, or `*` is, with a weight above zero.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let mut any = false;
    for value in request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for coding in value.split(',') {
            let mut parts = coding.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused =
                parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0)));
            if name.eq_ignore_ascii_case("gzip") {
                return !refused;
            }
            any |= name == "*" && !refused;
        }
    }
    any
}
