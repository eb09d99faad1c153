//! The SDK's connections, with a hand on them: every request to a store passes a [`Line`], which decides whether it
//! leaves, whether its reply comes back, and what is answered in their place; or it goes over a plain socket.

use std::{fmt, sync::Arc};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use bytes::Bytes;
use hyper_util::{client::legacy, rt::TokioExecutor};

/// What stands between an SDK and a store.
pub trait Line: fmt::Debug + Send + Sync + 'static {
    /// Carries a request to `store`, or does not.
    fn carry(&self, request: HttpRequest, store: SharedHttpConnector) -> HttpConnectorFuture;
}

/// The same client, every request of which passes the line.
pub fn through(line: Arc<dyn Line>, client: SharedHttpClient) -> SharedHttpClient {
    http_client_fn(move |settings, components| {
        let store = client.http_connector(settings, components);
        SharedHttpConnector::new(Tapped { line: line.clone(), store })
    })
}

#[derive(Debug)]
struct Tapped {
    line: Arc<dyn Line>,
    store: SharedHttpConnector,
}

impl HttpConnector for Tapped {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.line.carry(request, self.store.clone())
    }
}

/// An SDK's HTTP client over sockets, without TLS, that sends every path as it is; `tamper` sees each body last.
pub fn tcp(tamper: fn(Bytes) -> Bytes) -> SharedHttpClient {
    let client = legacy::Client::builder(TokioExecutor::new()).build_http();
    let connector = SharedHttpConnector::new(Tcp { client, tamper });
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Debug)]
struct Tcp {
    client: legacy::Client<legacy::connect::HttpConnector, SdkBody>,
    tamper: fn(Bytes) -> Bytes,
}

impl HttpConnector for Tcp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, tamper) = (self.client.clone(), self.tamper);
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
            let (mut parts, body) = request.into_parts();
            let uri = parts.uri.to_string().replacen("https://", "http://", 1);
            parts.uri = uri.parse().map_err(|e: http::uri::InvalidUri| ConnectorError::user(e.into()))?;
            let body = ByteStream::new(body).collect().await.map_err(|e| ConnectorError::user(e.into()))?;
            let request = http::Request::from_parts(parts, SdkBody::from(tamper(body.into_bytes())));
            let response = client.request(request).await.map_err(|e| ConnectorError::io(e.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}
