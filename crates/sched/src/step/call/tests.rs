//! A few stories of tasks that a run of another flow does; whatever else may happen is among the properties of `fan_out`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use mulgil_flow::Fault;

use super::super::tests::{NOW, node, run_of, statuses};
use crate::graph::TaskNode;
use crate::rerun::{RerunScope, rerun_tasks};
use crate::run::RunState;
use crate::status::{RunStatus, TaskStatus};
use crate::step::{Action, Ending, Event, step};

/// `t0`, which calls, then `t1`.
fn calling() -> RunState {
    let mut run = run_of(vec![TaskNode { calls: true, ..node(0, vec![], 3, true) }, node(1, vec![0], 0, true)]);
    let actions = step(&mut run, Event::Admit, NOW).unwrap();
    assert_eq!(actions.last(), Some(&Action::Call { task: 0 }), "it is called, and put into no queue");
    run
}

#[test]
fn a_task_that_calls_runs_without_an_attempt_and_ends_as_what_it_called() {
    use TaskStatus as S;
    let cases = [
        (Ending::Succeeded, [S::Succeeded, S::Ready], RunStatus::Running),
        (Ending::Skipped, [S::Skipped, S::Skipped], RunStatus::Succeeded),
        // Its own retries are none: what was called has tried again as often as it may.
        (Ending::Failed(Fault::default()), [S::Failed, S::UpstreamFailed], RunStatus::Failed),
        (Ending::TimedOut, [S::Failed, S::UpstreamFailed], RunStatus::Failed),
        (Ending::Cancelled, [S::Failed, S::UpstreamFailed], RunStatus::Failed),
    ];
    for (ending, after, status) in cases {
        let mut run = calling();
        assert_eq!((statuses(&run)[0], run.tasks[0].attempts, run.tasks[0].since), (S::Running, 0, Some(NOW)));
        step(&mut run, Event::Lease { task: 0 }, NOW).unwrap_err();
        step(&mut run, Event::Returned { task: 0, ending }, NOW).unwrap();
        assert_eq!((statuses(&run).as_slice(), run.status), (after.as_slice(), status), "{ending:?}");
        assert_eq!(run.tasks[0].since, None);
        step(&mut run, Event::Returned { task: 0, ending }, NOW).unwrap_err();
    }
}

#[test]
fn a_cancel_asks_to_end_what_was_called_and_waits_for_it() {
    use TaskStatus as S;
    for (ending, after, status) in [
        (Ending::Cancelled, S::Cancelled, RunStatus::Cancelled),
        (Ending::Failed(Fault::default()), S::Failed, RunStatus::Cancelled),
        (Ending::Succeeded, S::Succeeded, RunStatus::Cancelled),
    ] {
        let mut run = calling();
        let actions = step(&mut run, Event::Cancel, NOW).unwrap();
        assert!(actions.contains(&Action::StopCall { task: 0 }), "{actions:?}");
        assert_eq!(statuses(&run), [S::Running, S::Cancelled]);
        step(&mut run, Event::Returned { task: 0, ending }, NOW).unwrap();
        assert_eq!((statuses(&run)[0], run.status), (after, status));
    }
}

#[test]
fn a_rerun_calls_again() {
    let mut run = calling();
    step(&mut run, Event::Returned { task: 0, ending: Ending::Failed(Fault::default()) }, NOW).unwrap();
    let tasks = rerun_tasks(&run, &RerunScope::Failed, &[]).unwrap();
    assert_eq!(tasks, [0, 1]);
    step(&mut run, Event::Rerun { tasks }, NOW).unwrap();
    let actions = step(&mut run, Event::Admit, NOW).unwrap();
    assert!(actions.contains(&Action::Call { task: 0 }), "{actions:?}");
}
