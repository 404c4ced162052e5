//! The web's certificate and key: read, and found to fit each other.
//!
//! Read at start and at each reload by the supervisor, so that a renewed certificate is taken up on the same socket. TLS 1.2 and 1.3,
//! with ring; HTTP/1.1 is all that is offered.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;

use super::validity;
use crate::conf::TlsFiles;

/// Why there is no TLS. The text names the file and what helps.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or not for us.
    #[error(
        "[http] {key} {} cannot be read: {reason}; it must be there and readable by the user that trackport runs as",
        file.display()
    )]
    File {
        /// The key of the conf.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system, or the reader of PEM, says.
        reason: String,
    },
    /// What is in the two makes no server.
    #[error(
        "[http] certificate {} and key {} cannot be used: {reason}",
        files.certificate.display(),
        files.key.display()
    )]
    Unfit {
        /// The two.
        files: TlsFiles,
        /// What the library says.
        reason: String,
    },
}

/// A certificate that can be served.
pub struct Loaded {
    /// What the web thread needs.
    pub config: Arc<ServerConfig>,
    /// Until when browsers believe it; `None` where that cannot be read in it.
    pub expires_at: Option<SystemTime>,
    certificate: CertificateDer<'static>,
}

/// TLS of a site; another certificate may take the place of this one at any time.
pub struct Tls(Mutex<Arc<ServerConfig>>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// With this certificate.
    pub fn new(loaded: &Loaded) -> Tls {
        Tls(Mutex::new(Arc::clone(&loaded.config)))
    }

    /// Another certificate, for connections from now on.
    pub fn renew(&self, loaded: &Loaded) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&loaded.config);
    }

    /// For one connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads both files.
///
/// # Errors
/// When one cannot be read, or they do not fit.
pub fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let unfit = |reason: String| TlsError::Unfit {
        files: files.clone(),
        reason,
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable("certificate", &files.certificate, &error))?;
    let Some(certificate) = chain.first().cloned() else {
        let reason = "no certificate is in it; it has to be PEM, with lines BEGIN CERTIFICATE";
        return Err(TlsError::File {
            key: "certificate",
            file: files.certificate.clone(),
            reason: reason.to_owned(),
        });
    };
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable("key", &files.key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => unfit(
                "the key is not the one of the certificate, which has to be the first in its file"
                    .to_owned(),
            ),
            other => unfit(other.to_string()),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded {
        config: Arc::new(config),
        expires_at: validity::expires_at(&certificate),
        certificate,
    })
}

impl Loaded {
    /// Whether the certificate is for this name or address.
    pub fn is_for(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host.to_owned()) else {
            return false;
        };
        ParsedCertificate::try_from(&self.certificate)
            .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, &name).is_ok())
    }

    /// How long it is believed from `now` on; `None` where that is over, or not known.
    pub fn lasts(&self, now: SystemTime) -> Option<Duration> {
        self.expires_at
            .and_then(|expires_at| expires_at.duration_since(now).ok())
    }
}

fn unreadable(key: &'static str, file: &Path, error: &rustls::pki_types::pem::Error) -> TlsError {
    use rustls::pki_types::pem::Error;
    let reason = match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => match key {
            "key" => "no key is in it; it has to be PEM, with a line BEGIN PRIVATE KEY, and without a password".to_owned(),
            _ => "no certificate is in it; it has to be PEM, with lines BEGIN CERTIFICATE".to_owned(),
        },
        other => other.to_string(),
    };
    TlsError::File {
        key,
        file: file.to_owned(),
        reason,
    }
}
