//! Views that are built anew beside themselves: what readers see while generations take over from each other, what is kept
//! over restarts, and what is refused.
//!
//! The topic holds the numbers from 0 on, in order, so that every answer says which prefix of it it is about: a prefix of `k`
//! numbers has the count `k` and the sum `k (k - 1) / 2`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_log::{Record, Topic, TopicOptions};
use mulgil_serving::run::collect;
use mulgil_serving::status::{ViewState, ViewStatus};
use mulgil_serving::views::{ReplayOptions, Views, ViewsOptions, Why};

use crate::fixture::{Project, text_rows};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const RIGHT: &str = "SELECT count(*) AS c, sum(n) AS s FROM numbers";
/// With a bug: each number is taken for one more than it is.
pub(crate) const WRONG: &str = "SELECT count(*) AS c, sum(n + 1) AS s FROM numbers";

pub(crate) fn totals() -> TableName {
    TableName::parse("totals")
}

pub(crate) fn declared(query: &str, mode: &str) -> String {
    format!(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'log', 'topic' = 'numbers', 'format' = 'json');
         CREATE TABLE lines (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'lines.csv', 'format' = 'csv');
         CREATE TABLE heard (line STRING) WITH ('connector' = 'socket', 'hostname' = '127.0.0.1', 'port' = '1');
         CREATE MATERIALIZED TABLE totals WITH ('checkpoint-interval' = '20 ms') REFRESH_MODE = {mode} AS {query};"
    )
}

async fn views_in(project: &Project, query: &str, mode: &str) -> Views {
    let options = ViewsOptions {
        parallelism: 2,
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    let views = Views::new(project.catalog(&declared(query, mode)), project.connectors.clone(), options);
    views.start_all().await;
    views
}

async fn views(project: &Project, query: &str) -> Views {
    views_in(project, query, "KAPPA").await
}

/// Waits for news until the view is as wanted.
pub(crate) async fn until(views: &Views, what: &str, wanted: impl Fn(&ViewStatus) -> bool) -> ViewStatus {
    let mut news = views.subscribe();
    let waiting = async {
        loop {
            let status = views.status(&totals()).unwrap();
            if wanted(&status) {
                return status;
            }
            // Missed news is news all the same; a note alone makes none.
            let _ = tokio::time::timeout(Duration::from_millis(50), news.recv()).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(status) => status,
        Err(_) => panic!("not {what}: {:#?}", views.status(&totals())),
    }
}

pub(crate) async fn until_generation(views: &Views, number: u64) -> ViewStatus {
    let what = format!("generation {number}");
    until(views, &what, |status| status.generation == number && status.building.is_none()).await
}

/// The numbers of a topic, appended in order.
pub(crate) struct Numbers {
    topic: Topic,
    next: AtomicU64,
}

impl Numbers {
    pub(crate) fn new(project: &Project) -> Arc<Self> {
        let topic = project.log.topic_or_create("numbers", TopicOptions::default()).unwrap();
        let next = topic.offsets(0).unwrap().end.into();
        Arc::new(Self { topic, next })
    }

    /// Appends `count` numbers, whose records are a millisecond old each more than the one before.
    pub(crate) async fn append(&self, count: u64) {
        let first = self.next.fetch_add(count, Ordering::SeqCst);
        let record = |n: u64| Record { timestamp_ms: n as i64, key: None, value: format!("{{\"n\": {n}}}").into() };
        let records: Vec<Record> = (first..first + count).map(record).collect();
        self.topic.append(0, &records).await.unwrap();
    }

    pub(crate) fn count(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }
}

/// The count and the sum, once there is one.
pub(crate) async fn answer(views: &Views) -> Option<(u64, u64)> {
    // Named twice in one query, it is the same generation twice.
    let sql = "SELECT a.c, a.s FROM totals AS a JOIN totals AS b ON a.c = b.c AND a.s = b.s";
    let rows = text_rows(&collect(views.query(sql).await.unwrap()).await.unwrap().1);
    assert!(rows.len() <= 1, "{rows:?}");
    let row = rows.first()?;
    let alone = text_rows(&collect(views.query("SELECT c, s FROM totals").await.unwrap()).await.unwrap().1);
    assert_eq!(alone.len(), 1, "an answer goes away");
    let number = |text: &str| text.parse().unwrap_or(0);
    Some((number(&row[0]), number(&row[1])))
}

/// Waits until the view answers for all numbers, as the query `is_right` or not.
pub(crate) async fn until_all(views: &Views, numbers: &Numbers, is_right: bool) {
    let count = numbers.count();
    let expected = sum(count) + if is_right { 0 } else { count };
    let waiting = async {
        while answer(views).await != Some((count, expected)) {
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{:?}, not {:?}: {:#?}", answer(views).await, (count, expected), views.status(&totals()));
    }
}

pub(crate) fn sum(count: u64) -> u64 {
    count * count.saturating_sub(1) / 2
}

/// Numbers come all the time, and readers ask all the time, until told to stop.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<(u64, u64)>>,
}

impl Traffic {
    pub(crate) fn new(views: &Views, numbers: &Arc<Numbers>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = vec![tokio::spawn(Self::produce(Arc::clone(numbers), Arc::clone(&stop)))];
        for _ in 0..2 {
            tasks.push(tokio::spawn(Self::read(views.clone(), Arc::clone(numbers), Arc::clone(&stop))));
        }
        Self { stop, tasks }
    }

    async fn produce(numbers: Arc<Numbers>, stop: Arc<AtomicBool>) -> (u64, u64) {
        let mut beat = tokio::time::interval(Duration::from_millis(3));
        while !stop.load(Ordering::SeqCst) {
            numbers.append(7).await;
            beat.tick().await;
        }
        (0, 0)
    }

    /// Every answer is the truth about a prefix, as one of the two queries has it; and no prefix is shorter than the one before.
    /// Gives how many answers there were of each query.
    async fn read(views: Views, numbers: Arc<Numbers>, stop: Arc<AtomicBool>) -> (u64, u64) {
        let (mut right, mut wrong, mut before) = (0, 0, 0);
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        while !stop.load(Ordering::SeqCst) {
            beat.tick().await;
            let Some((count, said)) = answer(&views).await else {
                assert_eq!(before, 0, "the view answers no longer");
                continue;
            };
            assert!(count <= numbers.count(), "{count} numbers of {}", numbers.count());
            assert!(count >= before, "{before} numbers, and then {count}");
            before = count;
            match said.checked_sub(sum(count)) {
                Some(0) => right += 1,
                Some(more) if more == count => wrong += 1,
                _ => panic!("{count} numbers with the sum {said} are no prefix"),
            }
        }
        (right, wrong)
    }

    /// How many answers there were, of the right query and of the wrong one.
    pub(crate) async fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        let mut answers = (0, 0);
        for task in self.tasks {
            let (right, wrong) = task.await.unwrap();
            answers = (answers.0 + right, answers.1 + wrong);
        }
        answers
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_the_truth_about_a_prefix_while_generations_take_over() {
    let project = Project::new();
    let numbers = Numbers::new(&project);
    numbers.append(20_000).await;
    let wrong = views(&project, WRONG).await;
    until_all(&wrong, &numbers, false).await;
    wrong.shutdown().await;

    // The query is mended: the wrong generation answers until the right one has caught up.
    let mended = views(&project, RIGHT).await;
    let traffic = Traffic::new(&mended, &numbers);
    let status = until_generation(&mended, 2).await;
    assert_eq!(status.former.as_ref().map(|former| former.number), Some(1));
    assert!(status.former.unwrap().definition.contains("n + 1"));
    mended.replay(&totals(), &ReplayOptions::default()).await.unwrap();
    until_generation(&mended, 3).await;
    mended.roll_back(&totals()).await.unwrap();
    let status = until_generation(&mended, 2).await;
    assert_eq!(status.former.unwrap().number, 3);
    mended.roll_back(&totals()).await.unwrap();
    until_generation(&mended, 3).await;
    let (right, _) = traffic.end().await;
    assert!(right > 0, "nobody has read anything");
    until_all(&mended, &numbers, true).await;
    mended.shutdown().await;
    // The folders of what is of no use any more are gone.
    let mut kept: Vec<String> = std::fs::read_dir(project.dir.path().join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["public.totals.generations", "public.totals@2", "public.totals@3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bug_is_mended_by_replay_and_rolled_back_to_without_a_gap() {
    let project = Project::new();
    let numbers = Numbers::new(&project);
    numbers.append(50_000).await;
    let first = views(&project, WRONG).await;
    until_all(&first, &numbers, false).await;
    first.shutdown().await;

    // The limit holds the build back, so that the wrong one answers for a while.
    let mended = views(&project, RIGHT).await;
    mended.cancel_replay(&totals()).await.ok();
    let slow = ReplayOptions { rows_per_second_max: Some(20_000), ..ReplayOptions::default() };
    if mended.status(&totals()).unwrap().generation == 1 {
        mended.replay(&totals(), &slow).await.unwrap();
        let building = mended.status(&totals()).unwrap().building.unwrap();
        assert_eq!((building.why, building.rows_per_second_max), (Why::Replay, Some(20_000)));
        let twice = mended.replay(&totals(), &slow).await.unwrap_err().to_string();
        assert!(
            twice.contains("is being built already") && twice.contains("mulgil view replay totals --cancel"),
            "{twice}"
        );
    }
    let traffic = Traffic::new(&mended, &numbers);
    let status = until(&mended, "mended", |status| status.generation > 1 && status.building.is_none()).await;
    let (right_number, former) = (status.generation, status.former.unwrap());
    assert_eq!(former.number, 1);
    mended.roll_back(&totals()).await.unwrap();
    until_generation(&mended, 1).await;
    until_all_while_they_come(&mended, false).await;
    mended.roll_back(&totals()).await.unwrap();
    until_generation(&mended, right_number).await;
    until_all_while_they_come(&mended, true).await;
    let (right, wrong) = traffic.end().await;
    assert!(right > 0 && wrong > 0, "{right} right answers and {wrong} wrong ones");
    mended.shutdown().await;

    // After a roll-back, a restart does not take the text of the project for a change.
    let again = views(&project, RIGHT).await;
    again.roll_back(&totals()).await.unwrap();
    until_generation(&again, 1).await;
    again.shutdown().await;
    let back = views(&project, RIGHT).await;
    until_all(&back, &numbers, false).await;
    let status = back.status(&totals()).unwrap();
    assert_eq!((status.generation, status.building), (1, None));
    back.shutdown().await;
}

/// Waits for an answer of the right query, or of the wrong one.
async fn until_all_while_they_come(views: &Views, is_right: bool) {
    let waiting = async {
        loop {
            if let Some((count, said)) = answer(views).await
                && (said == sum(count)) == is_right
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it takes over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_goes_on_from_its_own_checkpoint_after_a_restart() {
    let project = Project::new();
    let numbers = Numbers::new(&project);
    numbers.append(200_000).await;
    let before = views(&project, RIGHT).await;
    until_all(&before, &numbers, true).await;
    let slow = ReplayOptions { rows_per_second_max: Some(40_000), ..ReplayOptions::default() };
    before.replay(&totals(), &slow).await.unwrap();
    let half = until(&before, "begun", |status| {
        status.building.as_ref().is_some_and(|build| build.rows_in > 5_000 && build.done > 0.1)
    })
    .await;
    assert_eq!(half.generation, 1);
    before.shutdown().await;

    let after = views(&project, RIGHT).await;
    assert_eq!(answer(&after).await, Some((200_000, sum(200_000))), "it answers at once");
    let building = after.status(&totals()).unwrap().building.expect("it goes on");
    assert_eq!((building.number, building.rows_per_second_max), (2, Some(40_000)));
    let status = until_generation(&after, 2).await;
    assert!(status.rows_in < 180_000, "it has read {} numbers again", status.rows_in);
    until_all(&after, &numbers, true).await;
    after.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_from_a_time_on_reads_what_has_come_since() {
    let project = Project::new();
    let numbers = Numbers::new(&project);
    numbers.append(1_000).await;
    let views = views(&project, RIGHT).await;
    until_all(&views, &numbers, true).await;
    let recent = ReplayOptions { from_ms: Some(900), ..ReplayOptions::default() };
    views.replay(&totals(), &recent).await.unwrap();
    until_generation(&views, 2).await;
    assert_eq!(answer(&views).await, Some((100, sum(1_000) - sum(900))));
    views.shutdown().await;
    // That is not forgotten.
    let again = self::views(&project, RIGHT).await;
    numbers.append(1).await;
    until(&again, "read", |status| status.rows_in == 1).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_fails_leaves_the_view_alone_and_says_why() {
    let project = Project::new();
    let numbers = Numbers::new(&project);
    numbers.append(100).await;
    let before = views(&project, RIGHT).await;
    until_all(&before, &numbers, true).await;
    before.shutdown().await;

    let failing = views(&project, "SELECT count(*) AS c, sum(7 / (n - 50)) AS s FROM numbers").await;
    let status = until(&failing, "failed", |status| {
        status.building.as_ref().is_some_and(|build| build.state == ViewState::Failed)
    })
    .await;
    let build = status.building.unwrap();
    assert!(build.error.as_ref().unwrap().to_lowercase().contains("divide by zero"), "{build:?}");
    assert_eq!((status.state, status.generation, status.error), (ViewState::Running, 1, None));
    numbers.append(100).await;
    until_all(&failing, &numbers, true).await;
    // What has failed may be given up, or be replaced by another attempt.
    failing.replay(&totals(), &ReplayOptions::default()).await.unwrap();
    assert_eq!(failing.status(&totals()).unwrap().building.unwrap().number, 3);
    failing.cancel_replay(&totals()).await.unwrap();
    assert_eq!(failing.status(&totals()).unwrap().building, None);
    until_all(&failing, &numbers, true).await;
    failing.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_definition_takes_over_with_its_columns_at_once() {
    let project = Project::new();
    let numbers = Numbers::new(&project);
    numbers.append(5_000).await;
    let before = views(&project, RIGHT).await;
    until_all(&before, &numbers, true).await;
    before.shutdown().await;
    // How a view runs is no change of it.
    let as_before = views(&project, "SELECT count(*) AS c, -- all of them\n sum(n) AS s FROM numbers").await;
    assert_eq!(as_before.status(&totals()).unwrap().building, None);
    as_before.shutdown().await;

    let other = views(&project, "SELECT n % 10 AS digit, max(n) AS most FROM numbers GROUP BY n % 10").await;
    loop {
        let rows = collect(other.query("SELECT * FROM totals").await.unwrap()).await.unwrap();
        let columns: Vec<&str> = rows.0.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = text_rows(&rows.1);
        match columns.as_slice() {
            ["c", "s"] => {
                assert_eq!(rows, [["5000", &sum(5_000).to_string()]]);
            }
            ["digit", "most"] => {
                assert_eq!(rows.len(), 10);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let status = until_generation(&other, 2).await;
    assert_eq!(status.columns.first().map(|column| column.name.as_str()), Some("digit"));
    other.shutdown().await;

    // As CONTINUOUS it goes on from the generation that answered.
    numbers.append(1).await;
    let mode = "CONTINUOUS";
    let continuous =
        views_in(&project, "SELECT n % 10 AS digit, max(n) AS most FROM numbers GROUP BY n % 10", mode).await;
    let status = until(&continuous, "read", |status| status.rows_in == 1).await;
    assert_eq!((status.generation, status.rows, status.former), (2, 10, None));
    continuous.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_with_the_reason() {
    let project = Project::new();
    let numbers = Numbers::new(&project);
    numbers.append(1).await;
    let fails = async |views: &Views, what: &str| {
        let recent = ReplayOptions { from_ms: Some(1), ..ReplayOptions::default() };
        let error = match what {
            "roll back" => views.roll_back(&totals()).await,
            "cancel" => views.cancel_replay(&totals()).await,
            _ => views.replay(&totals(), &recent).await,
        };
        error.unwrap_err().to_string()
    };
    let kappa = views(&project, RIGHT).await;
    let none = fails(&kappa, "roll back").await;
    assert_eq!(none, "view totals is KAPPA: it has no former generation: one is kept when another takes over from it");
    assert_eq!(fails(&kappa, "cancel").await, "view totals is KAPPA: nothing is being built beside it");
    kappa.shutdown().await;
    let continuous = views_in(&project, RIGHT, "CONTINUOUS").await;
    assert!(fails(&continuous, "roll back").await.contains("use REFRESH_MODE = KAPPA"));
    assert!(fails(&continuous, "replay").await.contains("its replay begins at the beginning"));
    continuous.shutdown().await;

    std::fs::write(project.dir.path().join("lines.csv"), "n\n1\n2\n").unwrap();
    let other = Project::new();
    std::fs::write(other.dir.path().join("lines.csv"), "n\n1\n2\n").unwrap();
    let timeless = views(&other, "SELECT count(*) AS c, sum(n) AS s FROM lines").await;
    let refused = fails(&timeless, "replay").await;
    assert!(refused.contains("lines cannot be read from a time on: its connector keeps no times"), "{refused}");
    timeless.shutdown().await;
    let forgetful = views(&Project::new(), "SELECT count(*) AS c FROM heard").await;
    let error = forgetful.status(&totals()).unwrap().error.unwrap();
    assert!(error.contains("heard cannot be read a second time"), "{error}");
    forgetful.shutdown().await;

    let late = declared("SELECT n AS c FROM numbers", "KAPPA").replace("'20 ms'", "'20 ms', 'late-rows' = 'numbers'");
    let files = [(PathBuf::from("p.sql"), late)];
    let (_, problems) = mulgil_sql::catalog::Catalog::load_checked(&files, &project.connectors);
    assert!(problems[0].message.contains("a replay would write the late rows of the past again"), "{problems:?}");
}
