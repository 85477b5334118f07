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

#[tokio::test(flavor = "multi_thread")]
async fn json_csv_and_plain_lines_are_records_too() {
    let fixture = Fixture::start(&[]).await;
    let cases: [(&str, &str, &[&str]); 7] = [
        ("application/json", " {\"a\":\n 1.10}\n", &["{\"a\":\n 1.10}"]),
        (
            "application/json; charset=utf-8",
            "[{\"a\": 1}\n, {\"b\": [\"]\", {}]} ]",
            &["{\"a\": 1}", "{\"b\": [\"]\", {}]}"],
        ),
        ("application/json", "[{\"n\":123456789012345678901234567890}]", &["{\"n\":123456789012345678901234567890}"]),
        (
            "text/csv",
            "a,b\n1,\"x, \"\"y\"\"\"\n,true\n",
            &["{\"a\":\"1\",\"b\":\"x, \\\"y\\\"\"}", "{\"a\":null,\"b\":true}"],
        ),
        ("text/csv; header=present", "물\r\n길\r\n", &["{\"물\":\"길\"}"]),
        ("text/plain", "{\"a\": 1}\n{}", &["{\"a\": 1}", "{}"]),
        ("text/plain; charset=utf-8", "GET /a HTTP/1.1\r\n\n  물 길 \n", &["GET /a HTTP/1.1", "  물 길 "]),
    ];
    for (number, (content_type, body, expected)) in cases.into_iter().enumerate() {
        let topic = format!("case-{number}");
        let name = topic.clone();
        let appended =
            fixture.call(move |client| client.append_body(&name, (content_type, body.as_bytes()), None)).await;
        assert_eq!(appended.unwrap().records, expected.len() as u64, "{body}");
        let mut reader = fixture.log.topic(&topic).unwrap().reader(0, mulgil_log::StartAt::Earliest).unwrap();
        let frames = reader.read(1 << 20).unwrap();
        let found: Vec<String> = frames
            .iter()
            .flat_map(mulgil_log::Frame::records)
            .map(|record| String::from_utf8(record.value.to_vec()).unwrap())
            .collect();
        assert_eq!(found, expected, "{body}");
    }
    for (content_type, body, said) in [
        ("application/json", "[]", "no line"),
        ("application/json", "", "no line"),
        ("application/json", "[{\"a\": 1},\n 2]", "line 1 is not a JSON object"),
        ("application/json", "[{\"a\": 1},\n{\"a\" 2}]", "line 2 is not a JSON object"),
        ("application/json", "[{\"a\": 1}", "is not a JSON object"),
        ("application/json", "[{\"a\": 1}]\n]", "is not a JSON object"),
        ("application/json", "{\"a\": 1}\n{\"a\": 1}", "line 2 is not a JSON object"),
        ("application/json", "7", "line 1 is not a JSON object"),
        ("text/csv", "a,b\n", "no line"),
        ("text/csv", "a,b\n1,2\n3\n", "line 3 is not CSV"),
        ("text/csv", "a,a\n1,2\n", "twice"),
    ] {
        let call = move |client: &mulgil_server::client::Client| {
            client.append_body("bad", (content_type, body.as_bytes()), None)
        };
        let (status, _, message) = refusal(fixture.call(call).await);
        assert_eq!(status, 400, "{body}");
        assert!(message.contains(said), "{body}: {message}");
    }
    assert!(fixture.log.topic("bad").is_err());
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_key_can_be_sent_again() {
    let fixture = Fixture::start(&[]).await;
    let send = |key: &'static str, body: &'static str| {
        fixture.call(move |client| client.append_body("once", ("application/x-ndjson", body.as_bytes()), Some(key)))
    };
    for repeated in [false, true, true] {
        let appended = send("order 7", "{\"a\": 1}\n{\"a\": 2}").await.unwrap();
        assert_eq!((appended.records, appended.first_offset, appended.repeated), (2, 0, repeated));
    }
    assert!(!send("order 8", "{\"a\": 1}").await.unwrap().repeated);
    let (status, code, message) = refusal(send("order 7", "{\"a\": 3}").await);
    assert_eq!((status, code.as_str()), (409, "conflict"));
    assert!(message.contains("other records had the id \"order 7\""), "{message}");
    assert_eq!(refusal(send("", "{}").await).0, 400);
    let large: &'static str = Box::leak(vec!["{}\n"; 5 << 20].concat().into_boxed_str());
    assert_eq!(refusal(send("large", large).await).0, 413);
    assert_eq!(fixture.log.topic("once").unwrap().offsets(0).unwrap(), 0..3);
    fixture.stop().await;
}
