//! Views of two layers: what readers see while the boundary moves and either layer is started again, what late rows do to
//! them, and that they come to the same as the other modes.
//!
//! Event `n` happens at second `n`, and has the value `n`. A window of ten seconds, once it has ended, holds ten events with a
//! known sum: a reader that sees a window twice, not at all, or half of it, is told by that.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_log::{Record, Topic, TopicOptions};
use mulgil_serving::run::collect;
use mulgil_serving::status::ViewStatus;
use mulgil_serving::views::{Views, ViewsOptions, WindowDrift};
use mulgil_sql::catalog::Catalog;

use crate::fixture::{Project, sorted, text_rows};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// By the second: when the window began, how many events, and their sum.
const SUMS: &str = "SELECT window_start, count(*) AS c, sum(n) AS s \
                    FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end";

pub(crate) fn sums() -> TableName {
    TableName::parse("sums")
}

pub(crate) fn declared(query: &str, mode: &str, options: &str) -> String {
    format!(
        "CREATE TABLE events (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
         WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
         CREATE MATERIALIZED TABLE sums WITH ('checkpoint-interval' = '20 ms'{options}) REFRESH_MODE = {mode} AS {query};"
    )
}

pub(crate) async fn views_in(project: &Project, query: &str, mode: &str, options: &str) -> Views {
    let options_of = ViewsOptions {
        parallelism: 2,
        results_dir: Some(project.dir.path().join("views")),
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    let views = Views::new(project.catalog(&declared(query, mode, options)), project.connectors.clone(), options_of);
    views.start_all().await;
    views
}

async fn lambda(project: &Project) -> Views {
    views_in(project, SUMS, "LAMBDA", "").await
}

pub(crate) async fn until(views: &Views, what: &str, wanted: impl Fn(&ViewStatus) -> bool) -> ViewStatus {
    let mut news = views.subscribe();
    let waiting = async {
        loop {
            let status = views.status(&sums()).unwrap();
            if wanted(&status) {
                return status;
            }
            // Archives make no news.
            let _ = tokio::time::timeout(Duration::from_millis(50), news.recv()).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(status) => status,
        Err(_) => panic!("not {what}: {:#?}", views.status(&sums())),
    }
}

/// Waits until stream and archive have come to a watermark.
pub(crate) async fn until_time(views: &Views, second: i64) {
    until(views, "there", |status| {
        let archived = status.layers.iter().flat_map(|layers| &layers.archives).map(|archive| archive.watermark_ms);
        archived.chain([status.watermark_ms]).all(|watermark| watermark.is_some_and(|ms| ms >= second * 1_000))
    })
    .await;
}

pub(crate) struct Events {
    topic: Topic,
    next: AtomicU64,
}

fn event(n: u64, second: u64) -> Record {
    let ts = format!("1970-01-01T{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60);
    Record { timestamp_ms: 0, key: None, value: format!("{{\"n\": {n}, \"ts\": \"{ts}\"}}").into() }
}

impl Events {
    pub(crate) fn new(project: &Project) -> Arc<Self> {
        let topic = project.log.topic_or_create("events", TopicOptions::default()).unwrap();
        Arc::new(Self { topic, next: AtomicU64::new(0) })
    }

    pub(crate) async fn append(&self, count: u64) {
        let first = self.next.fetch_add(count, Ordering::SeqCst);
        let records: Vec<Record> = (first..first + count).map(|n| event(n, n)).collect();
        self.topic.append(0, &records).await.unwrap();
    }

    /// An event that comes long after its window has ended.
    pub(crate) async fn append_late(&self, n: u64, second: u64) {
        self.topic.append(0, &[event(n, second)]).await.unwrap();
    }

    /// An event of which nobody knows when it has happened.
    pub(crate) async fn append_timeless(&self, n: u64) {
        let value = format!("{{\"n\": {n}, \"ts\": null}}").into();
        self.topic.append(0, &[Record { timestamp_ms: 0, key: None, value }]).await.unwrap();
    }

    /// How many there are, but for those that came late.
    pub(crate) fn count(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }
}

/// The windows in order: which one, how many events, their sum.
async fn windows(views: &Views) -> Vec<(u64, u64, u64)> {
    let sql = "SELECT CAST(window_start AS BIGINT) AS w, c, s FROM sums ORDER BY w";
    let rows = text_rows(&collect(views.query(sql).await.unwrap()).await.unwrap().1);
    let number = |text: &String| text.parse::<u64>().unwrap();
    // Milliseconds, or seconds: window 3 begins at 30.
    let begin = |text: &String| number(text) / if number(text) % 10_000 == 0 { 10_000 } else { 10 };
    rows.iter().map(|row| (begin(&row[0]), number(&row[1]), number(&row[2]))).collect()
}

fn whole(window: u64) -> (u64, u64, u64) {
    (window, 10, (window * 10..window * 10 + 10).sum())
}

fn all_whole(count: u64) -> Vec<(u64, u64, u64)> {
    (0..count).map(whole).collect()
}

async fn until_windows(views: &Views, wanted: &[(u64, u64, u64)]) {
    let waiting = async {
        while windows(views).await != wanted {
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{:?}, not {wanted:?}: {:#?}", windows(views).await, views.status(&sums()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_is_seen_twice_or_missed_while_the_boundary_moves() {
    let project = Project::new();
    let events = Events::new(&project);
    let views = lambda(&project).await;
    events.append(1_000).await;
    until_time(&views, 900).await;

    let stop = Arc::new(AtomicBool::new(false));
    let produces = tokio::spawn({
        let (events, stop) = (Arc::clone(&events), Arc::clone(&stop));
        async move {
            let mut beat = tokio::time::interval(Duration::from_millis(5));
            while !stop.load(Ordering::SeqCst) {
                events.append(9).await;
                beat.tick().await;
            }
        }
    });
    let reader = || {
        let (views, stop) = (views.clone(), Arc::clone(&stop));
        async move {
            let (mut before, mut answers) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                let seen = windows(&views).await;
                assert_eq!(seen, all_whole(seen.len() as u64));
                assert!(seen.len() >= before, "{before} windows, and then {}", seen.len());
                (before, answers) = (seen.len(), answers + 1);
            }
            answers
        }
    };
    let readers = [tokio::spawn(reader()), tokio::spawn(reader())];
    let mut boundary_ms = 0;
    for version in 1..=5 {
        let refreshed = views.refresh(&sums()).await.unwrap();
        let layers = refreshed.layers.unwrap();
        assert_eq!(layers.batch_version, version);
        assert!(layers.boundary_ms.unwrap() >= boundary_ms && layers.boundary_ms.unwrap() % 10_000 == 0, "{layers:?}");
        assert_eq!(layers.batch_rows as i64, layers.boundary_ms.unwrap() / 10_000);
        boundary_ms = layers.boundary_ms.unwrap();
        // What batch has spoken of is forgotten by the stream.
        until(&views, "shorter", |status| (status.rows as i64) < status.rows_in as i64 / 10).await;
    }
    assert!(boundary_ms > 900_000, "{boundary_ms}");
    stop.store(true, Ordering::SeqCst);
    produces.await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0, "nobody has read anything");
    }
    let drift = views.drift(&sums()).unwrap();
    assert!(!drift.is_empty() && drift.iter().all(|window| window.differing + window.missing + window.surplus == 0));
    let seen = windows(&views).await.len() as u64;
    views.shutdown().await;

    // Both layers go on from where they were.
    let again = lambda(&project).await;
    assert_eq!(again.status(&sums()).unwrap().layers.unwrap().boundary_ms, Some(boundary_ms));
    let at_once = windows(&again).await;
    assert_eq!(at_once, all_whole(at_once.len() as u64));
    assert!(at_once.len() as u64 >= seen);
    events.append(100).await;
    let count = events.count();
    until_time(&again, count as i64 - 7).await;
    let refreshed = again.refresh(&sums()).await.unwrap();
    assert!(refreshed.rows >= seen, "{} rows, of both layers; the stream has forgotten most", refreshed.rows);
    // The last event is `count - 1`, the watermark five seconds before it: a window has to end by then.
    until_windows(&again, &all_whole((count - 6) / 10)).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_counts_late_rows_and_the_drift_tells_how_far_the_stream_was_off() {
    let project = Project::new();
    let events = Events::new(&project);
    let views = views_in(&project, SUMS, "LAMBDA", ", 'speed-retention' = '1 d'").await;
    events.append(100).await;
    until_time(&views, 94).await;
    until_windows(&views, &all_whole(9)).await;
    // One that the stream drops, in a window that it had; one in a window that it had not: before all others there are.
    events.append_late(7, 35).await;
    until(&views, "dropped", |status| status.late_dropped == 1).await;
    until_windows(&views, &all_whole(9)).await;
    let archived = |status: &ViewStatus| status.layers.as_ref().is_some_and(|layers| layers.archives[0].rows_in == 101);
    until(&views, "archived", archived).await;
    views.refresh(&sums()).await.unwrap();
    let mut corrected = all_whole(9);
    corrected[3] = (3, 11, corrected[3].2 + 7);
    assert_eq!(windows(&views).await, corrected);
    let off: Vec<(i64, u64)> = views.drift(&sums()).unwrap().iter().map(|w| (w.window_end_ms, w.differing)).collect();
    assert_eq!(off, (1..=9).map(|w| (w * 10_000, u64::from(w == 4))).collect::<Vec<_>>());

    // A correction of what batch has spoken of already comes with the next version.
    events.append_late(1, 5).await;
    until(&views, "archived", |status| status.layers.as_ref().is_some_and(|l| l.archives[0].rows_in == 102)).await;
    views.refresh(&sums()).await.unwrap();
    corrected[0] = (0, 11, corrected[0].2 + 1);
    assert_eq!(windows(&views).await, corrected);
    let off = views.drift(&sums()).unwrap();
    assert_eq!((off[0].differing, off[0].version, off[3].differing), (1, 2, 1));
    views.shutdown().await;

    // As a stream alone it is built anew, beside the layers: what their stream had forgotten is in no checkpoint.
    let continuous = views_in(&project, SUMS, "CONTINUOUS", "").await;
    assert_eq!(windows(&continuous).await, corrected, "the layers answer");
    until(&continuous, "built", |status| status.building.is_none()).await;
    let waiting = async {
        // Whether a row is late is decided anew.
        while windows(&continuous).await.iter().map(|window| window.0).ne(0..9) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("all windows come back");
    assert_eq!(continuous.status(&sums()).unwrap().layers, None);
    continuous.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_four_modes_come_to_the_same_rows() {
    const PIECES: &str = ", 'session-max' = '25 s'";
    const QUERIES: [(&str, &str); 5] = [
        (
            "SELECT n % 3 AS k, window_end, count(*) AS c, sum(n) AS s, max(n) AS m FROM TUMBLE(TABLE events, DESCRIPTOR(ts), \
             INTERVAL '10' SECOND) GROUP BY n % 3, window_start, window_end",
            "",
        ),
        (
            "SELECT window_start, window_end, count(*) AS c, avg(n) AS a FROM HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '5' \
             SECOND, INTERVAL '15' SECOND) GROUP BY window_start, window_end",
            "",
        ),
        (
            "SELECT window_start, window_end, count(DISTINCT n % 7) AS c FROM CUMULATE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' \
             SECOND, INTERVAL '20' SECOND) WHERE n % 2 = 0 GROUP BY window_start, window_end HAVING count(*) > 1",
            "",
        ),
        // Sessions of three events, of which some go across a multiple of 25 seconds; and one that only those end.
        (
            "SELECT k, window_end, count(*) AS c, sum(n) AS s FROM SESSION((SELECT n, n % 2 AS k, ts FROM events WHERE n % 10 < 6) \
             PARTITION BY k, DESCRIPTOR(ts), INTERVAL '2' SECOND) GROUP BY k, window_start, window_end",
            PIECES,
        ),
        (
            "SELECT n % 2 AS k, window_start, window_end, count(*) AS c FROM SESSION(TABLE events, DESCRIPTOR(ts), INTERVAL '3' \
             SECOND) GROUP BY n % 2, window_start, window_end",
            PIECES,
        ),
    ];
    for (query, options) in QUERIES {
        let mut found = Vec::new();
        for mode in ["FULL", "CONTINUOUS", "LAMBDA", "KAPPA"] {
            let project = Project::new();
            let events = Events::new(&project);
            let views = views_in(&project, query, mode, options).await;
            events.append(500).await;
            if mode == "FULL" {
                views.refresh(&sums()).await.unwrap();
            } else {
                until_time(&views, 494).await;
            }
            if mode == "LAMBDA" {
                let layers = views.refresh(&sums()).await.unwrap().layers.unwrap();
                assert!(layers.boundary_ms.is_some_and(|ms| (470_000..495_000).contains(&ms)), "{layers:?}");
                events.append(100).await;
                until_time(&views, 594).await;
                views.refresh(&sums()).await.unwrap();
                let drift = views.drift(&sums()).unwrap();
                let is_off = |d: &WindowDrift| d.differing + d.missing + d.surplus > 0;
                assert!(!drift.is_empty() && !drift.iter().any(is_off), "{query}: {drift:?}");
            }
            // Windows that every mode has closed.
            let sql = "SELECT * FROM sums WHERE window_end <= TIMESTAMP '1970-01-01 00:08:10'";
            let rows = async || sorted(text_rows(&collect(views.query(sql).await.unwrap()).await.unwrap().1));
            if mode != "FULL" {
                let truth: &Vec<Vec<String>> = &found[0];
                let waiting = async {
                    while rows().await != *truth {
                        tokio::task::yield_now().await;
                    }
                };
                // Whether it has come to it is told below.
                let _ = tokio::time::timeout(Duration::from_secs(20), waiting).await;
            }
            let rows = rows().await;
            assert!(rows.len() > 20, "{query}");
            found.push(rows);
            assert_eq!(found.first(), found.last(), "{mode}: {query}");
            views.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_ends_is_refused_with_the_reason() {
    let project = Project::new();
    let cases = [
        (
            "SELECT window_end, count(*) AS c FROM SESSION(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, \
             window_end",
            "a session may grow without bound",
        ),
        (
            "SELECT window_start, count(*) AS c FROM CUMULATE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '1' MINUTE) \
             GROUP BY window_start, window_end",
            "no column says when",
        ),
        (
            "SELECT count(*) AS c FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end",
            "no column of this one is window_start or window_end",
        ),
    ];
    for (query, reason) in cases {
        let files = [(PathBuf::from("p.sql"), declared(query, "LAMBDA", ""))];
        let (_, problems) = Catalog::load_checked(&files, &project.connectors);
        assert!(problems.len() == 1 && problems[0].message.contains(reason), "{query}: {problems:?}");
    }
    // Nothing has been archived yet, and nothing said about time.
    let views = lambda(&project).await;
    let early = views.refresh(&sums()).await.unwrap_err().to_string();
    assert!(early.contains("archive.events"), "{early}");
    assert_eq!(views.status(&sums()).unwrap().layers.unwrap().boundary_ms, None);
    views.shutdown().await;
}
