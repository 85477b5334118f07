//! Views that are kept in another way from one moment on: whoever asks meanwhile is answered by what has kept them so far, until
//! what is to keep them has caught up. Events come all the time and readers ask all the time, through every pair of modes;
//! every answer is the truth about a prefix of the events, and no prefix is shorter than the one before.
//!
//! Event `n` happens at second `n`, and has the value `n`. They come in tens behind the first one, so that a window of ten seconds has
//! ended for a stream where it is whole for batch; batch alone sees the first event of the next window.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_log::{Record, Topic, TopicOptions};
use mulgil_serving::run::collect;
use mulgil_serving::status::{ViewState, ViewStatus};
use mulgil_serving::views::{Views, ViewsOptions};

use crate::fixture::{Project, text_rows};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a view asks, and how an answer is told to be of a prefix.
#[derive(Clone, Copy)]
struct Case {
    query: &'static str,
    /// By rows of numbers: how many events the prefix has at least; panics where it is no prefix.
    prefix: fn(&[Vec<u64>]) -> u64,
    /// Each two neighbours are a switch.
    modes: &'static [&'static str],
}

/// All twelve pairs, each once.
const PAIRS: [&str; 13] = [
    "FULL",
    "CONTINUOUS",
    "FULL",
    "LAMBDA",
    "FULL",
    "KAPPA",
    "CONTINUOUS",
    "LAMBDA",
    "CONTINUOUS",
    "KAPPA",
    "LAMBDA",
    "KAPPA",
    "FULL",
];

const WINDOWS: Case = Case {
    query: "SELECT window_start, count(*) AS c, sum(n) AS s FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND) \
            GROUP BY window_start, window_end",
    prefix: of_windows,
    modes: &PAIRS,
};

const TOTALS: Case = Case { query: "SELECT count(*) AS c, sum(n) AS s FROM events", prefix: of_totals, modes: &PAIRS };

/// The sum of the numbers from `first` on.
fn sum(first: u64, count: u64) -> u64 {
    (first..first + count).sum()
}

fn of_windows(rows: &[Vec<u64>]) -> u64 {
    let mut whole = 0;
    for (place, row) in rows.iter().enumerate() {
        let (count, total) = (row[0], row[1]);
        assert_eq!(total, sum(place as u64 * 10, count), "window {place} of {rows:?}");
        assert!(count == 10 || place + 1 == rows.len(), "window {place} of {rows:?}");
        whole += u64::from(count == 10);
    }
    whole * 10
}

fn of_totals(rows: &[Vec<u64>]) -> u64 {
    let [row] = rows else { panic!("{rows:?} is no total") };
    assert_eq!(row[1], sum(0, row[0]), "{rows:?}");
    row[0]
}

fn name() -> TableName {
    TableName::parse("kept")
}

/// The views as a server has them: others take their place when the project's files have changed.
struct Server {
    project: Project,
    topic: Topic,
    next: AtomicU64,
    shown: RwLock<Option<Views>>,
}

impl Server {
    fn new() -> Arc<Self> {
        let project = Project::new();
        let topic = project.log.topic_or_create("events", TopicOptions::default()).unwrap();
        Arc::new(Self { project, topic, next: AtomicU64::new(0), shown: RwLock::new(None) })
    }

    async fn append(&self, count: u64) {
        let first = self.next.fetch_add(count, Ordering::SeqCst);
        let record = |n: u64| {
            let ts = format!("1970-01-01T{:02}:{:02}:{:02}", n / 3_600, n / 60 % 60, n % 60);
            Record { timestamp_ms: 0, key: None, value: format!("{{\"n\": {n}, \"ts\": \"{ts}\"}}").into() }
        };
        let records: Vec<Record> = (first..first + count).map(record).collect();
        self.topic.append(0, &records).await.unwrap();
    }

    fn views(&self) -> Views {
        self.shown.read().unwrap().clone().unwrap()
    }

    /// Reads the project's files again, as a server does: the former views answer until the others have been started.
    async fn load(&self, query: &str, mode: &str) -> Views {
        let dir = self.project.dir.path();
        let options = ViewsOptions {
            parallelism: 2,
            results_dir: Some(dir.join("views")),
            checkpoints_dir: Some(dir.join("checkpoints")),
            news_interval: Duration::from_millis(10),
            ..ViewsOptions::default()
        };
        let text = format!(
            "CREATE TABLE events (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'log', 'topic' = 'events', \
             'format' = 'json');
             CREATE MATERIALIZED TABLE kept WITH ('checkpoint-interval' = '20 ms') REFRESH_MODE = {mode} AS {query};"
        );
        let before = self.shown.read().unwrap().clone();
        if let Some(before) = before {
            before.shutdown().await;
        }
        let views = Views::new(self.project.catalog(&text), self.project.connectors.clone(), options);
        views.start_all().await;
        *self.shown.write().unwrap() = Some(views.clone());
        views
    }

    /// The numbers of an answer, in the order of the windows.
    async fn answer(&self) -> Vec<Vec<u64>> {
        let views = self.views();
        let order = if views.schema(&name()).unwrap().fields().len() == 3 { "ORDER BY window_start" } else { "" };
        let rows = collect(views.query(&format!("SELECT c, s FROM kept {order}")).await.unwrap()).await.unwrap();
        let number = |text: &String| text.parse().unwrap_or(0);
        text_rows(&rows.1).iter().map(|row| row.iter().map(number).collect()).collect()
    }

    async fn until(&self, what: &str, wanted: impl Fn(&ViewStatus) -> bool) -> ViewStatus {
        let views = self.views();
        let mut news = views.subscribe();
        let waiting = async {
            loop {
                let status = views.status(&name()).unwrap();
                if wanted(&status) {
                    return status;
                }
                // Missed news is news all the same; a note alone, or an archive, makes none.
                let _ = tokio::time::timeout(Duration::from_millis(50), news.recv()).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(status) => status,
            Err(_) => panic!("not {what}: {:#?}", views.status(&name())),
        }
    }

    /// Waits for an answer that covers a prefix.
    async fn until_covered(&self, prefix: fn(&[Vec<u64>]) -> u64, count: u64) {
        let waiting = async {
            while prefix(&self.answer().await) < count {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{:?}, not {count} events: {:#?}", self.answer().await, self.views().status(&name()));
        }
    }
}

/// Events come and readers ask, until told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<u64>>,
}

impl Traffic {
    fn new(server: &Arc<Server>, prefix: fn(&[Vec<u64>]) -> u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let produce = {
            let (server, stop) = (Arc::clone(server), Arc::clone(&stop));
            async move {
                let mut beat = tokio::time::interval(Duration::from_millis(20));
                while !stop.load(Ordering::SeqCst) {
                    server.append(10).await;
                    beat.tick().await;
                }
                0
            }
        };
        let read = || {
            let (server, stop) = (Arc::clone(server), Arc::clone(&stop));
            async move {
                let (mut before, mut answers) = (0, 0);
                let mut beat = tokio::time::interval(Duration::from_millis(25));
                while !stop.load(Ordering::SeqCst) {
                    beat.tick().await;
                    let rows = server.answer().await;
                    let covered = prefix(&rows);
                    assert!(covered >= before, "{before} events, and then {covered}");
                    (before, answers) = (covered, answers + 1);
                }
                answers
            }
        };
        let tasks = vec![tokio::spawn(produce), tokio::spawn(read()), tokio::spawn(read())];
        Self { stop, tasks }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        let mut answers = 0;
        for task in self.tasks {
            answers += task.await.unwrap();
        }
        assert!(answers > 0, "nobody has read anything");
    }
}

async fn goes_through(case: Case) {
    let server = Server::new();
    server.append(2_001).await;
    server.load(case.query, case.modes[0]).await.refresh(&name()).await.unwrap();
    server.until_covered(case.prefix, 2_000).await;
    let traffic = Traffic::new(&server, case.prefix);
    for mode in &case.modes[1..] {
        server.load(case.query, mode).await;
        let built = server.until(&format!("kept as {mode}"), |status| status.building.is_none()).await;
        assert_eq!((built.mode.to_string().as_str(), built.error), (*mode, None));
        let count = server.next.load(Ordering::SeqCst);
        if *mode == "FULL" {
            assert_eq!(built.state, ViewState::Ready);
            server.views().refresh(&name()).await.unwrap();
        }
        // A window that has ended is whole: what has come is there.
        server.until_covered(case.prefix, (count - 1) / 10 * 10).await;
        if *mode == "LAMBDA" {
            // The stream forgets what batch speaks of.
            server
                .until("archived", |status| {
                    let mut archives = status.layers.iter().flat_map(|layers| &layers.archives);
                    archives.any(|archive| archive.watermark_ms.is_some_and(|ms| ms >= 2_000_000))
                })
                .await;
            let layers = server.views().refresh(&name()).await.unwrap().layers.unwrap();
            assert!(layers.boundary_ms.is_some_and(|boundary_ms| boundary_ms >= 1_900_000), "{layers:?}");
        }
    }
    traffic.end().await;
    let count = server.next.load(Ordering::SeqCst);
    server.views().refresh(&name()).await.unwrap();
    server.until_covered(case.prefix, (count - 1) / 10 * 10).await;
    server.views().shutdown().await;
    // Nothing is kept but what answers now.
    let kept = |folder: &str| {
        let entries = std::fs::read_dir(server.project.dir.path().join(folder)).unwrap();
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
        names.retain(|name| name.starts_with("public."));
        names
    };
    assert_eq!(kept("checkpoints"), ["public.kept.generations"]);
    assert_eq!(kept("views").len(), 1, "{:?}", kept("views"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_about_windows_is_of_a_prefix_through_all_pairs_of_modes() {
    goes_through(WINDOWS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_about_totals_is_of_a_prefix_through_all_pairs_of_modes() {
    goes_through(TOTALS).await;
}

/// With a bug: each number is taken for one more than it is.
const WRONG: &str = "SELECT window_start, count(*) AS c, sum(n + 1) AS s FROM TUMBLE(TABLE events, DESCRIPTOR(ts), \
                     INTERVAL '10' SECOND) GROUP BY window_start, window_end";

/// All windows of an answer are of one query.
fn of_windows_of_either(rows: &[Vec<u64>]) -> u64 {
    let is_wrong = rows.first().is_some_and(|first| first[1] > sum(0, first[0]));
    let less = |row: &Vec<u64>| vec![row[0], if is_wrong { row[1] - row[0] } else { row[1] }];
    of_windows(&rows.iter().map(less).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_definition_of_two_layers_takes_over_with_both_at_once() {
    let server = Server::new();
    server.append(2_001).await;
    server.load(WRONG, "LAMBDA").await;
    server.until_covered(of_windows_of_either, 2_000).await;
    let refresh = async || {
        server
            .until("archived", |status| {
                let mut archives = status.layers.iter().flat_map(|layers| &layers.archives);
                archives.any(|archive| archive.watermark_ms.is_some_and(|ms| ms >= 2_000_000))
            })
            .await;
        server.views().refresh(&name()).await.unwrap().layers.unwrap()
    };
    let before = refresh().await;
    let traffic = Traffic::new(&server, of_windows_of_either);
    server.load(WINDOWS.query, "LAMBDA").await;
    assert_eq!(server.views().status(&name()).unwrap().layers.unwrap().boundary_ms, before.boundary_ms);
    let status = server.until("mended", |status| status.building.is_none()).await;
    let after = status.layers.unwrap();
    assert_eq!((status.generation, status.former), (2, None));
    assert!(after.boundary_ms >= before.boundary_ms, "{before:?}, {after:?}");
    // All of it is of the mended query: what batch says, and what the stream says.
    of_windows(&server.answer().await);
    refresh().await;
    of_windows(&server.answer().await);

    // A replay is the same from the text as it is.
    server.views().replay(&name(), &Default::default()).await.unwrap();
    server.until("replayed", |status| status.building.is_none() && status.generation == 3).await;
    of_windows(&server.answer().await);
    traffic.end().await;
    let count = server.next.load(Ordering::SeqCst);
    server.until_covered(of_windows, (count - 1) / 10 * 10).await;
    server.views().shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_goes_on_after_a_restart_can_be_taken_back_and_what_cannot_be_is_refused() {
    let server = Server::new();
    server.append(2_001).await;
    server.load(TOTALS.query, "FULL").await.refresh(&name()).await.unwrap();
    server.append(10).await;
    // The stream stands still: it needs a table that is not there.
    let broken = "SELECT count(*) AS c, sum(7 / (n - 50)) AS s FROM events";
    server.load(broken, "KAPPA").await;
    let failed = |status: &ViewStatus| status.building.as_ref().is_some_and(|build| build.state == ViewState::Failed);
    server.until("failed", failed).await;
    assert_eq!(of_totals(&server.answer().await), 2_001, "the stored result answers");
    let refused = server.views().cancel_replay(&name()).await.unwrap_err().to_string();
    assert!(refused.contains("mulgil view switch kept --to FULL"), "{refused}");
    // Again after a restart.
    server.load(broken, "KAPPA").await;
    server.until("failed", failed).await;
    assert_eq!(of_totals(&server.answer().await), 2_001);
    // And back: nothing is being built any more, and what was computed is its result.
    let back = server.load(TOTALS.query, "FULL").await;
    let status = back.status(&name()).unwrap();
    assert_eq!((status.building, status.generation, status.state), (None, 1, ViewState::Ready));
    assert_eq!(of_totals(&server.answer().await), 2_001);

    // A query that batch cannot compute leaves the stream where it is, until it is mended and refreshed.
    server.load(TOTALS.query, "CONTINUOUS").await;
    server.until("kept", |status| status.building.is_none()).await;
    server.until_covered(of_totals, 2_011).await;
    server.load(broken, "FULL").await;
    server.until("failed", failed).await;
    assert_eq!(of_totals(&server.answer().await), 2_011);
    assert!(server.views().refresh(&name()).await.unwrap_err().to_string().to_lowercase().contains("divide by zero"));
    server.append(10).await;
    server.until_covered(of_totals, 2_021).await;
    server.load(TOTALS.query, "FULL").await;
    server.until("computed", |status| status.building.is_none()).await;
    assert_eq!(of_totals(&server.answer().await), 2_021);
    server.views().shutdown().await;
}
