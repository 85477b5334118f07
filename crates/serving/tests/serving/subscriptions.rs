//! Subscribers of views: what they hold is what readers see, at every cut, whatever happens to the view and to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_log::{Record, Topic, TopicOptions};
use mulgil_serving::run::collect;
use mulgil_serving::views::changes::{RowKind, Start, Step, Subscription, Why};
use mulgil_serving::views::{ReplayOptions, Views, ViewsOptions};

use crate::fixture::{Project, sorted, text_rows};

const PATIENCE: Duration = Duration::from_secs(60);

fn told() -> TableName {
    TableName::parse("told")
}

async fn views(project: &Project, query: &str, mode: &str) -> Views {
    let declared = format!(
        "CREATE TABLE numbers (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
         WITH ('connector' = 'log', 'topic' = 'numbers', 'format' = 'json');
         CREATE TABLE texts (t VARCHAR) WITH ('connector' = 'log', 'topic' = 'texts', 'format' = 'json');
         CREATE TABLE lines (n BIGINT, t VARCHAR) WITH ('connector' = 'filesystem', 'path' = 'lines.csv', 'format' = 'csv');
         CREATE MATERIALIZED TABLE told WITH ('checkpoint-interval' = '20 ms') REFRESH_MODE = {mode} AS {query};"
    );
    let options = ViewsOptions {
        results_dir: Some(project.dir.path().join("views")),
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    let views = Views::new(project.catalog(&declared), project.connectors.clone(), options);
    views.start_all().await;
    views
}

/// A subscriber's copy of a view: how often each row stands.
#[derive(Debug, Default)]
struct Copy {
    rows: BTreeMap<Vec<String>, usize>,
    version: u64,
    begun: Vec<Why>,
    cuts: usize,
    updates: usize,
}

impl Copy {
    fn take(&mut self, step: Step) {
        match step {
            Step::Begin(beginning) => {
                assert!(beginning.version >= self.version || beginning.why == Why::UnknownCursor);
                (self.version, self.rows) = (beginning.version, BTreeMap::new());
                self.begun.push(beginning.why);
                for row in text_rows(&beginning.rows().unwrap()) {
                    *self.rows.entry(row).or_default() += 1;
                }
            }
            Step::Cut(cut) => {
                assert!(cut.version >= self.version, "{} after {}", cut.version, self.version);
                (self.version, self.cuts) = (cut.version, self.cuts + 1);
                let rows = text_rows(std::slice::from_ref(&cut.changes.rows));
                assert!(!rows.is_empty() && rows.len() == cut.changes.kinds.len());
                for (kind, row) in cut.changes.kinds.iter().zip(rows) {
                    match kind {
                        RowKind::Insert | RowKind::UpdateAfter => *self.rows.entry(row).or_default() += 1,
                        RowKind::UpdateBefore | RowKind::Delete => {
                            let count = self.rows.get_mut(&row).unwrap_or_else(|| panic!("{row:?} is not there"));
                            *count -= 1;
                            if *count == 0 {
                                self.rows.remove(&row);
                            }
                        }
                    }
                    self.updates += usize::from(*kind == RowKind::UpdateAfter);
                }
            }
        }
    }

    fn sorted_rows(&self) -> Vec<Vec<String>> {
        self.rows.iter().flat_map(|(row, count)| std::iter::repeat_n(row.clone(), *count)).collect()
    }
}

async fn queried(views: &Views) -> Vec<Vec<String>> {
    sorted(text_rows(&collect(views.query("SELECT * FROM told").await.unwrap()).await.unwrap().1))
}

/// Takes steps until the copy holds what a query gives at the same version, which is the last one.
async fn until_equal(copy: &mut Copy, subscription: &mut Subscription, views: &Views) {
    let waiting = async {
        loop {
            while let Some(step) = subscription.step() {
                copy.take(step);
            }
            let before = views.status(&told()).unwrap().version;
            let rows = queried(views).await;
            let is_of_one_version = views.status(&told()).unwrap().version == before;
            if is_of_one_version && copy.version == before {
                assert_eq!(copy.sorted_rows(), rows, "at version {before}");
            }
            if copy.sorted_rows() == rows && !copy.begun.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{copy:?} is not {:?}", queried(views).await);
    }
}

/// Waits until all numbers are told: the view itself may still be reading.
async fn until_all(copy: &mut Copy, subscription: &mut Subscription, views: &Views, numbers: &Numbers) {
    let told = |copy: &Copy| copy.sorted_rows().iter().map(|row| row[1].parse::<u64>().unwrap()).sum::<u64>();
    let waiting = async {
        while told(copy) != numbers.count() {
            until_equal(copy, subscription, views).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("all numbers are told");
}

/// Waits until the stream and the archive of a view have so many rows.
async fn until_archived(views: &Views, count: u64) {
    let waiting = async {
        loop {
            let status = views.status(&told()).unwrap();
            if status.rows_in == count && status.layers.iter().any(|layers| layers.archives[0].rows_in == count) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("all is read");
}

async fn next(subscription: &mut Subscription) -> Step {
    let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
    next.expect("something comes").expect("the views are there")
}

struct Numbers {
    topic: Topic,
}

impl Numbers {
    fn new(project: &Project) -> Self {
        Self { topic: project.log.topic_or_create("numbers", TopicOptions::default()).unwrap() }
    }

    fn count(&self) -> u64 {
        self.topic.offsets(0).unwrap().end
    }

    /// Appends numbers in order; number `n` happens at second `n`.
    async fn append(&self, count: u64) {
        let first = self.count();
        let records: Vec<Record> = (first..first + count).map(|n| number(n, n)).collect();
        self.topic.append(0, &records).await.unwrap();
    }
}

fn number(n: u64, second: u64) -> Record {
    let ts = format!(
        "1970-01-{:02}T{:02}:{:02}:{:02}",
        second / 86_400 + 1,
        second / 3_600 % 24,
        second / 60 % 60,
        second % 60
    );
    Record { timestamp_ms: n as i64, key: None, value: format!("{{\"n\": {n}, \"ts\": \"{ts}\"}}").into() }
}

/// By the last digit: how many numbers, and their sum. What each cut shows is of a prefix.
const DIGITS: &str = "SELECT n % 10 AS digit, count(*) AS c, sum(n) AS s FROM numbers GROUP BY n % 10";

fn assert_prefix(copy: &Copy) {
    let digits: Vec<Vec<u64>> =
        copy.sorted_rows().iter().map(|row| row.iter().map(|text| text.parse().unwrap()).collect()).collect();
    let count: u64 = digits.iter().map(|row| row[1]).sum();
    let expected = (0..10).map(|digit| {
        let own: Vec<u64> = (0..count).filter(|n| n % 10 == digit).collect();
        vec![digit, own.len() as u64, own.iter().sum()]
    });
    let expected: Vec<Vec<u64>> = expected.filter(|row| row[1] > 0).collect();
    assert_eq!(digits, expected, "this is no prefix of {count} numbers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_the_view_at_every_cut_while_generations_take_over_and_it_is_cut_off() {
    let project = Project::new();
    let numbers = Arc::new(Numbers::new(&project));
    numbers.append(2_000).await;
    let views = views(&project, DIGITS, "KAPPA").await;
    let stop = Arc::new(AtomicBool::new(false));
    let produces = tokio::spawn({
        let (numbers, stop) = (Arc::clone(&numbers), Arc::clone(&stop));
        async move {
            let mut beat = tokio::time::interval(Duration::from_millis(3));
            while !stop.load(Ordering::SeqCst) {
                numbers.append(3).await;
                beat.tick().await;
            }
        }
    });
    let cuts = Arc::new(AtomicUsize::new(0));
    let reads = tokio::spawn({
        let (views, stop, cuts) = (views.clone(), Arc::clone(&stop), Arc::clone(&cuts));
        async move {
            let mut copy = Copy::default();
            let mut subscription = views.changes(&told(), Start::Snapshot).unwrap();
            while !stop.load(Ordering::SeqCst) {
                copy.take(next(&mut subscription).await);
                assert_prefix(&copy);
                cuts.store(copy.cuts, Ordering::SeqCst);
                if copy.cuts % 5 == 4 {
                    // It is cut off, and goes on where it was.
                    let cursor = subscription.cursor().unwrap();
                    drop(subscription);
                    subscription = views.changes(&told(), Start::After(cursor)).unwrap();
                }
            }
            (copy, subscription)
        }
    });
    for generation in [2, 3] {
        views.replay(&told(), &ReplayOptions::default()).await.unwrap();
        let swapped = async {
            while views.status(&told()).unwrap().generation != generation {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, swapped).await.expect("it takes over");
    }
    let often = async {
        while cuts.load(Ordering::SeqCst) < 12 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, often).await.expect("it is cut off several times");
    stop.store(true, Ordering::SeqCst);
    produces.await.unwrap();
    // Wakes the reader, should it wait.
    numbers.append(1).await;
    let (mut copy, mut subscription) = reads.await.unwrap();
    until_all(&mut copy, &mut subscription, &views, &numbers).await;
    assert_prefix(&copy);
    assert_eq!(copy.begun, [Why::Asked], "no cut was missed, also when it was cut off");
    assert!(copy.updates > 0, "{copy:?}");

    // Other views do not know the cursor: it begins anew, and says so.
    let cursor = subscription.cursor().unwrap();
    views.shutdown().await;
    let ends = async { while subscription.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ends).await.expect("a subscription of views that are shut down ends");
    let again = self::views(&project, DIGITS, "KAPPA").await;
    let mut subscription = again.changes(&told(), Start::After(cursor)).unwrap();
    copy.take(next(&mut subscription).await);
    assert_eq!(copy.begun, [Why::Asked, Why::UnknownCursor]);
    until_equal(&mut copy, &mut subscription, &again).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boundary_that_moves_changes_only_what_batch_corrects() {
    let query = "SELECT window_start, count(*) AS c, sum(n) AS s \
                 FROM TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end";
    let project = Project::new();
    let numbers = Numbers::new(&project);
    let views = views(&project, query, "LAMBDA").await;
    let mut copy = Copy::default();
    numbers.append(100).await;
    until_archived(&views, 100).await;
    let mut subscription = views.changes(&told(), Start::Snapshot).unwrap();
    until_equal(&mut copy, &mut subscription, &views).await;
    let windows = copy.sorted_rows().len();
    assert!(windows > 5);
    // The stream has no part in what batch has spoken of, and a reader sees the same.
    views.refresh(&told()).await.unwrap();
    until_equal(&mut copy, &mut subscription, &views).await;
    assert_eq!((copy.cuts, copy.sorted_rows().len()), (0, windows), "nothing has changed");
    // A row that came too late for the stream is corrected by batch, and nothing else is told.
    numbers.topic.append(0, &[number(7, 35)]).await.unwrap();
    until_archived(&views, 101).await;
    views.refresh(&told()).await.unwrap();
    let cut = match next(&mut subscription).await {
        Step::Cut(cut) => cut,
        Step::Begin(beginning) => panic!("{:?}", beginning.why),
    };
    let mut kinds = cut.changes.kinds.clone();
    kinds.sort_by_key(|kind| *kind as u8);
    assert!(kinds == [RowKind::UpdateBefore, RowKind::UpdateAfter] || kinds == [RowKind::Insert, RowKind::Delete]);
    copy.take(Step::Cut(cut));
    numbers.append(200).await;
    until_archived(&views, 301).await;
    until_equal(&mut copy, &mut subscription, &views).await;
    views.refresh(&told()).await.unwrap();
    until_equal(&mut copy, &mut subscription, &views).await;
    assert_eq!(copy.begun, [Why::Asked]);
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_without_windows_tell_each_number_once_while_the_boundary_moves() {
    let project = Project::new();
    let numbers = Numbers::new(&project);
    numbers.append(1_000).await;
    let views = views(&project, DIGITS, "LAMBDA").await;
    let mut copy = Copy::default();
    let mut subscription = views.changes(&told(), Start::Snapshot).unwrap();
    until_all(&mut copy, &mut subscription, &views, &numbers).await;
    let mut boundaries = Vec::new();
    for round in 1..=3 {
        until_archived(&views, round * 1_000).await;
        // The boundary moves while numbers come, and each cut on the way is of a prefix.
        let name = told();
        let (refreshed, ()) = tokio::join!(views.refresh(&name), async {
            for _ in 0..100 {
                numbers.append(10).await;
                while let Some(step) = subscription.step() {
                    copy.take(step);
                    assert_prefix(&copy);
                }
            }
        });
        boundaries.extend(refreshed.unwrap().layers.and_then(|layers| layers.boundary_ms));
        until_all(&mut copy, &mut subscription, &views, &numbers).await;
    }
    assert!(boundaries.len() == 3 && boundaries.is_sorted_by(|a, b| a < b), "{boundaries:?}");
    let cuts = copy.cuts;
    assert_eq!((cuts > 3, &copy.begun), (true, &vec![Why::Asked]));
    // Nothing comes, so a boundary that moves changes nothing.
    until_archived(&views, 4_000).await;
    views.refresh(&told()).await.unwrap();
    until_equal(&mut copy, &mut subscription, &views).await;
    assert_eq!(copy.cuts, cuts);
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_tells_the_difference_and_other_columns_begin_anew() {
    let project = Project::new();
    let lines = |text: &str| std::fs::write(project.dir.path().join("lines.csv"), format!("n,t\n{text}")).unwrap();
    lines("1,a\n2,b\n2,b\n3,c\n");
    let views = views(&project, "SELECT n, t FROM lines", "FULL").await;
    let mut copy = Copy::default();
    let mut subscription = views.changes(&told(), Start::Snapshot).unwrap();
    assert!(subscription.step().is_none(), "there is no result yet");
    views.refresh(&told()).await.unwrap();
    until_equal(&mut copy, &mut subscription, &views).await;
    lines("1,a\n2,b\n3,d\n");
    views.refresh(&told()).await.unwrap();
    let Step::Cut(cut) = next(&mut subscription).await else { panic!("it begins anew") };
    let changed: Vec<(RowKind, Vec<String>)> =
        cut.changes.kinds.iter().copied().zip(text_rows(std::slice::from_ref(&cut.changes.rows))).collect();
    let row = |kind, n: &str, t: &str| (kind, vec![n.to_owned(), t.to_owned()]);
    let mut gone = changed[..2].to_vec();
    gone.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(gone, [row(RowKind::Delete, "2", "b"), row(RowKind::Delete, "3", "c")]);
    assert_eq!(changed[2..], [row(RowKind::Insert, "3", "d")]);
    copy.take(Step::Cut(cut));
    until_equal(&mut copy, &mut subscription, &views).await;

    // Without a snapshot it begins with what is there, and tells what changes from then on.
    let mut from_now = views.changes(&told(), Start::Now).unwrap();
    let Step::Begin(beginning) = next(&mut from_now).await else { panic!("it does not begin") };
    assert!(beginning.why == Why::Asked && !beginning.has_snapshot && beginning.rows().unwrap().is_empty());
    lines("3,d\n");
    views.refresh(&told()).await.unwrap();
    let Step::Cut(cut) = next(&mut from_now).await else { panic!("it begins anew") };
    assert_eq!(cut.changes.kinds, [RowKind::Delete; 2]);
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_too_slowly_holds_nobody_back_and_begins_anew() {
    let project = Project::new();
    let texts = project.log.topic_or_create("texts", TopicOptions::default()).unwrap();
    let views = views(&project, "SELECT t FROM texts", "CONTINUOUS").await;
    let append = async |first: usize, count: usize| {
        let text = |n: usize| format!("{{\"t\": \"{n}{}\"}}", "-".repeat(100_000));
        let record = |n: usize| Record { timestamp_ms: 0, key: None, value: text(n).into() };
        let records: Vec<Record> = (first..first + count).map(record).collect();
        for few in records.chunks(20) {
            texts.append(0, few).await.unwrap();
        }
    };
    append(0, 1).await;
    let (mut slow, mut quick) = (Copy::default(), Copy::default());
    let mut slow_subscription = views.changes(&told(), Start::Snapshot).unwrap();
    slow.take(next(&mut slow_subscription).await);
    let mut quick_subscription = views.changes(&told(), Start::Snapshot).unwrap();
    for round in 0..3 {
        append(1 + round * 100, 100).await;
        while quick.rows.len() < 1 + (round + 1) * 100 {
            quick.take(next(&mut quick_subscription).await);
        }
    }
    // Thirty megabytes have gone by since, of which the last ones are kept.
    until_equal(&mut slow, &mut slow_subscription, &views).await;
    assert_eq!(slow.begun.last(), Some(&Why::TooFarBehind));
    assert!(quick.begun == [Why::Asked] && quick.cuts >= 3, "{:?} after {} cuts", quick.begun, quick.cuts);
    views.shutdown().await;
}
