//! Tables without a system: made-up rows, and standard input.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use mulgil_connect::definition::TableDefinition;

use super::project::{Project, drain, table, text};

fn made_up(columns: &str, options: &[(&str, &str)]) -> TableDefinition {
    let options: Vec<(&str, &str)> = [("connector", "datagen")].into_iter().chain(options.iter().copied()).collect();
    table("made", columns, &options)
}

#[tokio::test]
async fn made_up_rows_are_the_same_wherever_reading_begins() {
    let project = Project::new();
    let columns = "id BIGINT, small INT, part DOUBLE, price DECIMAL, ok BOOLEAN, s STRING, b BYTES";
    let options = [
        ("number-of-rows", "20000"),
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "5"),
        ("fields.id.end", "1000000"),
        ("fields.small.min", "-3"),
        ("fields.small.max", "3"),
        ("fields.part.min", "0.5"),
        ("fields.part.max", "1.5"),
        ("fields.price.min", "1"),
        ("fields.price.max", "9"),
        ("fields.s.length", "20"),
        ("fields.s.null-rate", "0.25"),
        ("fields.b.length", "3"),
    ];
    let source = project.connectors.source(&made_up(columns, &options)).unwrap();
    assert!(source.is_bounded() && source.replays());
    let all: Vec<usize> = (0..7).collect();
    let (batches, end) = drain(source.open(0, 0, &all, false).await.unwrap().as_mut()).await.unwrap();
    let whole = concat_batches(&source.schema(), &batches).unwrap();
    assert_eq!((whole.num_rows(), end), (20_000, 20_000));
    for from in [1, 8191, 8192, 12_345, 20_000] {
        let (batches, _) = drain(source.open(0, from, &all, false).await.unwrap().as_mut()).await.unwrap();
        let rest = concat_batches(&source.schema(), &batches).unwrap();
        assert_eq!(rest, whole.slice(from as usize, 20_000 - from as usize), "from {from}");
    }
    let (some, _) = drain(source.open(0, 0, &[5, 0], false).await.unwrap().as_mut()).await.unwrap();
    assert_eq!(some[0].column(0).as_ref(), batches[0].column(5).as_ref());
    insta::assert_snapshot!(text(&whole.slice(0, 4)));
    let sums = "SELECT min(id) AS a, max(id) AS b, count(DISTINCT small) AS c, min(small) AS d, max(small) AS e, min(part) >= 0.5 AND max(part) <= 1.5
                AND avg(part) BETWEEN 0.99 AND 1.01 AS f, min(price) >= 1 AND max(price) <= 9 AS g, count(DISTINCT s) = count(s) AS h,
                count(s) BETWEEN 14700 AND 15300 AS i, count(*) FILTER (WHERE ok) BETWEEN 9700 AND 10300 AS j FROM t";
    let found = project.query(&made_up(columns, &options), sums).await.unwrap();
    assert!(found.contains("| 5 | 20004 | 7 | -3 | 3 | true | true | true | true | true |"), "{found}");
    // Another seed makes other rows, a column's own seed other values of that column alone.
    let read =
        async |more: (&str, &str)| project.read(&made_up(columns, &[&options[..], &[more]].concat())).await.unwrap();
    let (other, own) = (read(("seed", "7")).await, read(("fields.small.seed", "7")).await);
    for column in 1..7 {
        assert_ne!(other.column(column), whole.column(column), "column {column}");
        assert_eq!(own.column(column) == whole.column(column), column != 1, "column {column}");
    }
    assert_eq!(other.column(0), whole.column(0));
}

#[tokio::test]
async fn rows_come_at_their_rate_and_with_the_time_of_their_making() {
    let project = Project::new();
    let options = [("rows-per-second", "2000"), ("fields.at.max-past", "1 s")];
    let definition = made_up("n INT, at TIMESTAMP, day DATE", &options);
    let source = project.connectors.source(&definition).unwrap();
    assert!(!source.is_bounded());
    let refused = source.open(0, 0, &[0], false).await.err().unwrap().to_string();
    assert!(refused.contains("say how many there are with 'number-of-rows'"), "{refused}");
    let (began, mut reader) = (Instant::now(), source.open(0, 100, &[0, 1, 2], true).await.unwrap());
    let mut rows: Vec<RecordBatch> = Vec::new();
    while rows.iter().map(RecordBatch::num_rows).sum::<usize>() < 500 {
        let mulgil_connect::source::Read::Rows(batch, _) = reader.next().await.unwrap() else {
            panic!("it has no end")
        };
        rows.push(batch);
    }
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    for batch in &rows {
        let times = arrow::compute::cast(batch.column(1), &arrow::datatypes::DataType::Int64).unwrap();
        let times = times.as_primitive::<Int64Type>();
        assert!(times.values().iter().all(|time| (now - 120_000..=now).contains(time)), "{times:?}, {now}");
        assert_eq!(batch.column(2).null_count(), 0);
    }
}

#[test]
fn what_is_said_of_columns_is_checked() {
    let project = Project::new();
    for (columns, option, value, said) in [
        ("n INT", "fields.m.min", "1", "unknown option 'fields.m.min'"),
        ("n INT", "fields.n.min", "3000000000", "no range of the column"),
        ("n INT", "fields.n.length", "3", "says nothing about a column of this kind"),
        ("n INT", "fields.n.kind", "sequence", "option 'fields.n.start' is missing"),
        ("n BOOLEAN", "fields.n.kind", "sequence", "a sequence is of numbers or STRINGs, not BOOLEAN"),
        ("n INT NOT NULL", "fields.n.null-rate", "0.5", "0 for a NOT NULL column"),
        ("n DECIMAL", "fields.n.max", "1e20", "no range of the column"),
        ("n INT", "rows-per-second", "0", "must be at least 1"),
    ] {
        let refused = project.connectors.check(&made_up(columns, &[(option, value)])).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}, not {said}");
    }
}

fn stdin() -> TableDefinition {
    table("input", "line STRING", &[("connector", "stdin")])
}

#[test]
fn standard_input_is_read_once_line_by_line() {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program)
        .args(["--exact", "made_up::child", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<String> = (0..50_000).map(|n| format!("line {n} 물길")).collect();
    let text = lines.join("\n");
    // The reader must not wait for more before it has read what is there.
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("50000 lines, the last: line 49999 물길"), "{said}");
    assert!(said.contains("standard input can be read once"), "{said}");
    let project = Project::new();
    assert!(!project.connectors.source(&stdin()).unwrap().replays());
    let timed = table("input", "line STRING", &[("connector", "stdin"), ("scan.watermark.idle-timeout", "1 s")]);
    assert!(!project.connectors.source(&timed).unwrap().replays(), "options of time change nothing about it");
}

#[tokio::test]
#[ignore = "runs in the child process only"]
async fn child() {
    let project = Project::new();
    let rows = project.read(&stdin()).await.unwrap();
    let lines = rows.column(0).as_string::<i32>();
    let again = project.read(&stdin()).await.unwrap_err();
    let said = format!("{} lines, the last: {}; {again}\n", lines.len(), lines.value(lines.len() - 1));
    std::io::stdout().write_all(said.as_bytes()).unwrap();
}
