//! The two operations of CloudFront's REST API for invalidations. Signatures are not checked, so it must only listen on
//! the loopback interface.

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{
    StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use quick_xml::escape::escape;
use serde::Deserialize;

use super::{
    Distribution,
    invalidation::{Invalidation, Refusal},
};

const NAMESPACE: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";

#[derive(Clone)]
struct Api {
    distribution: Distribution,
    distribution_id: String,
}

/// The request body: CloudFront's `InvalidationBatch`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InvalidationBatch {
    caller_reference: String,
    paths: Paths,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Paths {
    quantity: usize,
    #[serde(default)]
    items: Items,
}

#[derive(Default, Deserialize)]
struct Items {
    #[serde(rename = "Path", default)]
    paths: Vec<String>,
}

/// An error with CloudFront's code.
struct ApiError(StatusCode, &'static str, String);

impl Distribution {
    /// CreateInvalidation and GetInvalidation, for the distribution with this id.
    pub fn rest_api(&self, distribution_id: &str) -> Router {
        let api = Api { distribution: self.clone(), distribution_id: distribution_id.to_owned() };
        Router::new()
            .route("/2020-05-31/distribution/{distribution}/invalidation", post(create_invalidation))
            .route("/2020-05-31/distribution/{distribution}/invalidation/{id}", get(get_invalidation))
            .with_state(api)
    }
}

async fn create_invalidation(
    State(api): State<Api>,
    Path(distribution): Path<String>,
    body: String,
) -> Result<Response, ApiError> {
    api.check(&distribution)?;
    let malformed = || ApiError(StatusCode::BAD_REQUEST, "MalformedXML", "not an InvalidationBatch".to_owned());
    let batch: InvalidationBatch = quick_xml::de::from_str(&body).map_err(|_| malformed())?;
    if batch.paths.quantity != batch.paths.items.paths.len() {
        let rule = "Quantity must be the number of paths".to_owned();
        return Err(ApiError(StatusCode::BAD_REQUEST, "InconsistentQuantities", rule));
    }
    let done = api.distribution.forget(&batch.caller_reference, batch.paths.items.paths)?;
    let location = format!("/2020-05-31/distribution/{distribution}/invalidation/{}", done.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], xml(render(&done))).into_response())
}

async fn get_invalidation(
    State(api): State<Api>,
    Path((distribution, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    api.check(&distribution)?;
    let missing = || ApiError(StatusCode::NOT_FOUND, "NoSuchInvalidation", "no such invalidation".to_owned());
    let done = api.distribution.register.find(&id).ok_or_else(missing)?;
    Ok(xml(render(&done)))
}

impl Api {
    fn check(&self, distribution: &str) -> Result<(), ApiError> {
        if distribution == self.distribution_id {
            return Ok(());
        }
        Err(ApiError(StatusCode::NOT_FOUND, "NoSuchDistribution", "no such distribution".to_owned()))
    }
}

/// The XML of an invalidation. Ours are complete as soon as they exist.
fn render(done: &Invalidation) -> String {
    let paths: String = done.paths.iter().map(|path| format!("<Path>{}</Path>", escape(path))).collect();
    format!(
        "<Invalidation xmlns=\"{NAMESPACE}\"><Id>{}</Id><Status>Completed</Status><CreateTime>{}</CreateTime>\
         <InvalidationBatch><Paths><Quantity>{}</Quantity><Items>{paths}</Items></Paths>\
         <CallerReference>{}</CallerReference></InvalidationBatch></Invalidation>",
        done.id,
        done.created_at,
        done.paths.len(),
        escape(&done.caller_reference),
    )
}

fn xml(body: String) -> Response {
    ([(CONTENT_TYPE, "text/xml")], format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}")).into_response()
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::InvalidPath => "InvalidArgument",
            Refusal::AlreadyExists => "InvalidationBatchAlreadyExists",
        };
        Self(StatusCode::BAD_REQUEST, code, refusal.to_string())
    }
}

impl axum::response::IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let body = format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{}</Message></Error></ErrorResponse>",
            escape(&message)
        );
        (status, xml(body)).into_response()
    }
}
