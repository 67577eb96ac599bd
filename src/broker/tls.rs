//! TLS to the upstreams: the system's certificate authorities, host names checked, nothing a client could switch off.
//!
//! The store is read when the first `https` upstream is dialled, so that a supervisor that never needs it does not pay
//! for it. `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's store, as with other programs.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The client side of TLS, made when first needed.
#[derive(Default)]
pub struct Tls(Mutex<Option<TlsConnector>>);

impl Tls {
    /// Shakes hands on an open connection.
    ///
    /// # Errors
    /// An unusable host name, an empty store, or a peer that cannot be trusted.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let connector = self.connector()?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        connector.connect(name, stream).await
    }

    fn connector(&self) -> io::Result<TlsConnector> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = &*slot {
            return Ok(connector.clone());
        }
        let connector = TlsConnector::from(Arc::new(configure()?));
        *slot = Some(connector.clone());
        Ok(connector)
    }
}

fn configure() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots()?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a part of the certificate store cannot be read");
    }
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(io::Error::other(
            "the system has no certificate authorities; install `ca-certificates` or set `SSL_CERT_FILE`",
        ));
    }
    Ok(store)
}
