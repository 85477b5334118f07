//! Topics: what is acknowledged is there, what is refused is not.

use mulgil_server::topics::{AppendQuery, RecordsQuery};

use super::fixture::{Fixture, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_appended_and_read_back() {
    let fixture = Fixture::start(&[]).await;
    let lines = "{\"a\": 1}\n\n{\"a\": \"물길\"}\r\n{\"a\": {}}";
    let appended =
        fixture.call(move |client| client.append("things", &AppendQuery::default(), lines.as_bytes())).await.unwrap();
    assert_eq!((appended.records, appended.partition, appended.first_offset), (3, 0, 0));
    let from = RecordsQuery { offset: Some(1), limit: Some(1), ..RecordsQuery::default() };
    let read = fixture.call(move |client| client.records("things", &from)).await.unwrap();
    assert_eq!((read.records.len(), read.next_offset), (1, 2));
    assert_eq!(read.records[0].value, serde_json::json!({"a": "물길"}));
    let topics = fixture.call(|client| client.topics()).await.unwrap();
    assert_eq!((topics[0].name.as_str(), topics[0].partitions[0].next_offset), ("things", 3));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_told_and_nothing_is_appended() {
    let fixture = Fixture::start(&[]).await;
    for (body, line) in [
        (&b"{\"a\": 1}\n[2]\n"[..], "line 2"),
        (b"{\"a\": 1}\n\n{\"a\": \n", "line 3"),
        (b"{\"a\": 1} {\"b\": 2}\n", "line 1"),
        (b"{\"a\": 1}\n{\"\xFF\": 1}\n", "line 2"),
        (b"\n \n", "no line"),
    ] {
        let (status, _, message) =
            refusal(fixture.call(move |client| client.append("things", &AppendQuery::default(), body)).await);
        assert_eq!(status, 400);
        assert!(message.contains(line), "{message}");
    }
    assert!(fixture.call(|client| client.topics()).await.unwrap().is_empty());
    let (status, code, _) = refusal(fixture.call(|client| client.records("nothing", &RecordsQuery::default())).await);
    assert_eq!((status, code.as_str()), (404, "not_found"));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_can_be_followed_without_polling() {
    let fixture = Fixture::start(&[]).await;
    fixture.call(|client| client.append("things", &AppendQuery::default(), b"{}")).await.unwrap();
    let waiting = fixture.call(|client| {
        let from = RecordsQuery { offset: Some(1), wait_ms: Some(30_000), ..RecordsQuery::default() };
        let other = client.clone();
        let reader = std::thread::spawn(move || other.records("things", &from).unwrap());
        client.append("things", &AppendQuery::default(), b"{\"second\": true}").unwrap();
        reader.join().unwrap()
    });
    let read = waiting.await;
    assert_eq!(read.records[0].value, serde_json::json!({"second": true}));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_refused() {
    let fixture = Fixture::start(&[]).await;
    let body = vec![b' '; 17 * 1024 * 1024];
    let answer = fixture.call(move |client| client.append("things", &AppendQuery::default(), &body)).await;
    // The server may close the connection before it has taken the whole body.
    match answer.unwrap_err() {
        mulgil_server::client::ClientError::Refused { status, .. } => assert_eq!(status, 413),
        mulgil_server::client::ClientError::Unreachable { .. } => {}
        other => panic!("{other}"),
    }
    assert!(fixture.log.topics().is_empty());
    fixture.stop().await;
}
