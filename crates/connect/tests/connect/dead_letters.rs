//! Rows that cannot be read, by choice: they stop the statement, are left out, or are rows of a table themselves.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use mulgil_connect::definition::TableDefinition;
use mulgil_log::{Record, TopicOptions};

use super::project::{Project, drain, table};

const DEAD: [(&str, &str); 2] = [("bad-rows", "dead-letter"), ("dead-letter.topic", "rejects")];

fn letters() -> TableDefinition {
    let columns = "source_table STRING NOT NULL, place STRING NOT NULL, reason STRING NOT NULL, raw STRING, raw_bytes BYTES, \
                   time TIMESTAMP NOT NULL";
    table("rejects", columns, &[("connector", "log"), ("topic", "rejects"), ("format", "json")])
}

fn with(options: &[(&str, &str)], more: &[(&str, &str)]) -> TableDefinition {
    let options: Vec<_> = options.iter().chain(more).copied().collect();
    table("t", "x BIGINT NOT NULL, y STRING", &options)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_rows_of_another_table() {
    let csv = [("connector", "filesystem"), ("path", "in.csv"), ("format", "csv")];
    let json = [("connector", "filesystem"), ("path", "in.jsonl"), ("format", "json")];
    let topic = [("connector", "log"), ("topic", "in"), ("format", "json")];
    for (options, places, raws) in [
        (&csv, ["in.csv:3", "in.csv:4", "in.csv:6"], ["2x,\"b,b\"", "\"3\"", ",e"]),
        (&json, ["in.jsonl:2", "in.jsonl:3", "in.jsonl:5"], ["nonsense", "{\"x\": \"two\"}", "{\"y\": \"no x\"}"]),
        (
            &topic,
            ["topic in, partition 0, offset 1", "topic in, partition 0, offset 2", "topic in, partition 0, offset 4"],
            ["nonsense", "{\"x\": \"two\"}", "{\"y\": \"no x\"}"],
        ),
    ] {
        let project = Project::new();
        let lines = ["{\"x\": 1}", "nonsense", "{\"x\": \"two\"}", "{\"x\": 4}", "{\"y\": \"no x\"}"];
        project.file("in.csv", "x,y\n1,a\n2x,\"b,b\"\n\"3\"\r\n4,d\n,e");
        project.file("in.jsonl", lines.join("\n"));
        let records = lines.map(|line| Record { timestamp_ms: 0, key: None, value: line.as_bytes().to_vec().into() });
        project.log.topic_or_create("in", TopicOptions::default()).unwrap().append(0, &records).await.unwrap();
        // The first stops; all can be skipped; all can be put aside.
        for word in [with(options, &[]), with(options, &[("bad-rows", "fail")])] {
            let error = project.read(&word).await.unwrap_err().to_string();
            assert!(error.contains(places[0]), "{error}");
        }
        for word in [with(options, &[("bad-rows", "skip")]), with(options, &DEAD)] {
            let rows = project.read(&word).await.unwrap();
            assert_eq!(rows.column(0).as_primitive::<Int64Type>().values().to_vec(), [1, 4]);
        }
        let found = project.read(&letters()).await.unwrap();
        let column = |n: usize| -> Vec<String> {
            found.column(n).as_string::<i32>().iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
        };
        assert_eq!(column(0), ["t"; 3]);
        for (n, place) in places.iter().enumerate() {
            assert!(column(1)[n].ends_with(place), "{:?}", column(1));
            assert!(!column(2)[n].is_empty());
        }
        assert_eq!(column(3), raws);
        let bytes: Vec<&[u8]> = found.column(4).as_binary::<i32>().iter().map(Option::unwrap).collect();
        assert_eq!(bytes, raws.map(str::as_bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_bad_rows_can_be_looked_at() {
    let csv = [("connector", "filesystem"), ("path", "in.csv"), ("format", "csv")];
    let json = [("connector", "filesystem"), ("path", "in.jsonl"), ("format", "json")];
    let topic = [("connector", "log"), ("topic", "in"), ("format", "json")];
    let long = format!("{{\"x\": \"{}\"}}", "y".repeat(5_000));
    let lines = ["{\"x\": 1}", "non\tsense\u{1b}", "{\"x\": 4}", &long];
    let cells = "x,y\n1,a\n\n2x,\"b\n b\"\r\n4,d\n,e,\u{202e}f";
    for (options, places, raws) in [
        (&csv, ["in.csv:4", "in.csv:7"], [r#"2x,"b\n b""#, r",e,\u{202e}f"]),
        (&json, ["in.jsonl:2", "in.jsonl:4"], [r"non\tsense\u{1b}", &long[..300]]),
        (
            &topic,
            ["topic in, partition 0, offset 1", "topic in, partition 0, offset 3"],
            [r"non\tsense\u{1b}", &long[..300]],
        ),
    ] {
        for (more, seen) in [(&[][..], 1), (&[("bad-rows", "skip")], 2), (&DEAD, 2)] {
            let project = Project::new();
            project.file("in.csv", cells);
            project.file("in.jsonl", lines.join("\n"));
            let record = |line: &str| Record { timestamp_ms: 0, key: None, value: line.as_bytes().to_vec().into() };
            let records = lines.map(record);
            project.log.topic_or_create("in", TopicOptions::default()).unwrap().append(0, &records).await.unwrap();
            let source = project.connectors.source(&with(options, more)).unwrap();
            source.partitions().await.unwrap();
            let mut reader = source.open(0, 0, &[0, 1], false).await.unwrap();
            assert_eq!(drain(reader.as_mut()).await.is_err(), more.is_empty());
            let rows = source.bad_rows().unwrap().rows();
            assert_eq!(rows.len(), seen, "{options:?} {more:?}");
            for (row, (place, raw)) in rows.iter().zip(places.iter().zip(&raws)) {
                assert!(row.place.ends_with(place) && !row.reason.is_empty(), "{row:?}");
                assert_eq!(row.raw.as_deref(), Some(*raw));
                assert_eq!(row.is_cut, raw.len() == 300);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_is_kept_byte_by_byte() {
    let project = Project::new();
    let value = [0xff, 0xfe, b'x'];
    let record = Record { timestamp_ms: 0, key: None, value: value.to_vec().into() };
    project.log.topic_or_create("in", TopicOptions::default()).unwrap().append(0, &[record]).await.unwrap();
    let options = [("connector", "log"), ("topic", "in"), ("format", "raw")];
    let definition = table("t", "text STRING", &options.into_iter().chain(DEAD).collect::<Vec<_>>());
    assert_eq!(project.read(&definition).await.unwrap().num_rows(), 0);
    let found = project.read(&letters()).await.unwrap();
    assert_eq!(found.column(4).as_binary::<i32>().value(0), value);
}

#[test]
fn choices_that_contradict_each_other_are_refused() {
    let project = Project::new();
    let csv = [("connector", "filesystem"), ("path", "in.csv"), ("format", "csv")];
    for (more, reason) in [
        (&[("bad-rows", "dead-letter")][..], "option 'dead-letter.topic' is missing"),
        (&[("dead-letter.topic", "rejects")], "does nothing without 'bad-rows' = 'dead-letter'"),
        (&[("bad-rows", "fail"), ("csv.ignore-parse-errors", "true")], "contradict each other"),
        (&[("bad-rows", "ignore")], "is not known"),
    ] {
        let refused = project.connectors.check(&with(&csv, more)).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}
