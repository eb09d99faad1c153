//! What every request gets: an id, one log line, one shape for refusals, an answer even when a handler panics, and
//! permission for the origins that may call from a browser.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use xfiles_core::id::FileId;

use crate::{
    Api,
    auth::IdentitySlot,
    error::{Code, Problem},
    work::Client,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

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
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    // The pattern, not the path: it groups, and it holds nothing of the client's.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let identity = IdentitySlot::default();
    request.extensions_mut().insert(identity.clone());
    let started = tokio::time::Instant::now();

    let panicked = |_| Problem { cause: Some("a handler panicked".to_owned()), ..Problem::new(Code::Internal) };
    let mut abandoned = Abandoned { method: &method, route: &route, id: &id, identity: &identity, answered: false };
    let mut response = match refused {
        Some(problem) => problem.into_response(),
        None => {
            let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
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

    api.served.count(
        &format!("method=\"{method}\",route=\"{route}\",status=\"{}\"", response.status().as_u16()),
        started.elapsed(),
    );
    let (project, key) = identity.get().map(|i| (i.project.to_string(), i.key.to_string())).unzip();
    let status = response.status().as_u16();
    let code = problem.as_ref().map(|p| p.code.as_str());
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        request.id = id, http.method = %method, http.route = route, http.status = status, duration.ms = millis,
        project.id = project, key.id = key, error.code = code, client.gone = client.is_gone().then_some(true),
        "request"
    );
    if let Some(cause) = problem.and_then(|p| p.cause) {
        tracing::error!(request.id = id, cause, "a request failed");
    }
    response
}

/// A request that may end without an answer, because its client leaves. What it asked for was only to be read.
struct Abandoned<'a> {
    method: &'a Method,
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
            request.id = self.id, http.method = %self.method, http.route = self.route, project.id = project,
            key.id = key, client.gone = true, "the client left before it was answered"
        );
    }
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

/// How many requests were served and how long they took, by their labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served(Arc<Mutex<BTreeMap<String, (u64, Duration)>>>);

impl Served {
    fn count(&self, labels: &str, took: Duration) {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match served.get_mut(labels) {
            Some((count, time)) => {
                *count += 1;
                *time += took;
            }
            None => drop(served.insert(labels.to_owned(), (1, took))),
        }
    }

    /// Labels, number of requests, seconds.
    pub(crate) fn snapshot(&self) -> Vec<(String, u64, f64)> {
        let served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        served.iter().map(|(labels, (count, time))| (labels.clone(), *count, time.as_secs_f64())).collect()
    }
}
