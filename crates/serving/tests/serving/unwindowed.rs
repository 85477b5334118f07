//! Views of two layers without windows: what readers see while the boundary moves and the speed layer is started again, what late
//! rows do to them, that they come to the same as the other modes, and what is refused.
//!
//! Event `n` happens at second `n`, and has the value `n`: how many there are says what all aggregates have to be.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mulgil_serving::run::collect;
use mulgil_serving::status::ViewStatus;
use mulgil_serving::views::Views;
use mulgil_sql::catalog::Catalog;

use crate::fixture::{Project, sorted, text_rows};
use crate::lambda::{Events, PATIENCE, declared, sums, until, until_time, views_in};

const PANES: &str = ", 'pane' = '10 s'";

/// By remainder: how many events, their sum, the first and the last.
const BY_KEY: &str =
    "SELECT n % 3 AS k, count(*) AS c, sum(n) AS s, min(n) AS lo, max(n) AS hi FROM events GROUP BY n % 3";

async fn rows(views: &Views) -> Vec<Vec<String>> {
    sorted(text_rows(&collect(views.query("SELECT * FROM sums").await.unwrap()).await.unwrap().1))
}

async fn until_rows(views: &Views, wanted: &[Vec<String>]) {
    let waiting = async {
        while rows(views).await != wanted {
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{:?}, not {wanted:?}: {:#?}", rows(views).await, views.status(&sums()));
    }
}

fn texts(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(ToString::to_string).collect()
}

/// What `BY_KEY` says of the first `count` events.
fn truth(count: u64) -> Vec<Vec<String>> {
    let of = |k: u64| -> Vec<u64> { (0..count).filter(|n| n % 3 == k).collect() };
    let row = |k: u64| {
        let of = of(k);
        texts(&[k, of.len() as u64, of.iter().sum(), *of.first()?, *of.last()?]).into()
    };
    sorted((0..3).filter_map(row).collect())
}

/// How many events an answer covers, all of which have to be there once.
fn covered(answer: &[Vec<String>]) -> u64 {
    let count = answer.iter().map(|row| row[1].parse::<u64>().unwrap()).sum();
    assert_eq!(answer, truth(count));
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_counted_twice_or_missed_while_the_boundary_moves() {
    let project = Project::new();
    let events = Events::new(&project);
    let views = views_in(&project, BY_KEY, "LAMBDA", PANES).await;
    events.append(1_000).await;
    until_time(&views, 900).await;
    let (stop, era) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let produces = tokio::spawn({
        let (events, stop) = (Arc::clone(&events), Arc::clone(&stop));
        async move {
            let mut beat = tokio::time::interval(Duration::from_millis(5));
            while !stop.load(Ordering::SeqCst) {
                events.append(7).await;
                beat.tick().await;
            }
        }
    });
    let reader = || {
        let (views, stop, era) = (views.clone(), Arc::clone(&stop), Arc::clone(&era));
        async move {
            let (mut before, mut answers, mut known) = (0, 0, 0);
            while !stop.load(Ordering::SeqCst) {
                let now = era.load(Ordering::SeqCst);
                let seen = covered(&rows(&views).await);
                // A stream that is stopped on a busy machine may go on from a checkpoint before.
                let goes_on = now.is_multiple_of(2) && now == known && now == era.load(Ordering::SeqCst);
                assert!(!goes_on || seen >= before, "{before} events, and then {seen}");
                (before, answers, known) = (seen, answers + 1, now);
            }
            answers
        }
    };
    let readers = [tokio::spawn(reader()), tokio::spawn(reader())];
    let mut boundary_ms = 0;
    for version in 1..=5 {
        let layers = views.refresh(&sums()).await.unwrap().layers.unwrap();
        assert_eq!((layers.batch_version, layers.batch_rows), (version, 3));
        assert!(layers.boundary_ms.unwrap() >= boundary_ms && layers.boundary_ms.unwrap() % 10_000 == 0, "{layers:?}");
        boundary_ms = layers.boundary_ms.unwrap();
        // The speed layer forgets the panes that batch has spoken of: three rows each.
        let after_ms = |count: u64| count as i64 * 1_000 - boundary_ms;
        until(&views, "shorter", |status| (status.rows as i64) < after_ms(events.count()) / 1_000 + 60).await;
        if version == 3 {
            era.fetch_add(1, Ordering::SeqCst);
            views.stop(&sums()).await.unwrap();
            views.start(&sums()).await.unwrap();
            era.fetch_add(1, Ordering::SeqCst);
        }
    }
    assert!(boundary_ms > 900_000, "{boundary_ms}");
    stop.store(true, Ordering::SeqCst);
    produces.await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0, "nobody has read anything");
    }
    let drift = views.drift(&sums()).unwrap();
    assert!(
        !drift.is_empty() && drift.iter().all(|until| until.differing + until.missing + until.surplus == 0),
        "{drift:?}"
    );
    // What people see are the columns of the query.
    let columns = views.status(&sums()).unwrap().columns;
    assert_eq!(columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["k", "c", "s", "lo", "hi"]);
    let seen = covered(&rows(&views).await);
    views.shutdown().await;

    // Both layers go on from where they were.
    let again = views_in(&project, BY_KEY, "LAMBDA", PANES).await;
    assert_eq!(again.status(&sums()).unwrap().layers.unwrap().boundary_ms, Some(boundary_ms));
    assert!(covered(&rows(&again).await) >= seen);
    events.append(100).await;
    until_rows(&again, &truth(events.count())).await;
    until_time(&again, events.count() as i64 - 7).await;
    again.refresh(&sums()).await.unwrap();
    assert_eq!(rows(&again).await, truth(events.count()));
    again.shutdown().await;
}

fn archived(count: u64) -> impl Fn(&ViewStatus) -> bool {
    move |status| status.layers.as_ref().is_some_and(|layers| layers.archives[0].rows_in == count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_rows_count_at_once_behind_the_boundary_and_with_the_next_refresh_before_it() {
    const ALL: &str = "SELECT count(*) AS c, sum(n) AS s FROM events";
    let project = Project::new();
    let events = Events::new(&project);
    let views = views_in(&project, ALL, "LAMBDA", PANES).await;
    // Nothing yet is a row too, as in SQL.
    let before = text_rows(&collect(views.query("SELECT c FROM sums").await.unwrap()).await.unwrap().1);
    assert_eq!(before, [texts(&[0])]);
    events.append(100).await;
    let sum: u64 = (0..100).sum();
    until_rows(&views, &[texts(&[100, sum])]).await;
    // Long after its pane, and one without any time.
    events.append_late(1_000, 35).await;
    events.append_timeless(10_000).await;
    until_rows(&views, &[texts(&[102, sum + 11_000])]).await;
    until(&views, "archived", archived(102)).await;
    until_time(&views, 94).await;
    let refreshed = views.refresh(&sums()).await.unwrap();
    assert_eq!((refreshed.rows, refreshed.layers.unwrap().boundary_ms), (1, Some(90_000)));
    assert_eq!(rows(&views).await, [texts(&[102, sum + 11_000])]);
    let drift = views.drift(&sums()).unwrap();
    assert_eq!(
        drift.iter().map(|d| (d.window_end_ms, d.batch_rows, d.differing)).collect::<Vec<_>>(),
        [(90_000, 1, 0)]
    );

    // The first is before the boundary, the second is not.
    events.append_late(100_000, 5).await;
    events.append_late(1_000_000, 91).await;
    until_rows(&views, &[texts(&[103, sum + 1_011_000])]).await;
    until(&views, "archived", archived(104)).await;
    views.refresh(&sums()).await.unwrap();
    assert_eq!(rows(&views).await, [texts(&[104, sum + 1_111_000])]);
    let drift = views.drift(&sums()).unwrap();
    assert_eq!(drift.iter().map(|d| (d.version, d.differing)).collect::<Vec<_>>(), [(2, 1)]);
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_four_modes_come_to_the_same_rows_without_windows() {
    const QUERIES: [&str; 4] = [
        BY_KEY,
        "SELECT n % 3 AS k, count(n) FILTER (WHERE n % 2 = 0) AS f, count(DISTINCT n % 7) AS d, sum(DISTINCT n % 11) AS ds, \
         round(avg(n), 6) AS a, round(var_pop(n), 3) AS v, round(stddev_samp(n), 3) AS dev, round(corr(n, n % 10), 6) AS r, \
         round(regr_slope(n, n % 10), 4) AS slope, bool_and(n >= 0) AS b, bit_xor(n) AS x, approx_distinct(n % 10) AS ad, \
         approx_median(n) BETWEEN 280 AND 320 AS m, approx_percentile_cont(n, 0.9) BETWEEN 520 AND 560 AS p \
         FROM events WHERE n % 5 <> 0 GROUP BY n % 3",
        "SELECT upper(k) AS kk, 2 * c AS twice, lo FROM (SELECT CASE WHEN n % 4 = 0 THEN NULL WHEN n < 9 THEN 'few' ELSE 'many' \
         END AS k, count(*) AS c, min(CAST(n AS VARCHAR)) AS lo FROM (SELECT n, ts AS happened FROM events WHERE n > 2) AS e \
         GROUP BY CASE WHEN n % 4 = 0 THEN NULL WHEN n < 9 THEN 'few' ELSE 'many' END HAVING count(*) > 4) AS grouped",
        "SELECT max(n) - min(n) AS span, count(*) AS c, avg(n) AS mean, max(ts) AS last FROM events",
    ];
    for query in QUERIES {
        let mut found: Vec<Vec<Vec<String>>> = Vec::new();
        for mode in ["FULL", "CONTINUOUS", "LAMBDA", "KAPPA"] {
            let project = Project::new();
            let events = Events::new(&project);
            let views = views_in(&project, query, mode, PANES).await;
            events.append(500).await;
            if mode == "LAMBDA" {
                until_time(&views, 494).await;
                let layers = views.refresh(&sums()).await.unwrap().layers.unwrap();
                assert_eq!(layers.boundary_ms, Some(490_000));
            }
            events.append(100).await;
            if mode == "FULL" {
                views.refresh(&sums()).await.unwrap();
                found.push(rows(&views).await);
            } else {
                until_rows(&views, &found[0]).await;
            }
            views.shutdown().await;
        }
        assert!(!found[0].is_empty() && !found[0].iter().flatten().any(|text| text == "false"), "{query}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_added_up_of_two_layers_is_refused_with_the_reason() {
    let project = Project::new();
    let cases = [
        ("SELECT n FROM events", "", "this one has neither"),
        ("SELECT DISTINCT n FROM events", "", "this one has neither"),
        ("SELECT count(*) AS c FROM events ORDER BY c", "", "this one has neither"),
        ("SELECT first_value(n ORDER BY ts) AS f FROM events", "", "depends on the order of all rows"),
        ("SELECT array_agg(n) AS f FROM events", "", "depends on the order of all rows"),
        ("SELECT median(n) AS m FROM events", "", "keeps every one of them"),
        ("SELECT avg(DISTINCT n) AS m FROM events", "", "the layers may have values in common"),
        ("SELECT count(*) AS c FROM events GROUP BY ROLLUP (n % 2)", "", "GROUPING SETS, ROLLUP and CUBE"),
        ("SELECT count(*) AS c FROM events AS a JOIN events AS b ON a.n = b.n", "", "joins, unions, rankings"),
        (
            "SELECT max(c) AS m FROM (SELECT count(*) AS c FROM events GROUP BY n) AS e",
            "",
            "other aggregations beneath",
        ),
        (
            "SELECT count(*) AS c FROM events WHERE n > (SELECT avg(n) FROM events)",
            "",
            "a subquery within an expression",
        ),
        ("SELECT count(*) AS c FROM events", ", 'state-ttl' = '1 d'", "the batch layer forgets no key"),
        ("SELECT count(*) AS c FROM events", ", 'pane' = 'long'", "'long' is not a duration"),
    ];
    for (query, options, reason) in cases {
        let files = [(PathBuf::from("p.sql"), declared(query, "LAMBDA", options))];
        let (_, problems) = Catalog::load_checked(&files, &project.connectors);
        assert!(problems.len() == 1 && problems[0].message.contains(reason), "{query}: {problems:?}");
        assert!(problems[0].remedy.as_ref().is_some_and(|remedy| !remedy.is_empty()), "{query}: {problems:?}");
    }
    let text = declared("SELECT count(*) AS c FROM events", "LAMBDA", "")
        .replace(", WATERMARK FOR ts AS ts - INTERVAL '5' SECOND", "");
    let (_, problems) = Catalog::load_checked(&[(PathBuf::from("p.sql"), text)], &project.connectors);
    assert!(problems.len() == 1 && problems[0].message.contains("cut by event time"), "{problems:?}");
}
