//! Webhooks: what is sent, when it is sent again, and what stops it.

use std::time::{Duration, Instant};

use futures::StreamExt;
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::sink::Delivery;
use mulgil_dataflow::batch::Batch;
use tokio::time::timeout;

use super::project::{Project, select, table};
use super::receiver::{Received, Receiver};

/// Options of a table.
type Given<'a> = &'a [(&'a str, &'a str)];

const LONG: Duration = Duration::from_secs(60);

fn hook(url: &str, more: &[(&str, &str)]) -> TableDefinition {
    let options: Vec<(&str, &str)> =
        [("connector", "http"), ("url", url)].into_iter().chain(more.iter().copied()).collect();
    table("hooks", "n BIGINT, s STRING", &options)
}

async fn rows(from: i64, to: i64) -> Vec<Batch> {
    let sql = format!(
        "SELECT n, CASE WHEN n % 2 = 1 THEN E'odd,\\n' || n END AS s FROM (SELECT unnest(range({from}, {to})) AS n)"
    );
    select(&sql).await.map(|rows| Batch::append(rows.unwrap())).collect().await
}

fn keys(received: &[Received]) -> Vec<String> {
    received.iter().map(|request| request.header("idempotency-key").to_owned()).collect()
}

#[tokio::test]
async fn rows_are_sent_so_many_at_a_time() {
    let project = Project::new();
    project.file("secrets/token", "Bearer s3same\n");
    let receiver = Receiver::start();
    let url = format!("{}/hook?a=b", receiver.url());
    let cases: [(Given<'_>, &str, &str, &[&str]); 3] = [
        (
            &[("batch.size", "2"), ("header.X-From", "mulgil"), ("header-file.Authorization", "secrets/token")],
            "POST",
            "application/json",
            &[r#"[{"n":1,"s":"odd,\n1"},{"n":2,"s":null}]"#, r#"[{"n":3,"s":"odd,\n3"}]"#],
        ),
        (
            &[("body", "lines"), ("method", "PUT")],
            "PUT",
            "application/x-ndjson",
            &["{\"n\":1,\"s\":\"odd,\\n1\"}\n{\"n\":2,\"s\":null}\n{\"n\":3,\"s\":\"odd,\\n3\"}\n"],
        ),
        (
            &[("body", "object"), ("header.content-type", "application/vnd.x+json")],
            "POST",
            "application/vnd.x+json",
            &[r#"{"n":1,"s":"odd,\n1"}"#, r#"{"n":2,"s":null}"#, r#"{"n":3,"s":"odd,\n3"}"#],
        ),
    ];
    for (options, method, content_type, bodies) in cases {
        let sink = project.connectors.sink(&hook(&url, options)).unwrap();
        assert!(!sink.accepts_changes());
        assert_eq!(sink.delivery(), Delivery::AtLeastOnce);
        let mut writer = sink.writer(0).await.unwrap();
        for batch in rows(1, 4).await {
            writer.write(batch).await.unwrap();
        }
        writer.commit().await.unwrap();
        writer.commit().await.unwrap();
        let received = receiver.received();
        assert_eq!(received.iter().map(Received::text).collect::<Vec<_>>(), bodies);
        for request in &received {
            assert_eq!(request.line, format!("{method} /hook?a=b"));
            assert_eq!(request.header("content-type"), content_type);
        }
        let (mut distinct, all) = (keys(&received), received.len());
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), all, "{distinct:?}");
        if options.len() == 3 {
            assert_eq!(
                (received[0].header("x-from"), received[0].header("authorization")),
                ("mulgil", "Bearer s3same")
            );
        }
    }
}

#[tokio::test]
async fn what_passes_is_sent_again_and_what_does_not_stops() {
    let project = Project::new();
    let receiver = Receiver::start();
    let sink = project.connectors.sink(&hook(&format!("{}/hook?token=s3same", receiver.url()), &[])).unwrap();
    let mut writer = sink.writer(0).await.unwrap();
    receiver.answers(&[(503, ""), (429, "retry-after: 1\r\n"), (0, ""), (408, ""), (500, "retry-after: 0\r\n")]);
    let began = Instant::now();
    writer.write(rows(1, 3).await.remove(0)).await.unwrap();
    let waits = sink.waits().unwrap();
    let seen = async {
        loop {
            if let Some(waited) = waits.longest().filter(|waited| waited.what.contains("answered 429")) {
                return waited.what;
            }
            tokio::task::yield_now().await;
        }
    };
    let (done, seen) = timeout(LONG, async { tokio::join!(writer.commit(), seen) }).await.unwrap();
    done.unwrap();
    assert!(!seen.contains("s3same"), "{seen}");
    assert_eq!(waits.longest(), None);
    assert!(began.elapsed() >= Duration::from_secs(1), "it was asked to wait a second");
    let received = receiver.received();
    assert!(received.len() >= 6 && received.iter().all(|request| request == &received[0]), "{received:?}");
    for status in [301, 400, 401, 404, 409, 422] {
        receiver.answers(&[(status, "location: /elsewhere\r\n")]);
        writer.write(rows(1, 3).await.remove(0)).await.unwrap();
        let said = writer.commit().await.unwrap_err().to_string();
        assert!(
            said.contains(&format!("/hook: answered {status}")) && said.ends_with(&format!("this is answer {status}")),
            "{said}"
        );
        assert!(!said.contains("s3same"), "{said}");
        assert_eq!(receiver.received().len(), 1);
    }
}

#[tokio::test]
async fn a_receiver_that_is_away_is_waited_for() {
    let project = Project::new();
    // Nobody else gets a port that was just used.
    let address = Receiver::start().address;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = free.local_addr().unwrap();
    drop(free);
    assert_ne!(address, away);
    let sink = project.connectors.sink(&hook(&format!("http://u:s3same@{away}"), &[("timeout", "300 ms")])).unwrap();
    let mut writer = sink.writer(0).await.unwrap();
    writer.write(rows(1, 3).await.remove(0)).await.unwrap();
    let mut writing = Box::pin(writer.commit());
    assert!(timeout(Duration::from_millis(500), &mut writing).await.is_err());
    let receiver = Receiver::on(away);
    timeout(LONG, writing).await.unwrap().unwrap();
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn an_epoch_has_the_same_requests_whenever_it_is_sent() {
    let project = Project::new();
    let receiver = Receiver::start();
    let mut sent = Vec::new();
    for cuts in [vec![(0, 10)], vec![(0, 1), (1, 5), (5, 10)]] {
        let sink = project.connectors.sink(&hook(&receiver.url(), &[("batch.size", "4")])).unwrap();
        let transaction = sink.transaction().unwrap();
        assert!(!transaction.remembers_epochs());
        for epoch in [7, 8] {
            let mut batches = Vec::new();
            for (from, to) in &cuts {
                batches.extend(rows(*from, *to).await);
            }
            let batches = futures::stream::iter(batches.into_iter().map(Ok)).boxed();
            transaction.apply("뷰 p", epoch, batches).await.unwrap();
        }
        let received = receiver.received();
        assert_eq!(
            received.iter().map(|request| request.text().matches("\"n\"").count()).collect::<Vec<_>>(),
            [4, 4, 2, 4, 4, 2]
        );
        sent.push(
            received
                .iter()
                .map(|request| (request.header("idempotency-key").to_owned(), request.text()))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(sent[0], sent[1]);
    let first: Vec<&str> = sent[0].iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(&first[..2], ["%EB%B7%B0%20p/hooks/7/0", "%EB%B7%B0%20p/hooks/7/1"]);
    assert_eq!(first[3], "%EB%B7%B0%20p/hooks/8/0");
}

#[test]
fn options_are_checked() {
    let project = Project::new();
    for (url, more, said) in [
        ("nowhere", ("method", "POST"), "'url' cannot be read"),
        ("ftp://example.org", ("method", "POST"), "'url' cannot be read"),
        ("http://example.org", ("method", "GET"), "'method' = 'GET' is not known"),
        ("http://example.org", ("body", "xml"), "'body' = 'xml' is not known"),
        ("http://example.org", ("batch.size", "0"), "'batch.size'"),
        ("http://example.org", ("header.a b", "c"), "cannot be the name of a header"),
        ("http://example.org", ("header.a", "line\nbreak"), "characters that no header can"),
        ("http://example.org", ("timeout", "soon"), "is not a span of time"),
        ("http://example.org", ("tiemout", "1 s"), "did you mean 'timeout'?"),
    ] {
        let error = project.connectors.check(&hook(url, &[more])).unwrap_err().to_string();
        assert!(error.contains(said), "{error}, not {said}");
    }
}
