//! An HTTP client for an SDK that calls a service in the same process: no socket, no TLS, no connection pool. It
//! converts between the two sets of HTTP types and does not inspect requests.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::HttpError,
};
use aws_smithy_types::body::SdkBody;
use axum::body::Body;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{CONTENT_LENGTH, HOST},
    uri::{Port, Scheme},
};
use http_body::{Body as _, Frame, SizeHint};
use tower::{Service, ServiceExt as _};

/// An HTTP client for an AWS SDK configuration that sends every request to `service`, regardless of the endpoint.
/// Bodies are streamed in both directions.
pub fn http_client<S>(service: S) -> SharedHttpClient
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let connector = SharedHttpConnector::new(InProcess(service));
    http_client_fn(move |_, _| connector.clone())
}

struct InProcess<S>(S);

impl<S> fmt::Debug for InProcess<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

impl<S> HttpConnector for InProcess<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = to_server(request).map_err(untranslatable)?;
            let response = service.oneshot(request).await.unwrap_or_else(|never| match never {});
            to_client(response).map_err(untranslatable)
        })
    }
}

fn untranslatable(error: HttpError) -> ConnectorError {
    ConnectorError::user(error.into())
}

/// Adds the headers that an HTTP/1.1 client would add: `Host`, which SigV4 signs, and `Content-Length`.
fn to_server(request: HttpRequest) -> Result<Request<Body>, HttpError> {
    let mut request = request.try_into_http1x()?;
    if !request.headers().contains_key(HOST)
        && let Some(host) = host(request.uri())
    {
        request.headers_mut().insert(HOST, host);
    }
    let carries_body = matches!(*request.method(), Method::PUT | Method::POST | Method::PATCH);
    let length = request.body().size_hint().exact().filter(|n| *n > 0 || carries_body);
    if !request.headers().contains_key(CONTENT_LENGTH)
        && let Some(length) = length
    {
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    Ok(request.map(Body::new))
}

/// The authority without the default port of the scheme.
fn host(uri: &Uri) -> Option<HeaderValue> {
    let implied = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let name = uri.host()?;
    let host = match uri.port().as_ref().map(Port::as_u16).filter(|port| *port != implied) {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    };
    host.parse().ok()
}

fn to_client(response: Response<Body>) -> Result<HttpResponse, HttpError> {
    response.map(|body| SdkBody::from_body_1_x(SyncBody(Mutex::new(body)))).try_into()
}

/// A body that is `Sync`, as the SDK requires. It is never actually shared, so the lock is never contended.
struct SyncBody(Mutex<Body>);

impl http_body::Body for SyncBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let body = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        Pin::new(body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdk_request(method: &str, uri: &str, body: &'static str) -> HttpRequest {
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method(method).unwrap();
        request.set_uri(uri).unwrap();
        request
    }

    #[test]
    fn a_request_arrives_with_the_headers_that_http_adds() {
        let request = to_server(sdk_request("PUT", "http://s3.local:9000/bucket/key", "body")).unwrap();
        assert_eq!(request.headers()[HOST], "s3.local:9000");
        assert_eq!(request.headers()[CONTENT_LENGTH], "4");
        assert_eq!(request.uri().path(), "/bucket/key");
    }

    #[test]
    fn an_implied_port_is_not_part_of_the_host() {
        let request = to_server(sdk_request("GET", "https://s3.local:443/", "")).unwrap();
        assert_eq!(request.headers()[HOST], "s3.local");
        assert!(!request.headers().contains_key(CONTENT_LENGTH));
    }

    #[tokio::test]
    async fn the_response_has_its_status_headers_and_body() {
        let echo = tower::service_fn(|request: Request<Body>| async move {
            let answer = Response::builder().status(418).header("x-method", request.method().as_str());
            Ok(answer.body(request.into_body()).unwrap())
        });
        let answer = InProcess(echo).call(sdk_request("PUT", "http://any/", "body")).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("x-method")), (418, Some("PUT")));
        let body = aws_smithy_types::byte_stream::ByteStream::new(answer.into_body());
        assert_eq!(body.collect().await.unwrap().to_vec(), b"body");
    }
}
