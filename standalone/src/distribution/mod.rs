//! The stand-in for the CloudFront distribution: between viewers and the bucket, it behaves on one machine like
//! CloudFront as configured on AWS.
//!
//! The modules, in the order in which a request passes them: `behaviour` (which paths exist), `viewer` with `policy`
//! (private paths need a signature), `negotiation` (which format the viewer gets), `cache` (one fetch for many
//! viewers), `origin` (the bucket, then the worker), `range` (which part of the object), and finally the response
//! headers in this module. `invalidation` removes cached paths; `rest_api` is the API for that.
//!
//! A query can only set the name under which a browser saves the file; see [`xfiles_core::cdn::disposition`].
//!
//! The distribution never forwards a query, a cookie or a header to an origin, never serves a path that is not an
//! object key, and never repeats a URL in a response or a log. It knows paths, but no files or records.
//!
//! Differences from CloudFront: a disallowed method gets 405 instead of 403; a request for several ranges gets the
//! whole object; signed cookies are ignored; a missing original gets 404, where CloudFront returns 403, because S3 does
//! so for readers without list permission.

mod behaviour;

mod negotiation;
mod policy;
mod viewer;

mod cache;

mod origin;

mod range;

mod invalidation;
mod meter;
mod rest_api;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::Response,
    routing::any,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, AGE, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};
pub use origin::Bucket;
pub use viewer::{InvalidTrustedKey, TrustedKey};
use xfiles_core::{
    cdn::BaseUrl,
    clock::Clock,
    object_key::{ObjectKey, Visibility},
    prometheus::Registry,
};

use self::{
    behaviour::Behaviour,
    cache::{Cache, Lookup},
    invalidation::{PathPattern, Register},
    meter::Meter,
    negotiation::negotiate,
    origin::{Absence, MAX_HELD, Memory, Object, Origin},
    range::{ByteRange, Selection, select},
    viewer::{Denial, Gate},
};

/// The memory for objects, including those that viewers still read after eviction, as a multiple of the cache's
/// capacity.
const MEMORY_SHARE: usize = 3;

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// The configuration of a distribution.
pub struct Options {
    /// The address for viewers, for which signed URLs are signed.
    pub base_url: BaseUrl,
    /// The bucket with the objects.
    pub bucket: Bucket,
    /// The public keys that are trusted for private paths: after a rotation, the old one and the new one.
    pub trusted_keys: Vec<TrustedKey>,
    /// The clock for cache ages and the expiry of signatures.
    pub clock: Clock,
    /// The capacity of the cache in bytes.
    pub cache_bytes: usize,
}

/// A distribution. Clones share its state.
#[derive(Clone)]
pub struct Distribution {
    bucket: Bucket,
    clock: Clock,
    gate: Arc<Gate>,
    cache: Cache,
    register: Arc<Register>,
    memory: Memory,
    meter: Meter,
}

impl Distribution {
    /// Creates a distribution with an empty cache.
    pub fn new(options: Options) -> Self {
        let Options { base_url, bucket, trusted_keys, clock, cache_bytes } = options;
        Self {
            bucket,
            gate: Arc::new(Gate::new(base_url, trusted_keys)),
            cache: Cache::new(cache_bytes, clock.clone()),
            clock,
            register: Arc::default(),
            memory: Memory::new(cache_bytes.saturating_mul(MEMORY_SHARE).max(4 * MAX_HELD)),
            meter: Meter::new(&Registry::default()),
        }
    }

    /// Adds metrics to the registry.
    #[must_use]
    pub fn counting_in(self, registry: &Registry) -> Self {
        Self { meter: Meter::new(registry), ..self }
    }

    /// The routes for viewers: everything under `/files` and `/staging`, without a fallback.
    ///
    /// The worker is passed here and not to the constructor, because it may itself need this distribution for
    /// invalidations. It renders the variants that the bucket does not have. For policies with an address condition,
    /// the server must provide [`ConnectInfo<SocketAddr>`].
    pub fn router(&self, worker: Router) -> Router {
        let origin = Origin { bucket: self.bucket.clone(), worker, memory: self.memory.clone() };
        let edge = Arc::new(Edge { distribution: self.clone(), origin: Arc::new(origin) });
        let mut router = Router::new();
        for path in ["/files", "/files/", "/files/{*path}", "/staging", "/staging/", "/staging/{*path}"] {
            router = router.route(path, any(serve));
        }
        router.with_state(edge)
    }
}

struct Edge {
    distribution: Distribution,
    origin: Arc<Origin>,
}

async fn serve(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    // Request bodies are ignored.
    let (request, _) = request.into_parts();
    let (path, varies) = negotiate(request.uri.path(), &request.headers);
    let mut response = edge.answer(&request, &path).await.unwrap_or_else(Refused::into_response);
    add_policy_headers(response.headers_mut());
    if varies {
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    }
    if response.status() == StatusCode::FOUND {
        // The worker knows neither the path before negotiation nor the query, which contains the signature.
        let own = request.uri.path_and_query().map(|own| HeaderValue::from_bytes(own.as_str().as_bytes()));
        if let Some(Ok(own)) = own {
            response.headers_mut().insert(LOCATION, own);
        }
    }
    edge.distribution.meter.count(&path, response)
}

impl Edge {
    /// Responds with the object at `path`, which may differ from the requested and signed path.
    async fn answer(&self, request: &Parts, path: &str) -> Result<Response, Refused> {
        let Parts { method, uri, headers, .. } = request;
        let behaviour = Behaviour::of(path).ok_or(Refused::NotFound)?;
        let wants_body = match *method {
            Method::GET => true,
            Method::HEAD => false,
            Method::OPTIONS => return Ok(preflight()),
            _ => return Err(Refused::MethodNotAllowed),
        };
        let Distribution { clock, gate, cache, .. } = &self.distribution;
        match behaviour.visibility {
            Visibility::Public => {}
            Visibility::Private => {
                gate.admit(uri.path(), uri.query(), peer(request), clock.now()).map_err(Refused::Denied)?;
            }
        }
        let fetch = || {
            let (origin, behaviour) = (Arc::clone(&self.origin), behaviour.clone());
            async move { origin.fetch(&behaviour).await }
        };
        let Lookup { outcome, age } = cache.get_or_fetch(path, fetch).await;
        let object = outcome?;
        let save_as =
            xfiles_core::cdn::disposition(&behaviour.key, uri.query()).and_then(|d| HeaderValue::from_str(&d).ok());
        let mut response = match select(method, headers, &object) {
            Selection::NotModified => Ok(not_modified(&object, age)),
            Selection::Unsatisfiable => Err(Refused::Unsatisfiable { length: object.length }),
            Selection::Whole if !wants_body => Ok(found(&object, None, Body::empty(), age)),
            Selection::Whole => self.found_with_body(&behaviour.key, path, &object, None, age).await,
            Selection::Part(range) => self.found_with_body(&behaviour.key, path, &object, Some(range), age).await,
        }?;
        if let Some(save_as) = save_as {
            response.headers_mut().insert(CONTENT_DISPOSITION, save_as);
        }
        Ok(response)
    }

    async fn found_with_body(
        &self,
        key: &ObjectKey,
        path: &str,
        object: &Object,
        range: Option<ByteRange>,
        age: Option<Duration>,
    ) -> Result<Response, Refused> {
        if let Some(body) = object.held_body() {
            let body = range.map_or_else(|| body.clone(), |range| body.slice(range.indices()));
            return Ok(found(object, range, Body::from(body), age));
        }
        match self.origin.stream(key, object, range).await {
            Ok(body) => Ok(found(object, range, body, None)),
            Err(absence) => {
                // The cached description of the object is outdated.
                self.distribution.cache.forget(&PathPattern::exactly(path));
                Err(absence.into())
            }
        }
    }
}

/// A 200 response, or 206 with a range.
fn found(object: &Object, range: Option<ByteRange>, body: Body, age: Option<Duration>) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.clone_from(&object.headers);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, range.map_or(object.length, ByteRange::length).into());
    add_cache_headers(headers, age);
    if let Some(ByteRange { first, last }) = range {
        headers.insert(CONTENT_RANGE, header_text(format!("bytes {first}-{last}/{}", object.length)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

fn not_modified(object: &Object, age: Option<Duration>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    headers.clone_from(&object.headers);
    add_cache_headers(headers, age);
    response
}

fn add_cache_headers(headers: &mut HeaderMap, age: Option<Duration>) {
    match age {
        Some(age) => {
            headers.insert(AGE, age.as_secs().into());
            headers.insert(X_CACHE, HeaderValue::from_static("Hit from xfiles"));
        }
        None => {
            headers.insert(X_CACHE, HeaderValue::from_static("Miss from xfiles"));
        }
    }
}

/// The response headers policy. Uploaded documents are served from here, so none may run script or be sniffed as a type
/// that can.
fn add_policy_headers(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// Allows a page of any origin to read with GET, including ranges.
fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Every response that is not an object.
#[derive(Debug)]
enum Refused {
    NotFound,
    MethodNotAllowed,
    Denied(Denial),
    Unsatisfiable { length: u64 },
    Origin { status: StatusCode, retry_after: Option<HeaderValue> },
    Elsewhere { location: HeaderValue },
}

impl Refused {
    fn into_response(self) -> Response {
        let (status, (code, message), extra) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, ("NotFound", "Nothing is served here"), None),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                ("MethodNotAllowed", "GET, HEAD and OPTIONS are allowed"),
                Some((ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"))),
            ),
            Self::Denied(denial) => (StatusCode::FORBIDDEN, denial.code_and_message(), None),
            Self::Unsatisfiable { length } => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                ("InvalidRange", "The object does not have this range"),
                Some((CONTENT_RANGE, header_text(format!("bytes */{length}")))),
            ),
            Self::Origin { status, retry_after } => {
                (status, ("OriginError", "The origin returned an error"), retry_after.map(|value| (RETRY_AFTER, value)))
            }
            Self::Elsewhere { location } => {
                (StatusCode::FOUND, ("Found", "The object is stored now"), Some((LOCATION, location)))
            }
        };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CACHE, HeaderValue::from_static("Error from xfiles"));
        headers.extend(extra);
        response
    }
}

impl From<Absence> for Refused {
    fn from(absence: Absence) -> Self {
        match absence {
            Absence::Missing => Self::NotFound,
            Absence::Elsewhere { location } => Self::Elsewhere { location },
            Absence::Failed { status, retry_after, .. } => Self::Origin { status, retry_after },
        }
    }
}

fn peer(request: &Parts) -> Option<IpAddr> {
    request.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

fn header_text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and ASCII signs make a header value")
}

#[cfg(test)]
mod tests;
