//! The API's description in OpenAPI 3.1 and the catalogue of its refusals. Both are made from what the router is made of:
//! the operations, the types of the API, and the codes.

use std::{fmt::Write as _, sync::LazyLock};

use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::{Map, Value, json};
use xfiles_api_types::{
    problem::{self, Code, FieldError},
    running::Description,
    wire::{Schemas, Wire as _},
};
use xfiles_core::intent::ByteSize;

use crate::{error::Problem, operation::Answers, resources};

/// The OpenAPI 3.1 document of the API, pretty-printed, with a newline at its end.
pub fn document() -> String {
    let mut text = serde_json::to_string_pretty(&describe()).expect("a description is texts and numbers");
    text.push('\n');
    text
}

/// The document as an answer.
pub(crate) struct Document;

impl Answers for Document {
    type Body = Description;
    const STATUS: u16 = 200;
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        static DOCUMENT: LazyLock<String> = LazyLock::new(document);
        ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
    }
}

fn describe() -> Value {
    let (mut schemas, mut responses) = (Schemas::default(), Map::new());
    problem::Problem::schema(&mut schemas);
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    for resource in resources::all() {
        tags.push(json!({"name": resource.name, "description": resource.description}));
        for operation in resource.operations {
            let item = paths.entry(operation.path).or_insert_with(|| json!({}));
            item[operation.method] = operation.describe(resource.name, &mut schemas, &mut responses);
        }
    }
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
            "examples": Code::ALL.iter().map(|code| (code.as_str().to_owned(), example(*code))).collect::<Map<_, _>>(),
            "responses": responses,
            "schemas": schemas.into_value(),
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
            let rule = format!("must be a whole number of bytes, 0 to {}", ByteSize::MAX.bytes());
            Problem::invalid(vec![FieldError::invalid("/size", rule)])
        }
        code => Problem::new(code),
    };
    json!({"summary": problem.detail, "value": problem.body("/api/v1/files", "2h8w0k5v9d3m7q1x4z6b")})
}

/// The catalogue of refusals for people as Markdown, with a newline at its end: every code with its status, its cause and
/// its remedy.
pub fn catalogue() -> String {
    let mut text = String::from(OPENING);
    for code in Code::ALL {
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n## `{}`\n\nStatus {}. {}.\n\n**Cause.** {}\n\n**Remedy.** {}\n",
            code.as_str(),
            crate::error::status(code),
            code.title(),
            code.cause(),
            code.remedy(),
        );
    }
    text
}

const OPENING: &str = "\
# Refusals and what to do about them

Every answer that is not a success is `application/problem+json` (RFC 9457). `code` is stable: programs should look at
it, and at nothing else. `detail` (and `error`, which holds the same text) is for people and may change. `errors` names
every field that breaks its rule, with a JSON pointer into the body, or `?name` for a query parameter. `requestId`
leads to the line in the log.

On one machine the server refuses some requests before the API reads them, without `requestId`: 408 `request_timeout`,
because the request did not arrive in time; 429 or 503 `too_many_connections`, because the client's address or all
clients together have too many, with `Retry-After`; and 431 without a body, because the head has more than 32 KB.

This file is made from the code: `cargo run -p xfiles-control-api --example openapi`.
";
