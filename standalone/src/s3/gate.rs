//! The store as an HTTP service: the handling of a request before the protocol layer, and of the response after it.
//! Operations are implemented elsewhere.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use http::{
    Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, DATE, ORIGIN},
};
use s3s::{HttpResponse, S3Error, S3Result, s3_error};
use tower::Service;
use xfiles_core::clock::Clock;

use super::{cors::AllowedOrigins, ops::http_date};

/// The store's HTTP service; clones are cheap. Serve it with axum (`Router::fallback_service`) or hyper.
#[derive(Clone, Debug)]
pub struct S3Service {
    protocol: s3s::service::S3Service,
    origins: Arc<AllowedOrigins>,
    clock: Clock,
}

impl S3Service {
    pub(super) fn new(protocol: s3s::service::S3Service, origins: AllowedOrigins, clock: Clock) -> Self {
        Self { protocol, origins: Arc::new(origins), clock }
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let origin = request.headers().get(ORIGIN).cloned();
        let method = request.method().clone();
        let mut response = match self.dispatch(request).await {
            Ok(response) => response,
            Err(refusal) => refusal_to_response(refusal),
        };
        if let Some(origin) = origin
            && method != Method::OPTIONS
        {
            response.headers_mut().extend(self.origins.decoration(&origin));
        }
        // After reading this header, an SDK signs with the server's time.
        if let Some(date) = http_date(self.clock.now()) {
            response.headers_mut().insert(DATE, date);
        }
        // The protocol layer would write error documents here too.
        if method == Method::HEAD || response.status() == StatusCode::NOT_MODIFIED {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn dispatch(&self, request: Request<Body>) -> S3Result<Response<Body>> {
        if request.method() == Method::OPTIONS {
            return self.origins.preflight(request.headers()).map(|response| response.map(|()| Body::empty()));
        }
        if is_form(&request) {
            // The protocol layer would read the whole form into memory before checking the signature.
            return Err(s3_error!(NotImplemented, "POST uploads are not supported"));
        }
        match self.protocol.call(request.map(s3s::Body::http_body_unsync)).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(error) => {
                tracing::error!(?error, "the object store could not create a response");
                Err(s3_error!(InternalError, "We encountered an internal error. Please try again."))
            }
        }
    }
}

impl Service<Request<Body>> for S3Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

fn is_form(request: &Request<Body>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let form = b"multipart/form-data";
    request.method() == Method::POST && content_type.get(..form.len()).is_some_and(|t| t.eq_ignore_ascii_case(form))
}

fn refusal_to_response(refusal: S3Error) -> Response<Body> {
    let response = refusal.to_http_response().unwrap_or_else(|_| {
        let mut bare = HttpResponse::default();
        *bare.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        bare
    });
    response.map(Body::new)
}
