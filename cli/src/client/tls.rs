//! Which certificates the client trusts: those of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`, as OpenSSL and
//! curl do. A machine without any, such as a bare container, falls back to Mozilla's list.

use std::sync::LazyLock;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

pub(super) fn config() -> TlsConfig {
    static ROOTS: LazyLock<Option<RootCerts>> = LazyLock::new(|| {
        // Certificates that cannot be read are left out: a server that needs one of them is refused by name.
        let found = rustls_native_certs::load_native_certs().certs;
        let roots: Vec<_> = found.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        (!roots.is_empty()).then(|| RootCerts::new_with_certs(&roots))
    });
    match ROOTS.clone() {
        Some(roots) => TlsConfig::builder().root_certs(roots).build(),
        None => TlsConfig::default(),
    }
}
