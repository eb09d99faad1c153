//! `Idempotency-Key` on every POST: the first success under a key is answered again for 24 hours, and not done again.
//!
//! An answer that shows what is shown once, a new API key or the secret of a webhook, is sealed with the key of whoever
//! asked: the same caller can hear it again, and nobody can read it in the table.
//!
//! When the process dies in the middle, the same request under the same key is carried out again after a minute. The ids
//! of what it makes follow from a seed that is kept with the key, so that it finds what the first attempt made.
//!
//! A refusal that changed nothing is not kept: the same request under the same key is then tried anew. One that ended an
//! upload is, or a caller who lost it would only hear that there is no such file.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts as _, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use xfiles_api_types::problem::FieldError;
use xfiles_core::{
    api_key::ApiKey,
    catalog::{Attempt, Once, Outcome},
    error::Error,
    id::ProjectId,
};

use crate::{
    Api, Code, MAX_BODY_BYTES,
    auth::{Caller, bearer},
    error::Problem,
    request::check_length,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The largest answer that is kept; an item of the table holds 400 KB.
const MAX_OUTCOME_BYTES: usize = 350 * 1024;

/// The one refusal that changes something.
const ENDS_AN_UPLOAD: Code = Code::ContentTypeMismatch;

pub(crate) async fn handle(State(api): State<Api>, request: Request, next: Next) -> Response {
    let key = match (request.method(), request.headers().get(IDEMPOTENCY_KEY)) {
        (&Method::POST, Some(key)) => key.clone(),
        _ => return next.run(request).await,
    };
    carry_out_once(&api, &key, request, next).await.unwrap_or_else(|problem| problem.into_response())
}

async fn carry_out_once(api: &Api, key: &HeaderValue, request: Request, next: Next) -> Result<Response, Problem> {
    let key = parse(key)?;
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, api).await?;
    let seal = bearer(&parts).filter(|_| answers_a_secret(parts.uri.path()));
    check_length(&parts.headers)?;
    let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| Problem::new(Code::BodyTooLarge))?;

    let mut digest = Sha256::new();
    // The scopes are part of it: an answer is not given again to a key that could not have asked for it.
    digest.update(format!("{} {} {:?}\n", parts.method, parts.uri, caller.scopes));
    digest.update(seal.as_ref().map(|key| key.hash().as_str().to_owned()).unwrap_or_default());
    digest.update(&body);
    let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();

    let projects = api.files.projects();
    let taken = projects.take_once(caller.project, &key, &digest).await;
    if matches!(taken, Err(Error::StorageFull(_))) && only_reads(parts.uri.path()) {
        // It can be done twice, so a disk without room for the record is no reason to refuse it.
        return Ok(next.run(Request::from_parts(parts, Body::from(body))).await);
    }
    let attempt = match taken? {
        Once::Fresh(attempt) => attempt,
        Once::Done(outcome) => return replay(outcome, seal.as_ref()),
        Once::InFlight => return Err(Problem::new(Code::RequestInFlight)),
        Once::Mismatch => return Err(Problem::new(Code::IdempotencyKeyReused)),
    };
    parts.extensions.insert(attempt.clone());
    let work = next.run(Request::from_parts(parts, Body::from(body)));
    let response = hold_while(api, caller.project, &key, &attempt, work).await;
    if !response.status().is_success() {
        let problem = response.extensions().get::<Problem>();
        let ended = problem.filter(|problem| problem.code == ENDS_AN_UPLOAD).map(|problem| problem.detail.clone());
        match ended {
            Some(detail) => {
                let outcome = Outcome { status: response.status().as_u16(), etag: None, body: detail };
                keep(api, caller.project, &key, &attempt, &outcome).await;
            }
            None => {
                // A key that could not be given back is free again in a minute. The caller hears why the request failed.
                if let Err(error) = projects.forget_once(caller.project, &key, &attempt).await {
                    tracing::warn!(%error, "an idempotency key could not be given back");
                }
            }
        }
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Problem::new(Code::Internal))?;
    if body.len() <= MAX_OUTCOME_BYTES {
        let text = String::from_utf8_lossy(&body);
        let text = seal.map_or_else(|| text.clone().into_owned(), |key| key.seal(&text));
        let etag = parts.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let outcome = Outcome { status: parts.status.as_u16(), etag, body: text };
        keep(api, caller.project, &key, &attempt, &outcome).await;
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Does the work, and holds the key as long as it takes.
async fn hold_while<T>(
    api: &Api,
    project: ProjectId,
    key: &str,
    attempt: &Attempt,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(Attempt::RENEW_EVERY) => {
                if let Err(error) = api.files.projects().renew_once(project, key, attempt).await {
                    tracing::warn!(%error, "the hold on an idempotency key could not be renewed");
                }
            }
        }
    }
}

/// Keeps an outcome. The work is done; that its outcome could not be kept must not make it look undone.
async fn keep(api: &Api, project: ProjectId, key: &str, attempt: &Attempt, outcome: &Outcome) {
    if let Err(error) = api.files.projects().keep_outcome(project, key, attempt, outcome).await {
        tracing::warn!(%error, "an outcome could not be kept under its idempotency key");
    }
}

/// Returns true if a POST to this path changes nothing: it makes signed URLs.
fn only_reads(path: &str) -> bool {
    path.starts_with("/api/v1/files/") && path.ends_with("/url")
}

/// Of an API key only the hash is stored, so the one answer that shows it is not kept as it is either.
fn answers_a_secret(path: &str) -> bool {
    path.starts_with("/api/v1/projects/") && ["/keys", "/webhooks", "/rotate"].iter().any(|end| path.ends_with(end))
}

fn replay(outcome: Outcome, seal: Option<&ApiKey>) -> Result<Response, Problem> {
    if outcome.status == ENDS_AN_UPLOAD.status() {
        let refusal = Problem::new(ENDS_AN_UPLOAD).because(outcome.body);
        return Ok(([(REPLAYED, "true")], refusal).into_response());
    }
    let body = match seal {
        Some(key) => key.unseal(&outcome.body).ok_or_else(|| Problem::new(Code::Internal))?,
        None => outcome.body,
    };
    let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::OK);
    let headers = [(header::CONTENT_TYPE, "application/json"), (REPLAYED, "true")];
    let etag = outcome.etag.map(|etag| [(header::ETAG, etag)]);
    Ok((status, headers, etag, body).into_response())
}

fn parse(key: &HeaderValue) -> Result<String, Problem> {
    let text = key.to_str().ok().filter(|text| (1..=255).contains(&text.len()));
    text.map(str::to_owned).ok_or_else(|| {
        Problem::invalid(vec![FieldError::invalid("Idempotency-Key", "must be 1 to 255 visible ASCII characters")])
    })
}
