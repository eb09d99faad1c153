//! The API's description in OpenAPI 3.1 and the catalogue of its refusals, both made from what the handlers are made of:
//! the views, the codes and the scopes.
//!
//! `operations` lists every operation of the router; `requests` and `words` say the shapes that no view says. Nothing
//! here takes part in answering a request but `GET /openapi.json` itself.

mod catalogue;
mod operation;
mod operations;
mod requests;
pub(crate) mod words;

use std::sync::LazyLock;

use axum::response::IntoResponse;
use http::header;
use serde_json::{Map, Value, json};

pub use self::catalogue::catalogue;
use self::{
    operation::{Components, Operation},
    words::Problem as ProblemSchema,
};
use crate::error::{Code, FieldError, Problem};

/// The OpenAPI 3.1 document of the API, pretty-printed, with a newline at its end.
pub fn document() -> String {
    let mut text = serde_json::to_string_pretty(&describe()).expect("a description is texts and numbers");
    text.push('\n');
    text
}

/// `GET /openapi.json`.
pub(crate) async fn serve() -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(document);
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

/// Each operation's method, path and the names of its query parameters.
pub(crate) fn query_parameters() -> impl Iterator<Item = (&'static str, &'static str, Vec<String>)> {
    operations::all().into_iter().map(|operation| (operation.method, operation.path, operation.query_names()))
}

fn describe() -> Value {
    let mut components = Components::default();
    components.add::<ProblemSchema>();
    let mut paths = Map::new();
    for operation in operations::all() {
        let Operation { path, method, .. } = operation;
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation.describe(&mut components);
    }
    let tags: Vec<Value> =
        operations::TAGS.iter().map(|(name, description)| json!({"name": name, "description": description})).collect();
    let (schemas, responses) = components.into_values();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "XFiles control API",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Uploads in three steps, lists, URLs, deletion, projects and keys.",
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The deployment that serves this document"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {"apiKey": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "xf_ and 32 letters or digits",
                "description": "An API key. It belongs to one project and has scopes; an operation names the one that it needs.",
            }},
            "headers": headers(),
            "examples": Code::ALL.into_iter().map(|code| (code.as_str().to_owned(), example(code))).collect::<Map<_, _>>(),
            "responses": responses,
            "schemas": schemas,
        },
    })
}

const INTRODUCTION: &str = "\
A file is uploaded in three steps: ask for an upload (`POST /api/v1/files/upload-intent`), PUT the bytes to the URL in \
the answer, confirm (`POST /api/v1/files/confirm`). Bytes never pass through this API, and nothing is readable before \
it is confirmed.

JSON is camelCase, times are RFC 3339 in UTC with milliseconds, ids are lower-case. A field or a query \
parameter that an operation does not have is refused by its name. A field that is null counts as left out unless its \
description says otherwise, and a request without a body counts as one with `{}`.

Every refusal, by whatever layer, is `application/problem+json` with a stable `code`; all faults of a request are \
reported together. An unknown path answers `route_not_found`, an unknown method `method_not_allowed` with `Allow`. \
Every answer has a `Request-Id`, which is the caller's own if it sent one of 8 to 64 letters, digits, `-` and `_`.

Any POST may carry an `Idempotency-Key`. The first outcome under a key is answered again for 24 hours, with \
`Idempotency-Replayed: true`, and not done again. A refusal that changed nothing is no outcome: the request may be tried \
again under the same key. Only `content_type_mismatch` changes something, since it ends the upload. An answer that shows \
a new API key or the secret of a webhook is answered again to the same API key only.";

/// The headers of answers, to be referred to.
fn headers() -> Value {
    let text = |description| json!({"description": description, "schema": {"type": "string"}});
    let seconds = json!({"type": "integer", "minimum": 1});
    json!({
        "RequestId": {
            "description": "By which this request is found in the log.",
            "required": true,
            "schema": {"type": "string", "minLength": 8, "maxLength": 64},
        },
        "ETag": text("The version of the file, to be sent as `If-Match`."),
        "IdempotencyReplayed": {
            "description": "Present when this is the answer to an earlier request under the same `Idempotency-Key`.",
            "schema": {"type": "string", "enum": ["true"]},
        },
        "RetryAfter": {
            "description": "Seconds to wait before the next try.",
            "required": true,
            "schema": seconds,
        },
        "WwwAuthenticate": {
            "description": "How to authenticate.",
            "required": true,
            "schema": {"type": "string", "enum": ["Bearer"]},
        },
    })
}

/// A refusal as the API would send it.
fn example(code: Code) -> Value {
    let problem = match code {
        Code::InvalidRequest => {
            Problem::invalid(vec![FieldError::invalid("/size", "must be a whole number of bytes, 0 to 104857600")])
        }
        code => Problem::new(code),
    };
    json!({"summary": problem.detail, "value": problem.body("/api/v1/files", "2h8w0k5v9d3m7q1x4z6b")})
}
