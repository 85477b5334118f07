//! Tasks with items: random graphs and events, and a few stories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use mulgil_flow::Fault;
use proptest::prelude::*;

use super::super::tests::{NOW, any_event, node, run_of, seeded, statuses};
use crate::graph::{FanOut, TaskNode};
use crate::id::TaskIndex;
use crate::rerun::{RerunScope, rerun_tasks};
use crate::run::RunState;
use crate::status::{RunStatus, TaskStatus};
use crate::step::{Action, Decision, Ending, Event, Mark, step};

fn fanning(index: usize, needs: Vec<TaskIndex>, at_once: Option<u32>) -> TaskNode {
    TaskNode { fan_out: Some(FanOut { at_once, queried: false }), ..node(index, needs, 0, true) }
}

/// `t0`, then `t1` with items, then `t2`.
fn sandwich(at_once: Option<u32>) -> RunState {
    run_of(vec![node(0, vec![], 0, true), fanning(1, vec![0], at_once), node(2, vec![1], 0, true)])
}

/// Takes a step, and gives each task that asks so many items.
fn take(run: &mut RunState, event: Event, items: usize) -> Option<Vec<Action>> {
    let mut events = vec![event];
    let mut all = Vec::new();
    while let Some(event) = events.pop() {
        let actions = step(run, event, NOW).ok()?;
        let asked = actions.iter().filter_map(|action| match action {
            Action::Decide { task } => {
                let begun = run.tasks[*task as usize].status == TaskStatus::Running;
                let queries = run.graph.task(*task).unwrap().queries_items();
                let decision = if queries && !begun { Decision::Run } else { Decision::FanOut { items } };
                Some(Event::Decided { task: *task, decision })
            }
            _ => None,
        });
        events.extend(asked);
        all.extend(actions);
    }
    Some(all)
}

fn ends(run: &mut RunState, task: TaskIndex, ending: Ending, items: usize) {
    take(run, Event::Lease { task }, items).unwrap();
    let attempt = run.tasks[task as usize].attempts;
    take(run, Event::Finish { task, attempt, ending }, items).unwrap();
}

fn check_invariants(run: &RunState) {
    for task in run.graph.indices() {
        let (node, state) = (run.graph.task(task).unwrap(), &run.tasks[task as usize]);
        let items: Vec<TaskStatus> =
            run.graph.items(task).iter().map(|item| run.tasks[*item as usize].status).collect();
        let busy =
            |status: &TaskStatus| matches!(status, TaskStatus::Ready | TaskStatus::Running | TaskStatus::Retrying);
        if let Some(FanOut { at_once, queried }) = node.fan_out {
            let busy = items.iter().filter(|status| busy(status)).count();
            assert!(
                at_once.is_none_or(|limit| busy <= limit as usize),
                "{busy} items are under way, {at_once:?} may be"
            );
            assert!(
                busy == 0 || state.status == TaskStatus::Running,
                "an item of t{task}, {}, is under way",
                state.status
            );
            assert!(state.live.is_none() || queried, "a task with items has no attempt");
            assert!(
                state.live.is_none() || busy == 0,
                "an item of t{task} is under way while it is asked which there are"
            );
            let open = items.iter().any(|status| !status.is_terminal()) || state.live.is_some();
            assert!(open || state.status != TaskStatus::Running, "t{task} runs on without items");
            let room = at_once.is_none_or(|limit| busy < limit as usize) && state.live.is_none();
            let idle = state.status == TaskStatus::Running && room && items.contains(&TaskStatus::Waiting);
            assert!(!idle || run.status != RunStatus::Running, "an item of t{task} waits for nothing: {items:?}");
            let bad = items.iter().any(|status| status.is_bad());
            assert!(state.status != TaskStatus::Succeeded || !bad, "t{task}: {items:?}");
        } else {
            let runs = state.status == TaskStatus::Running;
            assert_eq!(state.live.is_some(), runs && !node.calls, "t{task}");
            assert!(!node.calls || state.attempts == 0, "what calls has no attempts");
        }
    }
    let all_ended = run.tasks.iter().all(|task| task.status.is_terminal());
    assert!(run.status != RunStatus::Running || !all_ended, "a run ends with its last task");
    assert!(!run.status.is_terminal() || all_ended, "a run that ended has no task left");
    // What is counted is what there is.
    let counted = RunState::restored(run.id, run.graph.clone(), run.status, run.retries, run.tasks.clone());
    for task in run.graph.indices() {
        let fan = |run: &RunState| run.fan(task).filter(|fan| !fan.is_empty()).cloned();
        assert_eq!(fan(run), fan(&counted), "t{task}");
    }
}

/// Whatever happened so far, a run comes to its end once its work is done.
fn drive_to_the_end(run: &mut RunState, items: usize) {
    take(run, Event::Admit, items);
    for _ in 0..64 {
        for task in run.graph.indices() {
            match run.tasks[task as usize].status {
                TaskStatus::Retrying => drop(take(run, Event::RetryDue { task }, items).unwrap()),
                TaskStatus::Ready => ends(run, task, Ending::Succeeded, items),
                TaskStatus::Running if run.graph.task(task).unwrap().is_call() => {
                    take(run, Event::Returned { task, ending: Ending::Succeeded }, items).unwrap();
                }
                TaskStatus::Running if run.tasks[task as usize].live.is_some() => {
                    let attempt = run.tasks[task as usize].attempts;
                    take(run, Event::Finish { task, attempt, ending: Ending::Succeeded }, items).unwrap();
                }
                _ => {}
            }
            check_invariants(run);
        }
    }
    assert!(run.status.is_terminal(), "the run never ends: {run:?}");
}

/// A task by chance: the mask of what it needs, its retries, its items at once, whether it calls a flow, whether it asks for its items.
type AnyTask = (u16, u32, Option<Option<u32>>, bool, bool);

/// Each task may need any task before it, by the bits of a mask, may have items, and may be done by a run of another flow.
fn any_run() -> impl Strategy<Value = RunState> {
    let fan_out = prop::option::weighted(0.5, prop::option::of(1u32..3));
    let task = (any::<u16>(), 0u32..2, fan_out, prop::bool::weighted(0.3), any::<bool>());
    prop::collection::vec(task, 1..6).prop_map(|tasks| {
        let made = |(index, &(mask, retries, fan_out, calls, queried)): (usize, &AnyTask)| {
            let needs = (0..index).filter(|bit| mask >> bit & 1 == 1).map(|bit| bit as TaskIndex).collect();
            let fan_out = fan_out.map(|at_once| FanOut { at_once, queried });
            TaskNode { fan_out, calls, ..node(index, needs, retries, true) }
        };
        run_of(tasks.iter().enumerate().map(made).collect())
    })
}

proptest! {
    #![proptest_config(seeded(300))]

    #[test]
    fn whatever_happens_a_task_ends_with_its_items(
        mut run in any_run(), events in prop::collection::vec((any_event(), 0usize..4), 0..150),
    ) {
        for (event, items) in events {
            let before = run.clone();
            if take(&mut run, event.clone(), items).is_none() {
                prop_assert_eq!(&before, &run, "a refused event changed something");
            }
            check_invariants(&run);
        }
        drive_to_the_end(&mut run, 2);
        if run.status == RunStatus::Failed {
            let tasks = rerun_tasks(&run, &RerunScope::Failed, &[]).unwrap();
            take(&mut run, Event::Rerun { tasks }, 0).unwrap();
            drive_to_the_end(&mut run, 3);
            prop_assert_eq!(run.status, RunStatus::Succeeded, "{:?}", run);
        }
    }
}

#[test]
fn a_rerun_of_what_failed_runs_the_failed_items_only_and_one_from_the_task_asks_anew() {
    use TaskStatus as S;
    let mut run = sandwich(None);
    take(&mut run, Event::Admit, 0);
    ends(&mut run, 0, Ending::Succeeded, 3);
    assert_eq!(statuses(&run), [S::Succeeded, S::Running, S::Waiting, S::Ready, S::Ready, S::Ready]);
    assert_eq!(&*run.graph.task(4).unwrap().name, "t1[1]");
    ends(&mut run, 3, Ending::Succeeded, 0);
    ends(&mut run, 4, Ending::Failed(Fault::default()), 0);
    ends(&mut run, 5, Ending::Succeeded, 0);
    assert_eq!(statuses(&run), [S::Succeeded, S::Failed, S::UpstreamFailed, S::Succeeded, S::Failed, S::Succeeded]);
    let failed = rerun_tasks(&run, &RerunScope::Failed, &[]).unwrap();
    assert_eq!(failed, [1, 2, 4]);
    take(&mut run, Event::Rerun { tasks: failed }, 0).unwrap();
    take(&mut run, Event::Admit, 99).unwrap();
    assert_eq!(statuses(&run), [S::Succeeded, S::Running, S::Waiting, S::Succeeded, S::Ready, S::Succeeded]);
    ends(&mut run, 4, Ending::Succeeded, 0);
    ends(&mut run, 2, Ending::Succeeded, 0);
    assert_eq!((run.status, run.tasks[4].attempts), (RunStatus::Succeeded, 2));
    // One item, and the task and what is behind it.
    let one = RerunScope::From("t1[0]".to_owned());
    assert_eq!(rerun_tasks(&run, &one, &[]).unwrap(), [1, 2, 3]);
    // The task itself, or what it needs: with all its items, of which there may be fewer now.
    let all = rerun_tasks(&run, &RerunScope::From("t1".to_owned()), &[]).unwrap();
    assert_eq!(all, [1, 2, 3, 4, 5]);
    take(&mut run, Event::Rerun { tasks: vec![0] }, 0).unwrap();
    take(&mut run, Event::Admit, 0).unwrap();
    ends(&mut run, 0, Ending::Succeeded, 1);
    assert_eq!(statuses(&run), [S::Succeeded, S::Running, S::Waiting, S::Ready, S::Skipped, S::Skipped]);
    ends(&mut run, 3, Ending::Succeeded, 0);
    assert_eq!(statuses(&run)[1..3], [S::Succeeded, S::Ready]);
}

#[test]
fn no_items_is_a_success_at_once_also_in_a_long_chain() {
    const LENGTH: usize = 20_000;
    let needs = |index: usize| index.checked_sub(1).map(|need| need as TaskIndex).into_iter().collect();
    let mut run = run_of((0..LENGTH).map(|index| fanning(index, needs(index), None)).collect());
    take(&mut run, Event::Admit, 0).unwrap();
    assert_eq!(run.status, RunStatus::Succeeded);
}

#[test]
fn a_limit_lets_the_next_item_begin_when_one_has_ended() {
    use TaskStatus as S;
    let mut run = sandwich(Some(2));
    take(&mut run, Event::Admit, 0);
    ends(&mut run, 0, Ending::Succeeded, 4);
    assert_eq!(statuses(&run)[3..], [S::Ready, S::Ready, S::Waiting, S::Waiting]);
    ends(&mut run, 4, Ending::Failed(Fault::default()), 0);
    assert_eq!(statuses(&run)[3..], [S::Ready, S::Failed, S::Ready, S::Waiting]);
    // A restart counts anew.
    run = RunState::restored(run.id, run.graph.clone(), run.status, run.retries, run.tasks.clone());
    ends(&mut run, 3, Ending::Succeeded, 0);
    assert_eq!(statuses(&run)[3..], [S::Succeeded, S::Failed, S::Ready, S::Ready]);
    take(&mut run, Event::Cancel, 0).unwrap();
    assert_eq!((run.status, statuses(&run)[1]), (RunStatus::Cancelled, S::Cancelled));
}

#[test]
fn an_item_marked_as_succeeded_frees_what_waits_behind_its_task() {
    use TaskStatus as S;
    let mut run = sandwich(None);
    take(&mut run, Event::Admit, 0);
    ends(&mut run, 0, Ending::Succeeded, 2);
    ends(&mut run, 3, Ending::Succeeded, 0);
    ends(&mut run, 4, Ending::Failed(Fault::default()), 0);
    assert_eq!(run.status, RunStatus::Failed);
    let mut task = run.clone();
    take(&mut run, Event::Mark { task: 4, mark: Mark::Succeeded }, 0).unwrap();
    take(&mut run, Event::Admit, 99).unwrap();
    assert_eq!(statuses(&run), [S::Succeeded, S::Succeeded, S::Ready, S::Succeeded, S::Succeeded]);
    // The whole task: its items with it.
    take(&mut task, Event::Mark { task: 1, mark: Mark::Succeeded }, 0).unwrap();
    take(&mut task, Event::Admit, 99).unwrap();
    ends(&mut task, 2, Ending::Succeeded, 0);
    assert_eq!(task.status, RunStatus::Succeeded);
}

#[test]
fn a_waiting_task_marked_as_succeeded_leaves_no_item_that_a_cancel_would_end() {
    use TaskStatus as S;
    let mut run = sandwich(None);
    take(&mut run, Event::Admit, 0);
    ends(&mut run, 0, Ending::Succeeded, 1);
    ends(&mut run, 3, Ending::Succeeded, 0);
    ends(&mut run, 2, Ending::Succeeded, 0);
    take(&mut run, Event::Rerun { tasks: vec![0, 1, 2, 3] }, 0).unwrap();
    take(&mut run, Event::Mark { task: 1, mark: Mark::Succeeded }, 0).unwrap();
    take(&mut run, Event::Cancel, 0).unwrap();
    assert_eq!(statuses(&run), [S::Cancelled, S::Succeeded, S::Cancelled, S::Succeeded]);
}

#[test]
fn many_items_are_not_quadratic() {
    const WIDTH: usize = 20_000;
    for at_once in [None, Some(3)] {
        let mut run = run_of(vec![fanning(0, vec![], at_once), node(1, vec![0], 0, true)]);
        let began = std::time::Instant::now();
        take(&mut run, Event::Admit, WIDTH).unwrap();
        for task in 2..WIDTH as TaskIndex + 2 {
            ends(&mut run, task, Ending::Succeeded, 0);
        }
        ends(&mut run, 1, Ending::Succeeded, 0);
        assert_eq!(run.status, RunStatus::Succeeded);
        // A hundred times what it takes; looking at every item at every end takes minutes.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }
}

#[test]
fn a_query_for_items_is_an_attempt_that_is_tried_again_and_may_be_lost() {
    use TaskStatus as S;
    let retried = |index| TaskNode { retries: node(0, vec![], 1, true).retries, ..fanning(index, vec![], Some(1)) };
    let asking = |index| TaskNode { fan_out: Some(FanOut { at_once: Some(1), queried: true }), ..retried(index) };
    let mut run = run_of(vec![asking(0), node(1, vec![0], 0, true)]);
    take(&mut run, Event::Admit, 0).unwrap();
    assert_eq!(statuses(&run), [S::Ready, S::Waiting]);
    take(&mut run, Event::Lease { task: 0 }, 0).unwrap();
    take(&mut run, Event::Lose { task: 0, attempt: 1 }, 0).unwrap();
    ends(&mut run, 0, Ending::Failed(Fault::default()), 0);
    assert_eq!(statuses(&run), [S::Retrying, S::Waiting]);
    take(&mut run, Event::RetryDue { task: 0 }, 0).unwrap();
    ends(&mut run, 0, Ending::Succeeded, 2);
    assert_eq!(statuses(&run), [S::Running, S::Waiting, S::Ready, S::Waiting]);
    ends(&mut run, 2, Ending::Succeeded, 0);
    ends(&mut run, 3, Ending::Failed(Fault::default()), 0);
    take(&mut run, Event::RetryDue { task: 3 }, 0).unwrap();
    ends(&mut run, 3, Ending::Failed(Fault::default()), 0);
    assert_eq!(statuses(&run), [S::Failed, S::UpstreamFailed, S::Succeeded, S::Failed]);
    // What failed again: the items are those from before. All of it: they are asked for anew.
    let failed = rerun_tasks(&run, &RerunScope::Failed, &[]).unwrap();
    take(&mut run, Event::Rerun { tasks: failed }, 0).unwrap();
    take(&mut run, Event::Admit, 0).unwrap();
    assert_eq!(statuses(&run), [S::Running, S::Waiting, S::Succeeded, S::Ready]);
    ends(&mut run, 3, Ending::Succeeded, 0);
    ends(&mut run, 1, Ending::Succeeded, 0);
    take(&mut run, Event::Rerun { tasks: vec![0] }, 0).unwrap();
    take(&mut run, Event::Admit, 0).unwrap();
    assert_eq!(statuses(&run), [S::Ready, S::Waiting, S::Waiting, S::Waiting]);
    let mut stopped = run.clone();
    ends(&mut run, 0, Ending::Succeeded, 1);
    assert_eq!(statuses(&run), [S::Running, S::Waiting, S::Ready, S::Skipped]);
    // Stopped while it is asked.
    take(&mut stopped, Event::Lease { task: 0 }, 0).unwrap();
    take(&mut stopped, Event::Cancel, 0).unwrap();
    let attempt = stopped.tasks[0].attempts;
    take(&mut stopped, Event::Finish { task: 0, attempt, ending: Ending::Succeeded }, 3).unwrap();
    assert_eq!((stopped.status, statuses(&stopped)[0]), (RunStatus::Cancelled, S::Cancelled));
}
