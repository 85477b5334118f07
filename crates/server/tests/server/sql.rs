//! SQL over HTTP, in three forms.

use std::io::Read;

use mulgil_server::client::RowFormat;
use mulgil_server::sql::{SqlAsk, SqlMode};
use serde_json::json;

use super::fixture::{Fixture, refusal};

fn ask(sql: &str, limit: Option<u32>) -> SqlAsk {
    SqlAsk { sql: sql.to_owned(), mode: SqlMode::Batch, limit }
}

const THREE: &str = "SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (3, 'c')) AS t (n, text) ORDER BY n";

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_json_csv_and_json_lines() {
    let fixture = Fixture::start(&[]).await;
    let rows = fixture.call(|client| client.sql(&ask(THREE, Some(2)))).await.unwrap();
    assert_eq!(json!(rows.rows), json!([[1, "a"], [2, "b"]]));
    assert!(rows.truncated);
    assert_eq!((rows.columns[0].name.as_str(), rows.columns[0].sql_type.as_str()), ("n", "BIGINT"));
    let whole = fixture.call(|client| client.sql(&ask(THREE, None))).await.unwrap();
    assert!(whole.rows.len() == 3 && !whole.truncated);
    for (format, limit, expected) in [
        (RowFormat::Csv, None, "n,text\n1,a\n2,b\n3,c\n"),
        (RowFormat::Csv, Some(1), "n,text\n1,a\n"),
        (RowFormat::JsonLines, Some(2), "{\"n\":1,\"text\":\"a\"}\n{\"n\":2,\"text\":\"b\"}\n"),
    ] {
        let text = fixture
            .call(move |client| {
                let mut text = String::new();
                client.sql_stream(&ask(THREE, limit), format).unwrap().read_to_string(&mut text).unwrap();
                text
            })
            .await;
        assert_eq!(text, expected);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_told_with_its_place() {
    let fixture = Fixture::start(&[]).await;
    let (status, code, message) =
        refusal(fixture.call(|client| client.sql(&ask("SELECT *\nFROM nowhere", None))).await);
    assert_eq!((status, code.as_str()), (400, "invalid"));
    assert!(message.contains("nowhere"), "{message}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_a_table() {
    let source =
        "CREATE TABLE things (n INT, name VARCHAR) WITH ('connector' = 'log', 'topic' = 'things', 'format' = 'json');";
    let fixture = Fixture::start(&[("sources/things.sql", source)]).await;
    fixture
        .call(|client| client.append("things", &Default::default(), b"{\"n\": 1, \"name\": \"one\"}\n{\"n\": 2}\n"))
        .await
        .unwrap();
    let rows = fixture.call(|client| client.sql(&ask("SELECT * FROM things ORDER BY n", None))).await.unwrap();
    assert_eq!(json!(rows.rows), json!([[1, "one"], [2, null]]));
    fixture.stop().await;
}
