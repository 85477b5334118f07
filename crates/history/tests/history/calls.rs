//! Calls: kept at both ends, in one write.

use mulgil_history::call::{CallChange, CallRow, ChildRow, Confirmation, ParentRow};
use mulgil_history::write::{Trigger, Write};
use mulgil_sched::id::RunId;
use mulgil_sched::status::{RunStatus, TaskStatus};

use crate::sample::{T0, new_run, run_status, task, version};
use crate::store::Place;
use crate::suite::over_every_store;

over_every_store! {
    a_call_is_found_from_both_ends_and_after_a_restart,
    what_was_confirmed_stays_with_its_task_whatever_becomes_of_it,
}

fn call(run: i64, child: Option<i64>, starts: bool) -> Write {
    Write::Call(CallChange { run: RunId(run), task: 1, child: child.map(RunId), starts, at: T0 })
}

async fn a_call_is_found_from_both_ends_and_after_a_restart(place: &Place) {
    let history = place.open().await;
    let begins = [
        version(),
        new_run(1, Trigger::Manual, None),
        new_run(2, Trigger::Manual, None),
        run_status(1, RunStatus::Queued, RunStatus::Running),
        run_status(2, RunStatus::Queued, RunStatus::Running),
        task(1, 1, TaskStatus::Waiting, TaskStatus::Running, 0),
        task(2, 1, TaskStatus::Waiting, TaskStatus::Running, 0),
        call(1, None, false),
    ];
    history.commit(&begins).await.unwrap();
    assert_eq!(history.memory().await.unwrap().calls, [], "nothing is called yet");
    // In one batch with the run itself, and with what else happens to the task.
    let calls = [new_run(3, Trigger::Flow, None), call(1, Some(3), true), call(2, Some(3), false)];
    history.commit(&calls).await.unwrap();
    history.close().await;

    let history = place.open().await;
    let row = |run, starts| CallRow {
        run: RunId(run),
        task: 1,
        child: RunId(3),
        name: "f/3".to_owned(),
        status: RunStatus::Queued,
        starts,
    };
    assert_eq!(history.memory().await.unwrap().calls, [row(1, true), row(2, false)]);
    let child = history.run(RunId(3)).await.unwrap().unwrap();
    let (name, flow, task_name) = ("f/1".to_owned(), "f".to_owned(), "publish".to_owned());
    assert_eq!(child.parent, Some(ParentRow { run: RunId(1), name, flow: flow.clone(), task: task_name }));
    assert_eq!((child.run.trigger, child.children), (Trigger::Flow, vec![]));
    let parent = history.run(RunId(2)).await.unwrap().unwrap();
    let (name, status) = ("f/3".to_owned(), RunStatus::Queued);
    let row = ChildRow { task: 1, run: RunId(3), name, flow, status, started_at: None, ended_at: None };
    assert_eq!((parent.parent, parent.children), (None, vec![row]));

    // Another task starts it again; the first calls nothing any more, and has ended.
    let again = [call(2, Some(3), true), call(1, None, false), task(1, 1, TaskStatus::Running, TaskStatus::Failed, 0)];
    history.commit(&again).await.unwrap();
    assert_eq!(history.run(RunId(3)).await.unwrap().unwrap().parent.unwrap().run, RunId(2));
    assert_eq!(history.run(RunId(1)).await.unwrap().unwrap().children, []);
    let calls = history.memory().await.unwrap().calls;
    assert_eq!(calls.iter().map(|call| (call.run, call.starts)).collect::<Vec<_>>(), [(RunId(2), true)]);
}

async fn what_was_confirmed_stays_with_its_task_whatever_becomes_of_it(place: &Place) {
    use TaskStatus as S;
    let history = place.open().await;
    let confirmed = |run, attempts| Write::Confirmed(Confirmation { run: RunId(run), task: 1, attempts, at: T0 });
    let runs = [version(), new_run(1, Trigger::Manual, None), new_run(2, Trigger::Manual, None)];
    history.commit(&runs).await.unwrap();
    // Of two in one batch the later one counts.
    history.commit(&[confirmed(1, 3), confirmed(1, 4)]).await.unwrap();
    history.commit(&[task(1, 1, S::Waiting, S::Ready, 4), task(1, 1, S::Ready, S::Running, 5)]).await.unwrap();
    history.close().await;

    let history = place.open().await;
    let mut all = Vec::new();
    for run in [1, 2] {
        let tasks = history.run(RunId(run)).await.unwrap().unwrap().tasks;
        all.extend(tasks.into_iter().map(|task| (task.attempts, task.confirmed)));
    }
    assert_eq!(all, [(0, None), (5, Some(4)), (0, None), (0, None)]);
    let events = history.events(0, 100).await.unwrap();
    let said = events.iter().filter(|event| event.payload == "attempt 5 may begin: somebody has confirmed it");
    assert_eq!(said.map(|event| (event.run, event.task)).collect::<Vec<_>>(), [(Some(RunId(1)), Some(1))]);
}
