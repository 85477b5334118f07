//! Connections that nobody listens to, with the TLS library that the tree has in any case.
//!
//! The modes are those of PostgreSQL's own programs: `prefer` and `require` are encrypted but believe any server (`prefer` goes
//! without where the server does not speak TLS), `verify-full` believes a server with a certificate for its host, of the system's authorities or of
//! those in `ssl.root-cert`; given that file, `require` checks against it too.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// What a table asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Whether the server must show a certificate that is to be believed.
    is_checked: bool,
    /// Whose certificates are believed; the system's where nothing is said.
    roots: Option<PathBuf>,
}

impl Tls {
    /// Takes `sslmode=verify-full` out of a URL, which the client's parser does not know.
    ///
    /// # Errors
    /// The mode is one that is not spoken; the sentence says so.
    pub(crate) fn of(url: &str, roots: Option<PathBuf>) -> Result<(String, Self), String> {
        const VERIFY_FULL: &str = "sslmode=verify-full";
        if url.contains("sslmode=verify-ca") || url.contains("sslmode=allow") {
            return Err("'url': of sslmode there are disable, prefer, require and verify-full".to_owned());
        }
        let is_checked = url.contains(VERIFY_FULL) || roots.is_some();
        Ok((url.replace(VERIFY_FULL, "sslmode=require"), Self { is_checked, roots }))
    }

    /// Whether what is asked for can be had in a mode.
    pub(crate) fn check(&self, mode: SslMode) -> Result<(), String> {
        if self.roots.is_some() && mode != SslMode::Require {
            return Err("'ssl.root-cert' needs sslmode=verify-full (or require) in 'url'".to_owned());
        }
        Ok(())
    }

    /// Makes encrypted connections. Reads the certificates that are believed.
    pub(crate) fn connector(&self) -> Result<MakeTls, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let config = if self.is_checked {
            builder.with_root_certificates(self.root_certificates()?).with_no_client_auth()
        } else {
            let verifier = Arc::new(AnyServer(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        };
        Ok(MakeTls(TlsConnector::from(Arc::new(config))))
    }

    fn root_certificates(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        match &self.roots {
            Some(path) => {
                let failed =
                    |error: &dyn std::fmt::Display| format!("read certificates of {}: {error}", path.display());
                read_certificates(path, &mut roots).map_err(|error| failed(&error))?;
                if roots.is_empty() {
                    return Err(failed(&"there is none in it"));
                }
            }
            None => {
                let (_, ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if ignored > 0 {
                    tracing::debug!(ignored, "certificates of the system cannot be read");
                }
                if roots.is_empty() {
                    return Err(
                        "the system has no certificates of authorities; give one with 'ssl.root-cert'".to_owned()
                    );
                }
            }
        }
        Ok(roots)
    }
}

fn read_certificates(path: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// See [`Tls::connector`].
#[derive(Clone)]
pub(crate) struct MakeTls(TlsConnector);

/// The same for one server.
pub(crate) struct Connect {
    connector: TlsConnector,
    host: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for MakeTls {
    type Stream = Encrypted<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Connect> {
        Ok(Connect { connector: self.0.clone(), host: host.to_owned() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connect {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let host = ServerName::try_from(self.host);
            let host = host.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.connector.connect(host, stream).await.map(Encrypted)
        })
    }
}

/// An encrypted connection.
pub(crate) struct Encrypted<S>(TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, to)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Believes any server: what is sent is encrypted, but who reads it is not known.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
