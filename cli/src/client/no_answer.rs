//! Why no answer came: what failed, where, and what to try. The text of an error can hold a URL, which may be signed, so
//! only what is known to hold none is shown.

use std::{error::Error, io, iter::successors, net::ToSocketAddrs as _, time::Duration};

use rustls::CertificateError;
use ureq::{Proxy, http::Uri};

use crate::failure::{Exit, Failure, Retry, os_text};

/// The failure of a request to `whom` at `uri`.
pub(super) fn no_answer(whom: &str, uri: &Uri, proxy: Option<&Proxy>, error: &ureq::Error) -> Failure {
    let proxy = proxy.filter(|proxy| !proxy.is_no_proxy(uri));
    let connected_to = match proxy {
        Some(proxy) => (proxy.host(), proxy.port()),
        None => (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443)),
    };
    let Cause { what, hint, of_proxy } = Cause::of(error, connected_to);
    let failure = match proxy {
        Some(proxy) => {
            let at = format!("the proxy {}:{}", proxy.host(), proxy.port());
            let text = match of_proxy {
                true => format!("{whom} cannot be reached: {at} failed: {what}"),
                false => format!("{whom} cannot be reached through {at}: {what}"),
            };
            Failure::new(Exit::Unreachable, text)
                .or_hint("check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or name the server in NO_PROXY")
        }
        None => Failure::new(Exit::Unreachable, format!("{whom} cannot be reached: {what}")).or_hint(hint),
    };
    failure.retry(Retry::After(Duration::ZERO))
}

const IS_IT_RUNNING: &str = "is it running, and is --url (XFILES_URL) right?";
const TRUST: &str = "if the server has a certificate of your own, name the file of its authority in SSL_CERT_FILE";

struct Cause {
    what: String,
    hint: &'static str,
    /// Whether a proxy, if there is one, is at fault: the connection to it, or its refusal.
    of_proxy: bool,
}

impl Cause {
    fn of(error: &ureq::Error, connected_to: (&str, u16)) -> Self {
        let of = |what: &str, hint, of_proxy| Self { what: what.to_owned(), hint, of_proxy };
        match error {
            ureq::Error::Io(error) => Self::of_io(error, connected_to),
            ureq::Error::Timeout(_) => of("no answer in time", IS_IT_RUNNING, false),
            ureq::Error::HostNotFound => Self::of_no_host(),
            ureq::Error::Rustls(error) => Self { what: format!("TLS: {error}"), hint: TRUST, of_proxy: false },
            ureq::Error::Tls(error) => of(&format!("TLS: {error}"), TRUST, false),
            ureq::Error::Protocol(_) => of("the answer is not HTTP", IS_IT_RUNNING, false),
            ureq::Error::ConnectionFailed => of("no connection", IS_IT_RUNNING, true),
            ureq::Error::ConnectProxyFailed(_) => of("it refused to connect to the server", IS_IT_RUNNING, true),
            ureq::Error::InvalidProxyUrl => of("its address is not valid", IS_IT_RUNNING, true),
            _ => of("the connection failed", IS_IT_RUNNING, false),
        }
    }

    fn of_io(error: &io::Error, connected_to: (&str, u16)) -> Self {
        let of = |what: String, hint, of_proxy| Self { what, hint, of_proxy };
        let Some(inner) = error.get_ref() else {
            // The operating system's own words, which name no address.
            return of(os_text(error), IS_IT_RUNNING, error.kind() == io::ErrorKind::ConnectionRefused);
        };
        let inner: &(dyn Error + 'static) = inner;
        let tls = successors(Some(inner), |&error| error.source()).find_map(|error| error.downcast_ref());
        match tls {
            Some(rustls::Error::InvalidCertificate(why)) => of(certificate(why), TRUST, false),
            Some(rustls::Error::InvalidMessage(_)) => {
                of("the answer is not TLS; is it http:// instead of https://?".to_owned(), IS_IT_RUNNING, false)
            }
            Some(tls) => of(format!("TLS: {tls}"), TRUST, false),
            // An error of the resolver has no kind by which to know it, so the name is looked up once more.
            None if connected_to.to_socket_addrs().is_err() => Self::of_no_host(),
            None => of(error.kind().to_string(), IS_IT_RUNNING, false),
        }
    }

    fn of_no_host() -> Self {
        Self { what: "there is no host of this name".to_owned(), hint: IS_IT_RUNNING, of_proxy: true }
    }
}

/// What is wrong with a server's certificate.
fn certificate(why: &CertificateError) -> String {
    let wrong = match why {
        CertificateError::UnknownIssuer => "is signed by an authority that this machine does not trust",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; is this machine's clock right?"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "is for another name",
        CertificateError::Revoked => "is revoked",
        // An authority's own certificate in place of a server's, for example.
        other => return format!("its TLS certificate is not valid for a server ({other:?})"),
    };
    format!("its TLS certificate {wrong}")
}
