//! What attempts waited and worked: each from when it was last ready.

use jiff::{SignedDuration, Timestamp};
use mulgil_history::write::{AttemptChange, NewItems, NewLease, TaskChange, Trigger, Write};
use mulgil_sched::id::{AttemptId, RunId};
use mulgil_sched::status::{AttemptStatus, TaskStatus};

use crate::sample::{T0, lease, new_run, task, version};
use crate::store::Place;
use crate::suite::over_every_store;

over_every_store! {
    attempts_are_told_with_when_they_were_ready,
}

fn at(seconds: i64) -> Timestamp {
    T0 + SignedDuration::from_secs(seconds)
}

/// A task changes at a time.
fn turns(run: i64, index: u32, from: TaskStatus, to: TaskStatus, seconds: i64) -> Write {
    let Write::Task(change) = task(run, index, from, to, 1) else { unreachable!() };
    Write::Task(TaskChange { at: at(seconds), ..change })
}

/// An attempt from when it is leased to when it ends.
fn works(run: i64, task: u32, attempt: u32, from: i64, to: i64, end: AttemptStatus) -> [Write; 2] {
    let id = AttemptId { run: RunId(run), task, attempt };
    let Write::Lease(new) = lease(run, attempt, from) else { unreachable!() };
    let change =
        AttemptChange { attempt: id, from: AttemptStatus::Leased, to: end, process: None, error: None, at: at(to) };
    [Write::Lease(NewLease { attempt: id, at: at(from), ..new }), Write::Attempt(change)]
}

async fn attempts_are_told_with_when_they_were_ready(place: &Place) {
    use AttemptStatus::{Failed, Lost, Succeeded};
    use TaskStatus as S;
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None), new_run(2, Trigger::Manual, None)]).await.unwrap();
    let mut writes = vec![
        turns(1, 0, S::Waiting, S::Ready, 10),
        turns(1, 0, S::Ready, S::Running, 15),
        turns(1, 0, S::Running, S::Retrying, 20),
        turns(1, 0, S::Retrying, S::Ready, 30),
        turns(1, 0, S::Ready, S::Running, 32),
        turns(2, 1, S::Waiting, S::Ready, 40),
        turns(2, 1, S::Ready, S::Running, 41),
    ];
    let items = vec![(2, "land[0]".to_owned(), serde_json::json!(7))];
    writes.push(Write::Items(NewItems { run: RunId(2), of: 0, items, at: T0 }));
    history.commit(&writes).await.unwrap();
    history.commit(&[turns(2, 2, S::Waiting, S::Ready, 50), turns(2, 2, S::Ready, S::Running, 51)]).await.unwrap();
    let attempts = [
        works(1, 0, 1, 15, 20, Failed),
        works(1, 0, 2, 32, 60, Succeeded),
        works(2, 1, 1, 41, 43, Lost),
        works(2, 2, 1, 51, 52, Succeeded),
    ];
    history.commit(&attempts.concat()).await.unwrap();

    let told = |rows: Vec<mulgil_history::worked::WorkedRow>| -> Vec<(String, [i64; 3])> {
        let times = |at: Timestamp| at.as_second();
        rows.into_iter().map(|row| (row.task, [times(row.ready), times(row.leased), times(row.ended)])).collect()
    };
    let land = |times: [i64; 3]| ("land".to_owned(), times);
    let all = told(history.worked(10, 10).await.unwrap());
    assert_eq!(all, [land([50, 51, 52]), land([30, 32, 60]), land([10, 15, 20])], "an item goes by its task's name");
    assert_eq!(told(history.worked(1, 10).await.unwrap()), [land([50, 51, 52])], "of the newest run only");
    assert_eq!(history.worked(10, 2).await.unwrap().len(), 2);
}
