//! Properties of [`super::step`] over random graphs and random events, and a few stories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mulgil_flow::{ErrorKind, Fault, Retries, TriggerRule};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{Action, Ending, Event, Mark, step};
use crate::graph::{Graph, TaskNode};
use crate::id::{RunId, TaskIndex};
use crate::rerun::{RerunScope, rerun_tasks};
use crate::run::RunState;
use crate::status::{AttemptStatus, RunStatus, TaskStatus};

pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn node(index: usize, needs: Vec<TaskIndex>, retries: u32, idempotent: bool) -> TaskNode {
    let retries = Retries { limit: retries, delay: SignedDuration::from_secs(60), backoff: 1.0, ..Retries::NONE };
    let (name, pool) = (format!("t{index}").into(), "default".into());
    let rule = TriggerRule::default();
    let demand = Default::default();
    TaskNode {
        name,
        needs,
        rule,
        only_waits: false,
        calls: false,
        conditional: false,
        gone: false,
        fan_out: None,
        item_of: None,
        group: None,
        pool,
        demand,
        priority: 0,
        retries,
        idempotent,
    }
}

pub(super) fn run_of(nodes: Vec<TaskNode>) -> RunState {
    RunState::new(RunId(1), Arc::new(Graph::new(nodes).unwrap()), true)
}

fn chain(length: usize) -> RunState {
    let needs = |index: usize| if index == 0 { vec![] } else { vec![index as TaskIndex - 1] };
    run_of((0..length).map(|index| node(index, needs(index), 1, true)).collect())
}

/// Each task may need any task before it, by the bits of a mask.
fn any_run() -> impl Strategy<Value = RunState> {
    prop::collection::vec((any::<u16>(), 0u32..3, any::<bool>()), 1..9).prop_map(|tasks| {
        let needs =
            |index: usize, mask: u16| (0..index).filter(move |bit| mask >> bit & 1 == 1).map(|bit| bit as TaskIndex);
        let nodes = tasks.iter().enumerate().map(|(index, &(mask, retries, idempotent))| {
            node(index, needs(index, mask).collect(), retries, idempotent)
        });
        run_of(nodes.collect())
    })
}

/// An event that may or may not fit.
pub(super) fn any_event() -> impl Strategy<Value = Event> {
    let task = || 0..9u32;
    let attempt = || 0..4u32;
    let ending = prop::sample::select(vec![
        Ending::Succeeded,
        Ending::Skipped,
        Ending::Failed(Fault::default()),
        Ending::TimedOut,
        Ending::Cancelled,
    ]);
    prop_oneof![
        1 => Just(Event::Admit),
        8 => task().prop_map(|task| Event::Lease { task }),
        4 => (task(), ending.clone()).prop_map(|(task, ending)| Event::Returned { task, ending }),
        4 => (task(), attempt()).prop_map(|(task, attempt)| Event::Start { task, attempt }),
        12 => (task(), attempt(), ending).prop_map(|(task, attempt, ending)| Event::Finish { task, attempt, ending }),
        3 => (task(), attempt()).prop_map(|(task, attempt)| Event::Lose { task, attempt }),
        4 => task().prop_map(|task| Event::RetryDue { task }),
        1 => Just(Event::Cancel),
        1 => Just(Event::TimeUp),
        2 => prop::collection::vec(task(), 1..3).prop_map(|tasks| Event::Rerun { tasks }),
        2 => (task(), prop::sample::select(vec![Mark::Succeeded, Mark::Failed])).prop_map(|(task, mark)| Event::Mark { task, mark }),
    ]
}

fn check_invariants(before: &RunState, event: &Event, run: &RunState, actions: &[Action]) {
    for task in run.graph.indices() {
        let (was, is) = (&before.tasks[task as usize], &run.tasks[task as usize]);
        let begun = matches!(is.status, TaskStatus::Ready | TaskStatus::Running | TaskStatus::Retrying);
        let met = |need: &TaskIndex| run.tasks[*need as usize].status == TaskStatus::Succeeded;
        assert!(!begun || run.graph.needs(task).iter().all(met), "task {task} is {} before its needs", is.status);
        assert!(!begun || run.status.is_active(), "task {task} is {} in a run that is {}", is.status, run.status);
        assert_eq!(is.live.is_some(), is.status == TaskStatus::Running, "a running task has a live attempt");
        assert!(is.attempts >= was.attempts, "attempt numbers never go back");
        if was.status.is_terminal() && was.status != is.status {
            assert!(
                matches!(event, Event::Rerun { .. } | Event::Mark { .. }),
                "{event:?} changed a task that was {}",
                was.status
            );
        }
        assert_eq!(is.not_before.is_some(), is.status == TaskStatus::Retrying);
        let under_way = matches!(is.status, TaskStatus::Ready | TaskStatus::Running);
        assert!(is.since.is_some() || is.live.is_none(), "a running task has been under way since a time");
        assert!(is.since.is_none() || under_way, "task {task} is {} and under way", is.status);
    }
    let all_ended = run.tasks.iter().all(|task| task.status.is_terminal());
    assert!(run.status != RunStatus::Running || !all_ended, "a run ends with its last task");
    assert!(!run.status.is_terminal() || all_ended, "a run that ended has no task left");
    if run.status == RunStatus::Succeeded {
        assert!(run.tasks.iter().all(|task| matches!(task.status, TaskStatus::Succeeded | TaskStatus::Skipped)));
    }
    for action in actions {
        if let Action::Attempt { from: Some(from), .. } = action {
            assert!(!from.is_terminal(), "an attempt that is over never changes");
        }
    }
}

/// Whatever happened so far, a run comes to its end once its work is done.
fn drive_to_the_end(run: &mut RunState) {
    if run.status == RunStatus::Queued {
        step(run, Event::Admit, NOW).unwrap();
    }
    // Each task needs a lease, an end and a due retry at most, for each try.
    for _ in 0..run.tasks.len() * 16 {
        for task in run.graph.indices() {
            let attempt = run.tasks[task as usize].attempts;
            match run.tasks[task as usize].status {
                TaskStatus::Ready => step(run, Event::Lease { task }, NOW).map(|_| ()).unwrap(),
                TaskStatus::Retrying => step(run, Event::RetryDue { task }, NOW).map(|_| ()).unwrap(),
                TaskStatus::Running => {
                    let ending = if task % 3 == 2 { Ending::Failed(Fault::default()) } else { Ending::Succeeded };
                    step(run, Event::Finish { task, attempt, ending }, NOW).map(|_| ()).unwrap();
                }
                _ => {}
            }
        }
    }
    assert!(run.status.is_terminal(), "the run never ends: {run:?}");
}

/// Always the same cases, so that a change is judged by what it changes; `MULGIL_SEED` looks at others.
pub(super) fn seeded(cases: u32) -> ProptestConfig {
    let seed = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(seeded(500))]

    #[test]
    fn invariants_hold_whatever_happens(mut run in any_run(), events in prop::collection::vec(any_event(), 0..120)) {
        let mut taken = 0;
        for event in events {
            let before = run.clone();
            match step(&mut run, event.clone(), NOW) {
                Ok(actions) => {
                    taken += 1;
                    check_invariants(&before, &event, &run, &actions);
                }
                Err(_) => prop_assert_eq!(&before, &run, "a refused event changed something"),
            }
        }
        prop_assert!(taken <= 120);
        drive_to_the_end(&mut run);
    }
}

pub(super) fn finish(run: &mut RunState, task: TaskIndex, ending: Ending) -> Vec<Action> {
    step(run, Event::Lease { task }, NOW).unwrap();
    let attempt = run.tasks[task as usize].attempts;
    step(run, Event::Finish { task, attempt, ending }, NOW).unwrap()
}

#[test]
fn a_finished_task_frees_its_dependents_in_the_same_step() {
    let mut run = chain(2);
    step(&mut run, Event::Admit, NOW).unwrap();
    let actions = finish(&mut run, 0, Ending::Succeeded);
    assert!(actions.contains(&Action::Enqueue { task: 1 }), "{actions:?}");
    let actions = finish(&mut run, 1, Ending::Succeeded);
    assert!(actions.contains(&Action::Run { from: RunStatus::Running, to: RunStatus::Succeeded }), "{actions:?}");
}

#[test]
fn a_failure_is_tried_again_after_its_delay_then_travels_downstream() {
    let mut run = chain(3);
    step(&mut run, Event::Admit, NOW).unwrap();
    let due = NOW + SignedDuration::from_secs(60);
    assert!(finish(&mut run, 0, Ending::TimedOut).contains(&Action::Wake { task: 0, at: due }));
    step(&mut run, Event::RetryDue { task: 0 }, due).unwrap();
    finish(&mut run, 0, Ending::Failed(Fault::default()));
    let statuses: Vec<TaskStatus> = run.tasks.iter().map(|task| task.status).collect();
    assert_eq!(statuses, [TaskStatus::Failed, TaskStatus::UpstreamFailed, TaskStatus::UpstreamFailed]);
    assert_eq!(run.status, RunStatus::Failed);
}

#[test]
fn an_error_of_which_the_retries_do_not_speak_fails_at_once_and_a_pause_has_its_jitter() {
    let mut first = node(0, vec![], 3, true);
    first.retries.never = vec!["exit 2".parse().unwrap()];
    first.retries.jitter = 0.5;
    let exit = |code| Fault { exit: Some(code), ..Fault::default() };
    let mut run = run_of(vec![first]);
    step(&mut run, Event::Admit, NOW).unwrap();
    let mut pauses = Vec::new();
    for ending in [Ending::Failed(exit(1)), Ending::Failed(ErrorKind::Connection.into())] {
        finish(&mut run, 0, ending);
        let at = run.tasks[0].not_before.unwrap();
        pauses.push(NOW.duration_until(at).as_secs_f64());
        step(&mut run, Event::RetryDue { task: 0 }, at).unwrap();
    }
    assert!(pauses.iter().all(|pause| (30.0..=60.0).contains(pause)) && pauses[0] != pauses[1], "{pauses:?}");
    assert_eq!(run.refusal_after(0, &exit(1)), None);
    assert_eq!(run.refusal_after(0, &exit(2)).unwrap(), "not tried again: its `retries:` say `never: exit 2`");
    finish(&mut run, 0, Ending::Failed(exit(2)));
    assert_eq!(run.status, RunStatus::Failed);
    assert_eq!(run.tasks[0].retries_used, 2, "one is left");
    assert_eq!(run.refusal_after(0, &exit(2)), None, "of a task that has ended there is nothing to say");
}

#[test]
fn a_run_whose_time_is_up_fails_with_what_ran_and_a_rerun_has_a_new_span() {
    let mut run = run_of(vec![node(0, vec![], 5, true), node(1, vec![], 5, true), node(2, vec![0], 0, true)]);
    step(&mut run, Event::Admit, NOW).unwrap();
    finish(&mut run, 1, Ending::Failed(Fault::default()));
    step(&mut run, Event::Lease { task: 0 }, NOW).unwrap();
    let actions = step(&mut run, Event::TimeUp, NOW).unwrap();
    assert!(actions.contains(&Action::Stop { task: 0, attempt: 1 }), "{actions:?}");
    assert!(run.timed_out && run.status == RunStatus::Cancelling, "{run:?}");
    let actions = step(&mut run, Event::Finish { task: 0, attempt: 1, ending: Ending::Cancelled }, NOW).unwrap();
    let timed_out =
        Action::Attempt { task: 0, attempt: 1, from: Some(AttemptStatus::Leased), to: AttemptStatus::TimedOut };
    assert!(actions.contains(&timed_out), "{actions:?}");
    assert_eq!(statuses(&run), [TaskStatus::Failed, TaskStatus::Cancelled, TaskStatus::Cancelled]);
    assert_eq!(run.status, RunStatus::Failed, "it is not as if somebody had stopped it");
    step(&mut run, Event::TimeUp, NOW).unwrap_err();
    let tasks = rerun_tasks(&run, &RerunScope::Failed, &[]).unwrap();
    assert_eq!(tasks, [0, 1, 2]);
    step(&mut run, Event::Rerun { tasks }, NOW).unwrap();
    assert!(!run.timed_out);
}

#[test]
fn a_run_whose_last_task_succeeds_when_its_time_is_up_has_succeeded() {
    let mut run = run_of(vec![node(0, vec![], 0, true)]);
    step(&mut run, Event::Admit, NOW).unwrap();
    step(&mut run, Event::Lease { task: 0 }, NOW).unwrap();
    step(&mut run, Event::TimeUp, NOW).unwrap();
    step(&mut run, Event::Finish { task: 0, attempt: 1, ending: Ending::Succeeded }, NOW).unwrap();
    assert!(run.status == RunStatus::Succeeded && !run.timed_out, "{run:?}");
}

#[test]
fn a_rerun_of_what_failed_leaves_what_succeeded_and_counts_attempts_on() {
    let mut run = chain(3);
    run.retries = false;
    step(&mut run, Event::Admit, NOW).unwrap();
    finish(&mut run, 0, Ending::Succeeded);
    finish(&mut run, 1, Ending::Failed(Fault::default()));
    let tasks = rerun_tasks(&run, &RerunScope::Failed, &[]).unwrap();
    assert_eq!(tasks, [1, 2]);
    assert!(rerun_tasks(&run, &RerunScope::From("t2".to_owned()), &[]).is_err(), "t1 has not succeeded");
    step(&mut run, Event::Rerun { tasks }, NOW).unwrap();
    assert_eq!(run.status, RunStatus::Queued);
    step(&mut run, Event::Admit, NOW).unwrap();
    finish(&mut run, 1, Ending::Succeeded);
    finish(&mut run, 2, Ending::Succeeded);
    assert_eq!(run.status, RunStatus::Succeeded);
    let attempts: Vec<u32> = run.tasks.iter().map(|task| task.attempts).collect();
    assert_eq!(attempts, [1, 2, 1]);
}

#[test]
fn a_lost_attempt_is_no_retry_unless_it_had_begun_and_may_not_run_twice() {
    let mut run = run_of(vec![node(0, vec![], 0, true), node(1, vec![], 0, false)]);
    step(&mut run, Event::Admit, NOW).unwrap();
    for task in [0, 1] {
        step(&mut run, Event::Lease { task }, NOW).unwrap();
        step(&mut run, Event::Lose { task, attempt: 1 }, NOW).unwrap();
        assert_eq!(run.tasks[task as usize].status, TaskStatus::Ready, "nothing of it had run");
        step(&mut run, Event::Lease { task }, NOW).unwrap();
        step(&mut run, Event::Start { task, attempt: 2 }, NOW).unwrap();
        assert_eq!(run.tasks[task as usize].live, Some(AttemptStatus::Running));
        step(&mut run, Event::Lose { task, attempt: 2 }, NOW).unwrap();
    }
    assert_eq!(run.tasks[0].status, TaskStatus::Ready);
    assert_eq!(run.tasks[0].retries_used, 0);
    assert_eq!(run.tasks[1].status, TaskStatus::Failed);
}

#[test]
fn a_report_about_an_earlier_attempt_is_refused() {
    let mut run = chain(1);
    step(&mut run, Event::Admit, NOW).unwrap();
    step(&mut run, Event::Lease { task: 0 }, NOW).unwrap();
    step(&mut run, Event::Lose { task: 0, attempt: 1 }, NOW).unwrap();
    step(&mut run, Event::Lease { task: 0 }, NOW).unwrap();
    let ghost = Event::Finish { task: 0, attempt: 1, ending: Ending::Succeeded };
    assert!(step(&mut run, ghost, NOW).is_err());
    assert_eq!(run.tasks[0].status, TaskStatus::Running);
}

#[test]
fn a_cancelled_run_waits_for_its_last_task() {
    let mut run = chain(3);
    step(&mut run, Event::Admit, NOW).unwrap();
    step(&mut run, Event::Lease { task: 0 }, NOW).unwrap();
    let actions = step(&mut run, Event::Cancel, NOW).unwrap();
    assert!(actions.contains(&Action::Stop { task: 0, attempt: 1 }), "{actions:?}");
    assert_eq!(run.status, RunStatus::Cancelling);
    step(&mut run, Event::Finish { task: 0, attempt: 1, ending: Ending::Cancelled }, NOW).unwrap();
    assert_eq!(run.status, RunStatus::Cancelled);
    assert!(run.tasks.iter().all(|task| task.status == TaskStatus::Cancelled));
}

#[test]
fn a_queued_run_is_cancelled_at_once() {
    let mut run = chain(2);
    step(&mut run, Event::Cancel, NOW).unwrap();
    assert_eq!(run.status, RunStatus::Cancelled);
}

#[test]
fn a_group_runs_again_as_a_unit_with_everything_downstream() {
    let grouped =
        |index, needs, group: Option<&str>| TaskNode { group: group.map(Into::into), ..node(index, needs, 0, true) };
    let (load, none) = (Some("load"), None);
    let nodes = [(vec![], none), (vec![0], load), (vec![0], load), (vec![1, 2], none), (vec![0], none)];
    let nodes = nodes.into_iter().enumerate().map(|(index, (needs, group))| grouped(index, needs, group)).collect();
    let mut run = run_of(nodes);
    step(&mut run, Event::Admit, NOW).unwrap();
    (0..5).for_each(|task| drop(finish(&mut run, task, Ending::Succeeded)));
    let group = |run: &RunState, name: &str| rerun_tasks(run, &RerunScope::Group(name.to_owned()), &[]);
    assert_eq!(group(&run, "load").unwrap(), [1, 2, 3]);
    let unknown = group(&run, "lod").unwrap_err().to_string();
    assert_eq!(unknown, "run 1 has no group lod; its groups are: load");
    step(&mut run, Event::Rerun { tasks: vec![0] }, NOW).unwrap();
    step(&mut run, Event::Admit, NOW).unwrap();
    finish(&mut run, 0, Ending::Failed(Fault::default()));
    let held = group(&run, "load").unwrap_err().to_string();
    assert_eq!(held, "task t1 needs t0, which has not succeeded: re-run from t0");
}

pub(super) fn statuses(run: &RunState) -> Vec<TaskStatus> {
    run.tasks.iter().map(|task| task.status).collect()
}

#[test]
fn a_task_marked_as_succeeded_lets_what_never_ran_for_it_run() {
    use TaskStatus as S;
    let mut run = chain(3);
    run.retries = false;
    step(&mut run, Event::Admit, NOW).unwrap();
    finish(&mut run, 0, Ending::Failed(Fault::default()));
    assert_eq!(run.status, RunStatus::Failed);
    step(&mut run, Event::Mark { task: 0, mark: Mark::Succeeded }, NOW).unwrap();
    assert_eq!((run.status, statuses(&run)), (RunStatus::Queued, vec![S::Succeeded, S::Waiting, S::Waiting]));
    step(&mut run, Event::Admit, NOW).unwrap();
    finish(&mut run, 1, Ending::Succeeded);
    finish(&mut run, 2, Ending::Failed(Fault::default()));
    // The last task: nothing runs for it, the run counts as succeeded.
    step(&mut run, Event::Mark { task: 2, mark: Mark::Succeeded }, NOW).unwrap();
    assert_eq!(run.status, RunStatus::Succeeded);
    step(&mut run, Event::Mark { task: 0, mark: Mark::Failed }, NOW).unwrap();
    assert_eq!((run.status, statuses(&run)), (RunStatus::Failed, vec![S::Failed, S::Succeeded, S::Succeeded]));
    assert_eq!(run.tasks.iter().map(|task| task.attempts).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn a_running_task_cannot_be_marked_and_a_waiting_one_can() {
    let mut run = chain(2);
    step(&mut run, Event::Admit, NOW).unwrap();
    step(&mut run, Event::Lease { task: 0 }, NOW).unwrap();
    assert!(step(&mut run, Event::Mark { task: 0, mark: Mark::Succeeded }, NOW).is_err());
    step(&mut run, Event::Mark { task: 1, mark: Mark::Succeeded }, NOW).unwrap();
    step(&mut run, Event::Finish { task: 0, attempt: 1, ending: Ending::Succeeded }, NOW).unwrap();
    assert_eq!((run.status, run.tasks[1].attempts), (RunStatus::Succeeded, 0));
}

#[test]
fn a_task_that_the_definition_has_no_more_never_runs_and_one_that_is_back_comes_along() {
    let node = |index, needs, gone| TaskNode { gone, ..node(index, needs, 0, true) };
    let mut run = run_of(vec![node(0, vec![], false), node(1, vec![], false), node(2, vec![0], false)]);
    step(&mut run, Event::Admit, NOW).unwrap();
    [0, 1, 2].into_iter().for_each(|task| drop(finish(&mut run, task, Ending::Succeeded)));
    let graph = |gone| {
        Arc::new(Graph::new(vec![node(0, vec![], false), node(1, vec![], gone), node(2, vec![0], false)]).unwrap())
    };
    run.graph = graph(true);
    step(&mut run, Event::Drop { task: 1 }, NOW).unwrap();
    assert_eq!(rerun_tasks(&run, &RerunScope::All, &[]).unwrap(), [0, 2]);
    let unknown = rerun_tasks(&run, &RerunScope::From("t1".to_owned()), &[]).unwrap_err().to_string();
    assert_eq!(unknown, "run 1 has no task t1; its tasks are t0, t2");
    run.graph = graph(false);
    assert_eq!(rerun_tasks(&run, &RerunScope::Failed, &[1]).unwrap(), [1]);
}
