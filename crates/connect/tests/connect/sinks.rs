//! Ends of streams: files commit what is new, print and blackhole take everything.

use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch, UInt8Array};
use mulgil_dataflow::batch::Batch;

use super::project::{Project, partitioned_by, select, table};

fn numbers(values: &[i32]) -> RecordBatch {
    RecordBatch::try_from_iter([("x", Arc::new(Int32Array::from(values.to_vec())) as _)]).unwrap()
}

#[tokio::test]
async fn a_file_sink_shows_rows_with_the_commit() {
    let project = Project::new();
    for (format, connector) in [("csv", "filesystem"), ("json", "filesystem"), ("", "delta")] {
        let path = format!("out-{connector}-{format}");
        let mut options = vec![("connector", connector), ("path", &*path)];
        options.extend([("format", format)].into_iter().filter(|(_, format)| !format.is_empty()));
        let table = partitioned_by(table("out", "x INT, y STRING", &options), &["y"]);
        let sink = project.connectors.sink(&table).unwrap();
        assert!(!sink.accepts_changes());
        let (mut first, mut second) = (sink.writer(0).await.unwrap(), sink.writer(1).await.unwrap());
        let rows = |values: &[i32], y: &str| {
            let y = arrow::array::StringArray::from(vec![y; values.len()]);
            let x = Int32Array::from(values.to_vec());
            Batch::append(RecordBatch::try_from_iter([("x", Arc::new(x) as _), ("y", Arc::new(y) as _)]).unwrap())
        };
        let deleted = Batch { kinds: Some(UInt8Array::from(vec![3])), ..rows(&[1], "a") };
        let refused = first.write(deleted).await.unwrap_err().to_string();
        assert_eq!(refused, "table out: it takes new rows only, but the query updates or deletes rows");
        first.write(rows(&[1], "a")).await.unwrap();
        first.write(rows(&[2], "b")).await.unwrap();
        second.write(rows(&[3], "a")).await.unwrap();
        let sum = "SELECT count(*) AS n, sum(x) AS s FROM t";
        if project.path(&path).exists() {
            let before = project.query(&table, sum).await.unwrap();
            assert!(before.contains("| 0 |"), "{before}");
        }
        first.commit().await.unwrap();
        second.commit().await.unwrap();
        first.commit().await.unwrap();
        let after = project.query(&table, sum).await.unwrap();
        assert!(after.contains("| 3 | 6 |"), "{connector} {format}: {after}");
        second.write(rows(&[4], "c")).await.unwrap();
        second.commit().await.unwrap();
        let after = project.query(&table, sum).await.unwrap();
        assert!(after.contains("| 4 | 10 |"), "{connector} {format}: {after}");
    }
}

#[tokio::test]
async fn print_and_blackhole_accept_changes() {
    let project = Project::new();
    for connector in ["print", "blackhole"] {
        let table = table("out", "x INT", &[("connector", connector)]);
        let sink = project.connectors.sink(&table).unwrap();
        assert!(sink.accepts_changes());
        let mut writer = sink.writer(0).await.unwrap();
        let kinds = Some(UInt8Array::from(vec![0, 1, 2, 3]));
        writer.write(Batch { rows: numbers(&[1, 2, 3, 4]), kinds }).await.unwrap();
        writer.commit().await.unwrap();
        let written = project.connectors.writer(&table).unwrap().append(select("SELECT 1 AS x").await).await.unwrap();
        assert_eq!(written.rows, 1);
        let refused = project.connectors.writer(&table).unwrap().replace_table(select("SELECT 1 AS x").await).await;
        assert!(refused.unwrap_err().to_string().starts_with("table out: it can only be appended to"));
    }
}
