//! The HTTP API: who may call what, requests in, answers out. It decides nothing about files; `xfiles-core` does. What
//! requests and answers look like is declared in `xfiles-api-types`.
//!
//! A request crosses the modules in this order: `request` gives it an id, a log line and one shape for every refusal, and
//! has `work` carry it to its end if it writes; `once` answers a repeated POST with its first success; `extract` refuses
//! query parameters that the operation does not have; `auth` turns the bearer token into a project and its scopes;
//! `extract` reads path, query and body; a handler in `resources` calls the core and answers. The router and the
//! description (`openapi`) are both made from the list of operations in `resources`.

mod answer;
mod auth;
mod docs;
mod error;
mod extract;
mod once;
pub mod openapi;
mod operation;
mod request;
mod resources;
mod work;

use std::num::NonZeroU32;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use tokio::sync::watch;
use xfiles_core::{operations::Files, prometheus::Registry, webhook::Reach};

pub use self::docs::docs_router;
use self::{
    auth::{KeyCache, RateLimit},
    error::Problem,
    operation::Operation,
    request::Served,
    work::Work,
};
pub use xfiles_api_types::problem::Code;

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
    let operations = resources::all().into_iter().flat_map(|resource| resource.operations);
    let (keyed, open): (Vec<_>, Vec<_>) = operations.partition(|operation| operation.scope.is_some());
    let routes = |operations: Vec<Operation>| {
        operations
            .into_iter()
            .map(Operation::into_route)
            .fold(Router::new(), |router, (path, route)| router.route(path, route))
    };
    routes(keyed)
        .layer(middleware::from_fn_with_state(api.clone(), once::handle))
        .merge(routes(open))
        .fallback(|| async { Problem::new(Code::RouteNotFound) })
        .method_not_allowed_fallback(|| async { Problem::new(Code::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(api.clone(), request::handle))
        .with_state(api)
}
