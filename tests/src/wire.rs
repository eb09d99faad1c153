//! The SDK's connections, with a hand on them: every request to a store passes a [`Line`], which decides whether it
//! leaves, whether its reply comes back, and what is answered in their place.

use std::{fmt, sync::Arc};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    orchestrator::HttpRequest,
};

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
