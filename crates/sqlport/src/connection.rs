//! One connection: whether it is encrypted, then message after message until one of both sides ends it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::{SinkExt, StreamExt};
use pgwire::api::cancel::DefaultCancelHandler;
use pgwire::api::{ClientInfo, DefaultClient, NoopHandler, PgWireConnectionState};
use pgwire::error::PgWireError;
use pgwire::messages::PgWireFrontendMessage;
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::{Framed, FramedParts};
use tokio_util::sync::CancellationToken;

use crate::extended::Parsed;
use crate::failure::fatal;
use crate::front::Front;

/// How long a client may take to say who it is.
const STARTUP_MAX: Duration = Duration::from_secs(30);

/// The codes of the two requests that may stand before a startup message, each eight bytes long.
const TLS_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const REQUEST_LENGTH: usize = 8;

/// Bytes in both directions.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Wire for T {}

type Socket = Framed<Box<dyn Wire>, PgWireMessageServerCodec<Arc<Parsed>>>;

/// Serves a connection until it ends.
pub(crate) async fn serve(
    tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    front: Arc<Front>,
    stopping: CancellationToken,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let opened = tokio::time::timeout(STARTUP_MAX, open(tcp, peer, tls));
    let mut socket = tokio::select! {
        opened = opened => opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
        () = stopping.cancelled() => return Ok(()),
    };
    converse(&mut socket, &front, &stopping).await
}

/// Answers what may stand before the startup message. Nothing is read beyond the request to encrypt, so that nobody in between can
/// put words before the encrypted ones.
async fn open(mut tcp: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Socket> {
    loop {
        let mut request = [0; REQUEST_LENGTH];
        tcp.read_exact(&mut request).await?;
        let mut words = request.as_slice();
        let (length, code) = (words.get_u32(), words.get_u32());
        match (code, &tls) {
            (TLS_REQUEST, Some(acceptor)) if length == 8 => {
                tcp.write_all(b"S").await?;
                let encrypted = acceptor.accept(tcp).await?;
                return Ok(framed(Box::new(encrypted), peer, true, &[]));
            }
            (TLS_REQUEST | GSS_REQUEST, _) if length == 8 => tcp.write_all(b"N").await?,
            _ => return Ok(framed(Box::new(tcp), peer, false, &request)),
        }
    }
}

fn framed(wire: Box<dyn Wire>, peer: SocketAddr, is_secure: bool, read: &[u8]) -> Socket {
    let codec = PgWireMessageServerCodec::new(DefaultClient::new(peer, is_secure));
    let mut parts = FramedParts::new(wire, codec);
    parts.read_buf = BytesMut::from(read);
    let mut socket = Framed::from_parts(parts);
    socket.set_state(PgWireConnectionState::AwaitingStartup);
    socket
}

fn is_starting(socket: &Socket) -> bool {
    matches!(socket.state(), PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress)
}

async fn converse(socket: &mut Socket, front: &Arc<Front>, stopping: &CancellationToken) -> io::Result<()> {
    let begun = tokio::time::Instant::now();
    let (copying, cancelling) =
        (Arc::new(NoopHandler), Arc::new(DefaultCancelHandler::new(Arc::clone(&front.connections))));
    loop {
        let patience = if is_starting(socket) { Some(begun + STARTUP_MAX) } else { None };
        let message = tokio::select! {
            message = socket.next() => message,
            () = stopping.cancelled() => return part(socket).await,
            () = tokio::time::sleep_until(patience.unwrap_or(begun)), if patience.is_some() => return Ok(()),
        };
        let message = match message {
            None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
            Some(Err(PgWireError::IoError(error))) => return Err(error),
            // What is no message is told once; after it the two sides no longer know where one begins.
            Some(Err(error)) => return process_error(socket, fatal(error.code(), error.to_string()), false).await,
            Some(Ok(message)) => message,
        };
        let is_extended = message.is_extended_query();
        let is_cancel = matches!(message, PgWireFrontendMessage::CancelRequest(_));
        let (front, copying, cancelling) = (Arc::clone(front), Arc::clone(&copying), Arc::clone(&cancelling));
        let processing =
            process_message(message, socket, Arc::clone(&front), Arc::clone(&front), front, copying, cancelling);
        let outcome = tokio::select! {
            outcome = processing => outcome,
            () = stopping.cancelled() => return part(socket).await,
        };
        match outcome {
            Err(PgWireError::IoError(error)) => return Err(error),
            Err(error) => {
                let is_fatal = error.is_fatal();
                process_error(socket, error, is_extended).await?;
                if is_fatal {
                    return Ok(());
                }
            }
            Ok(()) if is_cancel => return Ok(()),
            Ok(()) => {}
        }
    }
}

/// Says that the server ends.
async fn part(socket: &mut Socket) -> io::Result<()> {
    if !is_starting(socket) {
        let reason = fatal("57P01", "terminating connection: the server is shutting down");
        return process_error(socket, reason, false).await;
    }
    socket.close().await
}
