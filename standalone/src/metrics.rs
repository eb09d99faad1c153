//! `GET /metrics` for a Prometheus server, on a separate listener, because the metrics are not for clients of the other
//! ports. Also the counters of the object store and of background work.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, Method, header::CONTENT_TYPE};
use tokio::{net::TcpListener, sync::watch};
use xfiles_core::{
    clock::{Clock, Moment},
    prometheus::{Counters, OTHER, Registry, status_class},
};

use crate::{
    s3::{ObjectStore, S3Service},
    server::{self, ConnectionLimits, Connections, Port},
};

/// The address of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsListen {
    /// On the loopback interface, at the API's port plus two, or on a free port if the API uses one. As this is only a
    /// default, the server starts without metrics and logs a warning if the port is in use.
    Near,
    /// At this address; if it is in use, the server does not start. Port 0 selects a free port.
    At(SocketAddr),
    /// No metrics.
    Off,
}

impl MetricsListen {
    /// The difference between its port and that of the API.
    const NEAR: u16 = 2;

    /// Binds the listener, if there is one.
    pub(crate) async fn bind(self, api: SocketAddr) -> Result<Option<TcpListener>, (SocketAddr, io::Error)> {
        let (address, is_wish) = match self {
            Self::Off => return Ok(None),
            Self::At(address) => (address, true),
            Self::Near => {
                let port = if api.port() == 0 { Some(0) } else { api.port().checked_add(Self::NEAR) };
                let Some(port) = port else { return Ok(None) };
                (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), false)
            }
        };
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) if is_wish => Err((address, error)),
            Err(error) => {
                tracing::warn!(%address, %error, "metrics are disabled because their address is in use; choose another with --metrics-listen");
                Ok(None)
            }
        }
    }
}

/// The maximum number of concurrent scrapes. They do not count towards the server's connection limit, so that a full
/// server can be inspected.
const SCRAPES: NonZeroUsize = NonZeroUsize::new(4).expect("it is not zero");

/// Serves `GET /metrics` until `stopping` completes: the registry, and the state of the store's blobs.
pub(crate) async fn serve(
    listener: TcpListener,
    registry: Registry,
    store: ObjectStore,
    stopping: watch::Receiver<bool>,
) {
    let limits = ConnectionLimits { max_per_address: Some(SCRAPES), ..ConnectionLimits::default() };
    // Connections for metrics are not counted in the metrics.
    let connections = Connections::new(limits, 2 * SCRAPES.get(), &Registry::default());
    let router = Router::new().route("/metrics", get(scrape)).with_state((registry, store));
    server::serve(listener, Port::Api, router, connections, stopping).await;
}

async fn scrape(State((registry, store)): State<(Registry, ObjectStore)>) -> impl IntoResponse {
    let text = registry.render() + &store.integrity().await.to_prometheus();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// The object store for a listener, with request counters.
pub(crate) fn counted_store(store: S3Service, registry: &Registry) -> Router {
    let operations = registry.counters(
        "xfiles_store_requests_total",
        "Requests of clients to the object store by operation and status class.",
        ["operation", "status"],
    );
    Router::new().fallback_service(store).layer(from_fn_with_state(operations, count_operation))
}

async fn count_operation(State(operations): State<Counters<2>>, request: Request, next: Next) -> Response {
    let operation = operation(&request);
    let response = next.run(request).await;
    operations.increment([operation, status_class(response.status())]);
    response
}

const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");

/// The S3 operation of a request.
fn operation(request: &Request) -> &'static str {
    let mut names = request.uri().path().trim_start_matches('/').splitn(2, '/').filter(|name| !name.is_empty());
    let (bucket, key) = (names.next().is_some(), names.next().is_some());
    let deletes_many = || request.uri().query().is_some_and(|query| query.split('&').any(is_delete));
    match (request.method(), bucket, key) {
        (&Method::GET, _, true) => "GetObject",
        (&Method::HEAD, _, true) => "HeadObject",
        (&Method::PUT, _, true) if request.headers().contains_key(COPY_SOURCE) => "CopyObject",
        (&Method::PUT, _, true) => "PutObject",
        (&Method::DELETE, _, true) => "DeleteObject",
        (&Method::GET, true, false) => "ListObjects",
        (&Method::HEAD, true, false) => "HeadBucket",
        (&Method::PUT, true, false) => "CreateBucket",
        (&Method::DELETE, true, false) => "DeleteBucket",
        (&Method::POST, true, false) if deletes_many() => "DeleteObjects",
        (&Method::GET, false, _) => "ListBuckets",
        (&Method::OPTIONS, ..) => "Preflight",
        _ => OTHER,
    }
}

fn is_delete(parameter: &str) -> bool {
    parameter == "delete" || parameter.starts_with("delete=")
}

/// The time of the last success of background work, for a gauge of its age.
#[derive(Clone, Debug)]
pub(crate) struct LastSuccess {
    clock: Clock,
    at: Arc<Mutex<Moment>>,
}

impl LastSuccess {
    /// Registers the gauge. Before the first success the age is counted from now.
    pub(crate) fn gauge(registry: &Registry, name: &'static str, help: &'static str, clock: &Clock) -> Self {
        let last = Self { clock: clock.clone(), at: Arc::new(Mutex::new(clock.monotonic())) };
        let read = last.clone();
        registry.gauge(name, help, move || read.age());
        last
    }

    /// Records a success.
    pub(crate) fn note(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.monotonic();
    }

    fn age(&self) -> f64 {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        self.clock.monotonic().since(at).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn every_operation_has_its_s3_name() {
        for (method, uri, name) in [
            ("GET", "/bucket/a/b", "GetObject"),
            ("HEAD", "/bucket/a", "HeadObject"),
            ("PUT", "/bucket/a?X-Amz-Signature=0", "PutObject"),
            ("DELETE", "/bucket/a", "DeleteObject"),
            ("GET", "/bucket?list-type=2", "ListObjects"),
            ("GET", "/bucket/", "ListObjects"),
            ("HEAD", "/bucket", "HeadBucket"),
            ("PUT", "/bucket", "CreateBucket"),
            ("POST", "/bucket?delete", "DeleteObjects"),
            ("POST", "/bucket?delete=", "DeleteObjects"),
            ("POST", "/bucket?undelete", OTHER),
            ("GET", "/", "ListBuckets"),
            ("OPTIONS", "/bucket/a", "Preflight"),
            ("BREW", "/bucket/a", OTHER),
        ] {
            let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
            assert_eq!(operation(&request), name, "{method} {uri}");
        }
        let copy = Request::put("/bucket/a").header("x-amz-copy-source", "b/c").body(Body::empty()).unwrap();
        assert_eq!(operation(&copy), "CopyObject");
    }

    #[test]
    fn the_age_of_a_success_does_not_depend_on_the_wall_clock() {
        let (registry, clock) = (Registry::default(), Clock::manual(Clock::system().now()));
        let last = LastSuccess::gauge(&registry, "xfiles_age_seconds", "Age.", &clock);
        let age = || registry.render().lines().last().unwrap().to_owned();
        clock.advance(std::time::Duration::from_secs(7));
        clock.set(xfiles_core::clock::Timestamp::from_millis(0));
        assert_eq!(age(), "xfiles_age_seconds 7");
        last.note();
        assert_eq!(age(), "xfiles_age_seconds 0");
    }
}
