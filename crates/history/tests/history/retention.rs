//! What is kept no longer is gone with all that belongs to it, quickly; what has to stay stays.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mulgil_history::History;
use mulgil_history::outbox::{NewAlert, NewNotice, NoticeChange, NoticeStatus};
use mulgil_history::read::{NoticeQuery, RunQuery};
use mulgil_history::retention::{EXPIRED_MAX, RUNS_MAX};
use mulgil_history::write::{BackfillStatus, NewBackfill, RunChange, Trigger, Write};
use mulgil_history::written::TableWrite;
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};

use crate::cluster::Cluster;
use crate::sample::{attempt, day, lease, new_run, run_status, task, version};
use crate::store::{Place, database};
use crate::suite::over_every_store;

over_every_store! {
    what_is_active_or_the_last_of_its_flow_is_kept,
    what_a_dropped_run_wrote_goes_with_it,
    dropping_a_year_takes_under_a_second,
}

fn ended(run: i64, at: Timestamp) -> [Write; 2] {
    let change = |from, to| Write::RunStatus(RunChange { run: RunId(run), from, to, timed_out: false, at });
    [change(RunStatus::Queued, RunStatus::Running), change(RunStatus::Running, RunStatus::Failed)]
}

async fn ids(history: &dyn History) -> Vec<i64> {
    let all = RunQuery { limit: 10_000, ..RunQuery::default() };
    history.runs(&all).await.unwrap().iter().map(|run| run.id.0).collect()
}

async fn what_is_active_or_the_last_of_its_flow_is_kept(place: &Place) {
    let history = place.open().await;
    let backfill = |id, to| NewBackfill {
        id: BackfillId(id),
        flow: "f".to_owned(),
        from: day(1),
        to,
        concurrency: 1,
        which: "all".to_owned(),
        newest_first: false,
        trial: None,
        rounds: 0,
        planned: 1,
        at: day(1),
    };
    let (b1, b2) = (Write::Backfill(backfill(1, day(2))), Write::Backfill(backfill(2, day(2))));
    let mut writes = vec![version(), b1, b2];
    // 1 of the schedule, 2 its latest interval, 3 and 4 of backfills of which one is under way, 5 open, 6 too young, 7 the newest.
    let runs = [
        (1, Trigger::Schedule, None),
        (2, Trigger::Schedule, None),
        (3, Trigger::Backfill, Some(1)),
        (4, Trigger::Backfill, Some(2)),
        (5, Trigger::Manual, None),
        (6, Trigger::Manual, None),
        (7, Trigger::Manual, None),
    ];
    writes.extend(runs.map(|(run, trigger, backfill)| new_run(run, trigger, backfill)));
    for run in [1, 2, 3, 4, 7] {
        writes.extend(ended(run, day(10)));
    }
    writes.extend(ended(6, day(20)));
    let done = BackfillStatus::Failed;
    writes.push(Write::BackfillStatus {
        backfill: BackfillId(1),
        from: BackfillStatus::Running,
        to: done,
        at: day(10),
    });
    writes.push(Write::Alert(NewAlert { run: RunId(1), kind: "slow".to_owned(), text: "x".to_owned(), at: day(9) }));
    for (key, run) in [("of 1", 1), ("waits", 1), ("of 7", 7)] {
        let (kind, flow, body) = ("failure".to_owned(), "f".to_owned(), serde_json::json!({}));
        let channel = "ops".to_owned();
        let (key, run) = (key.to_owned(), Some(RunId(run)));
        writes.push(Write::Notice(NewNotice { key, channel, kind, flow, run, body, at: day(9), refused: None }));
    }
    for key in ["of 1", "of 7"] {
        let (to, at) = (NoticeStatus::Delivered, day(9));
        writes.push(Write::NoticeStatus(NoticeChange { key: key.to_owned(), to, next_at: None, error: None, at }));
    }
    history.commit(&writes).await.unwrap();
    let expired = history.expired(day(15), 10).await.unwrap();
    let runs: Vec<RunId> = expired.iter().map(|run| run.id).collect();
    assert_eq!(runs, [RunId(1), RunId(3)]);
    history.commit(&[Write::Drop { runs }]).await.unwrap();
    assert_eq!(ids(&*history).await, [7, 6, 5, 4, 2]);
    assert!(history.events(0, 1000).await.unwrap().iter().all(|event| event.run != Some(RunId(1))));
    let keys = async || -> Vec<String> {
        let all = NoticeQuery { limit: 10, ..NoticeQuery::default() };
        history.notices(&all).await.unwrap().into_iter().map(|notice| notice.key).collect()
    };
    assert_eq!(keys().await, ["of 7", "waits"], "what waits is still delivered");
    assert_eq!(history.last_scheduled("f").await.unwrap(), Some(day(2)));
    assert!(history.expired(day(15), 10).await.unwrap().is_empty());

    history.commit(&[Write::DropRest { runs: day(15), notices: day(15) }]).await.unwrap();
    assert_eq!(keys().await, ["waits"]);
    assert!(history.backfill(BackfillId(1)).await.unwrap().is_none());
    assert!(history.backfill(BackfillId(2)).await.unwrap().is_some());
    assert!(history.flow_version("h1").await.unwrap().is_some(), "runs are made of it");
}

async fn what_a_dropped_run_wrote_goes_with_it(place: &Place) {
    let history = place.open().await;
    let (flow, table, task) = ("f".to_owned(), "a".to_owned(), "t".to_owned());
    let first = TableWrite { table, start: day(1), end: day(2), flow, run: RunId(1), task, at: day(3) };
    let (start, end, run) = (day(2), day(3), RunId(2));
    let second = TableWrite { start, end, run, ..first.clone() };
    let mut writes = vec![version()];
    writes.extend([1, 2].map(|run| new_run(run, Trigger::Manual, None)));
    writes.extend([1, 2].into_iter().flat_map(|run| ended(run, day(3))));
    writes.extend([&first, &second].map(|write| Write::Table(write.clone())));
    history.commit(&writes).await.unwrap();
    history.commit(&[Write::Drop { runs: vec![RunId(1)] }]).await.unwrap();
    assert_eq!(history.table_writes(&["a".to_owned()], day(1), day(9)).await.unwrap(), [second]);
}

/// An hourly flow of two tasks, one attempt each: of each run, two tasks and attempts, and thirteen events.
async fn hours(history: &dyn History, count: i64) {
    use AttemptStatus as A;
    use TaskStatus as S;
    history.commit(&[version()]).await.unwrap();
    let runs: Vec<i64> = (1..=count).collect();
    for some in runs.chunks(500) {
        let mut writes = Vec::new();
        for &run in some {
            writes.extend([
                new_run(run, Trigger::Schedule, None),
                run_status(run, RunStatus::Queued, RunStatus::Running),
            ]);
            for place in [0, 1] {
                let of = |write| match write {
                    Write::Lease(mut new) => {
                        new.attempt.task = place;
                        Write::Lease(new)
                    }
                    Write::Attempt(mut change) => {
                        change.attempt.task = place;
                        Write::Attempt(change)
                    }
                    write => write,
                };
                writes.push(task(run, place, S::Waiting, S::Ready, 0));
                writes.push(task(run, place, S::Ready, S::Running, 1));
                writes.push(of(lease(run, 1, 2 * run + i64::from(place))));
                writes.push(of(attempt(run, A::Leased, A::Running)));
                writes.push(of(attempt(run, A::Running, A::Succeeded)));
            }
            writes.push(run_status(run, RunStatus::Running, RunStatus::Succeeded));
        }
        history.commit(&writes).await.unwrap();
    }
}

/// A year of it: 8,760 runs, 17,520 tasks and attempts, 113,880 events.
async fn dropping_a_year_takes_under_a_second(place: &Place) {
    let history = place.open().await;
    hours(&*history, 8_761).await;
    let begun = Instant::now();
    let expired = history.expired(day(8_763), EXPIRED_MAX).await.unwrap();
    let (looked, mut longest) = (begun.elapsed(), Duration::ZERO);
    for some in expired.chunks(RUNS_MAX) {
        let of_batch = Instant::now();
        history.commit(&[Write::Drop { runs: some.iter().map(|run| run.id).collect() }]).await.unwrap();
        longest = longest.max(of_batch.elapsed());
    }
    let took = begun.elapsed();
    let dropped = expired.len();
    println!("dropped {dropped} runs in {took:?}: found in {looked:?}, the longest batch took {longest:?}");
    assert_eq!(ids(&*history).await, [8_761]);
    // The limit of a build without optimisation on a busy machine; docs/operations.md has the figures.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// PostgreSQL finds what belongs to a few runs by its indices, also where it knows nothing of the tables yet.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_some_runs_reads_no_table_as_a_whole() {
    let url = database();
    let place = Place::Postgres(url.clone());
    let history = place.open().await;
    hours(&*history, 2_000).await;
    history.close().await;
    let cluster = Cluster::shared();
    cluster.run_in(&url, "SELECT pg_stat_reset()");
    let history = place.open().await;
    history.commit(&[Write::Drop { runs: (1..=250).map(RunId).collect() }]).await.unwrap();
    assert_eq!(ids(&*history).await.len(), 1_750);
    history.close().await;
    // A connection says what it has read when it ends.
    let checks = "DO $$ DECLARE read text; BEGIN \
        WHILE EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
            AND pid <> pg_backend_pid()) LOOP PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; \
        SELECT string_agg(relname || ': ' || seq_tup_read, ', ') INTO read FROM pg_stat_user_tables \
            WHERE relname IN ('events', 'attempts', 'tasks', 'notices', 'alerts', 'table_writes', 'asked') AND seq_tup_read > 0; \
        IF read IS NOT NULL THEN RAISE EXCEPTION 'read as a whole: %', read; END IF; \
        IF (SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'events') <> 3250 THEN RAISE EXCEPTION 'nothing was counted'; END IF; \
        END $$";
    cluster.run_in(&url, checks);
}
