//! The outcome of a command: its exit code, and the message if it failed. A failure never contains an API key, a
//! signature or a signed URL.

use std::{io, process::ExitCode, time::Duration};

use serde_json::{Value, json};
use xfiles_core::error::Error;
use xfiles_standalone::StartError;

/// The outcome of a command. The numbers are part of the command's interface; [`Exit::HELP`] explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Ok = 0,
    /// The command failed for a reason without a code of its own, or for several reasons.
    Failed = 1,
    /// The arguments are invalid.
    Usage = 2,
    /// The server did not respond.
    Unreachable = 3,
    /// The API key is missing, refused, or may not do this.
    Unauthorized = 4,
    /// There is no such file, key or project.
    NotFound = 5,
    /// The project's quota is exhausted.
    QuotaExceeded = 6,
    /// The data directory or an address is in use, or cannot be used.
    Unavailable = 7,
}

impl Exit {
    /// The exit codes for `--help`.
    pub const HELP: &str = "\
Exit codes:
  0  success
  1  something failed (for several files: for different reasons)
  2  wrong arguments
  3  the server cannot be reached
  4  the API key is missing, refused, or lacks the scope
  5  no such file, key or project
  6  the project's quota is exhausted
  7  the data directory or an address is in use or unusable";

    /// The exit code of several operations: their common one, otherwise [`Exit::Failed`].
    pub(crate) fn of_all(exits: impl IntoIterator<Item = Self>) -> Self {
        let mut failures = exits.into_iter().filter(|exit| *exit != Self::Ok);
        match failures.next() {
            None => Self::Ok,
            Some(first) if failures.all(|exit| exit == first) => first,
            Some(_) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The reason for a failed operation.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    detail: String,
    hint: Option<String>,
    code: Option<String>,
    request_id: Option<String>,
    retry: Retry,
}

/// Whether a retry may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// No.
    Never,
    /// Yes, after a pause of at least this duration.
    After(Duration),
}

impl Failure {
    /// A failure that does not resolve itself.
    pub(crate) fn new(exit: Exit, detail: impl Into<String>) -> Self {
        Self { exit, detail: detail.into(), hint: None, code: None, request_id: None, retry: Retry::Never }
    }

    /// Sets the hint, unless there is one.
    pub(crate) fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Sets whether a retry may help.
    pub(crate) fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// An unsuccessful response. `body` is problem+json, unless it is from a server other than the API.
    pub(crate) fn of_answer(status: u16, request_id: Option<String>, body: &[u8]) -> Self {
        let problem = serde_json::from_slice(body).unwrap_or_default();
        let failure = Self::of_problem(status, &problem).unwrap_or_else(|| Self::of_stranger(status));
        Self { request_id: failure.request_id.or(request_id), ..failure }
    }

    /// The failure of one item of a batch.
    pub(crate) fn of_item(problem: &Value) -> Self {
        let status = problem.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        let status = status.unwrap_or(500);
        Self::of_problem(status, problem).unwrap_or_else(|| Self::of_stranger(status))
    }

    fn of_problem(status: u16, problem: &Value) -> Option<Self> {
        let text = |field: &str| problem.get(field).and_then(Value::as_str).map(str::to_owned);
        let detail = text("detail").or_else(|| text("error"))?;
        Some(Self {
            exit: exit_of(status),
            detail: with_field_errors(detail, problem),
            hint: text("hint"),
            code: text("code"),
            request_id: text("requestId"),
            retry: Retry::Never,
        })
    }

    /// An error response without a problem document: from a proxy, or another server.
    fn of_stranger(status: u16) -> Self {
        // A plain 404 says nothing about a file, so it is not reported as a missing file.
        let exit = if status == 404 { Exit::Failed } else { exit_of(status) };
        Self::new(exit, format!("the server returned {status} without an explanation"))
            .or_hint("is --url an XFiles server?")
    }

    /// Standard output could not be written. If its reader has closed it, as `head` does, this is not a failure.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Ok, ""),
            _ => Self::new(Exit::Failed, format!("standard output: {}", os_text(error))),
        }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The failure in one sentence; empty if there is nothing to report.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The remedy.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The API's error code.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The id of the request in the server's log.
    pub(crate) fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Whether a retry may help.
    pub(crate) fn retries(&self) -> Retry {
        self.retry
    }

    /// The failure as one JSON value.
    pub(crate) fn to_json(&self) -> Value {
        let Self { exit, detail, hint, code, request_id, retry: _ } = self;
        json!({"detail": detail, "hint": hint, "code": code, "requestId": request_id, "exitCode": *exit as u8})
    }
}

/// An error of the library; only commands on the data directory have these.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::FileNotFound | Error::ProjectNotFound | Error::KeyNotFound => {
                Self::new(Exit::NotFound, error.to_string())
            }
            Error::Unavailable { source, .. } | Error::StorageFull(source) | Error::Internal(source) => {
                Self::new(Exit::Failed, source.to_string())
            }
            _ => Self::new(Exit::Failed, error.to_string()),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let failure = Self::new(Exit::Unavailable, without_os_number(&error.to_string()));
        match error {
            StartError::Prepare(_) => failure.or_hint("is the disk full? the log above says more"),
            _ => failure,
        }
    }
}

/// The message of the operating system, without its number.
pub(crate) fn os_text(error: &io::Error) -> String {
    without_os_number(&error.to_string())
}

pub(crate) fn without_os_number(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" (os error ") else { return text.to_owned() };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

fn exit_of(status: u16) -> Exit {
    match status {
        401 | 403 => Exit::Unauthorized,
        404 => Exit::NotFound,
        413 => Exit::QuotaExceeded,
        _ => Exit::Failed,
    }
}

/// The detail, followed by the pointer and reason for each refused field.
fn with_field_errors(detail: String, problem: &Value) -> String {
    let errors = problem.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    errors.iter().fold(detail, |text, error| {
        let part = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default();
        match (part("pointer"), part("detail")) {
            (_, reason) if reason.is_empty() || text.contains(reason) => text,
            (pointer, reason) => format!("{text}\n  {pointer}: {reason}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_its_exit_code_detail_hint_and_request_id() {
        let body =
            br#"{"status":413,"detail":"no room","code":"quota_exceeded","requestId":"r1","hint":"delete some"}"#;
        let failure = Failure::of_answer(413, None, body);
        assert_eq!(failure.exit(), Exit::QuotaExceeded);
        assert_eq!(failure.detail(), "no room");
        assert_eq!(failure.hint(), Some("delete some"));
        assert_eq!(failure.request_id(), Some("r1"));
    }

    #[test]
    fn every_refused_field_is_named() {
        let body = br#"{"detail":"2 fields are wrong","errors":[{"pointer":"/size","detail":"too big"},{"pointer":"/filename","detail":"empty"}]}"#;
        assert_eq!(
            Failure::of_answer(400, None, body).detail(),
            "2 fields are wrong\n  /size: too big\n  /filename: empty"
        );
    }

    #[test]
    fn a_response_without_a_problem_document_is_not_reported_as_a_missing_file() {
        let failure = Failure::of_answer(404, Some("r2".into()), b"<html>nginx</html>");
        assert_eq!((failure.exit(), failure.request_id()), (Exit::Failed, Some("r2")));
    }

    #[test]
    fn several_failures_exit_with_their_common_code() {
        assert_eq!(Exit::of_all([]), Exit::Ok);
        assert_eq!(Exit::of_all([Exit::Ok, Exit::NotFound, Exit::NotFound]), Exit::NotFound);
        assert_eq!(Exit::of_all([Exit::NotFound, Exit::Unreachable]), Exit::Failed);
    }
}
