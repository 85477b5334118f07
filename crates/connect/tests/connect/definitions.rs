//! What is refused before any system is touched, and in which words.

use super::project::{Project, metadata, partitioned_by, table};

fn refusals() -> Vec<(&'static str, mulgil_connect::definition::TableDefinition)> {
    let csv: &[(&str, &str)] = &[("connector", "filesystem"), ("path", "x.csv"), ("format", "csv")];
    let with = |extra: &[(&'static str, &'static str)]| {
        let options: Vec<(&str, &str)> = csv.iter().copied().chain(extra.iter().copied()).collect();
        table("flights", "day DATE, x INT", &options)
    };
    let log = |extra: &[(&'static str, &'static str)]| {
        let options = [("connector", "log"), ("topic", "t"), ("format", "json")];
        let options: Vec<(&str, &str)> = options.iter().copied().chain(extra.iter().copied()).collect();
        table("events", "x INT", &options)
    };
    let kafka = |extra: &[(&'static str, &'static str)]| {
        let options = [
            ("connector", "kafka"),
            ("topic", "t"),
            ("format", "json"),
            ("properties.bootstrap.servers", "localhost:9092"),
        ];
        let options: Vec<(&str, &str)> = options.iter().copied().chain(extra.iter().copied()).collect();
        table("events", "x INT, at TIMESTAMP, o BIGINT", &options)
    };
    vec![
        ("unknown connector", table("t", "x INT", &[("connector", "filesytem")])),
        ("unlike any connector", table("t", "x INT", &[("connector", "mqtt")])),
        ("unknown option", with(&[("csv.null-litteral", "NA")])),
        ("option of another format", with(&[("json.ignore-parse-errors", "true")])),
        ("missing path", table("t", "x INT", &[("connector", "filesystem"), ("format", "csv")])),
        ("missing format", table("t", "x INT", &[("connector", "filesystem"), ("path", "x")])),
        ("unknown format", table("t", "x INT", &[("connector", "filesystem"), ("path", "x"), ("format", "cvs")])),
        ("not a truth value", with(&[("csv.header", "yes")])),
        ("long delimiter", with(&[("csv.field-delimiter", "||")])),
        ("unknown partition column", partitioned_by(with(&[]), &["dya"])),
        ("partition column of a wrong type", {
            partitioned_by(table("t", "x INT, at TIMESTAMP", &[("connector", "delta")]), &["at"])
        }),
        ("only partition columns", partitioned_by(with(&[]), &["day", "x"])),
        ("missing topic", table("t", "x INT", &[("connector", "log"), ("format", "json")])),
        ("unknown startup mode", log(&[("scan.startup.mode", "earliest")])),
        ("startup timestamp missing", log(&[("scan.startup.mode", "timestamp")])),
        ("bad duration", log(&[("scan.watermark.idle-timeout", "ten minutes")])),
        ("alignment without event time", log(&[("scan.watermark.alignment.max-drift", "1 min")])),
        ("group without drift", log(&[("scan.watermark.alignment.group", "g")])),
        ("misspelt alignment", log(&[("scan.watermark.alignment.max-drifts", "1 min")])),
        ("bad number", log(&[("topic.partitions", "two")])),
        ("raw with two columns", {
            table("t", "x INT, y INT", &[("connector", "log"), ("topic", "t"), ("format", "raw")])
        }),
        ("partitioned topic", partitioned_by(log(&[]), &["x"])),
        ("kafka without servers", {
            table("t", "x INT", &[("connector", "kafka"), ("topic", "t"), ("format", "json")])
        }),
        ("unknown option of kafka", kafka(&[("scan.startup.modes", "earliest-offset")])),
        ("unknown property", kafka(&[("properties.max.poll.records", "7")])),
        ("a property's value", kafka(&[("properties.isolation.level", "read_everything")])),
        ("a password is not said", kafka(&[("properties.sasl.jaas.config", "PlainLoginModule password='s3same'")])),
        ("group offsets without a group", kafka(&[("scan.startup.mode", "group-offsets")])),
        ("no reset", kafka(&[("properties.auto.offset.reset", "middle")])),
        ("offsets", kafka(&[("scan.startup.mode", "specific-offsets"), ("scan.startup.specific-offsets", "0:5")])),
        ("unknown end", kafka(&[("scan.bounded.mode", "latest")])),
        ("key of an unknown column", kafka(&[("key.format", "json"), ("key.fields", "x;y")])),
        ("key without a format", kafka(&[("key.fields", "x")])),
        ("raw key of two columns", kafka(&[("key.format", "raw"), ("key.fields", "x;o")])),
        ("partitioned kafka topic", partitioned_by(kafka(&[]), &["x"])),
        ("unknown guarantee", kafka(&[("sink.delivery-guarantee", "at-most-once")])),
        ("unknown metadata", metadata(kafka(&[]), "at", "timestamps", true)),
        ("metadata of another type", metadata(kafka(&[]), "x", "timestamp", true)),
        ("metadata that can only be read", metadata(kafka(&[]), "o", "offset", false)),
        ("metadata of a log", metadata(log(&[]), "x", "offset", true)),
        ("delta with a format", table("t", "x INT", &[("connector", "delta"), ("format", "csv")])),
    ]
}

#[test]
fn wrong_definitions_are_refused_with_a_remedy() {
    let project = Project::new();
    let cases = refusals();
    let lines: Vec<String> = cases
        .iter()
        .map(|(case, table)| match project.connectors.check(table) {
            Ok(()) => panic!("{case} was accepted"),
            Err(error) => format!("{case}\n    {error}"),
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn sinks_cannot_be_read() {
    let project = Project::new();
    let error = project.connectors.source(&table("t", "x INT", &[("connector", "print")])).err().unwrap();
    assert_eq!(error.to_string(), "table t: a table of connector 'print' can only be written");
}
