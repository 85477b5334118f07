//! Backfills: their trial and pace are kept, a pause is no end, and resuming ends the trial.

use mulgil_history::write::{BackfillStatus, NewBackfill, RunChange, Trigger, Write};
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::status::RunStatus;

use crate::sample::{T0, day, new_run, version};
use crate::store::Place;
use crate::suite::over_every_store;

over_every_store! {
    a_pause_is_no_end_and_resuming_ends_the_trial,
    rounds_are_counted_with_what_had_failed_before_them,
}

const ID: BackfillId = BackfillId(1);

fn new_backfill() -> NewBackfill {
    NewBackfill {
        id: ID,
        flow: "f".to_owned(),
        from: day(1),
        to: day(3),
        concurrency: 8,
        which: "missing".to_owned(),
        newest_first: false,
        planned: 2,
        trial: Some(1),
        rounds: 2,
        at: T0,
    }
}

fn status(from: BackfillStatus, to: BackfillStatus) -> Write {
    Write::BackfillStatus { backfill: ID, from, to, at: T0 }
}

async fn a_pause_is_no_end_and_resuming_ends_the_trial(place: &Place) {
    let history = place.open().await;
    let runs = [new_run(1, Trigger::Backfill, Some(1)), new_run(2, Trigger::Backfill, Some(1))];
    history.commit(&[version(), Write::Backfill(new_backfill())]).await.unwrap();
    history.commit(&runs).await.unwrap();
    let fresh = history.backfill(ID).await.unwrap().unwrap();
    assert_eq!((fresh.trial, fresh.pace, fresh.mean_run_us), (Some(1), None, None));

    let change = |from, to, at| Write::RunStatus(RunChange { run: RunId(1), from, to, timed_out: false, at });
    let pace = |pace| Write::BackfillPace { backfill: ID, pace, at: T0 };
    let ran =
        [change(RunStatus::Queued, RunStatus::Running, day(1)), change(RunStatus::Running, RunStatus::Failed, day(2))];
    history.commit(&ran).await.unwrap();
    history.commit(&[pace(4), pace(2), status(BackfillStatus::Running, BackfillStatus::Paused)]).await.unwrap();
    let paused = history.memory().await.unwrap().backfills.remove(0);
    assert_eq!((paused.status, paused.trial, paused.pace), (BackfillStatus::Paused, Some(1), Some(2)));
    assert_eq!((paused.ended_at, paused.mean_run_us), (None, Some(24 * 3_600_000_000)));

    history.commit(&[status(BackfillStatus::Paused, BackfillStatus::Running)]).await.unwrap();
    let resumed = history.backfill(ID).await.unwrap().unwrap();
    assert_eq!((resumed.status, resumed.trial, resumed.ended_at), (BackfillStatus::Running, None, None));
    history.commit(&[status(BackfillStatus::Running, BackfillStatus::Failed)]).await.unwrap();
    assert_eq!(history.backfill(ID).await.unwrap().unwrap().ended_at, Some(T0));
    assert_eq!(history.memory().await.unwrap().backfills, []);
}

async fn rounds_are_counted_with_what_had_failed_before_them(place: &Place) {
    let history = place.open().await;
    history.commit(&[version(), Write::Backfill(new_backfill())]).await.unwrap();
    let told = |row: mulgil_history::read::BackfillRow| (row.rounds, row.round, row.failed_before);
    assert_eq!(told(history.backfill(ID).await.unwrap().unwrap()), (2, 0, 0));
    let round = |round, failed| Write::BackfillRound { backfill: ID, round, failed, at: T0 };
    history.commit(&[round(1, 7), round(2, 3)]).await.unwrap();
    assert_eq!(told(history.memory().await.unwrap().backfills.remove(0)), (2, 2, 3));
    let events = history.events(0, 9).await.unwrap();
    assert_eq!(events.last().unwrap().payload, "backfill 1: round 2: 3 that failed run again");
}
