//! What a task or run that waits is told, in every situation there is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use jiff::Timestamp;
use mulgil_flow::{Fault, Flow, Project};

use super::{Names, Workforce, of_run, of_task};
use crate::admission::{Admission, Lane, QueuedRun, ReadyTask, TaskKey};
use crate::graph::Graph;
use crate::id::{BackfillId, RunId, TaskIndex};
use crate::run::RunState;
use crate::step::{Action, Ending, Event, step};

const FREE: Workforce = Workforce { draining: false, workers: 1, slots: 4, free: 2 };

struct Plain;

impl Names for Plain {
    fn run(&self, run: RunId) -> String {
        format!("r{run}")
    }

    fn task(&self, run: RunId, task: TaskIndex) -> String {
        format!("t{task} of r{run}")
    }
}

/// Runs of one flow, and their queues.
struct Stage {
    admission: Admission,
    runs: Vec<RunState>,
}

impl Stage {
    fn new(tasks: &str, runs: i64, backfill: Option<BackfillId>) -> Self {
        let text = format!("flow: f\ntasks: {tasks}");
        let project = Project::parse("mulgil.yaml", "pools: {default: 9, narrow: 1}").unwrap();
        let flow = Flow::parse("flows/f.yaml", &text, &project).unwrap();
        let graph = Arc::new(Graph::of_flow(&flow).unwrap());
        let mut admission = Admission::new(9);
        admission.set_pool("narrow", 1);
        for run in 1..=runs {
            let order = Timestamp::from_second(run).unwrap();
            admission.queue_run(QueuedRun { run: RunId(run), flow: "f".into(), backfill, order });
        }
        let runs = (1..=runs).map(|run| RunState::new(RunId(run), graph.clone(), true)).collect();
        Self { admission, runs }
    }

    fn step(&mut self, run: usize, event: Event) {
        let state = &mut self.runs[run];
        for action in step(state, event, Timestamp::UNIX_EPOCH).unwrap() {
            if let Action::Enqueue { task } = action {
                let node = state.graph.task(task).unwrap();
                let (pool, key) = (node.pool.clone(), TaskKey { flow: "f".into(), task: node.limited_as().into() });
                self.admission.enqueue(ReadyTask {
                    run: state.id,
                    task,
                    key,
                    pool,
                    demand: Default::default(),
                    lane: Lane::Daily,
                    priority: 0,
                });
            }
        }
    }

    fn begin(&mut self) {
        for run in self.admission.admit_runs() {
            self.step(run.0 as usize - 1, Event::Admit);
        }
    }

    fn lease(&mut self) {
        while let Some((run, task)) = self.admission.next_task(|_| true) {
            self.step(run.0 as usize - 1, Event::Lease { task });
            let attempt = self.runs[run.0 as usize - 1].live_attempt(task).unwrap();
            self.admission.lease(attempt);
        }
    }

    fn fail(&mut self, run: usize, task: TaskIndex) {
        let attempt = self.runs[run].live_attempt(task).unwrap();
        self.admission.release(attempt);
        self.step(run, Event::Finish { task, attempt: attempt.attempt, ending: Ending::Failed(Fault::default()) });
    }

    fn run(&self, run: usize, workforce: Workforce) -> String {
        of_run(&self.runs[run], &self.admission, workforce).map_or("-".into(), |reason| reason.sentence(&Plain))
    }

    fn task(&self, run: usize, task: TaskIndex, workforce: Workforce) -> String {
        let reason = of_task(&self.runs[run], task, &self.admission, workforce);
        reason.map_or("-".into(), |reason| reason.sentence(&Plain))
    }
}

#[test]
fn a_queued_run_names_the_limit_and_the_runs_that_are_before_it() {
    let mut stage = Stage::new("{a: {shell: a}}", 3, None);
    stage.admission.set_flow_limit("f", Some(1));
    stage.begin();
    assert_eq!(stage.run(0, FREE), "-");
    let waits = "waits for its turn: one run of this flow may be active at once, and r1 is";
    assert_eq!(stage.run(2, FREE), waits);
    assert_eq!(stage.task(2, 0, FREE), format!("its run has not begun: {waits}"));
    let stopping = Workforce { draining: true, ..FREE };
    assert_eq!(stage.run(2, stopping), "the server is about to stop and gives out no more work");
}

#[test]
fn a_run_of_a_backfill_names_its_limit() {
    let mut stage = Stage::new("{a: {shell: a}}", 3, Some(BackfillId(7)));
    stage.admission.set_backfill_limit(BackfillId(7), 2);
    stage.begin();
    let waits = "waits for its turn: 2 runs of backfill 7 may be active at once, and r1 and r2 are";
    assert_eq!(stage.run(2, FREE), waits);
}

#[test]
fn a_waiting_task_names_what_it_needs_and_where_that_stands() {
    let tasks = "{a: {shell: a, retries: {limit: 1, delay: 1m}}, b: {shell: b}, c: {needs: [a, b], shell: c}, \
                 d: {needs: [a, c], trigger_rule: one_success, shell: d}, e: {needs: [b], trigger_rule: one_failed, shell: e}}";
    let mut stage = Stage::new(tasks, 1, None);
    stage.begin();
    stage.lease();
    stage.fail(0, 0);
    assert_eq!(stage.task(0, 0, FREE), "attempt 1 failed; attempt 2 begins at 1970-01-01T00:01:00Z");
    assert_eq!(stage.task(0, 1, FREE), "-");
    assert_eq!(stage.task(0, 2, FREE), "waits for a (retrying) and b (running)");
    let one = "waits until one of the tasks that it needs has";
    assert_eq!(stage.task(0, 3, FREE), format!("{one} succeeded: a (retrying) and c (waiting)"));
    assert_eq!(stage.task(0, 4, FREE), format!("{one} failed: b (running)"));
}

#[test]
fn a_ready_task_names_its_pool_and_who_holds_it_or_the_workers() {
    let tasks = "{a: {shell: a, pool: narrow}}";
    let mut stage = Stage::new(tasks, 3, None);
    stage.begin();
    let busy = Workforce { free: 0, ..FREE };
    assert_eq!(stage.task(0, 0, Workforce::default()), "waits for a worker: none has joined");
    assert_eq!(stage.task(0, 0, busy), "waits for a worker: all of their 4 slots are in use");
    assert_eq!(stage.task(0, 0, FREE), "begins in a moment");
    stage.lease();
    let full = "waits for a slot of pool narrow: 1 of 1 in use by t0 of r1";
    assert_eq!(stage.task(1, 0, FREE), full);
    assert_eq!(stage.task(2, 0, FREE), format!("{full}; one other task goes first"));
}

#[test]
fn long_lists_are_cut() {
    let tasks: String = (0..9).map(|n| format!("t{n}: {{shell: x}}, ")).collect();
    let needs: Vec<String> = (0..9).map(|n| format!("t{n}")).collect();
    let mut stage = Stage::new(&format!("{{{tasks}z: {{needs: [{}], shell: z}}}}", needs.join(", ")), 1, None);
    stage.begin();
    let listed = "waits for t0 (ready), t1 (ready), t2 (ready), t3 (ready), t4 (ready) and 4 more";
    assert_eq!(stage.task(0, 9, FREE), listed);
}

#[test]
fn nothing_is_said_of_what_runs_or_has_ended() {
    let mut stage = Stage::new("{a: {shell: a}}", 1, None);
    stage.begin();
    stage.lease();
    assert_eq!((stage.run(0, FREE), stage.task(0, 0, FREE)), ("-".into(), "-".into()));
    stage.fail(0, 0);
    assert_eq!(stage.task(0, 0, FREE), "-");
}

#[test]
fn a_task_at_its_own_limit_names_who_runs() {
    let mut stage = Stage::new("{a: {shell: a}}", 3, None);
    let key = TaskKey { flow: "f".into(), task: "a".into() };
    stage.admission.set_task_limits([(key, 1)]);
    stage.begin();
    stage.lease();
    let waits = "waits for its turn: 1 of this task may run at once, over all runs, and t0 of r1 does";
    assert_eq!((stage.task(0, 0, FREE), stage.task(1, 0, FREE)), ("-".to_owned(), waits.to_owned()));
}
