//! What handlers take from a request. All faults of one request are found at once.

use std::sync::Arc;

use axum::{
    body::HttpBody as _,
    extract::{FromRequest, FromRequestParts, Path, Query as Pairs, Request, State, rejection::BytesRejection},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use serde_json::{Map, Value, json};
use xfiles_api_types::{
    problem::Code,
    read_query, read_request, unknown_parameters,
    wire::{Object, Reading, Schemas, Wire as _},
    words::{FILE, KEY, PROJECT, WEBHOOK},
};
use xfiles_core::{
    error::Error,
    id::{EndpointId, FileId, KeyId, ProjectId},
    intent::EntityWord,
};

use crate::{
    Api,
    error::Problem,
    operation::{Operation, Part},
    request::check_length,
};

/// A request body. A request without bytes says the same as `{}`, whatever its headers declare: HTTP libraries send
/// `Content-Type` with requests that have no body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: Object> FromRequest<Api> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let object = object(request, api).await?;
        read_request(&object, Reading::request(api.webhooks)).map(Self).map_err(Problem::invalid)
    }
}

impl<T: Object> Part for Body<T> {
    fn describe(operation: &mut Operation) {
        operation.reads_body::<T>();
    }
}

async fn object(request: Request, api: &Api) -> Result<Value, Problem> {
    let declared = request.headers().get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or("");
    let media_type = declared.split(';').next().unwrap_or("").trim();
    let json = media_type.eq_ignore_ascii_case("application/json") || media_type.ends_with("+json");
    // Bytes that were announced need not be read to be refused.
    if !json && request.body().size_hint().lower() > 0 {
        return Err(Problem::new(Code::UnsupportedMediaType));
    }
    check_length(request.headers())?;
    let bytes = Bytes::from_request(request, api).await.map_err(|e| unread(&e))?;
    if bytes.is_empty() {
        return Ok(Map::new().into());
    }
    if !json {
        return Err(Problem::new(Code::UnsupportedMediaType));
    }
    match serde_json::from_slice(&bytes) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err(Problem::new(Code::MalformedJson)),
        // serde_json names line and column and never repeats the text.
        Err(e) => Err(Problem::new(Code::MalformedJson).because(format!("the body is not JSON: {e}"))),
    }
}

fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(Code::BodyTooLarge)
    } else {
        Problem::new(Code::InvalidRequest).because("the body could not be read")
    }
}

/// Query parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: Object> FromRequestParts<Api> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        read_query(&pairs(parts)?).map(Self).map_err(Problem::invalid)
    }
}

impl<T: Object> Part for Query<T> {
    fn describe(operation: &mut Operation) {
        operation.reads_query::<T>();
    }
}

fn pairs(parts: &Parts) -> Result<Vec<(String, String)>, Problem> {
    let malformed = |_| Problem::new(Code::InvalidRequest).because("the query string is not well formed");
    Pairs::try_from_uri(&parts.uri).map(|Pairs(pairs)| pairs).map_err(malformed)
}

/// Refuses a request with a query parameter that its operation does not have, before its handler sees it: one that is
/// misspelt would otherwise list, delete or keep more than its writer meant.
pub(crate) async fn refuse_unknown(State(known): State<Arc<[&'static str]>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let faults = pairs(&parts).map(|pairs| unknown_parameters(&pairs, &known));
    match faults {
        Ok(faults) if faults.is_empty() => next.run(Request::from_parts(parts, body)).await,
        Ok(faults) => Problem::invalid(faults).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Declares what is taken from a path: for each of its parameters a name, a description and an example.
macro_rules! paths {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident($($type:ty: $parameter:literal, $description:literal, $example:expr);+) or $error:expr;
    )*) => {$(
        $(#[doc = $doc])*
        pub(crate) struct $name($(pub(crate) $type),+);

        impl FromRequestParts<Api> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
                let found = Path::<Vec<(String, String)>>::from_request_parts(parts, api).await.ok();
                let text = |name: &str| found.as_ref()?.iter().find(|(found, _)| found == name).map(|(_, text)| text.as_str());
                Ok(Self($(text($parameter).and_then(<$type as InPath>::parse).ok_or_else(|| Problem::from($error))?),+))
            }
        }

        impl Part for $name {
            fn describe(operation: &mut Operation) {
                $(operation.takes(json!({
                    "name": $parameter, "in": "path", "required": true, "description": $description,
                    "schema": <$type>::schema(&mut Schemas::default()), "example": $example,
                }));)+
            }
        }
    )*};
}

paths! {
    /// The file in the path.
    FileAt(FileId: "id", "The file. A text that is no id is a file that does not exist.", FILE) or Error::FileNotFound;

    /// The project in the path.
    ProjectAt(ProjectId: "id", "The project. A text that is no id is a project that does not exist.", PROJECT)
        or Error::ProjectNotFound;

    /// The project and the key in the path.
    KeyAt(ProjectId: "id", "The project. A text that is no id is a project that does not exist.", PROJECT;
        KeyId: "key", "The key's id, not the key.", KEY) or Error::KeyNotFound;

    /// The project and the webhook in the path.
    WebhookAt(ProjectId: "id", "The project. A text that is no id is a project that does not exist.", PROJECT;
        EndpointId: "webhook", "The webhook. A text that is no id is a webhook that does not exist.", WEBHOOK)
        or Error::EndpointNotFound;

    /// The entity in the path.
    EntityAt(EntityWord: "type", "The kind of thing.", "listing"; EntityWord: "id", "Which one.", "1187")
        or Error::FileNotFound;
}

/// A type that stands in a path.
trait InPath: Sized {
    fn parse(text: &str) -> Option<Self>;
}

macro_rules! in_path {
    ($($type:ty),*) => {$(
        impl InPath for $type {
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

in_path!(FileId, ProjectId, KeyId, EndpointId);

impl InPath for EntityWord {
    fn parse(text: &str) -> Option<Self> {
        Self::new(text)
    }
}

/// The revision that `If-Match` asks for: one of ours, or whichever there is.
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        match value.to_str().map(str::trim) {
            Ok("*") => Ok(Self(None)),
            // An ETag that this API never gives matches nothing.
            Ok(tag) => {
                let revision = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
                Ok(Self(Some(revision.unwrap_or(u64::MAX))))
            }
            Err(_) => Ok(Self(Some(u64::MAX))),
        }
    }
}

impl Part for IfMatch {
    fn describe(operation: &mut Operation) {
        operation.takes(json!({
            "name": "If-Match", "in": "header",
            "description": "The `ETag` that the caller knows. Another version is left as it is.",
            "schema": {"type": "string"}, "example": "\"3\"",
        }));
    }
}
