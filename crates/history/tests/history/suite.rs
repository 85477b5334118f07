//! What every store has to do: what was committed is read back, what does not fit is refused as a whole.

use mulgil_history::HistoryError;
use mulgil_history::read::RunQuery;
use mulgil_history::sqlite::SqliteHistory;
use mulgil_history::write::{
    BackfillStatus, FlowVersion, NewBackfill, NewItems, NewLease, NewRun, ProcessMark, RunChange, Trigger,
    VersionChange, Write,
};
use mulgil_sched::id::{AttemptId, BackfillId, RunId};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};

use crate::sample::{T0, attempt, day, id, lease, new_lease, new_run, run_status, task, version};
use crate::store::Place;

macro_rules! over_every_store {
    ($($test:ident,)*) => {
        mod in_sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::store::Place::sqlite()).await;
            })*
        }
        mod in_postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::store::Place::postgres()).await;
            })*
        }
    };
}

pub(crate) use over_every_store;

over_every_store! {
    a_run_is_read_back_after_the_file_was_closed,
    a_change_from_a_status_that_is_not_stored_undoes_its_whole_batch,
    a_slot_is_never_doubled_and_an_ended_attempt_never_changes,
    the_grid_is_packed_and_ten_thousand_runs_are_no_burden,
    changes_of_one_thing_in_one_batch_are_taken_in_their_order,
    a_batch_that_contradicts_itself_is_refused,
    what_a_program_said_is_kept_whatever_it_is,
    the_schedule_is_paused_and_runs_join_a_backfill,
    a_thousand_tasks_change_in_one_commit,
    a_result_is_stored_with_the_success_and_gone_when_the_task_waits_again,
    what_an_attempt_used_is_read_back_with_it,
    a_run_whose_time_is_up_says_so_until_it_runs_again,
    a_run_follows_another_definition_and_its_new_tasks_come_behind,
    items_become_tasks_in_the_commit_that_changes_them_and_no_rows_of_the_grid,
}

async fn a_run_is_read_back_after_the_file_was_closed(place: &Place) {
    let history = place.open().await;
    let backfill = NewBackfill {
        id: BackfillId(1),
        flow: "f".to_owned(),
        from: day(1),
        to: day(3),
        concurrency: 8,
        which: "missing".to_owned(),
        newest_first: true,
        trial: None,
        rounds: 2,
        planned: 2,
        at: T0,
    };
    let first = [version(), Write::Backfill(backfill), new_run(1, Trigger::Backfill, Some(1))];
    history.commit(&first).await.unwrap();
    use AttemptStatus as A;
    use TaskStatus as S;
    let begin = [
        run_status(1, RunStatus::Queued, RunStatus::Running),
        task(1, 0, S::Waiting, S::Ready, 0),
        task(1, 0, S::Ready, S::Running, 1),
        lease(1, 1, 5),
        attempt(1, A::Leased, A::Running),
    ];
    history.commit(&begin).await.unwrap();
    history.close().await;

    let history = place.open().await;
    let memory = history.memory().await.unwrap();
    assert_eq!((memory.last_run, memory.last_backfill, memory.last_epoch), (1, 1, 5));
    assert_eq!(memory.leases[0].attempt, id(1, 1));
    assert_eq!(memory.leases[0].process, Some(ProcessMark { pid: 7, start_ticks: 9 }));
    let (run, tasks) = &memory.runs[0];
    assert_eq!(
        (run.status, run.interval_start, run.params.clone()),
        (RunStatus::Running, Some(day(1)), serde_json::json!({"x": 1}))
    );
    assert_eq!(tasks.iter().map(|task| task.status).collect::<Vec<_>>(), [S::Running, S::Waiting]);
    assert_eq!(memory.backfills[0].runs.running, 1);
    assert!(memory.backfills[0].newest_first);

    let end = [
        attempt(1, A::Running, A::Failed),
        task(1, 0, S::Running, S::Failed, 1),
        task(1, 1, S::Waiting, S::UpstreamFailed, 0),
        run_status(1, RunStatus::Running, RunStatus::Failed),
        Write::BackfillStatus {
            backfill: BackfillId(1),
            from: BackfillStatus::Running,
            to: BackfillStatus::Failed,
            at: T0,
        },
    ];
    history.commit(&end).await.unwrap();
    let detail = history.run(RunId(1)).await.unwrap().unwrap();
    assert_eq!(detail.run.ended_at, Some(day(100)));
    assert_eq!(detail.attempts[0].error.as_deref(), Some("no such file"));
    assert_eq!(history.run_named("f/1").await.unwrap(), Some(RunId(1)));
    let events = history.events(0, 100).await.unwrap();
    assert!(events.iter().any(|event| event.kind == "attempt" && event.payload == "running -> failed: no such file"));
    let memory = history.memory().await.unwrap();
    assert!(memory.runs.is_empty() && memory.leases.is_empty() && memory.backfills.is_empty());
}

async fn a_change_from_a_status_that_is_not_stored_undoes_its_whole_batch(place: &Place) {
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let wrong =
        [run_status(1, RunStatus::Queued, RunStatus::Running), task(1, 0, TaskStatus::Ready, TaskStatus::Running, 1)];
    let error = history.commit(&wrong).await.unwrap_err();
    assert!(matches!(error, HistoryError::Conflict { .. }), "{error}");
    assert_eq!(history.run(RunId(1)).await.unwrap().unwrap().run.status, RunStatus::Queued);
}

async fn a_slot_is_never_doubled_and_an_ended_attempt_never_changes(place: &Place) {
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Schedule, None)]).await.unwrap();
    let Write::Run(run) = new_run(1, Trigger::Manual, None) else { unreachable!() };
    let twin = Write::Run(NewRun { id: RunId(2), ..run });
    assert!(history.commit(&[twin]).await.is_err(), "the same key is the same run");
    assert_eq!(history.last_scheduled("f").await.unwrap(), Some(day(1)));

    use AttemptStatus as A;
    history.commit(&[lease(1, 1, 1), attempt(1, A::Leased, A::Lost)]).await.unwrap();
    let error = history.commit(&[attempt(1, A::Lost, A::Succeeded)]).await.unwrap_err();
    assert!(error.to_string().contains("never changes again"), "{error}");
    let renewal = Write::Renew { attempt: id(1, 1), epoch: 1, expires: day(9) };
    assert!(history.commit(&[renewal]).await.is_err(), "a lost lease is not renewed");
}

async fn the_grid_is_packed_and_ten_thousand_runs_are_no_burden(place: &Place) {
    let history = place.open().await;
    let mut writes = vec![version()];
    writes.extend((1..=10_000).map(|id| new_run(id, Trigger::Backfill, None)));
    writes.push(task(9_999, 0, TaskStatus::Waiting, TaskStatus::Ready, 0));
    history.commit(&writes).await.unwrap();

    let begun = std::time::Instant::now();
    let grid = history.grid("f", 365).await.unwrap();
    assert_eq!(grid.tasks, ["land", "publish"]);
    assert_eq!(grid.runs.len(), 365);
    assert_eq!(grid.runs[363].cells, "yw");
    assert_eq!(grid.runs[364].name, "f/10000");
    let page = RunQuery { flow: Some("f".to_owned()), before: Some(RunId(5_000)), limit: 3, ..RunQuery::default() };
    let page: Vec<i64> = history.runs(&page).await.unwrap().iter().map(|run| run.id.0).collect();
    assert_eq!(page, [4_999, 4_998, 4_997]);
    let keys: Vec<String> = (1..=365).map(|id| format!("k{id}")).collect();
    assert_eq!(history.runs_by_key("f", &keys).await.unwrap().len(), 365);
    let flows = history.flows().await.unwrap();
    assert_eq!(flows[0].runs.queued, 10_000);
    assert_eq!(flows[0].last_run.as_ref().unwrap().id, RunId(10_000));
    // Without the indices this takes tens of seconds.
    assert!(begun.elapsed().as_secs() < 5, "reads took {:?}", begun.elapsed());
}

async fn changes_of_one_thing_in_one_batch_are_taken_in_their_order(place: &Place) {
    use AttemptStatus as A;
    use TaskStatus as S;
    let history = place.open().await;
    let batch = [
        version(),
        new_run(1, Trigger::Manual, None),
        run_status(1, RunStatus::Queued, RunStatus::Running),
        task(1, 0, S::Waiting, S::Ready, 0),
        task(1, 0, S::Ready, S::Running, 1),
        lease(1, 1, 5),
        attempt(1, A::Leased, A::Running),
        Write::Renew { attempt: id(1, 1), epoch: 5, expires: day(2) },
        Write::Renew { attempt: id(1, 1), epoch: 5, expires: day(3) },
    ];
    history.commit(&batch).await.unwrap();
    let memory = history.memory().await.unwrap();
    assert_eq!((memory.leases[0].status, memory.leases[0].expires), (A::Running, day(3)));
    let end = [
        attempt(1, A::Running, A::Failed),
        task(1, 0, S::Running, S::Failed, 1),
        run_status(1, RunStatus::Running, RunStatus::Failed),
        // Run again at once.
        run_status(1, RunStatus::Failed, RunStatus::Queued),
        task(1, 0, S::Failed, S::Waiting, 1),
    ];
    history.commit(&end).await.unwrap();
    let detail = history.run(RunId(1)).await.unwrap().unwrap();
    assert_eq!((detail.run.status, detail.run.ended_at), (RunStatus::Queued, None));
    assert_eq!(detail.run.started_at, Some(day(100)));
    assert_eq!((detail.tasks[0].status, detail.tasks[0].attempts), (S::Waiting, 1));
    let attempt = &detail.attempts[0];
    assert_eq!((attempt.status, attempt.started_at, attempt.ended_at), (A::Failed, Some(T0), Some(T0)));
    let said: Vec<String> = history.events(0, 100).await.unwrap().into_iter().map(|event| event.payload).collect();
    let expected = [
        "-> queued",
        "queued -> running",
        "waiting -> ready",
        "ready -> running",
        "-> leased by w",
        "leased -> running",
        "running -> failed: no such file",
        "running -> failed",
        "running -> failed",
        "failed -> queued",
        "failed -> waiting",
    ];
    assert_eq!(said, expected);
}

async fn a_batch_that_contradicts_itself_is_refused(place: &Place) {
    use TaskStatus as S;
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let wrong = [task(1, 0, S::Waiting, S::Ready, 0), task(1, 0, S::Waiting, S::Ready, 0)];
    let error = history.commit(&wrong).await.unwrap_err();
    assert!(matches!(&error, HistoryError::Conflict { what, .. } if what == "task 0 of run 1"), "{error}");
    let stranger = [run_status(7, RunStatus::Queued, RunStatus::Running)];
    let error = history.commit(&stranger).await.unwrap_err();
    assert!(matches!(&error, HistoryError::Conflict { what, .. } if what == "run 7"), "{error}");
    // Nothing of it has stayed, and the store goes on.
    history.commit(&[task(1, 0, S::Waiting, S::Ready, 0)]).await.unwrap();
}

async fn what_a_program_said_is_kept_whatever_it_is(place: &Place) {
    use AttemptStatus as A;
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None), lease(1, 1, 1)]).await.unwrap();
    let Write::Attempt(change) = attempt(1, A::Leased, A::Failed) else { unreachable!() };
    let said = "물길 \u{1f4a7} 'quoted' \\u0000 \n{\"json\": true}\0";
    let error = Some(said.to_owned());
    history.commit(&[Write::Attempt(mulgil_history::write::AttemptChange { error, ..change })]).await.unwrap();
    let detail = history.run(RunId(1)).await.unwrap().unwrap();
    let kept = detail.attempts[0].error.clone().unwrap();
    assert_eq!(kept.replace('\u{2400}', "\0"), said);
}

async fn the_schedule_is_paused_and_runs_join_a_backfill(place: &Place) {
    let history = place.open().await;
    let pause = |paused| Write::Paused { flow: "f".to_owned(), paused, at: T0 };
    history.commit(&[pause(true), pause(false), pause(true)]).await.unwrap();
    assert_eq!(history.memory().await.unwrap().paused, ["f"]);
    assert!(history.flows().await.unwrap()[0].paused);
    history.commit(&[pause(false)]).await.unwrap();
    assert!(history.memory().await.unwrap().paused.is_empty());

    let backfill = NewBackfill {
        id: BackfillId(3),
        flow: "f".to_owned(),
        from: day(1),
        to: day(3),
        concurrency: 8,
        which: "all".to_owned(),
        newest_first: false,
        trial: None,
        rounds: 2,
        planned: 1,
        at: T0,
    };
    history.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let (run, backfill_id) = (RunId(1), BackfillId(3));
    let joins = Write::RunBackfill { run, backfill: backfill_id, retries: false, at: T0 };
    history.commit(&[Write::Backfill(backfill), joins]).await.unwrap();
    let of_backfill = RunQuery { backfill: Some(backfill_id), limit: 9, ..RunQuery::default() };
    let runs = history.runs(&of_backfill).await.unwrap();
    assert_eq!((runs[0].id, runs[0].retries), (run, false));
    assert_eq!(history.backfill(backfill_id).await.unwrap().unwrap().runs.queued, 1);
    assert_eq!(history.backfills(Some("f"), 9).await.unwrap().len(), 1);
    assert_eq!(history.backfills(Some("g"), 9).await.unwrap().len(), 0);
    assert_eq!(history.flow_version("h1").await.unwrap().unwrap().definition, "flow: f");
}

async fn a_thousand_tasks_change_in_one_commit(place: &Place) {
    use AttemptStatus as A;
    use TaskStatus as S;
    let history = place.open().await;
    let Write::Run(run) = new_run(1, Trigger::Manual, None) else { unreachable!() };
    let tasks = (0..1000).map(|task| format!("t{task}")).collect();
    history.commit(&[version(), Write::Run(NewRun { tasks, ..run })]).await.unwrap();
    let of = |number: u32| mulgil_sched::id::AttemptId { task: number, ..id(1, 1) };
    let mut writes = vec![run_status(1, RunStatus::Queued, RunStatus::Running)];
    for number in 0..1000 {
        let Write::Lease(new) = lease(1, 1, i64::from(number)) else { unreachable!() };
        writes.push(task(1, number, S::Waiting, S::Ready, 0));
        writes.push(task(1, number, S::Ready, S::Running, 1));
        writes.push(Write::Lease(mulgil_history::write::NewLease { attempt: of(number), ..new }));
    }
    history.commit(&writes).await.unwrap();
    let mut writes = Vec::new();
    for number in 0..1000 {
        for (from, to) in [(A::Leased, A::Running), (A::Running, A::Succeeded)] {
            let Write::Attempt(change) = attempt(1, from, to) else { unreachable!() };
            writes.push(Write::Attempt(mulgil_history::write::AttemptChange { attempt: of(number), ..change }));
        }
        writes.push(task(1, number, S::Running, S::Succeeded, 1));
    }
    history.commit(&writes).await.unwrap();
    let detail = history.run(RunId(1)).await.unwrap().unwrap();
    assert!(detail.tasks.iter().all(|task| task.status == S::Succeeded));
    assert_eq!(detail.attempts.len(), 1000);
}

#[tokio::test]
async fn a_second_server_on_a_file_is_told_that_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let _history = SqliteHistory::open(&path).await.unwrap();
    assert!(matches!(SqliteHistory::open(&path).await, Err(HistoryError::Taken { .. })));
}

async fn a_result_is_stored_with_the_success_and_gone_when_the_task_waits_again(place: &Place) {
    use mulgil_history::write::TaskChange;
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let result = serde_json::json!({"rows": [1, null], "of": "a \"b\""});
    let change = |from, to, result, note: Option<&str>| {
        let Write::Task(change) = task(1, 0, from, to, 1) else { panic!("a task") };
        Write::Task(TaskChange { result, note: note.map(str::to_owned), ..change })
    };
    use TaskStatus as S;
    history.commit(&[task(1, 0, S::Waiting, S::Ready, 0), task(1, 0, S::Ready, S::Running, 1)]).await.unwrap();
    let success = change(S::Running, S::Succeeded, Some(result.clone()), None);
    // With a change that does not fit, the success and its result are not stored either.
    let misfit = task(1, 1, S::Ready, S::Running, 1);
    history.commit(&[success.clone(), misfit]).await.unwrap_err();
    assert_eq!(history.run(RunId(1)).await.unwrap().unwrap().tasks[0].result, None);
    history.commit(&[success]).await.unwrap();
    let skipped = {
        let Write::Task(change) = task(1, 1, S::Waiting, S::Skipped, 0) else { panic!("a task") };
        Write::Task(TaskChange { note: Some("its condition is false".to_owned()), ..change })
    };
    history.commit(&[skipped]).await.unwrap();
    let tasks = history.run(RunId(1)).await.unwrap().unwrap().tasks;
    assert_eq!(tasks[0].result, Some(result));
    assert_eq!((tasks[1].status, tasks[1].note.as_deref()), (S::Skipped, Some("its condition is false")));
    let events = history.events(0, 100).await.unwrap();
    assert!(events.iter().any(|event| event.payload == "waiting -> skipped: its condition is false"), "{events:?}");
    // Also where it begins again in the same batch.
    let again = [change(S::Succeeded, S::Waiting, None, None), change(S::Waiting, S::Ready, None, None)];
    history.commit(&again).await.unwrap();
    assert_eq!(history.run(RunId(1)).await.unwrap().unwrap().tasks[0].result, None);
}

async fn a_run_whose_time_is_up_says_so_until_it_runs_again(place: &Place) {
    use RunStatus::{Cancelling, Failed, Queued, Running};
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let change = |from, to, timed_out| Write::RunStatus(RunChange { run: RunId(1), from, to, timed_out, at: T0 });
    let batches = [
        vec![change(Queued, Running, false)],
        vec![change(Running, Cancelling, true), change(Cancelling, Failed, true)],
        vec![change(Failed, Queued, false)],
        vec![change(Queued, Running, false), change(Running, Cancelling, true)],
    ];
    let mut said = Vec::new();
    for batch in batches {
        history.commit(&batch).await.unwrap();
        said.push(history.run(RunId(1)).await.unwrap().unwrap().run.timed_out);
    }
    assert_eq!(said, [false, true, false, true]);
    assert!(history.memory().await.unwrap().runs[0].0.timed_out, "the next server has to know");
}

async fn a_run_follows_another_definition_and_its_new_tasks_come_behind(place: &Place) {
    use TaskStatus as S;
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None), new_run(2, Trigger::Manual, None)]).await.unwrap();
    let (flow, definition) = ("f".to_owned(), "flow: f # later".to_owned());
    let later = Write::FlowVersion(FlowVersion { hash: "h2".to_owned(), flow, definition, at: day(1) });
    let follow = |run, from: &str, to: &str, tasks: &[(u32, &str)]| {
        let tasks = tasks.iter().map(|(task, name)| (*task, (*name).to_owned())).collect();
        Write::RunVersion(VersionChange {
            run: RunId(run),
            from: from.to_owned(),
            to: to.to_owned(),
            tasks,
            at: day(1),
        })
    };
    // The new task goes on in the same batch.
    let moved = [
        later,
        follow(1, "h1", "h2", &[(2, "check \"it\""), (3, "tell")]),
        task(1, 2, S::Waiting, S::Ready, 0),
        follow(2, "h1", "h2", &[]),
    ];
    history.commit(&moved).await.unwrap();
    let detail = history.run(RunId(1)).await.unwrap().unwrap();
    let tasks: Vec<_> = detail.tasks.iter().map(|task| (task.index, task.name.as_str(), task.status)).collect();
    let expected =
        [(0, "land", S::Waiting), (1, "publish", S::Waiting), (2, "check \"it\"", S::Ready), (3, "tell", S::Waiting)];
    assert_eq!((detail.run.version.as_str(), tasks), ("h2", expected.to_vec()));
    let detail = history.run(RunId(2)).await.unwrap().unwrap();
    assert_eq!((detail.run.version.as_str(), detail.tasks.len()), ("h2", 2));
    let events = history.events(0, 100).await.unwrap();
    assert!(events.iter().any(|event| event.payload == "follows version h2 instead of h1"), "{events:?}");
    // Somebody else's idea of the version is refused, with all that came with it.
    let stale = history.commit(&[follow(1, "h1", "h2", &[(4, "more")])]).await.unwrap_err();
    assert!(matches!(&stale, HistoryError::Conflict { what, .. } if what == "the version of run 1"), "{stale}");
    assert_eq!(history.run(RunId(1)).await.unwrap().unwrap().tasks.len(), 4);
}

async fn items_become_tasks_in_the_commit_that_changes_them_and_no_rows_of_the_grid(place: &Place) {
    use TaskStatus as S;
    let history = place.open().await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let items = |items: &[(u32, serde_json::Value)]| {
        let named = items.iter().map(|(place, item)| (*place, format!("land[{}]", place - 2), item.clone()));
        Write::Items(NewItems { run: RunId(1), of: 0, items: named.collect(), at: T0 })
    };
    let values = [serde_json::json!("a\u{0}'b"), serde_json::json!({"x": [1, null]}), serde_json::json!("[1]")];
    let three: Vec<_> = values.iter().cloned().enumerate().map(|(number, item)| (number as u32 + 2, item)).collect();
    let batch = [
        run_status(1, RunStatus::Queued, RunStatus::Running),
        items(&three),
        task(1, 0, S::Waiting, S::Running, 0),
        task(1, 2, S::Waiting, S::Ready, 0),
        task(1, 2, S::Ready, S::Running, 1),
        Write::Lease(NewLease { attempt: AttemptId { task: 2, ..id(1, 1) }, ..new_lease(1, 1, 1) }),
    ];
    history.commit(&batch).await.unwrap();
    let tasks = history.run(RunId(1)).await.unwrap().unwrap().tasks;
    assert_eq!(
        tasks.iter().map(|task| &*task.name).collect::<Vec<_>>(),
        ["land", "publish", "land[0]", "land[1]", "land[2]"]
    );
    assert_eq!(tasks.iter().map(|task| task.item_of).collect::<Vec<_>>(), [None, None, Some(0), Some(0), Some(0)]);
    assert_eq!(tasks[2].status, S::Running);
    assert_eq!(tasks[3].item.as_ref(), Some(&values[1]));
    assert_eq!((tasks[0].item.as_ref(), tasks[4].item.as_ref()), (None, Some(&values[2])), "a text stays a text");
    // Another time: other items for those that were there, their statuses untouched, and one more.
    let again = [(2, serde_json::json!(7)), (5, serde_json::json!(8))];
    history.commit(&[items(&again)]).await.unwrap();
    let (_, tasks) = history.memory().await.unwrap().runs.remove(0);
    assert_eq!((tasks[2].status, tasks[2].attempts, tasks[2].item.clone()), (S::Running, 1, Some(7.into())));
    assert_eq!((tasks[5].status, &*tasks[5].name), (S::Waiting, "land[3]"));
    let grid = history.grid("f", 10).await.unwrap();
    assert_eq!((grid.tasks, &*grid.runs[0].cells), (vec!["land".to_owned(), "publish".to_owned()], "rw"));
    let events = history.events(0, 100).await.unwrap();
    assert!(events.iter().any(|event| event.task == Some(0) && event.payload == "goes over 3 items"), "{events:?}");
}

async fn what_an_attempt_used_is_read_back_with_it(place: &Place) {
    use mulgil_sched::diagnosis::{Bottleneck, Finding};
    use mulgil_sched::usage::{Sample, TreeUsage, Usage};
    let history = place.open().await;
    use AttemptStatus as A;
    use TaskStatus as S;
    let finding = Finding {
        bottleneck: Bottleneck::DiskSpace,
        sentence: "it said \0 and \"full\"".to_owned(),
        remedy: "free space".to_owned(),
    };
    let usage = Usage {
        wall_ms: 1200,
        tree: Some(TreeUsage { cpu_ms: 900, memory_peak_bytes: 1 << 40, read_bytes: 1, written_bytes: 2 }),
        samples: vec![Sample { at_ms: 500, cores: 0.75, ..Sample::default() }],
        finding: Some(finding),
        ..Usage::default()
    };
    let told = || Write::Usage { attempt: id(1, 1), usage: Box::new(usage.clone()) };
    let batch = [
        version(),
        new_run(1, Trigger::Manual, None),
        run_status(1, RunStatus::Queued, RunStatus::Running),
        task(1, 0, S::Waiting, S::Ready, 0),
        task(1, 0, S::Ready, S::Running, 1),
        lease(1, 1, 5),
        attempt(1, A::Leased, A::Running),
        told(),
        attempt(1, A::Running, A::Failed),
    ];
    history.commit(&batch).await.unwrap();
    let events = history.events(0, 100).await.unwrap().len();
    // Told once more, after the end: the same is stored again, and nothing has happened.
    history.commit(&[told()]).await.unwrap();
    let read = history.run(RunId(1)).await.unwrap().unwrap().attempts.remove(0);
    assert_eq!((read.status, read.usage), (A::Failed, Some(usage)));
    assert_eq!(history.events(0, 100).await.unwrap().len(), events);
    history.close().await;
}
