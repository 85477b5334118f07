//! Views that are built anew from the archive first and then from the log, which has forgotten its beginning: what they say, what
//! readers see meanwhile, what is kept over restarts in the middle of it, and what is refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_log::{LogOptions, Record, Topic, TopicOptions};
use mulgil_serving::run::collect;
use mulgil_serving::status::ViewStatus;
use mulgil_serving::views::{ReplayOptions, Views, ViewsOptions, Why};
use mulgil_sql::catalog::Catalog;

use crate::fixture::{Project, sorted, text_rows};
use crate::kappa::{self, Numbers, RIGHT, Traffic, WRONG, totals, until_all, until_generation};
use crate::lambda::{PATIENCE, sums, until};

const ARCHIVE: &str = ", 'archive' = 'true'";

/// What a replay of the log alone is asked for by.
const LOG_ALONE: ReplayOptions = ReplayOptions { from_ms: Some(0), rows_per_second_max: None };

/// By the second: when the window began, how many events, and their sum.
const SUMS: &str = "SELECT window_start, count(*) AS c, sum(n) AS s \
                    FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end";

/// A log whose segments are so short that there is always something to forget.
fn forgetful_project(topic: &str, partitions: u32) -> Project {
    let project = Project::with_log(None, LogOptions { segment_bytes: 4_096, ..LogOptions::default() });
    create_forgetful(&project, topic, partitions);
    project
}

fn create_forgetful(project: &Project, topic: &str, partitions: u32) {
    let options = TopicOptions { partitions, retention_ms: Some(1), ..TopicOptions::default() };
    project.log.create_topic(topic, options).unwrap();
}

/// Lets a topic forget what it may forget: all but the last segment of each partition.
fn forget_beginning(project: &Project, topic: &str) {
    project.log.enforce_retention(i64::MAX / 2).unwrap();
    let topic = project.log.topic(topic).unwrap();
    for partition in 0..topic.partitions() {
        let offsets = topic.offsets(partition).unwrap();
        assert!(offsets.start > offsets.end / 2, "partition {partition} still has {offsets:?}");
    }
}

fn options(project: &Project) -> ViewsOptions {
    ViewsOptions {
        parallelism: 2,
        results_dir: Some(project.dir.path().join("views")),
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    }
}

fn declared(query: &str, mode: &str, options: &str) -> String {
    format!(
        "CREATE TABLE events (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
         WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
         CREATE MATERIALIZED TABLE sums WITH ('checkpoint-interval' = '20 ms'{options}) REFRESH_MODE = {mode} AS {query};"
    )
}

async fn views_in(project: &Project, query: &str, mode: &str, with: &str) -> Views {
    views_of(project, &declared(query, mode, with)).await
}

async fn views_of(project: &Project, text: &str) -> Views {
    let views = Views::new(project.catalog(text), project.connectors.clone(), options(project));
    views.start_all().await;
    views
}

/// Event `n` happens at second `n`, has the value `n`, and lies in partition `n % 2`.
struct Events {
    topic: Topic,
    next: AtomicU64,
}

impl Events {
    fn new(project: &Project) -> Self {
        let topic = project.log.topic_or_create("events", TopicOptions { partitions: 2, ..TopicOptions::default() });
        Self { topic: topic.unwrap(), next: AtomicU64::new(0) }
    }

    async fn append(&self, count: u64) {
        let first = self.next.fetch_add(count, Ordering::SeqCst);
        for partition in 0..2 {
            let own = (first..first + count).filter(|n| n % 2 == partition);
            // In several frames, so that there are several segments.
            for chunk in own.collect::<Vec<u64>>().chunks(20) {
                let records: Vec<Record> = chunk.iter().map(|n| event(*n, *n)).collect();
                self.topic.append(partition as u32, &records).await.unwrap();
            }
        }
    }

    /// An event that comes long after its window has ended.
    async fn append_late(&self, n: u64, second: u64) {
        self.topic.append((n % 2) as u32, &[event(n, second)]).await.unwrap();
    }

    /// The windows that have ended: both partitions have come to five seconds less than their last event.
    fn whole(&self) -> Vec<(u64, u64, u64)> {
        let ended = (self.next.load(Ordering::SeqCst) - 7) / 10;
        (0..ended).map(|window| (window, 10, (window * 10..window * 10 + 10).sum())).collect()
    }
}

fn event(n: u64, second: u64) -> Record {
    let ts = format!("1970-01-01T{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60);
    Record { timestamp_ms: 0, key: None, value: format!("{{\"n\": {n}, \"ts\": \"{ts}\"}}").into() }
}

/// The windows in order: which one, how many events, their sum.
async fn windows(views: &Views) -> Vec<(u64, u64, u64)> {
    let sql = "SELECT CAST(date_part('epoch', window_start) AS BIGINT) / 10 AS w, c, s FROM sums ORDER BY w";
    let rows = text_rows(&collect(views.query(sql).await.unwrap()).await.unwrap().1);
    let number = |text: &String| text.parse::<u64>().unwrap();
    rows.iter().map(|row| (number(&row[0]), number(&row[1]), number(&row[2]))).collect()
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

/// Pays events, ten times what they are worth.
async fn pay(project: &Project, events: impl Iterator<Item = u64>) {
    let topic = project.log.topic("payments").unwrap();
    for chunk in events.collect::<Vec<u64>>().chunks(20) {
        let payment = |n: &u64| format!("{{\"n\": {n}, \"amount\": {}}}", n * 10);
        let record = |n| Record { timestamp_ms: 0, key: None, value: payment(n).into() };
        let records: Vec<Record> = chunk.iter().map(record).collect();
        topic.append(0, &records).await.unwrap();
    }
}

/// The payments of events, in order.
async fn paid(views: &Views) -> Vec<(u64, u64)> {
    let rows = collect(views.query("SELECT n, amount FROM sums ORDER BY n").await.unwrap()).await.unwrap().1;
    let number = |text: &String| text.parse::<u64>().unwrap();
    text_rows(&rows).iter().map(|row| (number(&row[0]), number(&row[1]))).collect()
}

async fn until_paid(views: &Views, events: impl Iterator<Item = u64>) {
    let wanted: Vec<(u64, u64)> = events.map(|n| (n, n * 10)).collect();
    let waiting = async {
        while paid(views).await != wanted {
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{:?}: {:#?}", paid(views).await, views.status(&sums()));
    }
}

fn has_archived(status: &ViewStatus, rows: u64) -> bool {
    status.archives.len() == 1 && status.archives[0].rows_in >= rows
}

async fn until_built(views: &Views, number: u64) -> ViewStatus {
    until(views, "built", |status| status.generation == number && status.building.is_none()).await
}

/// With an event more in window 3, which came late.
fn with_late(mut windows: Vec<(u64, u64, u64)>) -> Vec<(u64, u64, u64)> {
    windows[3] = (3, 11, windows[3].2 + 7);
    windows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_from_the_archive_has_what_the_log_has_forgotten_and_what_came_late() {
    let project = forgetful_project("events", 2);
    let events = Events::new(&project);
    let views = views_in(&project, SUMS, "KAPPA", ARCHIVE).await;
    events.append(2_000).await;
    until_windows(&views, &events.whole()).await;
    events.append_late(7, 35).await;
    until(&views, "dropped", |status| status.late_dropped == 1 && has_archived(status, 2_001)).await;
    until_windows(&views, &events.whole()).await;
    forget_beginning(&project, "events");

    let status = views.replay(&sums(), &ReplayOptions::default()).await.unwrap();
    let build = status.building.unwrap();
    let read = &build.archives[0];
    assert_eq!((build.archives.len(), build.why), (1, Why::Replay));
    assert_eq!((read.table.as_str(), read.archive.as_str()), ("events", "archive.events"));
    assert!(read.version > 0, "{read:?}");
    let status = until_built(&views, 2).await;
    assert_eq!(status.late_dropped, 0, "nothing in an archive is late");
    // Nothing has come since: the log's watermark is the one that it had where the archive ends.
    assert_eq!(windows(&views).await, with_late(events.whole()));
    events.append(100).await;
    until_windows(&views, &with_late(events.whole())).await;

    // The log alone has not got it.
    views.replay(&sums(), &LOG_ALONE).await.unwrap();
    until_built(&views, 3).await;
    let told = windows(&views).await;
    assert!(told.len() < 150 && told.first().is_some_and(|window| *window == (3, 1, 7)), "{told:?}");

    // One that has read its archive to the end needs it no more, over a restart too.
    views.shutdown().await;
    std::fs::remove_dir_all(project.dir.path().join("lake")).unwrap();
    let again = views_in(&project, SUMS, "KAPPA", "").await;
    again.roll_back(&sums()).await.unwrap();
    until_built(&again, 2).await;
    events.append(100).await;
    until_windows(&again, &with_late(events.whole())).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_table_of_a_join_is_read_from_its_own_archive_first() {
    let project = forgetful_project("events", 2);
    create_forgetful(&project, "payments", 1);
    let join = "SELECT e.n AS n, p.amount AS amount FROM events AS e JOIN payments AS p ON e.n = p.n";
    let text = "CREATE TABLE payments (n BIGINT, amount BIGINT) WITH ('connector' = 'log', 'topic' = 'payments', 'format' = 'json');"
        .to_owned()
        + &declared(join, "KAPPA", ARCHIVE);
    let (events, views) = (Events::new(&project), views_of(&project, &text).await);
    events.append(2_000).await;
    pay(&project, (0..2_000).step_by(3)).await;
    until_paid(&views, (0..2_000).step_by(3)).await;
    let archived = |status: &ViewStatus| {
        let rows = |table: &str| {
            let archive = status.archives.iter().find(|archive| archive.table.ends_with(table));
            archive.map_or(0, |archive| archive.rows_in)
        };
        rows("events") == 2_000 && rows("payments") == 667
    };
    until(&views, "archived", archived).await;
    forget_beginning(&project, "events");
    forget_beginning(&project, "payments");
    // One that the log of events has forgotten is paid now, and one that comes now was paid before.
    pay(&project, [5, 2_005].into_iter()).await;
    let all = || (0..2_000).filter(|n| n % 3 == 0 || *n == 5).chain([2_005]);
    until_paid(&views, all().take(668)).await;
    views.replay(&sums(), &ReplayOptions::default()).await.unwrap();
    until_built(&views, 2).await;
    events.append(100).await;
    until_paid(&views, all()).await;

    views.replay(&sums(), &LOG_ALONE).await.unwrap();
    until_built(&views, 3).await;
    let told = paid(&views).await;
    assert!(told.len() < 400 && !told.contains(&(5, 50)) && told.contains(&(2_005, 20_050)), "{told:?}");
    views.shutdown().await;
}

async fn numbers_views(project: &Project, query: &str) -> Views {
    let text = kappa::declared(query, "KAPPA").replace("'20 ms'", "'20 ms', 'archive' = 'true'");
    let views = Views::new(project.catalog(&text), project.connectors.clone(), options(project));
    views.start_all().await;
    views
}

/// Numbers that are in the archive, and of which the log has only the last ones.
async fn forgotten_numbers(project: &Project, views: &Views, count: u64, is_right: bool) -> Arc<Numbers> {
    let numbers = Numbers::new(project);
    for _ in 0..count / 1_000 {
        numbers.append(1_000).await;
    }
    until_all(views, &numbers, is_right).await;
    kappa::until(views, "archived", |status| has_archived(status, count)).await;
    forget_beginning(project, "numbers");
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_the_truth_about_a_prefix_while_views_are_built_from_the_archive() {
    let project = forgetful_project("numbers", 1);
    let wrong = numbers_views(&project, WRONG).await;
    let numbers = forgotten_numbers(&project, &wrong, 20_000, false).await;
    wrong.shutdown().await;

    // A changed definition is built from the archive by itself.
    let mended = numbers_views(&project, RIGHT).await;
    let traffic = Traffic::new(&mended, &numbers);
    until_generation(&mended, 2).await;
    mended.replay(&totals(), &ReplayOptions::default()).await.unwrap();
    until_generation(&mended, 3).await;
    let (right, _) = traffic.end().await;
    assert!(right > 0, "nobody has read anything");
    until_all(&mended, &numbers, true).await;
    mended.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_goes_on_in_the_middle_of_the_archive_and_behind_it_after_a_restart() {
    let project = forgetful_project("numbers", 1);
    let views = numbers_views(&project, RIGHT).await;
    let numbers = forgotten_numbers(&project, &views, 100_000, true).await;
    let slow = ReplayOptions { rows_per_second_max: Some(40_000), ..ReplayOptions::default() };
    views.replay(&totals(), &slow).await.unwrap();
    // For the log: it will be read behind the archive.
    for _ in 0..100 {
        numbers.append(1_000).await;
    }
    let begun = kappa::until(&views, "begun", |status| {
        status.building.as_ref().is_some_and(|build| build.rows_in > 5_000 && build.done > 0.02)
    })
    .await;
    let begun = begun.building.unwrap();
    assert!(!begun.archives[0].is_read && begun.done < 0.7, "{begun:?}");
    views.shutdown().await;

    // The archive goes on growing, and the build reads the version that it has begun with.
    let views = numbers_views(&project, RIGHT).await;
    let behind = kappa::until(&views, "behind the archive", |status| {
        status.building.as_ref().is_some_and(|build| build.archives[0].is_read)
    })
    .await;
    let behind = behind.building.unwrap();
    assert_eq!((behind.number, behind.archives[0].version), (2, begun.archives[0].version));
    assert!(behind.rows_in < 96_000, "it has read {} rows of the archive again", behind.rows_in);
    views.shutdown().await;

    let views = numbers_views(&project, RIGHT).await;
    let status = until_generation(&views, 2).await;
    assert!(status.rows_in <= 100_000, "it has read {} rows", status.rows_in);
    until_all(&views, &numbers, true).await;
    views.shutdown().await;
}

/// The archive that the live one was built from is no partition of what is built from a later version of it: that is known however
/// late the live one starts after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_takes_over_from_one_that_starts_later() {
    let project = forgetful_project("numbers", 1);
    let views = numbers_views(&project, WRONG).await;
    let numbers = forgotten_numbers(&project, &views, 20_000, false).await;
    views.replay(&totals(), &ReplayOptions::default()).await.unwrap();
    until_generation(&views, 2).await;
    numbers.append(1_000).await;
    until_all(&views, &numbers, false).await;
    kappa::until(&views, "archived", |status| has_archived(status, 21_000)).await;
    views.shutdown().await;

    let checkpoints = |name: &str| project.dir.path().join("checkpoints").join(name);
    let (live, away) = (checkpoints("public.totals@2"), checkpoints("away"));
    std::fs::rename(&live, &away).unwrap();
    std::fs::write(&live, "not a folder").unwrap();
    let views = numbers_views(&project, RIGHT).await;
    let ahead = kappa::until(&views, "only the build", |status| {
        let is_read = status.building.as_ref().is_some_and(|build| build.archives.iter().any(|one| one.is_read));
        is_read && status.restarts.tries > 1
    })
    .await;
    assert_eq!((ahead.generation, ahead.building.unwrap().number), (2, 3));
    std::fs::remove_file(&live).unwrap();
    std::fs::rename(&away, &live).unwrap();
    until_generation(&views, 3).await;
    until_all(&views, &numbers, true).await;
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_is_built_from_the_archive() {
    // In its place; as layers; and as a stream again, which has less than its layers had.
    let project = forgetful_project("events", 2);
    let events = Events::new(&project);
    let continuous = views_in(&project, SUMS, "CONTINUOUS", ARCHIVE).await;
    events.append(2_000).await;
    until_windows(&continuous, &events.whole()).await;
    events.append_late(7, 35).await;
    until(&continuous, "archived", |status| has_archived(status, 2_001)).await;
    forget_beginning(&project, "events");
    let status = continuous.replay(&sums(), &ReplayOptions::default()).await.unwrap();
    assert_eq!((status.generation, status.building), (2, None));
    until_windows(&continuous, &with_late(events.whole())).await;
    continuous.shutdown().await;

    let lambda = views_in(&project, &SUMS.replace("sum(n)", "sum(n + 0)"), "LAMBDA", ARCHIVE).await;
    until_built(&lambda, 3).await;
    assert_eq!(windows(&lambda).await, with_late(events.whole()));
    events.append(100).await;
    until_windows(&lambda, &with_late(events.whole())).await;
    let archived = |status: &ViewStatus| status.archives[0].watermark_ms.is_some_and(|ms| ms >= 2_050_000);
    until(&lambda, "archived", archived).await;
    lambda.refresh(&sums()).await.unwrap();
    assert_eq!(windows(&lambda).await, with_late(events.whole()));
    lambda.shutdown().await;

    let kappa = views_in(&project, &SUMS.replace("sum(n)", "sum(n + 0)"), "KAPPA", ARCHIVE).await;
    until_built(&kappa, 4).await;
    assert_eq!(windows(&kappa).await, with_late(events.whole()));
    kappa.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archive_and_the_log_give_what_the_log_alone_gives() {
    const QUERIES: [&str; 4] = [
        "SELECT n % 3 AS k, window_end, count(*) AS c, sum(n) AS s FROM HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND, \
         INTERVAL '15' SECOND) GROUP BY n % 3, window_start, window_end",
        "SELECT k, window_end, count(*) AS c FROM SESSION((SELECT n, n % 2 AS k, ts FROM events WHERE n % 10 < 6) PARTITION BY k, \
         DESCRIPTOR(ts), INTERVAL '2' SECOND) GROUP BY k, window_start, window_end",
        "SELECT n % 7 AS k, count(*) AS c, min(n) AS lo, max(n) AS hi FROM events GROUP BY n % 7",
        "SELECT a.n AS n, b.n AS m FROM events AS a JOIN events AS b ON a.n = b.n + 3 AND b.ts BETWEEN a.ts - INTERVAL '5' SECOND AND a.ts",
    ];
    for query in QUERIES {
        let project = Project::new();
        let events = Events::new(&project);
        let views = views_in(&project, query, "KAPPA", ARCHIVE).await;
        events.append(1_000).await;
        until(&views, "archived", |status| has_archived(status, 1_000)).await;
        let rows =
            async || sorted(text_rows(&collect(views.query("SELECT * FROM sums").await.unwrap()).await.unwrap().1));
        views.replay(&sums(), &LOG_ALONE).await.unwrap();
        until_built(&views, 2).await;
        let alone = rows().await;
        assert!(alone.len() > 6, "{query}");
        views.replay(&sums(), &ReplayOptions::default()).await.unwrap();
        until_built(&views, 3).await;
        assert_eq!(rows().await, alone, "{query}");
        views.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_with_the_reason() {
    let project = Project::new();
    let refused = |text: String| {
        let (_, problems) = Catalog::load_checked(&[(PathBuf::from("p.sql"), text)], &project.connectors);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].message.clone()
    };
    let maybe = refused(declared(SUMS, "KAPPA", ", 'archive' = 'maybe'"));
    assert_eq!(maybe, "'maybe' is not 'true' or 'false'");
    std::fs::write(project.dir.path().join("lines.csv"), "n\n1\n2\n").unwrap();
    let error_of = async |text: String| {
        let views = Views::new(project.catalog(&text), project.connectors.clone(), options(&project));
        views.start_all().await;
        let error = views.status(&TableName::parse("v")).unwrap().error.unwrap();
        views.shutdown().await;
        error
    };
    let bounded = error_of(
        "CREATE TABLE lines (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'lines.csv', 'format' = 'csv');
         CREATE MATERIALIZED TABLE v WITH ('archive' = 'true') REFRESH_MODE = KAPPA AS SELECT n FROM lines;"
            .to_owned(),
    )
    .await;
    assert!(bounded.contains("it reads no table without an end"), "{bounded}");
    let changing = error_of(
        "CREATE TABLE changing (n BIGINT) WITH ('connector' = 'log', 'topic' = 'changing', 'format' = 'debezium-json');
         CREATE MATERIALIZED TABLE v WITH ('archive' = 'true') REFRESH_MODE = KAPPA AS SELECT n FROM changing;"
            .to_owned(),
    )
    .await;
    assert!(changing.contains("changing gives changes, and an archive keeps rows"), "{changing}");
}
