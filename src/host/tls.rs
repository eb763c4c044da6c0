//! TLS as both HTTP clients speak it: rustls with ring, the system's certificates, HTTP/1.1.

use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};

/// The settings of a TLS client.
#[derive(Debug, Clone)]
pub struct TlsClient {
    pub config: Arc<ClientConfig>,
    /// Why no authority is trusted, where none is.
    pub untrusting: Option<String>,
}

/// Trusts the certificates of the system's store (`SSL_CERT_FILE` and `SSL_CERT_DIR` stand in for it where they are set),
/// read once a process.
///
/// Errors: the provider refuses its own defaults.
pub fn tls_client() -> Result<TlsClient, String> {
    static CLIENT: OnceLock<Result<TlsClient, String>> = OnceLock::new();
    CLIENT.get_or_init(client).clone()
}

fn client() -> Result<TlsClient, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    let untrusting = (good == 0).then(|| {
        let why = found.errors.first().map_or_else(String::new, |e| format!(" ({e})"));
        format!(
            "no certificate of an authority was found on this machine{why}: install ca-certificates, or name a file by \
             SSL_CERT_FILE"
        )
    });
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsClient { config: Arc::new(config), untrusting })
}
