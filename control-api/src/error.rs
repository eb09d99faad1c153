//! One shape for every refusal: `application/problem+json` (RFC 9457). The only place that turns errors into statuses.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use xfiles_core::{api_key::Scope, error::Error};

use crate::openapi::words::FieldRule;

/// What a client can rely on when it handles a refusal. Codes are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request's fields break their rules; `errors` names each.
    InvalidRequest,
    /// The body is not JSON, or not an object.
    MalformedJson,
    /// The body was to be confirmed before it was uploaded.
    NotUploaded,
    /// No key, or one that opens nothing.
    Unauthorized,
    /// The key lacks the scope.
    MissingScope,
    /// No such file, for this key.
    FileNotFound,
    /// No such project, key, webhook or delivery.
    NotFound,
    /// No such route.
    RouteNotFound,
    /// The route does not know the method.
    MethodNotAllowed,
    /// The upload is finished already.
    NotPending,
    /// The file has no place in an order.
    NoEntity,
    /// The file is not the version that the caller knows.
    PreconditionFailed,
    /// A numbered page that would count or skip too much.
    PageTooDeep,
    /// The quota would be less than what the project holds.
    QuotaBelowUsage,
    /// The project has as many webhooks as it may.
    TooManyWebhooks,
    /// The same idempotency key is being carried out.
    RequestInFlight,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// The key asks too often.
    RateLimited,
    /// The file changed at the same time.
    Conflict,
    /// The project has no room.
    QuotaExceeded,
    /// The project or the key has as many pending uploads as it may.
    TooManyPendingUploads,
    /// Too many uploads ended while their URLs still work.
    TooManyEndedUploads,
    /// The request body is too long.
    BodyTooLarge,
    /// The request body is not declared as JSON.
    UnsupportedMediaType,
    /// The uploaded bytes are not what was declared.
    ContentTypeMismatch,
    /// A store is busy.
    Unavailable,
    /// The disk is full.
    StorageFull,
    /// A fault of ours.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 28] = [
        Self::InvalidRequest,
        Self::MalformedJson,
        Self::NotUploaded,
        Self::Unauthorized,
        Self::MissingScope,
        Self::FileNotFound,
        Self::NotFound,
        Self::RouteNotFound,
        Self::MethodNotAllowed,
        Self::NotPending,
        Self::NoEntity,
        Self::PreconditionFailed,
        Self::PageTooDeep,
        Self::QuotaBelowUsage,
        Self::TooManyWebhooks,
        Self::RequestInFlight,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::Conflict,
        Self::QuotaExceeded,
        Self::TooManyPendingUploads,
        Self::TooManyEndedUploads,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::ContentTypeMismatch,
        Self::Unavailable,
        Self::StorageFull,
        Self::Internal,
    ];

    /// The code as it stands in answers.
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.facts().1
    }

    /// What happened, in a few words.
    pub(crate) const fn title(self) -> &'static str {
        self.facts().2
    }

    /// What to do about it.
    pub(crate) const fn remedy(self) -> &'static str {
        self.facts().3
    }

    /// What brings it about, for the catalogue.
    pub(crate) const fn cause(self) -> &'static str {
        match self {
            Self::InvalidRequest => {
                "A field of the body, a query parameter or a header breaks its rule, or is missing."
            }
            Self::MalformedJson => "The body is not JSON, or it is JSON but not an object.",
            Self::NotUploaded => "The file is to be confirmed, and the store has no bytes for it yet.",
            Self::Unauthorized => {
                "There is no key, or it is malformed, unknown, expired or revoked; nobody learns which."
            }
            Self::MissingScope => "The key is good but lacks the scope that the operation needs.",
            Self::FileNotFound => {
                "The file does not exist, belongs to another project, is not confirmed where that matters, or is deleted; \
                 nobody learns which."
            }
            Self::NotFound => "The project or the key does not exist.",
            Self::RouteNotFound => "The path is none of this API's.",
            Self::MethodNotAllowed => "The path exists and knows other methods only.",
            Self::NotPending => "A fresh upload URL is asked for, and the file is confirmed.",
            Self::NoEntity => "A position is given to a file that is attached to nothing.",
            Self::PreconditionFailed => "`If-Match` names a version that the file no longer has.",
            Self::PageTooDeep => "A numbered page would have to count or skip more entries than one request may.",
            Self::QuotaBelowUsage => "The new quota is less than what the project's files and uploads hold.",
            Self::TooManyWebhooks => "The project has as many webhooks as a project may have.",
            Self::RequestInFlight => "A request under the same `Idempotency-Key` has begun and has not answered yet.",
            Self::IdempotencyKeyReused => {
                "The `Idempotency-Key` was used for a request with another path, body or scope."
            }
            Self::RateLimited => "The key makes more requests a second than this deployment allows.",
            Self::Conflict => "Others changed the same record, again and again, while the request tried to.",
            Self::QuotaExceeded => {
                "The project's files and pending uploads leave less room than the new file needs. `detail` says how much \
                 is held by pending uploads."
            }
            Self::TooManyPendingUploads => {
                "The project, or the API key, has as many pending uploads as it may have. `detail` says how many there \
                 are and what the limit is."
            }
            Self::TooManyEndedUploads => {
                "Uploads of the project were deleted or refused while their upload URLs still worked, and these URLs \
                 admit more bytes than the project's quota, or than 1 GB, whichever is more."
            }
            Self::BodyTooLarge => "The request body is longer than any legal one.",
            Self::UnsupportedMediaType => "The request has a body without `Content-Type: application/json`.",
            Self::ContentTypeMismatch => {
                "The first bytes of the upload are not those of the declared type. The upload has ended and its quota is \
                 free again."
            }
            Self::Unavailable => "The metadata store, the object store or the CDN is throttled or does not answer.",
            Self::StorageFull => {
                "XFiles runs on one machine and its disk is full, or nearly. Reads, signed URLs and deletions go on; what \
                 would write more is refused."
            }
            Self::Internal => {
                "A fault of the server. The cause is in its log, under the request id, and never in an answer."
            }
        }
    }

    /// Code, status, title, and what to do about it.
    const fn facts(self) -> (&'static str, StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (
                "invalid_request",
                StatusCode::BAD_REQUEST,
                "The request breaks a rule",
                "Correct each field that `errors` names and send the request again.",
            ),
            Self::MalformedJson => (
                "malformed_json",
                StatusCode::BAD_REQUEST,
                "The body is not a JSON object",
                "Send a JSON object in UTF-8.",
            ),
            Self::NotUploaded => (
                "not_uploaded",
                StatusCode::BAD_REQUEST,
                "The file has not been uploaded",
                "PUT the bytes to `uploadUrl`, wait for its 200, then confirm.",
            ),
            Self::Unauthorized => (
                "unauthorized",
                StatusCode::UNAUTHORIZED,
                "The API key is not valid",
                "Send `Authorization: Bearer xf_…` with a key that is neither expired nor revoked.",
            ),
            Self::MissingScope => {
                ("missing_scope", StatusCode::FORBIDDEN, "The API key may not do this", "Use a key that has the scope.")
            }
            Self::FileNotFound => (
                "file_not_found",
                StatusCode::NOT_FOUND,
                "No such file",
                "Check the id; a file can be read once it is confirmed, and only with a key of its project.",
            ),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "No such thing", "Check the id."),
            Self::RouteNotFound => (
                "route_not_found",
                StatusCode::NOT_FOUND,
                "No such route",
                "Check the path; routes begin with /api/v1.",
            ),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The route does not know this method",
                "Use one of the methods that `Allow` names.",
            ),
            Self::NotPending => (
                "not_pending",
                StatusCode::CONFLICT,
                "The upload is finished already",
                "Read the file; a new version of it is a new upload.",
            ),
            Self::NoEntity => (
                "no_entity",
                StatusCode::BAD_REQUEST,
                "The file has no entity",
                "Give the file an entity when its upload begins.",
            ),
            Self::PreconditionFailed => (
                "precondition_failed",
                StatusCode::PRECONDITION_FAILED,
                "The file has changed",
                "Read the file, decide again, and send its new ETag.",
            ),
            Self::PageTooDeep => (
                "page_too_deep",
                StatusCode::BAD_REQUEST,
                "The page is too deep",
                "Walk the list: begin with an empty `cursor`, go on with each `nextCursor`.",
            ),
            Self::QuotaBelowUsage => (
                "quota_below_usage",
                StatusCode::CONFLICT,
                "The project holds more than that",
                "Delete files first, or choose a higher quota.",
            ),
            Self::TooManyWebhooks => (
                "too_many_webhooks",
                StatusCode::CONFLICT,
                "The project has no room for another webhook",
                "Change one of the webhooks, or delete one first.",
            ),
            Self::RequestInFlight => (
                "request_in_flight",
                StatusCode::CONFLICT,
                "The same request is in flight",
                "Wait for its answer, or try again after a minute.",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency_key_reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key belongs to another request",
                "Use a new key for a new request.",
            ),
            Self::RateLimited => (
                "rate_limited",
                StatusCode::TOO_MANY_REQUESTS,
                "The API key asks too often",
                "Try again after the seconds that `Retry-After` names.",
            ),
            Self::Conflict => {
                ("conflict", StatusCode::CONFLICT, "The file changed at the same time", "Read the file and try again.")
            }
            Self::QuotaExceeded => (
                "quota_exceeded",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The project has no room",
                "Delete files, delete pending uploads that will not be completed, or raise the project's quota.",
            ),
            Self::TooManyPendingUploads => (
                "too_many_pending_uploads",
                StatusCode::CONFLICT,
                "Too many uploads are pending",
                "Confirm pending uploads, or delete those that will not be completed; `GET \
                 /api/v1/files?uploadStatus=pending` lists them. An abandoned upload ends by itself 30 minutes after its \
                 URL was made.",
            ),
            Self::TooManyEndedUploads => (
                "too_many_ended_uploads",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many ended uploads have URLs that still work",
                "Try again later: each URL stops counting 30 minutes after it was made.",
            ),
            Self::BodyTooLarge => (
                "body_too_large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request body is too long",
                "File bytes go to `uploadUrl`, not to the API.",
            ),
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body is not declared as JSON",
                "Send `Content-Type: application/json`.",
            ),
            Self::ContentTypeMismatch => (
                "content_type_mismatch",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The bytes are not what was declared",
                "Begin a new upload that declares what the bytes are.",
            ),
            Self::Unavailable => (
                "unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "A store is busy",
                "Try again after the seconds that `Retry-After` names.",
            ),
            Self::StorageFull => (
                "storage_full",
                StatusCode::INSUFFICIENT_STORAGE,
                "The disk is full",
                "Delete files, or have whoever runs this deployment make room on the disk, and try again.",
            ),
            Self::Internal => (
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something broke",
                "Report the request id to whoever runs this deployment.",
            ),
        }
    }
}

/// How long to wait for URLs of ended uploads to expire before another try: the cleanup looks every minute.
const LATE_RETRY: Duration = Duration::from_secs(60);

/// A field that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where: a JSON pointer into the body, or `?name` of a query parameter.
    pub(crate) pointer: String,
    /// Which rule.
    #[schema(value_type = FieldRule)]
    pub(crate) code: &'static str,
    /// The rule in words.
    pub(crate) detail: String,
}

impl FieldError {
    pub(crate) fn invalid(pointer: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: "invalid", detail: rule.into() }
    }
}

/// A refusal. The middleware in [`crate::request`] adds the request's id and writes it down.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) retry_after: Option<Duration>,
    /// For the log only.
    pub(crate) cause: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code) -> Self {
        Self { code, detail: code.facts().2.to_owned(), errors: Vec::new(), retry_after: None, cause: None }
    }

    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let rules: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.pointer, e.detail)).collect();
        Self { errors, ..Self::new(Code::InvalidRequest).because(rules.join("; ")) }
    }

    pub(crate) fn missing_scope(scope: Scope) -> Self {
        Self::new(Code::MissingScope).because(format!("the API key lacks the scope `{scope}`"))
    }

    pub(crate) fn because(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// What `errors` of a batch say of one item.
    pub(crate) fn item(&self) -> serde_json::Value {
        let (code, status, _, hint) = self.code.facts();
        serde_json::json!({"status": status.as_u16(), "code": code, "detail": self.detail, "errors": self.errors, "hint": hint})
    }

    pub(crate) fn body(&self, instance: &str, request_id: &str) -> serde_json::Value {
        let (code, status, title, hint) = self.code.facts();
        serde_json::json!({
            "type": format!("urn:xfiles:problem:{code}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
            "instance": instance,
            "code": code,
            "requestId": request_id,
            "error": self.detail,
            "errors": self.errors,
            "hint": hint,
        })
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::FileNotFound => Self::new(Code::FileNotFound).because(detail),
            Error::ProjectNotFound | Error::KeyNotFound | Error::EndpointNotFound | Error::DeliveryNotFound => {
                Self::new(Code::NotFound).because(detail)
            }
            Error::TooManyEndpoints { .. } => Self::new(Code::TooManyWebhooks).because(detail),
            Error::NotUploaded => Self::new(Code::NotUploaded).because(detail),
            Error::ContentTypeMismatch { .. } => Self::new(Code::ContentTypeMismatch).because(detail),
            Error::QuotaExceeded { .. } => Self::new(Code::QuotaExceeded).because(detail),
            Error::TooManyPending { .. } => Self::new(Code::TooManyPendingUploads).because(detail),
            Error::TooManyLateBytes { .. } => {
                Self { retry_after: Some(LATE_RETRY), ..Self::new(Code::TooManyEndedUploads).because(detail) }
            }
            Error::NotPending => Self::new(Code::NotPending).because(detail),
            Error::NoEntity => Self::new(Code::NoEntity).because(detail),
            Error::PreconditionFailed => Self::new(Code::PreconditionFailed).because(detail),
            Error::TooDeep { .. } => Self::new(Code::PageTooDeep).because(detail),
            Error::QuotaBelowUsage { .. } => Self::new(Code::QuotaBelowUsage).because(detail),
            Error::Conflict => Self::new(Code::Conflict).because(detail),
            Error::Unavailable { retry_after, source } => Self {
                retry_after: Some(retry_after),
                cause: Some(source.to_string()),
                ..Self::new(Code::Unavailable).because(detail)
            },
            Error::StorageFull(cause) => {
                Self { cause: Some(cause.to_string()), ..Self::new(Code::StorageFull).because(detail) }
            }
            Error::Internal(cause) => Self { cause: Some(cause.to_string()), ..Self::new(Code::Internal) },
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(seconds) = self.retry_after.map(|d| d.as_secs().max(1)) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
