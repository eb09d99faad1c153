//! The catalogue of refusals for people: every code with its status, its cause and its remedy.

use std::fmt::Write as _;

use crate::error::Code;

/// The catalogue as Markdown, with a newline at its end.
pub fn catalogue() -> String {
    let mut text = String::from(OPENING);
    for code in Code::ALL {
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n## `{}`\n\nStatus {}. {}.\n\n**Cause.** {}\n\n**Remedy.** {}\n",
            code.as_str(),
            code.status(),
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
