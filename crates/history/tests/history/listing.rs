//! Runs, tasks and attempts page by page: every row once, whatever the size of a page, and only what is selected.

use jiff::{SignedDuration, Timestamp};
use mulgil_history::History;
use mulgil_history::listing::Selection;
use mulgil_history::write::{FlowVersion, NewLease, NewRun, Trigger, Write};
use mulgil_sched::id::{AttemptId, RunId, TaskIndex};

use crate::sample::{T0, lease, new_run, version};
use crate::store::Place;
use crate::suite::over_every_store;

over_every_store! {
    pages_give_every_row_once_from_the_newest_on,
    what_is_selected_by_run_flow_status_and_time_is_all_that_comes,
}

fn hour(number: i64) -> Timestamp {
    T0 + SignedDuration::from_hours(number)
}

/// Seven runs, one an hour, of two flows in turn; each with two tasks, and two attempts at the first.
async fn filled(place: &Place) -> crate::store::Store {
    let history = place.open().await;
    let other = FlowVersion { hash: "h2".to_owned(), flow: "g".to_owned(), definition: "flow: g".to_owned(), at: T0 };
    let mut writes = vec![version(), Write::FlowVersion(other)];
    for id in 1..=7 {
        let Write::Run(run) = new_run(id, Trigger::Manual, None) else { unreachable!() };
        let flow = if id % 2 == 0 { ("g", "h2") } else { ("f", "h1") };
        writes.push(Write::Run(NewRun { flow: flow.0.to_owned(), version: flow.1.to_owned(), at: hour(id), ..run }));
        for attempt in 1..=2 {
            let Write::Lease(new) = lease(id, attempt, id * 10 + i64::from(attempt)) else { unreachable!() };
            let at = hour(id) + SignedDuration::from_mins(i64::from(attempt));
            writes.push(Write::Lease(NewLease { at, ..new }));
        }
    }
    history.commit(&writes).await.unwrap();
    history
}

async fn runs(history: &dyn History, of: &Selection, limit: u32) -> Vec<i64> {
    let mut all: Vec<i64> = Vec::new();
    loop {
        let page = history.listed_runs(of, all.last().copied().map(RunId), limit).await.unwrap();
        if page.is_empty() {
            return all;
        }
        assert!(page.len() <= limit as usize);
        all.extend(page.iter().map(|run| run.id.0));
    }
}

async fn tasks(history: &dyn History, of: &Selection, limit: u32) -> Vec<(i64, TaskIndex)> {
    let mut all: Vec<(i64, TaskIndex)> = Vec::new();
    loop {
        let before = all.last().map(|(run, task)| (RunId(*run), *task));
        let page = history.listed_tasks(of, before, limit).await.unwrap();
        if page.is_empty() {
            return all;
        }
        assert!(page.iter().all(|listed| listed.created_at == hour(listed.run.0)));
        all.extend(page.iter().map(|listed| (listed.run.0, listed.task.index)));
    }
}

async fn attempts(history: &dyn History, of: &Selection, limit: u32) -> Vec<(i64, u32)> {
    let mut all: Vec<AttemptId> = Vec::new();
    loop {
        let page = history.listed_attempts(of, all.last().copied(), limit).await.unwrap();
        if page.is_empty() {
            return all.iter().map(|id| (id.run.0, id.attempt)).collect();
        }
        assert!(page.iter().all(|listed| listed.attempt.task == "land"));
        all.extend(page.iter().map(|listed| AttemptId {
            run: listed.run,
            task: listed.attempt.task_index,
            attempt: listed.attempt.attempt,
        }));
    }
}

async fn pages_give_every_row_once_from_the_newest_on(place: &Place) {
    let history = filled(place).await;
    let all = Selection::default();
    let newest_first: Vec<i64> = (1..=7).rev().collect();
    for limit in [1, 2, 3, 100] {
        assert_eq!(runs(&*history, &all, limit).await, newest_first, "{limit}");
        let expected: Vec<_> = newest_first.iter().flat_map(|run| [(*run, 1), (*run, 0)]).collect();
        assert_eq!(tasks(&*history, &all, limit).await, expected, "{limit}");
        let expected: Vec<_> = newest_first.iter().flat_map(|run| [(*run, 2), (*run, 1)]).collect();
        assert_eq!(attempts(&*history, &all, limit).await, expected, "{limit}");
    }
}

async fn what_is_selected_by_run_flow_status_and_time_is_all_that_comes(place: &Place) {
    let history = filled(place).await;
    let text = |text: &str| Some(text.to_owned());
    let some = Selection::default;
    let cases = [
        (Selection { run: Some(RunId(3)), ..some() }, vec![3]),
        (Selection { run: Some(RunId(99)), ..some() }, vec![]),
        (Selection { flow: text("g"), ..some() }, vec![6, 4, 2]),
        (Selection { flow: text("g"), run: Some(RunId(3)), ..some() }, vec![]),
        (Selection { from: Some(hour(3)), to: Some(hour(5) + SignedDuration::from_mins(2)), ..some() }, vec![5, 4, 3]),
        (Selection { status: text("no such status"), ..some() }, vec![]),
    ];
    for (selection, expected) in cases {
        assert_eq!(runs(&*history, &selection, 2).await, expected, "{selection:?}");
        let each = |rows: Vec<i64>| rows.chunks(2).map(|pair| pair[0]).collect::<Vec<_>>();
        let of_tasks = tasks(&*history, &selection, 2).await;
        assert_eq!(each(of_tasks.iter().map(|(run, _)| *run).collect()), expected, "{selection:?}");
        let of_attempts = attempts(&*history, &selection, 2).await;
        assert_eq!(each(of_attempts.iter().map(|(run, _)| *run).collect()), expected, "{selection:?}");
    }
    let queued = Selection { status: text("queued"), ..some() };
    assert_eq!(runs(&*history, &queued, 9).await.len(), 7);
    let leased = Selection { status: text("leased"), from: Some(hour(7)), ..some() };
    assert_eq!(attempts(&*history, &leased, 9).await, [(7, 2), (7, 1)]);
}
