//! Mail: over every kind of connection, with and without a login, and what is said when the server refuses.

use mulgil_history::outbox::NoticeStatus;

use crate::mail_server::{MailServer, Protection, certificate};
use crate::office::Office;

fn channel(name: &str, server: &MailServer, more: &str) -> String {
    let port = server.address.port();
    let to = "[ann@example.org, 'Bob <bob@example.org>']";
    format!("  {name}: {{email: {{to: {to}, from: mulgil@example.org, server: 'localhost:{port}'{more}}}}}\n")
}

#[tokio::test]
async fn mail_goes_over_every_kind_of_connection() {
    let office = Office::open().await;
    office.failed_run("x").await;
    certificate(office.dir());
    std::fs::write(office.dir().join("password"), "open sesame\n").unwrap();
    let mut plain = MailServer::start(office.dir(), Protection::None).await;
    let mut later = MailServer::start(office.dir(), Protection::Starttls).await;
    let mut first = MailServer::start(office.dir(), Protection::Implicit).await;
    let login = ", user: me, password: file:password, ca: cert.pem";
    let channels = [
        channel("plain", &plain, ", tls: none"),
        channel("later", &later, login),
        channel("first", &first, &format!("{login}, tls: implicit")),
    ];
    let _postman = office.postman(&channels.concat());
    for (name, server, is_protected) in
        [("plain", &mut plain, false), ("later", &mut later, true), ("first", &mut first, true)]
    {
        office.put(name, name).await;
        office.noted().await;
        let row = office.notice(name).await;
        assert_eq!((row.status, row.error), (NoticeStatus::Delivered, None), "{name}");
        let mail = server.next().await;
        assert_eq!((mail.is_protected, mail.login.is_some()), (is_protected, is_protected), "{name}");
        assert!(mail.from.contains("<mulgil@example.org>"), "{}", mail.from);
        assert_eq!(mail.to.len(), 2, "{:?}", mail.to);
        for part in
            [&format!("Message-ID: <{name}@mulgil>"), "Subject: [shop] f/1 has failed <&>", "exit code 3", "two"]
        {
            assert!(mail.text.contains(part), "{name}: {part} is not in {}", mail.text);
        }
    }
}

#[tokio::test]
async fn a_mail_server_that_refuses_is_quoted_and_the_password_is_not() {
    let office = Office::open().await;
    certificate(office.dir());
    // It ends, in Base64, as the server does not like it.
    std::fs::write(office.dir().join("password"), "let me, let me").unwrap();
    let server = MailServer::start(office.dir(), Protection::None).await;
    let later = MailServer::start(office.dir(), Protection::Starttls).await;
    let login = ", user: me, password: file:password";
    let channels = [
        channel("refused", &server, &format!("{login}, tls: none")),
        channel("no_tls", &server, ""),
        channel("stranger", &later, ""),
    ];
    let _postman = office.postman(&channels.concat());
    for (name, expected) in [("refused", "who are you?"), ("no_tls", "does not know STARTTLS"), ("stranger", "TLS: ")] {
        office.put(name, name).await;
        office.noted().await;
        let row = office.notice(name).await;
        let error = row.error.unwrap_or_default();
        assert_eq!(row.status, NoticeStatus::Waiting, "{name}");
        assert!(error.contains(expected) && !error.contains("let me"), "{name}: {error}");
    }
}
