//! A conversation with a mail server. The protocol is lettre's; TLS is ours, since it is in the tree.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use mulgil_flow::MailTls;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What lettre hears first where the server has greeted already, before the connection was protected.
const GREETING: &[u8] = b"220 ready\r\n";
/// Lines of an answer that are read, at most.
const LINES_MAX: usize = 100;

/// A mail server, and who speaks to it.
pub(crate) struct Server<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) tls: MailTls,
    pub(crate) trust: Arc<ClientConfig>,
    /// User and password.
    pub(crate) login: Option<(&'a str, &'a str)>,
}

/// The certificates that this machine trusts.
pub(crate) fn trust() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    // Those that cannot be read are those that nothing else reads either.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    trusting(roots)
}

/// The certificates of a file, and no others.
pub(crate) fn trusting_file(path: &Path) -> Result<Arc<ClientConfig>, String> {
    let unread = |error: &dyn fmt::Display| format!("read the certificates in {}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unread(&error))? {
        let certificate = certificate.map_err(|error| unread(&error))?;
        roots.add(certificate).map_err(|error| unread(&error))?;
    }
    trusting(roots)
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Hands a message over. Whoever calls limits the time.
pub(crate) async fn send(server: Server<'_>, message: &Message) -> Result<(), String> {
    let said = |error: lettre::transport::smtp::Error| words(&error);
    let me = ClientId::default();
    let stream = connect(&server).await?;
    let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &me).await.map_err(said)?;
    if let Some((user, password)) = server.login {
        let login = Credentials::new(user.to_owned(), password.to_owned());
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &login).await.map_err(said)?;
    }
    connection.send(message.envelope(), &message.formatted()).await.map_err(said)?;
    // It is taken; how the server says good-bye is nothing to us.
    let _ = connection.quit().await;
    Ok(())
}

async fn connect(server: &Server<'_>) -> Result<Box<dyn AsyncTokioStream>, String> {
    let stream = TcpStream::connect((server.host, server.port)).await;
    let mut stream = stream.map_err(|error| format!("connect to {}:{}: {error}", server.host, server.port))?;
    if server.tls == MailTls::None {
        return Ok(Box::new(stream));
    }
    let greeted = server.tls == MailTls::Starttls;
    if greeted {
        ask_for_tls(&mut stream).await?;
    }
    let name = ServerName::try_from(server.host.to_owned()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(server.trust.clone());
    let inner = connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
    Ok(Box::new(Protected { greeting: if greeted { GREETING } else { &[] }, inner }))
}

/// Everything before the connection is protected. Nothing said before counts after.
async fn ask_for_tls(stream: &mut TcpStream) -> Result<(), String> {
    let mut stream = BufReader::new(stream);
    answer(&mut stream, "220").await?;
    stream.write_all(b"EHLO mulgil\r\n").await.map_err(|error| error.to_string())?;
    if !answer(&mut stream, "250").await?.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS")) {
        return Err("the server does not know STARTTLS: say `tls: implicit` or `tls: none`".to_owned());
    }
    stream.write_all(b"STARTTLS\r\n").await.map_err(|error| error.to_string())?;
    answer(&mut stream, "220").await?;
    if stream.buffer().is_empty() { Ok(()) } else { Err("the server went on speaking before TLS began".to_owned()) }
}

/// The lines of an answer, without their code.
async fn answer(stream: &mut BufReader<&mut TcpStream>, wanted: &str) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    while lines.len() < LINES_MAX {
        let mut line = String::new();
        stream.read_line(&mut line).await.map_err(|error| error.to_string())?;
        let line = line.trim_end();
        let (code, rest) = line.split_at_checked(3).unwrap_or((line, ""));
        if code != wanted {
            return Err(format!("the server said {line:?}"));
        }
        lines.push(rest.get(1..).unwrap_or_default().to_owned());
        if !rest.starts_with('-') {
            return Ok(lines);
        }
    }
    Err("the server speaks without end".to_owned())
}

/// A protected stream, on which a greeting may be heard first that was said before.
#[derive(Debug)]
struct Protected {
    greeting: &'static [u8],
    inner: TlsStream<TcpStream>,
}

impl AsyncTokioStream for Protected {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Protected {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.greeting.is_empty() {
            return Pin::new(&mut this.inner).poll_read(context, into);
        }
        let (now, later) = this.greeting.split_at(this.greeting.len().min(into.remaining()));
        into.put_slice(now);
        this.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Protected {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

/// What went wrong, with what lies beneath.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = fmt::format(format_args!("{error}"));
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}
