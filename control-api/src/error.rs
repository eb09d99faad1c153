//! One shape for every refusal: `application/problem+json` (RFC 9457). The only place that turns errors into codes.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use xfiles_api_types::{
    problem::{self, Code, FieldError, ItemProblem, ItemRefused},
    wire::to_json,
    words::Whole,
};
use xfiles_core::{api_key::Scope, error::Error};

/// How long to wait for URLs of ended uploads to expire before another try: the cleanup looks every minute.
const LATE_RETRY: Duration = Duration::from_secs(60);

/// The HTTP status of a code.
pub(crate) fn status(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).expect("every code has a status of HTTP")
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
        Self { code, detail: code.title().to_owned(), errors: Vec::new(), retry_after: None, cause: None }
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

    /// What a batch answers of one item that failed.
    pub(crate) fn of_item(error: Error) -> ItemRefused {
        let problem = Self::from(error);
        if let Some(cause) = &problem.cause {
            tracing::error!(cause, "an item of a batch failed");
        }
        problem.item()
    }

    /// What a batch answers of one item.
    pub(crate) fn item(self) -> ItemRefused {
        let Self { code, detail, errors, .. } = self;
        let (status, hint) = (Whole(code.status().into()), code.remedy().to_owned());
        ItemRefused { error: ItemProblem { status, code: code.as_str().to_owned(), detail, errors, hint } }
    }

    pub(crate) fn body(&self, instance: &str, request_id: &str) -> Value {
        let Self { code, detail, errors, .. } = self;
        to_json(&problem::Problem {
            kind: format!("urn:xfiles:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: Whole(code.status().into()),
            detail: detail.clone(),
            instance: instance.to_owned(),
            code: code.as_str().to_owned(),
            request_id: request_id.to_owned(),
            error: detail.clone(),
            errors: errors.clone(),
            hint: code.remedy().to_owned(),
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
        let mut response = status(self.code).into_response();
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
