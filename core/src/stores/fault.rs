//! What a failed request of an AWS SDK means.

use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::error::{Cause, Error};

/// The code of an embedded store's refusal to write on a full disk, with the HTTP status 507. AWS has no such refusal.
pub const STORAGE_FULL: &str = "StorageFull";

/// How long a caller waits before it tries again what a store did not do.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The codes, of any service, after which the same request may succeed.
const PASSING: [&str; 16] = [
    "InternalServerError",
    "InternalServiceError",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TooManyInvalidationsInProgress",
    "TooManyRequestsException",
    "TransactionConflict",
    "TransactionConflictException",
    "TransactionInProgressException",
    // Credentials are refreshed soon, or the function is started anew.
    "ExpiredToken",
    "ExpiredTokenException",
];

/// What a failed request means for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The same request may succeed later: the store is busy or unreachable, or did not answer.
    Passing,
    /// The store's disk is full.
    StorageFull,
    /// The same request will fail again.
    Lasting,
}

impl Fault {
    pub(crate) fn of<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Self {
        match (error, status(error)) {
            (SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_), _) => Self::Passing,
            (_, Some(507)) => Self::StorageFull,
            (_, Some(429 | 500..=599)) => Self::Passing,
            _ => Self::of_code(error.code()),
        }
    }

    /// The meaning of a code by itself, as in the reasons for which a transaction was cancelled.
    pub(crate) fn of_code(code: Option<&str>) -> Self {
        match code {
            Some(STORAGE_FULL) => Self::StorageFull,
            Some(code) if PASSING.contains(&code) => Self::Passing,
            Some(_) | None => Self::Lasting,
        }
    }
}

/// The HTTP status of the answer, if there was one.
pub(crate) fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The error of an operation whose request failed.
pub(crate) fn failed<E>(doing: &'static str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let source = Cause::new(doing, &error);
    match Fault::of(&error) {
        Fault::Passing => unavailable(source),
        Fault::StorageFull => Error::StorageFull(source),
        Fault::Lasting => Error::Internal(source),
    }
}

/// The error of an operation that may succeed when it is tried again.
pub(crate) fn unavailable(source: Cause) -> Error {
    Error::Unavailable { retry_after: RETRY_AFTER, source }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::{config::http::HttpResponse, error::ErrorMetadata};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    /// What a service answers with this status and code.
    fn answered(status: u16, code: &str) -> Fault {
        let answer = http::Response::builder().status(status).body(SdkBody::empty()).unwrap();
        let answer = HttpResponse::try_from(answer).unwrap();
        let error =
            aws_sdk_s3::operation::head_object::HeadObjectError::generic(ErrorMetadata::builder().code(code).build());
        Fault::of(&SdkError::service_error(error, answer))
    }

    #[test]
    fn status_and_code_say_whether_the_same_request_may_succeed_later() {
        for (status, code) in [
            (500, "InternalError"),
            (503, "SlowDown"),
            (599, "NeverHeardOf"),
            (429, "NeverHeardOf"),
            (400, "ThrottlingException"),
            (400, "ProvisionedThroughputExceededException"),
            (400, "TransactionConflictException"),
            (400, "ExpiredToken"),
            (400, "ExpiredTokenException"),
            (400, "TooManyInvalidationsInProgress"),
        ] {
            assert_eq!(answered(status, code), Fault::Passing, "{status} {code}");
        }
        for (status, code) in [(403, "AccessDenied"), (404, "NoSuchKey"), (400, "ValidationException"), (412, "")] {
            assert_eq!(answered(status, code), Fault::Lasting, "{status} {code}");
        }
        assert_eq!(answered(507, "InsufficientStorage"), Fault::StorageFull);
        assert_eq!(answered(400, STORAGE_FULL), Fault::StorageFull);
    }
}
