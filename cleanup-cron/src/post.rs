//! Sends one message to one endpoint. URLs are untrusted, so the connection is made here instead of by an HTTP client
//! with more features: the name is resolved once, every address is checked, the connection goes to a checked address,
//! redirects are not followed, and only the status of the response is read.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use xfiles_core::{
    clock::Timestamp,
    event::Event,
    webhook::{Attempt, Delivery, Endpoint, Reach, TargetUrl},
};

use crate::bus::EventBus;

/// The timeout, from the resolution of the name to the status of the response.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Sends messages to endpoints.
#[derive(Clone)]
pub struct Courier {
    reach: Reach,
    way: Way,
    bus: Option<EventBus>,
    listener: Option<Listener>,
}

/// A listener for events within the process.
type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// How connections are made.
#[derive(Clone)]
enum Way {
    Internet(TlsConnector),
    Given(Arc<dyn Fn() -> DuplexStream + Send + Sync>),
}

impl Courier {
    /// A courier with this reach that trusts the certificate authorities of browsers.
    pub fn new(reach: Reach) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { reach, way: Way::Internet(TlsConnector::from(Arc::new(config))), bus: None, listener: None }
    }

    /// A courier that uses these connections for every URL, for a simulation without a network.
    pub fn through(connect: impl Fn() -> DuplexStream + Send + Sync + 'static) -> Self {
        Self { reach: Reach::Anywhere, way: Way::Given(Arc::new(connect)), bus: None, listener: None }
    }

    /// Also puts every event on this bus.
    #[must_use]
    pub fn with_bus(self, bus: Option<EventBus>) -> Self {
        Self { bus, ..self }
    }

    /// Also calls this listener for every event, at least once and before its message is sent. It must not block.
    #[must_use]
    pub fn with_listener(self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), ..self }
    }

    pub(crate) fn tell(&self, event: &Event) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }

    pub(crate) fn bus(&self) -> Option<&EventBus> {
        self.bus.as_ref()
    }

    /// Sends a delivery, signed as of `now`, and returns the result.
    pub async fn post(&self, endpoint: &Endpoint, delivery: &Delivery, now: Timestamp) -> Attempt {
        let request = Request::post(endpoint.url.path_and_query())
            .header(header::HOST, endpoint.url.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, delivery.body.len())
            .header(header::USER_AGENT, concat!("xfiles/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", delivery.event.as_str())
            .header("webhook-timestamp", now.as_secs())
            .header("webhook-signature", endpoint.signature(&delivery.event, now, &delivery.body))
            .body(Full::new(Bytes::from(delivery.body.clone())))
            .expect("a target URL makes a request");
        match tokio::time::timeout(PATIENCE, self.send(&endpoint.url, request)).await {
            Ok(Ok(status)) => Attempt::Answered(status),
            Ok(Err(reason)) => Attempt::Failed(reason.to_owned()),
            Err(_) => Attempt::Failed("no response in 15 seconds".to_owned()),
        }
    }

    async fn send(&self, url: &TargetUrl, request: Request<Full<Bytes>>) -> Result<u16, &'static str> {
        let tls = match &self.way {
            Way::Internet(tls) => tls,
            Way::Given(connect) => return exchange(connect(), request).await,
        };
        if self.reach == Reach::Public && !url.is_https() {
            return Err("the URL is not https");
        }
        let resolved =
            tokio::net::lookup_host((url.host(), url.port())).await.map_err(|_| "the host has no address")?;
        let addresses: Vec<SocketAddr> = resolved.collect();
        if !addresses.iter().all(|address| self.reach.permits(address.ip())) {
            return Err("the host has an address that is not public");
        }
        // All addresses were checked; the system tries them in turn.
        let stream = TcpStream::connect(&*addresses).await.map_err(|_| "no connection")?;
        if !url.is_https() {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(url.host().to_owned()).map_err(|_| "the host is not a valid server name")?;
        exchange(tls.connect(name, stream).await.map_err(|_| "no trusted TLS connection")?, request).await
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<u16, &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    const BROKEN: &str = "the connection was closed before a response";
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| BROKEN)?;
    let answer = async { sender.send_request(request).await };
    tokio::select! {
        answer = answer => answer.map(|answer| answer.status().as_u16()).map_err(|_| BROKEN),
        _ = connection => Err(BROKEN),
    }
}
