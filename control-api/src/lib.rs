//! The HTTP API: who may call what, requests in, answers out. It decides nothing about files; `xfiles-core` does.
//!
//! A request crosses the modules in this order: [`request`] gives it an id, a log line and one shape for every refusal;
//! `auth` turns the bearer token into a project and its scopes; `input` turns text into types and finds all faults at
//! once; `files` calls the core; `view` writes the answer.

mod admin;
mod auth;
mod error;
mod files;
mod input;
mod request;
mod view;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use xfiles_core::lifecycle::Files;

pub use self::error::Code;
use self::{auth::KeyCache, error::Problem};

/// The largest request body, in bytes. The largest legal one is a few kilobytes.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Api {
    files: Files,
    keys: KeyCache,
}

impl Api {
    /// The API of these files.
    pub fn new(files: Files) -> Self {
        let keys = KeyCache::new(files.catalog.clone(), files.clock.clone());
        Self { files, keys }
    }
}

/// Every route. The same router is run by Lambda and served on a socket.
pub fn router(api: Api) -> Router {
    let files = Router::new()
        .route("/upload-intent", post(files::upload_intent))
        .route("/confirm", post(files::confirm))
        .route("/", get(files::list))
        .route("/{id}", get(files::get).delete(files::delete))
        .route("/{id}/url", post(files::urls));
    Router::new()
        .nest("/api/v1/files", files)
        .route("/api/v1/cleanup", post(admin::cleanup))
        .fallback(|| async { Problem::new(Code::RouteNotFound) })
        .method_not_allowed_fallback(|| async { Problem::new(Code::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(request::handle))
        .with_state(api)
}
