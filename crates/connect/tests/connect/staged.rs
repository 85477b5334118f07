//! Folders of files as streams write them: what a checkpoint covers is published once, whatever dies when; files roll by size
//! and age; markers say what is complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::sink::{Delivery, Sink, SinkWriter};
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::time::Watermark;

use super::project::{Project, partitioned_by, table};

/// Numbers from `range` on two days.
fn rows(range: std::ops::Range<i64>) -> Batch {
    let day = |x: i64| if x % 3 == 0 { "2024-01-01" } else { "2024-01-02" };
    let days = StringArray::from_iter_values(range.clone().map(day));
    let columns = [("x", Arc::new(Int64Array::from_iter_values(range)) as _), ("day", Arc::new(days) as _)];
    Batch::append(RecordBatch::try_from_iter(columns).unwrap())
}

fn folder(format: &str, more: &[(&str, &str)]) -> TableDefinition {
    let options = [("connector", "filesystem"), ("path", "out"), ("format", format)];
    let options: Vec<_> = options.into_iter().chain(more.iter().copied()).collect();
    partitioned_by(table("out", "x BIGINT, day STRING", &options), &["day"])
}

/// A new instance of the table's sink, as after a restart.
fn instance(project: &Project, definition: &TableDefinition) -> Arc<dyn Sink> {
    let sink = project.connectors.sink(definition).unwrap();
    assert_eq!(sink.delivery(), Delivery::ExactlyOnce);
    sink
}

/// The table holds the numbers from 0 to `end`, each once.
async fn holds(project: &Project, definition: &TableDefinition, end: i64) {
    let sql = "SELECT count(*) AS n, count(DISTINCT x) AS d, coalesce(sum(x), 0) AS s FROM t";
    let found = project.query(definition, sql).await.unwrap();
    let numbers: Vec<&str> = found.lines().nth(3).unwrap().split('|').map(str::trim).collect();
    assert_eq!(&numbers[1..4], [end.to_string(), end.to_string(), (end * (end - 1) / 2).to_string()], "{found}");
}

/// The files below a folder, hidden ones too, as paths in it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            found.insert(name);
        }
    }
    found
}

fn visible(project: &Project) -> Vec<String> {
    files(&project.path("out")).into_iter().filter(|name| !name.starts_with('.')).collect()
}

async fn seal(writers: &mut [Box<dyn SinkWriter>], number: u64) -> Vec<String> {
    let mut staged = Vec::new();
    for writer in writers {
        staged.extend(writer.seal(number).await.unwrap());
    }
    staged
}

async fn two_writers(sink: &Arc<dyn Sink>) -> Vec<Box<dyn SinkWriter>> {
    vec![sink.writer(0).await.unwrap(), sink.writer(1).await.unwrap()]
}

#[tokio::test]
async fn what_a_checkpoint_covers_is_published_once_in_every_format() {
    let formats: [(&str, &[(&str, &str)]); 7] = [
        ("csv", &[]),
        ("csv", &[("compression", "gzip")]),
        ("csv", &[("sink.rolling-policy.rollover-interval", "1 h"), ("compression", "zstd")]),
        ("json", &[("compression", "zstd")]),
        ("json", &[("sink.rolling-policy.rollover-interval", "1 h"), ("compression", "gzip")]),
        ("json", &[("sink.rolling-policy.rollover-interval", "1 h")]),
        ("parquet", &[]),
    ];
    for (format, options) in formats {
        let project = Project::new();
        let definition = folder(format, options);
        let sink = instance(&project, &definition);
        sink.begin("job", None).await.unwrap();
        let mut writers = two_writers(&sink).await;
        writers[0].write(rows(0..10)).await.unwrap();
        writers[1].write(rows(10..20)).await.unwrap();
        let first = seal(&mut writers, 1).await;
        writers[0].write(rows(100..110)).await.unwrap();
        holds(&project, &definition, 0).await;
        sink.publish(1, &first).await.unwrap();
        sink.publish(1, &first).await.unwrap();
        let stays_open = options.iter().any(|(name, _)| name.contains("rollover"));
        holds(&project, &definition, if stays_open { 0 } else { 20 }).await;
        // It dies: what came after the checkpoint is written again.
        drop((writers, sink));
        for _ in 0..2 {
            let sink = instance(&project, &definition);
            sink.begin("job", Some((1, &first))).await.unwrap();
            holds(&project, &definition, 20).await;
        }
        let sink = instance(&project, &definition);
        sink.begin("job", Some((1, &first))).await.unwrap();
        let mut writers = two_writers(&sink).await;
        writers[0].write(rows(20..40)).await.unwrap();
        let second = seal(&mut writers, 2).await;
        writers[1].write(rows(200..210)).await.unwrap();
        let unsealed = files(&project.path("out"));
        // It dies when the checkpoint is durable, and has published a part of it.
        drop((writers, sink));
        let staged: Vec<_> = unsealed.iter().filter(|name| name.starts_with(".mulgil-job/day")).collect();
        let named = |name: &&&String| second.iter().any(|text| text.ends_with(name.trim_start_matches(".mulgil-job/")));
        let one = staged.iter().find(named).unwrap();
        if !stays_open {
            let to = project.path("out").join(one.trim_start_matches(".mulgil-job/"));
            fs::rename(project.path("out").join(one), to).unwrap();
        }
        let sink = instance(&project, &definition);
        sink.begin("job", Some((2, &second))).await.unwrap();
        holds(&project, &definition, 40).await;
        let left = files(&project.path("out"));
        let hidden: Vec<_> = left.iter().filter(|name| name.starts_with('.')).collect();
        assert_eq!(hidden, [".mulgil-job/published"], "{format} {options:?}");
        // To go on from an older checkpoint, or from none, would write rows twice.
        for last in [Some((1, first.as_slice())), None] {
            let refused = instance(&project, &definition).begin("job", last).await.unwrap_err().to_string();
            assert!(refused.contains("it has the rows of checkpoint 2 of job"), "{refused}");
        }
        // Another job knows nothing of it.
        instance(&project, &definition).begin("other", None).await.unwrap();
    }
}

#[tokio::test]
async fn a_staged_file_that_is_gone_is_said() {
    let project = Project::new();
    let definition = folder("csv", &[]);
    let sink = instance(&project, &definition);
    sink.begin("job", None).await.unwrap();
    let mut writers = two_writers(&sink).await;
    writers[0].write(rows(0..1)).await.unwrap();
    let staged = seal(&mut writers, 1).await;
    fs::remove_dir_all(project.path("out/.mulgil-job/day=2024-01-01")).unwrap();
    let error = sink.publish(1, &staged).await.unwrap_err().to_string();
    assert!(error.starts_with("table out: checkpoint 1 names") && error.ends_with("which is gone"), "{error}");
}

#[tokio::test]
async fn files_roll_by_size_and_age() {
    for (options, at_least) in [
        (&[("sink.rolling-policy.file-size", "1 kb")][..], 4),
        (&[("sink.rolling-policy.rollover-interval", "0 s")], 20),
        (&[("sink.rolling-policy.file-size", "1gb")], 2),
    ] {
        let project = Project::new();
        let definition = folder("json", options);
        let sink = instance(&project, &definition);
        sink.begin("job", None).await.unwrap();
        let mut writer = sink.writer(0).await.unwrap();
        for n in 0..40 {
            writer.write(rows(n * 10..n * 10 + 10)).await.unwrap();
        }
        let staged = writer.seal(1).await.unwrap();
        sink.publish(1, &staged).await.unwrap();
        holds(&project, &definition, 400).await;
        let count = visible(&project).len();
        assert!(count >= at_least && (at_least > 2 || count == 2), "{options:?}: {count}");
    }
    for (name, value) in [("sink.rolling-policy.file-size", "large"), ("sink.rolling-policy.rollover-interval", "soon")]
    {
        let project = Project::new();
        let refused = project.connectors.check(&folder("csv", &[(name, value)])).unwrap_err().to_string();
        assert!(refused.contains(value) && refused.contains("write for example"), "{refused}");
    }
}

const MARKED: [(&str, &str); 3] = [
    ("sink.partition-commit.policy.kind", "success-file"),
    ("sink.partition-commit.trigger", "partition-time"),
    ("sink.partition-commit.delay", "24 h"),
];

#[tokio::test]
async fn partitions_are_marked_when_the_watermark_has_passed_them() {
    let project = Project::new();
    let definition = folder("csv", &MARKED);
    let sink = instance(&project, &definition);
    sink.begin("job", None).await.unwrap();
    let mut writers = two_writers(&sink).await;
    let end_of_first_day = Watermark(1_704_067_200_000 + 86_400_000);
    let markers = |project: &Project| -> Vec<String> {
        visible(project).into_iter().filter(|name| name.ends_with("_SUCCESS")).collect()
    };
    writers[0].write(rows(0..10)).await.unwrap();
    writers[0].on_watermark(end_of_first_day).await.unwrap();
    let staged = seal(&mut writers, 1).await;
    sink.publish(1, &staged).await.unwrap();
    // The other writer is not there yet.
    assert_eq!(markers(&project), [] as [&str; 0]);
    drop((writers, sink));
    let sink = instance(&project, &definition);
    sink.begin("job", Some((1, &staged))).await.unwrap();
    let mut writers = two_writers(&sink).await;
    for writer in &mut writers {
        writer.on_watermark(end_of_first_day).await.unwrap();
    }
    let staged = seal(&mut writers, 2).await;
    // It dies before it publishes.
    drop((writers, sink));
    let sink = instance(&project, &definition);
    sink.begin("job", Some((2, &staged))).await.unwrap();
    assert_eq!(markers(&project), ["day=2024-01-01/_SUCCESS"]);
    let mut writers = two_writers(&sink).await;
    for writer in &mut writers {
        writer.on_watermark(Watermark::END).await.unwrap();
    }
    let staged = seal(&mut writers, u64::MAX).await;
    sink.publish(3, &staged).await.unwrap();
    assert_eq!(markers(&project), ["_SUCCESS", "day=2024-01-01/_SUCCESS", "day=2024-01-02/_SUCCESS"]);
    holds(&project, &definition, 10).await;
}

#[tokio::test]
async fn without_checkpoints_a_commit_publishes_and_the_end_marks() {
    let project = Project::new();
    let definition = folder("csv", &MARKED);
    let sink = project.connectors.sink(&definition).unwrap();
    let mut writers = two_writers(&sink).await;
    for (n, writer) in (0..).zip(&mut writers) {
        writer.write(rows(n * 10..n * 10 + 10)).await.unwrap();
        writer.commit().await.unwrap();
    }
    holds(&project, &definition, 20).await;
    for writer in &mut writers {
        assert!(!visible(&project).contains(&"_SUCCESS".to_owned()));
        writer.on_watermark(Watermark::END).await.unwrap();
        writer.commit().await.unwrap();
    }
    assert!(visible(&project).contains(&"_SUCCESS".to_owned()));
    drop((writers, sink));
    assert!(files(&project.path("out")).iter().all(|name| !name.starts_with('.')), "nothing hidden is left");
}

#[test]
fn options_of_markers_that_make_no_sense_are_refused() {
    let project = Project::new();
    let kind = ("sink.partition-commit.policy.kind", "success-file");
    for (options, reason) in [
        (&[("sink.partition-commit.delay", "1 h")][..], "does nothing without"),
        (&[kind, ("sink.partition-commit.delay", "1 h")], "needs 'sink.partition-commit.trigger' = 'partition-time'"),
        (&[kind, ("sink.partition-commit.success-file.name", "DONE")], "would be read as data"),
        (&[MARKED[0], MARKED[1], ("partition.time-extractor.timestamp-pattern", "$hour")], "names no partition column"),
        (&[("sink.partition-commit.policy.kind", "metastore")], "is not known"),
    ] {
        let refused = project.connectors.check(&folder("csv", options)).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}
