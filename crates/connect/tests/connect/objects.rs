//! Files in object storage, on a real server: what is written is read back by another machine, and what a stream writes is seen
//! when it is published, once.

use mulgil_dataflow::batch::Batch;

use crate::bucket::Storage;
use crate::project::{Project, partitioned_by, rows, select, table};

fn machine() -> Project {
    Project::with_object_storage(Storage::shared().options())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_machine_writes_another_reads_in_every_format() {
    for (format, more) in [("csv", "none"), ("csv", "gzip"), ("json", "zstd"), ("parquet", ""), ("avro", "")] {
        let place = format!("s3://pipelines/formats/{format}{more}");
        let mut options = vec![("connector", "filesystem"), ("path", place.as_str()), ("format", format)];
        options.extend((!more.is_empty()).then_some(("compression", more)));
        let t = partitioned_by(table("t", "n BIGINT, text STRING, day STRING", &options), &["day"]);
        let (writer, reader) = (machine(), machine());
        for day in ["2013-01-01", "a/b=c d"] {
            let sql = format!("SELECT n, 'é' || n AS text, '{day}' AS day FROM (VALUES (1), (2)) AS v (n)");
            let written = writer.connectors.writer(&t).unwrap().append(select(&sql).await).await.unwrap();
            assert_eq!(written.rows, 2, "{place}");
        }
        let found = reader.query(&t, "SELECT day, text FROM t WHERE n = 2 ORDER BY day").await.unwrap();
        let lines: Vec<&str> = found.lines().filter(|line| line.contains('é')).collect();
        assert_eq!(lines, ["| 2013-01-01 | é2   |", "| a/b=c d    | é2   |"], "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_seen_before_it_is_published_and_nothing_twice() {
    let options = [("connector", "filesystem"), ("path", "s3://pipelines/published"), ("format", "json")];
    let t = table("t", "n BIGINT", &options);
    let batch = async |n: i64| {
        use futures::TryStreamExt;
        let rows: Vec<_> = select(&format!("SELECT CAST({n} AS BIGINT) AS n")).await.try_collect().await.unwrap();
        Batch::append(rows[0].clone())
    };
    let first = machine();
    let sink = first.connectors.sink(&t).unwrap();
    sink.begin("job", None).await.unwrap();
    let mut writer = sink.writer(0).await.unwrap();
    writer.write(batch(1).await).await.unwrap();
    let staged = writer.seal(1).await.unwrap();
    writer.write(batch(2).await).await.unwrap();
    let lost = writer.seal(2).await.unwrap();
    assert!(!lost.is_empty());
    let reader = machine();
    assert!(reader.query(&t, "SELECT count(*) FROM t").await.is_err(), "there is nothing yet");
    // The machine is lost behind checkpoint 1, which was not published; another goes on from there.
    drop((writer, sink, first));
    let second = machine();
    let sink = second.connectors.sink(&t).unwrap();
    sink.begin("job", Some((1, &staged))).await.unwrap();
    sink.publish(1, &staged).await.unwrap();
    let mut writer = sink.writer(0).await.unwrap();
    writer.write(batch(2).await).await.unwrap();
    let staged = writer.seal(2).await.unwrap();
    sink.publish(2, &staged).await.unwrap();
    sink.publish(2, &staged).await.unwrap();
    let found = reader.query(&t, "SELECT n FROM t ORDER BY n").await.unwrap();
    assert_eq!(found.matches("| 1 |").count() + found.matches("| 2 |").count(), 2, "{found}");
    let ahead = machine().connectors.sink(&t).unwrap().begin("job", Some((1, &[]))).await.unwrap_err();
    assert!(ahead.to_string().contains("checkpoint 2"), "{ahead}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_object_storage_cannot_do_is_refused() {
    let project = machine();
    let options = [("connector", "filesystem"), ("path", "s3://pipelines/refused"), ("format", "json")];
    let t = table("t", "n BIGINT", &options);
    let refused = project.connectors.writer(&t).unwrap().replace_table(rows(vec![])).await.unwrap_err();
    assert!(refused.to_string().contains("only be appended"), "{refused}");
    let nowhere = [("connector", "filesystem"), ("path", "s3://"), ("format", "json")];
    assert!(project.connectors.check(&table("t", "n BIGINT", &nowhere)).is_err());
}
