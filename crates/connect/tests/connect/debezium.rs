//! Debezium's changes: what each record says, what is wrong with it, and what a batch makes of them.

use arrow::util::display::{ArrayFormatter, FormatOptions};
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::source::{Position, Read};
use mulgil_log::{Record, TopicOptions};

use super::project::{Project, metadata, table};

const COLUMNS: &str = "id BIGINT NOT NULL, name STRING, v DOUBLE";
const PLAIN: [(&str, &str); 3] = [("connector", "log"), ("topic", "t"), ("format", "debezium-json")];
const WITH_SCHEMA: [(&str, &str); 4] = [PLAIN[0], PLAIN[1], PLAIN[2], ("debezium-json.schema-include", "true")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> TableDefinition {
    let options: Vec<(&str, &str)> = PLAIN.iter().chain(more).copied().collect();
    table("t", COLUMNS, &options)
}

async fn produce(project: &Project, values: &[&str]) {
    let topic = project.log.topic_or_create("t", TopicOptions::default()).unwrap();
    let record = |value: &&str| Record { timestamp_ms: 0, key: None, value: value.as_bytes().to_vec().into() };
    topic.append(0, &values.iter().map(record).collect::<Vec<_>>()).await.unwrap();
}

/// The changes from `from` on, as `+I 1 a 2.0`, and how many records were left out.
async fn changes(
    project: &Project,
    table: &TableDefinition,
    from: Position,
    columns: &[usize],
) -> Result<(Vec<String>, u64), String> {
    let source = project.connectors.source(table).map_err(|error| error.to_string())?;
    assert!(source.has_changes() && table.has_changes());
    let mut reader = source.open(0, from, columns, false).await.map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    loop {
        match reader.next().await.map_err(|error| error.to_string())? {
            Read::Changes(batch, _) => {
                let kinds = batch.kinds.clone().unwrap();
                assert_eq!(kinds.len(), batch.num_rows());
                let options = FormatOptions::default().with_null("-");
                let cells: Vec<_> = batch.rows.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect();
                for row in 0..batch.num_rows() {
                    let mut text = ["+I", "-U", "+U", "-D"][usize::from(kinds.value(row))].to_owned();
                    cells.iter().for_each(|cells| text += &format!(" {}", cells.as_ref().unwrap().value(row)));
                    found.push(text);
                }
            }
            Read::Rows(rows, _) => panic!("{rows:?}"),
            Read::Idle => {}
            Read::End => return Ok((found, reader.skipped_rows())),
        }
    }
}

#[tokio::test]
async fn records_become_changes() {
    let (plain, with_schema) = (table("t", COLUMNS, &PLAIN), table("t", COLUMNS, &WITH_SCHEMA));
    for (table, record, expected) in [
        (&plain, r#"{"before":null,"after":{"id":1,"name":"a","v":2},"op":"c"}"#, &["+I 1 a 2.0"][..]),
        (&plain, r#"{"after":{"v":null,"id":"1"},"op":"r","ts_ms":1,"source":{"db":"x"}}"#, &["+I 1 - -"]),
        (
            &plain,
            r#"{"op":"u","before":{"id":1,"name":"a","v":2,"more":[1]},"after":{"id":1,"name":"b","v":2}}"#,
            &["-U 1 a 2.0", "+U 1 b 2.0"],
        ),
        (&plain, r#"{"before":{"id":1,"name":"a","v":2},"after":null,"op":"d","transaction":null}"#, &["-D 1 a 2.0"]),
        // A row that is said and does not count may be incomplete.
        (&plain, r#"{"before":{"name":"a"},"after":{"id":1},"op":"c"}"#, &["+I 1 - -"]),
        // A tombstone.
        (&plain, "", &[]),
        (
            &with_schema,
            r#"{"schema":{"type":"struct","fields":[]},"payload":{"before":{"id":1},"after":{"id":2},"op":"u"}}"#,
            &["-U 1 - -", "+U 2 - -"],
        ),
        (&with_schema, r#"{"payload":{"before":{"id":1},"op":"d"}}"#, &["-D 1 - -"]),
    ] {
        let project = Project::new();
        produce(&project, &[record]).await;
        let (found, skipped) = changes(&project, table, 0, &[0, 1, 2]).await.unwrap();
        assert_eq!(
            (found.as_slice(), skipped),
            (expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice(), 0),
            "{record}"
        );
    }
}

#[tokio::test]
async fn records_that_are_no_changes_are_bad() {
    let (plain, with_schema) = (&PLAIN[..], &WITH_SCHEMA[..]);
    for (options, record, reason) in [
        (plain, "nonsense", "not JSON"),
        (plain, "null", "this is no change with \"before\", \"after\" and \"op\""),
        (plain, "[]", "this is no change"),
        (plain, r#"{"before":null,"after":7,"op":"c"}"#, r#""after": expected a JSON object, found a number"#),
        (plain, r#"{"after":{"id":1}}"#, r#"there is no "op""#),
        (plain, r#"{"after":{"id":1},"op":"t"}"#, r#""op" is "t"; expected c, r, u or d"#),
        (plain, r#"{"before":{"id":1},"op":"c"}"#, r#""after" is null"#),
        (plain, r#"{"after":{"id":1},"op":"u"}"#, "REPLICA IDENTITY FULL"),
        (plain, r#"{"after":{"id":1},"op":"d"}"#, r#""before" is null"#),
        (plain, r#"{"after":{"id":"x"},"op":"c"}"#, r#""after": column "id": cannot read "x" as BIGINT"#),
        (plain, r#"{"after":{"name":"x"},"op":"c"}"#, r#"column "id": NULL in a NOT NULL column"#),
        (plain, r#"{"before":{"name":"x"},"after":{"id":1},"op":"u"}"#, r#"column "id": NULL"#),
        (plain, r#"{"payload":{"after":{"id":1},"op":"c"}}"#, "'debezium-json.schema-include' = 'true'"),
        (with_schema, r#"{"after":{"id":1},"op":"c"}"#, r#"there is no "op""#),
        (with_schema, r#"{"payload":{"after":{"id":[]},"op":"c"}}"#, r#""after": column "id": cannot read"#),
        (with_schema, r#"{"payload":7}"#, r#"in a "payload""#),
    ] {
        let project = Project::new();
        let good = |id: u32| match options.len() {
            3 => format!(r#"{{"before":{{"id":{id}}},"after":{{"id":{id},"name":"b"}},"op":"u"}}"#),
            _ => format!(r#"{{"payload":{{"before":{{"id":{id}}},"after":{{"id":{id},"name":"b"}},"op":"u"}}}}"#),
        };
        produce(&project, &[&good(1), "", record, &good(2)]).await;
        let error = changes(&project, &table("t", COLUMNS, options), 0, &[0, 1, 2]).await.unwrap_err();
        assert!(error.contains("offset 2") && error.contains(reason), "{record}: {error}");
        for more in [
            &[("debezium-json.ignore-parse-errors", "true")][..],
            &[("bad-rows", "skip")],
            &[("bad-rows", "dead-letter"), ("dead-letter.topic", "rejects")],
        ] {
            let options: Vec<(&str, &str)> = options.iter().chain(more).copied().collect();
            let (found, skipped) = changes(&project, &table("t", COLUMNS, &options), 0, &[1, 0]).await.unwrap();
            assert_eq!((found.join(", ").as_str(), skipped), ("-U - 1, +U b 1, -U - 2, +U b 2", 1), "{record}");
        }
        assert_eq!(project.log.topic("rejects").unwrap().offsets(0).unwrap().end, 1);
    }
}

#[tokio::test]
async fn reading_goes_on_from_a_position() {
    let project = Project::new();
    let (one, two) = (r#"{"after":{"id":1},"op":"c"}"#, r#"{"before":{"id":1},"after":{"id":2},"op":"u"}"#);
    produce(&project, &[one, two]).await;
    let table = with(&[]);
    assert_eq!(changes(&project, &table, 1, &[0]).await.unwrap().0, ["-U 1", "+U 2"]);
    // No column is wanted, and changes are to be counted all the same.
    assert_eq!(changes(&project, &table, 0, &[]).await.unwrap().0, ["+I", "-U", "+U"]);
}

#[tokio::test]
async fn a_batch_has_the_rows_that_are_left() {
    let project = Project::new();
    produce(
        &project,
        &[
            r#"{"after":{"id":1,"name":"a"},"op":"r"}"#,
            r#"{"after":{"id":2,"name":"b"},"op":"c"}"#,
            r#"{"after":{"id":2,"name":"b"},"op":"c"}"#,
            r#"{"after":{"id":3},"op":"c"}"#,
            r#"{"before":{"id":1,"name":"a"},"after":{"id":1,"name":"z","v":0.5},"op":"u"}"#,
            r#"{"before":{"id":3},"op":"d"}"#,
        ],
    )
    .await;
    let table = with(&[]);
    insta::assert_snapshot!(project.query(&table, "SELECT * FROM t ORDER BY id").await.unwrap(), @r"
    +----+------+-----+
    | id | name | v   |
    +----+------+-----+
    | 1  | z    | 0.5 |
    | 2  | b    |     |
    | 2  | b    |     |
    +----+------+-----+
    ");
    assert!(project.query(&table, "SELECT count(*) FROM t").await.unwrap().contains("| 3 "));
    assert!(project.query(&table, "SELECT id FROM t WHERE name = 'z' LIMIT 1").await.unwrap().contains("| 1 "));
}

#[test]
fn what_cannot_be_read_or_written_is_said() {
    let project = Project::new();
    let connectors = &project.connectors;
    let error = connectors.sink(&table("t", COLUMNS, &WITH_SCHEMA)).err().unwrap().to_string();
    assert!(error.contains("changes are written without a schema"), "{error}");
    let kafka = [("connector", "kafka"), ("properties.bootstrap.servers", "localhost:1"), PLAIN[1], PLAIN[2]];
    let of_kafka = metadata(table("t", "id BIGINT, o BIGINT", &kafka), "o", "offset", true);
    let error = connectors.source(&of_kafka).err().unwrap().to_string();
    assert!(error.contains("column o: a changelog is read from the values of records alone"), "{error}");
}
