//! What every request gets: an id, one log line, one shape for refusals, an answer even when a handler panics, and
//! permission for the origins that may call from a browser.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use xfiles_core::{
    id::FileId,
    prometheus::{Counters, Registry, clip, method_label},
    share::{Class, Share},
};

use crate::{Api, Code, MAX_BODY_BYTES, auth::IdentitySlot, error::Problem, work::Client};

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The longest cause that is logged, in bytes: it quotes what a store said, which may quote a client.
const MAX_CAUSE: usize = 2_000;

/// Runs a request; one that writes, to its end.
pub(crate) async fn handle(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (method, headers, work) = (request.method().clone(), request.headers().clone(), api.work.clone());
    work.answer(&method, &headers, |client, refused| answer(api, request, next, client, refused)).await
}

async fn answer(api: Api, mut request: Request, next: Next, client: Client, refused: Option<Problem>) -> Response {
    let allowed = allowed_origin(&api, request.headers());
    if let (Some(origin), &Method::OPTIONS) = (&allowed, request.method()) {
        return preflight(origin);
    }
    let id = request_id(&request);
    // Of a method that is not one of HTTP's own, neither the log nor the metrics have the client's text.
    let method = method_label(request.method());
    let path = request.uri().path().to_owned();
    // The pattern, not the path: it groups, and it holds nothing of the client's.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let identity = IdentitySlot::default();
    request.extensions_mut().insert(identity.clone());
    let started = tokio::time::Instant::now();

    let panicked = |_| Problem { cause: Some("a handler panicked".to_owned()), ..Problem::new(Code::Internal) };
    let share = share(request.method(), &path);
    let mut abandoned = Abandoned { method, route: &route, id: &id, identity: &identity, answered: false };
    let mut response = match refused {
        Some(problem) => problem.into_response(),
        None => {
            let response = share.scope(AssertUnwindSafe(next.run(request)).catch_unwind()).await;
            response.unwrap_or_else(|panic| panicked(panic).into_response())
        }
    };
    abandoned.answered = true;

    let problem = response.extensions_mut().remove::<Problem>().or_else(|| refusal_of_a_layer(&response));
    if let Some(problem) = &problem {
        let body = problem.body(&path, &id).to_string();
        *response.body_mut() = Body::from(body);
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }

    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("ETag, Idempotency-Replayed, Request-Id, Retry-After");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }

    api.served.count(method, &route, response.status(), started.elapsed());
    let (project, key) = identity.get().map(|i| (i.project.to_string(), i.key.to_string())).unzip();
    let status = response.status().as_u16();
    let code = problem.as_ref().map(|p| p.code.as_str());
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        request.id = id,
        http.method = method,
        http.route = route,
        http.status = status,
        duration.ms = millis,
        project.id = project,
        key.id = key,
        error.code = code,
        client.gone = client.is_gone().then_some(true),
        "request"
    );
    if let Some(cause) = problem.and_then(|p| p.cause) {
        tracing::error!(request.id = id, cause = clip(&cause, MAX_CAUSE), "a request failed");
    }
    response
}

/// A request that may end without an answer, because its client leaves. What it asked for was only to be read.
struct Abandoned<'a> {
    method: &'static str,
    route: &'a str,
    id: &'a str,
    identity: &'a IdentitySlot,
    answered: bool,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let (project, key) = self.identity.get().map(|i| (i.project.to_string(), i.key.to_string())).unzip();
        tracing::info!(
            request.id = self.id,
            http.method = self.method,
            http.route = self.route,
            project.id = project,
            key.id = key,
            client.gone = true,
            "the client left before it was answered"
        );
    }
}

/// On whose behalf a request is: of a project that is not known yet; `auth` names it. What deletes, or takes a key or a
/// webhook away, must work on a full disk.
fn share(method: &Method, path: &str) -> Share {
    let share = Share::of(Class::Api);
    let removes = ["/delete", "/empty", "/cleanup"].iter().any(|end| path.ends_with(end));
    if method == Method::DELETE || (method == Method::POST && removes) { share.freeing_room() } else { share }
}

/// The caller's `Request-Id`, if it is a modest token, so that a request can be followed through the caller's log and
/// ours; otherwise one of our own.
fn request_id(request: &Request) -> String {
    let theirs = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let modest = |id: &&str| {
        (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    theirs.filter(modest).map_or_else(|| FileId::mint().to_string(), str::to_owned)
}

/// Refuses a body that says that it is too large before any of it is read, or the client is asked to send it.
pub(crate) fn check_length(headers: &HeaderMap) -> Result<(), Problem> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(length) if length > MAX_BODY_BYTES as u64 => Err(Problem::new(Code::BodyTooLarge)),
        Some(_) | None => Ok(()),
    }
}

/// A refusal that the framework made by itself.
fn refusal_of_a_layer(response: &Response) -> Option<Problem> {
    match response.status() {
        status if !status.is_client_error() && !status.is_server_error() => None,
        StatusCode::NOT_FOUND => Some(Problem::new(Code::RouteNotFound)),
        StatusCode::METHOD_NOT_ALLOWED => Some(Problem::new(Code::MethodNotAllowed)),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Problem::new(Code::BodyTooLarge)),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Some(Problem::new(Code::UnsupportedMediaType)),
        status if status.is_client_error() => Some(Problem::new(Code::InvalidRequest)),
        _ => Some(Problem::new(Code::Internal)),
    }
}

fn allowed_origin(api: &Api, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    api.origins.iter().any(|allowed| origin == allowed).then(|| origin.clone())
}

fn preflight(origin: &HeaderValue) -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE")),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key, If-Match, Request-Id"),
        ),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3000")),
        (header::VARY, HeaderValue::from_static("Origin")),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// How many requests were served and how long they took, by method, pattern of the route and status.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    requests: Counters<3>,
    seconds: Counters<3>,
}

impl Served {
    pub(crate) fn new(registry: &Registry) -> Self {
        let labels = ["method", "route", "status"];
        Self {
            requests: registry.counters(
                "xfiles_http_requests_total",
                "Requests of the API, by method, route and status.",
                labels,
            ),
            seconds: registry.counters("xfiles_http_request_seconds_total", "Time spent on them.", labels),
        }
    }

    fn count(&self, method: &'static str, route: &str, status: StatusCode, took: Duration) {
        let labels = [method, route, status.as_str()];
        self.requests.increment(labels);
        self.seconds.add(labels, took.as_secs_f64());
    }
}
