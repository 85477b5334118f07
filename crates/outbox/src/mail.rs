//! Mail. The `Message-ID` is made of the notice's key, so that what is sent again is the same message.

use std::sync::Arc;

use lettre::Message;
use lettre::message::header::ContentType;
use mulgil_flow::Mail;
use tokio_rustls::rustls::ClientConfig;

use crate::letter::Letter;
use crate::smtp;

/// Where mail servers take mail, where nothing else is said.
const PORT: u16 = 587;

/// Sends a letter; the error says why it was not taken.
pub(crate) async fn send(
    mail: &Mail,
    password: Option<String>,
    trust: Arc<ClientConfig>,
    key: &str,
    letter: &Letter,
) -> Result<(), String> {
    let message = message(mail, key, letter)?;
    let (host, port) = place(&mail.server)?;
    let login = mail.user.as_deref().zip(password.as_deref().or(Some("")));
    smtp::send(smtp::Server { host, port, tls: mail.tls, trust, login }, &message).await
}

fn place(server: &str) -> Result<(&str, u16), String> {
    match server.rsplit_once(':') {
        None => Ok((server, PORT)),
        Some((host, port)) => {
            let port = port.parse().map_err(|_| format!("{server:?} is no mail server: write HOST:PORT"))?;
            Ok((host, port))
        }
    }
}

fn message(mail: &Mail, key: &str, letter: &Letter) -> Result<Message, String> {
    let address = |text: &str| text.parse().map_err(|error| format!("{text:?} is no mail address: {error}"));
    let mut message = Message::builder()
        .message_id(Some(format!("<{key}@mulgil>")))
        .date_now()
        .from(address(&mail.from)?)
        .subject(&letter.subject)
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        message = message.to(address(to)?);
    }
    message.body(letter.text.clone()).map_err(|error| error.to_string())
}
