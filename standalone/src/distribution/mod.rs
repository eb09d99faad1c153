//! The stand-in for the CloudFront distribution: what stands between a viewer and the bucket on one machine, and does
//! there what CloudFront is configured to do on AWS.
//!
//! In the order in which a request crosses them: `behaviour` (which paths exist), `viewer` with `policy` (private paths
//! need a signature), `negotiation` (which encoding the viewer is given), `cache` (one fetch for many viewers), `origin` (the bucket, then the worker), `range` (which part,
//! if any at all), and here the answer with the headers that every answer has. `invalidation` makes the cache forget;
//! `rest_api` lets a client of CloudFront ask for that.
//!
//! A query can ask for one thing, the name under which a browser saves the file; see [`xfiles_core::cdn::disposition`].
//!
//! It never forwards a query, a cookie or a header to an origin, never serves a path that is not an object key, never
//! repeats a URL in an answer or a log, and knows nothing of files or records: only of paths.
//!
//! Where it differs from CloudFront: a method that is not allowed is answered 405 and not 403; several ranges are
//! answered with the whole object; signed cookies are not looked at; an original that is missing is answered 404, and
//! there 403, as S3 says to a reader who may not list.

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

/// How many times what the cache may hold may be in memory with what viewers read that the cache does not hold.
const MEMORY_SHARE: usize = 3;

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// What a distribution is made of.
pub struct Options {
    /// Where viewers find it; the address that signed URLs are signed for.
    pub base_url: BaseUrl,
    /// The bucket that it reads.
    pub bucket: Bucket,
    /// The keys whose signatures open private paths. After a rotation, the old one and the new one.
    pub trusted_keys: Vec<TrustedKey>,
    /// The time, for the ages of the cache and the expiry of signatures.
    pub clock: Clock,
    /// How many bytes the cache may hold.
    pub cache_bytes: usize,
}

/// A distribution. Clones are the same one.
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
    /// A distribution with an empty cache.
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

    /// The same, counting there what it serves.
    #[must_use]
    pub fn counting_in(self, registry: &Registry) -> Self {
        Self { meter: Meter::new(registry), ..self }
    }

    /// The routes that viewers see: everything under `/files` and `/staging`, without a fallback.
    ///
    /// The worker is given here and not at the beginning, because it may be made of something that invalidates this
    /// distribution. It is asked for the variants that the bucket does not have. A policy that asks for the viewer's
    /// address needs the server to provide [`ConnectInfo<SocketAddr>`].
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

/// A distribution with its worker.
struct Edge {
    distribution: Distribution,
    origin: Arc<Origin>,
}

async fn serve(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    // No request has a body that matters here.
    let (request, _) = request.into_parts();
    let (path, varies) = negotiate(request.uri.path(), &request.headers);
    let mut response = edge.answer(&request, &path).await.unwrap_or_else(Refused::into_response);
    add_policy_headers(response.headers_mut());
    if varies {
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    }
    if response.status() == StatusCode::FOUND {
        // The worker knows neither the path before a format was chosen nor the query, which has the signature.
        let own = request.uri.path_and_query().map(|own| HeaderValue::from_bytes(own.as_str().as_bytes()));
        if let Some(Ok(own)) = own {
            response.headers_mut().insert(LOCATION, own);
        }
    }
    edge.distribution.meter.count(&path, response)
}

impl Edge {
    /// Answers with what is at `path`, which need not be the one that was asked for and signed.
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
                // What is remembered of the object is no longer so.
                self.distribution.cache.forget(&PathPattern::exactly(path));
                Err(absence.into())
            }
        }
    }
}

/// 200, or 206 with a range.
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

/// The response headers policy. Uploaded documents are served from here, so none may run script or be sniffed into
/// something that does.
fn add_policy_headers(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// Lets a page of any origin read with GET, parts included.
fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Every answer that is not an object.
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
                ("InvalidRange", "The object has no such part"),
                Some((CONTENT_RANGE, header_text(format!("bytes */{length}")))),
            ),
            Self::Origin { status, retry_after } => (
                status,
                ("OriginError", "The origin made no object of this"),
                retry_after.map(|value| (RETRY_AFTER, value)),
            ),
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
