//! `GET /docs`: the API's description as a page to read and try. Everything that it loads is in the program, and it asks
//! nothing of any other host. The page keeps a key that is typed into it in its memory and nowhere else.

use axum::{Router, response::IntoResponse, routing::get};
use http::header;

/// Only what comes from here; no plug-in, no frame, no form that leaves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// A photograph for a first upload: *seeding* of the Debian package `lomiri-wallpapers-16.04`, in the public domain
/// under CC0 1.0, made smaller.
const SAMPLE: &[u8] = include_bytes!("../assets/sample.jpg");

/// The page. It reads `/openapi.json`, which is the API's own.
pub fn docs_router() -> Router {
    Router::new()
        .route("/docs", get(|| asset("text/html; charset=utf-8", include_str!("../assets/docs.html"))))
        .route("/docs/docs.css", get(|| asset("text/css; charset=utf-8", include_str!("../assets/docs.css"))))
        .route("/docs/docs.js", get(|| asset("text/javascript; charset=utf-8", include_str!("../assets/docs.js"))))
        .route("/docs/sample.jpg", get(|| asset("image/jpeg", SAMPLE)))
}

async fn asset(content_type: &'static str, bytes: impl IntoResponse) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new program has a new page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, bytes)
}
