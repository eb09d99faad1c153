//! What handlers answer: a status, a body of the API's types, and an ETag where the answer is about one file.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use xfiles_api_types::{
    wire::{Wire, Written},
    words::Etag,
};

use crate::{error::Problem, operation::Answers};

/// The result of a handler that answers 200.
pub(crate) type Answer<T> = Result<Json<T>, Problem>;

/// 200.
pub(crate) struct Json<T>(pub(crate) T);

/// 200, with the version of the file that the answer is about.
pub(crate) struct Versioned<T>(pub(crate) T, pub(crate) Etag);

/// 201.
pub(crate) struct Created<T>(pub(crate) T);

/// 202: the cleanup does it.
pub(crate) struct Accepted<T>(pub(crate) T);

impl<T: Wire> Answers for Json<T> {
    type Body = T;
    const STATUS: u16 = 200;
}

impl<T: Wire> Answers for Versioned<T> {
    type Body = T;
    const STATUS: u16 = 200;
    const HAS_ETAG: bool = true;
}

impl<T: Wire> Answers for Created<T> {
    type Body = T;
    const STATUS: u16 = 201;
}

impl<T: Wire> Answers for Accepted<T> {
    type Body = T;
    const STATUS: u16 = 202;
}

impl<T: Wire> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let bytes = serde_json::to_vec(&Written(&self.0)).expect("every type of the API is JSON");
        ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
    }
}

impl<T: Wire> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        ([(header::ETAG, self.1.0)], Json(self.0)).into_response()
    }
}

impl<T: Wire> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl<T: Wire> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}
