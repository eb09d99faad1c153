//! The HTTP API: who may call what, requests in, answers out. It decides nothing about files; `xfiles-core` does.
//!
//! A request crosses the modules in this order: `request` gives it an id, a log line and one shape for every refusal, and
//! has `work` carry it to its end if it writes;
//! `once` answers a repeated POST with its first success; `auth` turns the bearer token into a project and its scopes;
//! `input` turns text into types and finds all faults at once; `files`, `entities`, `projects`, `webhooks` and `admin`
//! call the core; `view` writes the answer. `openapi` describes all of it, and `docs` shows the description.

mod admin;
mod auth;
mod docs;
mod entities;
mod error;
mod files;
mod health;
mod input;
mod once;
pub mod openapi;
mod projects;
mod query;
mod request;
mod spelling;
mod view;
mod webhooks;
mod work;

use std::num::NonZeroU32;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, patch, post, put},
};
use tokio::sync::watch;
use xfiles_core::{operations::Files, prometheus::Registry, webhook::Reach};

use self::{
    auth::{KeyCache, RateLimit},
    error::Problem,
    request::Served,
    work::Work,
};
pub use self::{docs::docs_router, error::Code};

/// The largest request body, in bytes. The largest legal one is a batch of a hundred intents.
const MAX_BODY_BYTES: usize = 512 * 1024;

/// What a deployment decides about its API.
#[derive(Clone, Debug, Default)]
pub struct ApiOptions {
    /// How many requests a second one key may make, twice as many at once after a rest. `None`: no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// The origins whose pages may call the API from a browser, each as a browser sends it: `https://app.example.com`.
    /// An API key in a page is everybody's, so there is none by default.
    pub allowed_origins: Vec<String>,
    /// Where webhooks may be.
    pub webhooks: Reach,
}

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Api {
    files: Files,
    keys: KeyCache,
    rate: RateLimit,
    origins: std::sync::Arc<[String]>,
    webhooks: Reach,
    served: Served,
    work: Work,
    stopping: Option<watch::Receiver<bool>>,
}

impl Api {
    /// The API of these files.
    pub fn new(files: Files, options: ApiOptions) -> Self {
        let keys = KeyCache::new(files.projects(), files.clock().clone());
        let rate = RateLimit::new(options.requests_per_second);
        let (origins, webhooks) = (options.allowed_origins.into(), options.webhooks);
        let served = Served::new(&Registry::default());
        Self { files, keys, rate, origins, webhooks, served, work: Work::new(), stopping: None }
    }

    /// Counts its requests there.
    #[must_use]
    pub fn counting_in(self, registry: &Registry) -> Self {
        Self { served: Served::new(registry), ..self }
    }

    /// Answers requests that wait for something as soon as `stopping` is true, as if their time were up.
    #[must_use]
    pub fn waiting_until(self, stopping: watch::Receiver<bool>) -> Self {
        Self { stopping: Some(stopping), ..self }
    }

    /// Returns when the server stops; without a server that does, never.
    async fn stopped(&self) {
        let Some(mut stopping) = self.stopping.clone() else { return std::future::pending().await };
        // An error means that the server is gone, which is a stop as well.
        drop(stopping.wait_for(|stop| *stop).await);
    }

    /// Waits until every request that writes has ended. One goes on when its client leaves, so a server that has closed
    /// its connections still has to wait for it.
    pub async fn ended(&self) {
        self.work.ended().await;
    }
}

/// Every route that clients use. The same router is run by Lambda and served on a socket.
pub fn router(api: Api) -> Router {
    let files = Router::new()
        .route("/upload-intent", post(files::upload_intent))
        .route("/upload-intents", post(files::upload_intents))
        .route("/confirm", post(files::confirm))
        .route("/confirms", post(files::confirms))
        .route("/delete", post(files::delete_listed))
        .route("/", get(files::list).delete(files::delete_matching))
        .route("/{id}", get(files::get).patch(files::patch).delete(files::delete))
        .route("/{id}/url", post(files::urls))
        .route("/{id}/resign", post(files::resign));
    let projects = Router::new()
        .route("/", get(projects::list).post(projects::create))
        .route("/{id}", get(projects::get).patch(projects::patch).delete(projects::delete))
        .route("/{id}/empty", post(projects::empty))
        .route("/{id}/keys", get(projects::list_keys).post(projects::create_key))
        .route("/{id}/keys/{key}", delete(projects::revoke_key))
        .route("/{id}/keys/{key}/rotate", post(projects::rotate_key))
        .route("/{id}/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/{id}/webhooks/{webhook}", patch(webhooks::patch).delete(webhooks::delete))
        .route("/{id}/webhooks/{webhook}/rotate", post(webhooks::rotate))
        .route("/{id}/webhooks/{webhook}/deliveries", get(webhooks::deliveries))
        .route("/{id}/webhooks/{webhook}/replay", post(webhooks::replay));
    Router::new()
        .nest("/api/v1/files", files)
        .route("/api/v1/entities/{type}/{id}/order", put(entities::order))
        .route("/api/v1/usage", get(projects::usage))
        .nest("/api/v1/projects", projects)
        .route("/api/v1/cleanup", post(admin::cleanup))
        .layer(middleware::from_fn(query::refuse_unknown))
        .layer(middleware::from_fn_with_state(api.clone(), once::handle))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/version", get(health::version))
        .route("/openapi.json", get(openapi::serve))
        .fallback(|| async { Problem::new(Code::RouteNotFound) })
        .method_not_allowed_fallback(|| async { Problem::new(Code::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(api.clone(), request::handle))
        .with_state(api)
}
