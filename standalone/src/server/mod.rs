//! The HTTP server of both ports: admission and limits of connections.
//!
//! A connection passes the files in this order: `accept` accepts it and requests a place from `admission`; `connection`
//! drives and closes it; `socket` transfers its bytes; `exchange` passes a request to the handlers and returns the
//! response. `limits` has the limits that an operator or a test may change, `descriptors` those of the system.
//!
//! The server is independent of the services behind it.

mod accept;

mod admission;

mod connection;

mod descriptors;

mod exchange;

mod limits;

mod socket;

mod stall;

use axum::body::Body;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::json;
use xfiles_core::prometheus::Registry;

pub(crate) use self::{
    accept::serve,
    admission::{Connections, Port},
};
pub use self::{
    descriptors::TooFew,
    limits::{AddressRange, ConnectionLimits, DEFAULT_MAX_CONNECTIONS, InvalidRange, MAX_HEAD_BYTES},
};

/// Raises the limit of open files and creates the connections of this process.
pub(crate) fn connections(limits: ConnectionLimits, registry: &Registry) -> Result<Connections, TooFew> {
    let files = descriptors::raise();
    let wanted = limits.max.map(std::num::NonZeroUsize::get);
    let max = descriptors::connections(files, wanted, DEFAULT_MAX_CONNECTIONS)?;
    Ok(Connections::new(limits, max, registry))
}

/// `Retry-After` for clients without a place.
const RETRY_AFTER_SECONDS: &str = "2";

/// A refusal by the server itself, in the format of the port.
fn refusal(port: Port, status: StatusCode) -> Response<Body> {
    let (content_type, body) = refusal_text(port, status);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The refusal as bytes, for a connection on which no request was read.
fn raw_refusal(port: Port, status: StatusCode) -> String {
    let (content_type, body) = refusal_text(port, status);
    let retry = match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            format!("{RETRY_AFTER}: {RETRY_AFTER_SECONDS}\r\n")
        }
        _ => String::new(),
    };
    format!(
        "HTTP/1.1 {status}\r\n{CONNECTION}: close\r\n{CONTENT_TYPE}: {content_type}\r\n{retry}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn refusal_text(port: Port, status: StatusCode) -> (&'static str, String) {
    let (code, s3_code, detail) = match status {
        StatusCode::REQUEST_TIMEOUT => {
            ("request_timeout", "RequestTimeout", "the request did not arrive in time; send it again")
        }
        StatusCode::TOO_MANY_REQUESTS => (
            "too_many_connections",
            "SlowDown",
            "too many connections from this address; close some, or try again later",
        ),
        _ => ("too_many_connections", "ServiceUnavailable", "too many connections at the moment; try again later"),
    };
    match port {
        Port::Api => {
            let problem = json!({
                "type": "about:blank",
                "title": status.canonical_reason(),
                "status": status.as_u16(),
                "code": code,
                "detail": detail,
                "error": detail,
            });
            ("application/problem+json", problem.to_string())
        }
        Port::Store => (
            "application/xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{s3_code}</Code><Message>{detail}</Message></Error>"
            ),
        ),
    }
}
