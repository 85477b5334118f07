//! A mail server, as small as RFC 5321 lets it be: with TLS from the start, by STARTTLS or not at all, and with AUTH PLAIN.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How it protects its connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protection {
    None,
    Starttls,
    Implicit,
}

/// A mail that was taken.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) text: String,
    pub(crate) login: Option<String>,
    pub(crate) is_protected: bool,
}

/// See the module.
pub(crate) struct MailServer {
    pub(crate) address: SocketAddr,
    taken: mpsc::UnboundedReceiver<Mail>,
}

/// A certificate for `localhost` and its key, in this folder.
pub(crate) fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

impl MailServer {
    pub(crate) async fn start(folder: &Path, protection: Protection) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        // Unbounded: a test sends a handful.
        let (tell, taken) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mail = match protection {
                    Protection::None => talk(&mut stream, true, false, false).await,
                    Protection::Implicit => match acceptor.accept(stream).await {
                        Ok(mut stream) => talk(&mut stream, true, false, true).await,
                        Err(_) => None,
                    },
                    Protection::Starttls => {
                        talk(&mut stream, true, true, false).await;
                        match acceptor.accept(stream).await {
                            Ok(mut stream) => talk(&mut stream, false, false, true).await,
                            Err(_) => None,
                        }
                    }
                };
                mail.map(|mail| tell.send(mail));
            }
        });
        Self { address, taken }
    }

    pub(crate) async fn next(&mut self) -> Mail {
        self.taken.recv().await.unwrap()
    }
}

/// A conversation, until a mail is taken, TLS is asked for, or the other side is gone.
async fn talk<S>(stream: &mut S, greets: bool, offers_tls: bool, is_protected: bool) -> Option<Mail>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut mail = Mail { is_protected, ..Mail::default() };
    if greets {
        stream.write_all(b"220 mail.example.org\r\n").await.ok()?;
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let (word, rest) = line.trim_end().split_once([' ', ':']).unwrap_or((line.trim_end(), ""));
        let answer = match word.to_uppercase().as_str() {
            "EHLO" if offers_tls => "250-mail.example.org\r\n250 STARTTLS\r\n",
            "EHLO" => "250-mail.example.org\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n",
            "STARTTLS" => {
                stream.write_all(b"220 go on\r\n").await.ok()?;
                stream.flush().await.ok()?;
                return None;
            }
            "AUTH" if rest.ends_with("IG1l") => "535 who are you?\r\n",
            "AUTH" => {
                mail.login = Some(rest.to_owned());
                "235 welcome\r\n"
            }
            "MAIL" => {
                mail.from = rest.to_owned();
                "250 yes\r\n"
            }
            "RCPT" => {
                mail.to.push(rest.to_owned());
                "250 yes\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 speak\r\n").await.ok()?;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.ok()?;
                    if line == ".\r\n" {
                        break;
                    }
                    mail.text.push_str(&line);
                }
                stream.write_all(b"250 taken\r\n").await.ok()?;
                stream.flush().await.ok()?;
                return Some(mail);
            }
            _ => "500 what?\r\n",
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}
