//! Points in InfluxDB's line protocol: as the protocol wants them, and as a real VictoriaMetrics takes them.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flate2::read::GzDecoder;
use mulgil_connect::definition::TableDefinition;
use mulgil_dataflow::batch::Batch;

use futures::StreamExt;

use super::project::{Project, select, table};
use super::receiver::Receiver;

/// Options of a table.
type Given<'a> = &'a [(&'a str, &'a str)];

fn points(columns: &str, more: &[(&str, &str)]) -> TableDefinition {
    let options: Vec<(&str, &str)> = [("connector", "influxdb")].into_iter().chain(more.iter().copied()).collect();
    table("my points", columns, &options)
}

/// What is sent for the rows of a query.
async fn sent(definition: &TableDefinition, receiver: &Receiver, sql: &str) -> Result<String, String> {
    write(definition, sql).await?;
    Ok(receiver.received().iter().map(|request| request.text()).collect())
}

async fn write(definition: &TableDefinition, sql: &str) -> Result<(), String> {
    let project = Project::new();
    let sink = project.connectors.sink(definition).map_err(|error| error.to_string())?;
    let mut writer = sink.writer(0).await.unwrap();
    let mut rows = select(sql).await;
    while let Some(batch) = rows.next().await {
        writer.write(Batch::append(batch.unwrap())).await.map_err(|error| error.to_string())?;
    }
    writer.commit().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn every_type_and_letter_is_said_as_the_protocol_wants_it() {
    let receiver = Receiver::start();
    let url = receiver.url();
    let columns =
        "b BOOLEAN, i BIGINT, d DOUBLE, m DECIMAL, day DATE, s STRING, place STRING, odd STRING, ts TIMESTAMP";
    let base = [("url", url.as_str()), ("time-column", "ts"), ("tags", "place, odd"), ("gzip", "false")];
    let definition = points(columns, &[&base[..], &[("measurement", "a b,c=d"), ("precision", "ms")]].concat());
    let row = |values: &str| format!("SELECT * FROM (VALUES {values}) AS t (b, i, d, m, day, s, place, odd, ts)");
    let typed = "CAST(NULL AS BOOLEAN), CAST(NULL AS BIGINT), CAST(NULL AS DOUBLE), CAST(NULL AS DECIMAL(10, 2)), CAST(NULL AS DATE), \
                 CAST(NULL AS STRING), 'x', 'y', TIMESTAMP '1970-01-01 00:00:01'";
    let full = "true, -9223372036854775808, 0.1, CAST(12.30 AS DECIMAL(10, 2)), DATE '2013-01-01', E'he said \"go\"\\\\, a=b\\n물길', \
                'New York, a=b', '', TIMESTAMP '1969-12-31 23:59:59.999'";
    let bare =
        "false, NULL, CAST('NaN' AS DOUBLE), NULL, NULL, NULL, NULL, '\\in', TIMESTAMP '1970-01-01 00:00:00.001'";
    let large = "NULL, 5, 1e300, NULL, NULL, '', NULL, NULL, TIMESTAMP '1970-01-01 00:00:00.002'";
    let found = sent(&definition, &receiver, &row(&format!("({typed}), ({full}), ({bare}), ({large})"))).await.unwrap();
    let expected = concat!(
        "a\\ b\\,c=d,place=New\\ York\\,\\ a\\=b b=true,i=-9223372036854775808i,d=0.1,m=12.3,day=\"2013-01-01\",",
        "s=\"he said \\\"go\\\"\\\\, a=b\n물길\" -1\n",
        "a\\ b\\,c=d,odd=\\in b=false 1\n",
        "a\\ b\\,c=d i=5i,d=1e300,s=\"\" 2\n",
    );
    // The first row has no field.
    assert_eq!(found, expected);
    // Rows that cannot be points.
    for (bad, said) in [
        (
            format!(
                "({}, CAST(NULL AS TIMESTAMP))",
                "true, 1, 0.1, CAST(1 AS DECIMAL(10, 2)), DATE '2013-01-01', 's', 'p', 'o'"
            ),
            "a row has no time",
        ),
        (
            format!("({full})").replace("'New York, a=b'", "'C:\\'"),
            "tag place: \"C:\\\\\" has a line break, or a backslash at its end",
        ),
        (format!("({full})").replace("'New York, a=b'", "E'a\\nb'"), "has a line break"),
    ] {
        let error = sent(&definition, &receiver, &row(&bad)).await.unwrap_err();
        assert!(error.contains(said), "{error}, not {said}");
    }
}

#[tokio::test]
async fn requests_are_what_each_version_of_the_interface_wants() {
    let receiver = Receiver::start();
    let url = receiver.url();
    let with_path = format!("{url}/api/put?x=y");
    let cases: [(Given<'_>, &str, &str); 4] = [
        (&[("url", &url), ("precision", "us")], "POST /write?precision=u", ""),
        (
            &[("url", &url), ("database", "metrics"), ("token", "t0ken")],
            "POST /write?db=metrics&precision=ns",
            "Token t0ken",
        ),
        (
            &[("url", &url), ("bucket", "b c"), ("org", "o"), ("precision", "us"), ("header.Authorization", "Basic x")],
            "POST /api/v2/write?bucket=b+c&org=o&precision=us",
            "Basic x",
        ),
        (&[("url", &with_path)], "POST /api/put?x=y&precision=ns", ""),
    ];
    for (options, line, authorization) in cases {
        let definition = points("v BIGINT, ts TIMESTAMP", &[options, &[("time-column", "ts")]].concat());
        write(&definition, "SELECT 1 AS v, TIMESTAMP '1970-01-01 00:00:01' AS ts").await.unwrap();
        let request = receiver.received().remove(0);
        assert_eq!((request.line.as_str(), request.header("authorization")), (line, authorization));
        assert_eq!(request.header("content-encoding"), "gzip");
        let mut text = String::new();
        GzDecoder::new(&request.body[..]).read_to_string(&mut text).unwrap();
        assert!(text.starts_with("my\\ points v=1i 1000000"), "{text}");
    }
    for (columns, more, said) in [
        ("v BIGINT, ts TIMESTAMP", ("tags", "place"), "'tags' names column place"),
        ("v BIGINT, ts TIMESTAMP", ("tags", "v"), "a point needs a field"),
        ("v BIGINT, ts STRING", ("tags", ""), "which is no TIMESTAMP"),
        ("v BYTES, ts TIMESTAMP", ("tags", ""), "column v is BYTES"),
        ("v BIGINT, ts TIMESTAMP", ("precision", "m"), "'precision' = 'm' is not known"),
        ("v BIGINT, ts TIMESTAMP", ("token-file", "t"), "exclude each other"),
    ] {
        let options = [("url", url.as_str()), ("time-column", "ts"), ("token", "t"), more];
        let error = Project::new().connectors.check(&points(columns, &options)).unwrap_err().to_string();
        assert!(error.contains(said), "{error}, not {said}");
    }
}

/// A VictoriaMetrics of the test's own, ended with it.
struct Database {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Database {
    fn start(port: Option<u16>, dir: tempfile::TempDir) -> Self {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.unwrap_or_else(free);
        let arguments = [
            format!("-httpListenAddr=127.0.0.1:{port}"),
            format!("-storageDataPath={}", dir.path().display()),
            "-retentionPeriod=100y".to_owned(),
            // What is written can be asked for at once, and again.
            "-search.latencyOffset=0s".to_owned(),
            "-search.disableCache".to_owned(),
            "-dedup.minScrapeInterval=1ms".to_owned(),
        ];
        let process =
            Command::new("victoria-metrics").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self {
            process: process.expect("victoria-metrics is not installed; `make victoria-metrics` installs it"),
            port,
            _dir: dir,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The lines that a path answers with, sorted, as soon as there are `count` of them.
    async fn lines(&self, path: &str, count: usize) -> Vec<String> {
        let ask = async {
            loop {
                let flushed = reqwest::get(format!("{}/internal/force_flush", self.url())).await;
                if flushed.is_ok() {
                    let answer = reqwest::get(format!("{}{path}", self.url())).await.unwrap().text().await.unwrap();
                    let mut lines: Vec<String> = answer.lines().map(str::to_owned).collect();
                    if lines.len() >= count {
                        lines.sort();
                        return lines;
                    }
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ask).await.expect("the points come")
    }

    /// Ends it. It writes what it has to disk: killed, it would lose what it has answered for in its last seconds.
    fn end(mut self) -> (u16, tempfile::TempDir) {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
        self.process.wait().unwrap();
        let dir = std::mem::replace(&mut self._dir, tempfile::tempdir().unwrap());
        (self.port, dir)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_database_takes_each_point_once() {
    let database = Database::start(None, tempfile::tempdir().unwrap());
    let url = database.url();
    let options = [
        ("url", url.as_str()),
        ("time-column", "ts"),
        ("tags", "place"),
        ("measurement", "flights"),
        ("precision", "ms"),
    ];
    let definition = points("place STRING, n BIGINT, delay DOUBLE, late BOOLEAN, ts TIMESTAMP", &options);
    let rows = |from: u32, to: u32| {
        format!(
            "SELECT CASE WHEN n % 2 = 0 THEN 'New York, \"NY\"' ELSE '물길' END AS place, n, CAST(n AS DOUBLE) / 4 AS delay, n % 3 = 0 AS late,
             to_timestamp_millis(1700000000000 + n * 1000) AS ts FROM (SELECT unnest(range({from}, {to})) AS n)"
        )
    };
    // The database is not there yet at first; then it is ended and started again; some points are written twice.
    write(&definition, &rows(0, 40)).await.unwrap();
    write(&definition, &rows(30, 60)).await.unwrap();
    database.lines("/api/v1/export?match[]={__name__=~%22flights.*%22}", 6).await;
    let (port, dir) = database.end();
    let writing = tokio::spawn(async move { write(&definition, &rows(50, 100)).await });
    let database = Database::start(Some(port), dir);
    tokio::time::timeout(Duration::from_secs(60), writing).await.unwrap().unwrap().unwrap();
    let lines = database.lines("/api/v1/export?match[]={__name__=~%22flights.*%22}&reduce_mem_usage=0", 6).await;
    assert_eq!(lines.len(), 6, "{lines:?}");
    let (mut count, mut sum) = (0, 0.0);
    for line in lines {
        let series: serde_json::Value = serde_json::from_str(&line).unwrap();
        let (name, place) =
            (series["metric"]["__name__"].as_str().unwrap(), series["metric"]["place"].as_str().unwrap());
        assert!(["flights_n", "flights_delay", "flights_late"].contains(&name), "{name}");
        let first = if place == "물길" { 1 } else { 0 };
        assert!(first == 1 || place == "New York, \"NY\"", "{place}");
        let (values, times) = (series["values"].as_array().unwrap(), series["timestamps"].as_array().unwrap());
        let expected: Vec<i64> = (first..100).step_by(2).map(|n| 1_700_000_000_000 + n * 1000).collect();
        assert_eq!(times.iter().map(|time| time.as_i64().unwrap()).collect::<Vec<_>>(), expected, "{name} {place}");
        if name == "flights_delay" {
            count += values.len();
            sum += values.iter().map(|value| value.as_f64().unwrap()).sum::<f64>();
        }
    }
    assert_eq!((count, sum), (100, (0..100).map(f64::from).sum::<f64>() / 4.0));
}
