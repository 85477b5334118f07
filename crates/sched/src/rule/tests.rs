//! Random graphs, rules and outcomes, run in random orders, against an oracle that knows no step: it goes through the
//! tasks once, in order, and asks of each what its rule says in plain words.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::sync::Arc;

use jiff::Timestamp;
use mulgil_flow::{Fault, Retries, TriggerRule};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::Verdict;
use crate::graph::{Graph, TaskNode};
use crate::id::{RunId, TaskIndex};
use crate::rerun::{RerunScope, rerun_tasks};
use crate::run::RunState;
use crate::status::{RunStatus, TaskStatus};
use crate::step::{Action, Decision, Ending, Event, step};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A task of a made-up flow, and whether its attempts succeed.
#[derive(Clone, Debug)]
struct Made {
    needs: Vec<TaskIndex>,
    rule: TriggerRule,
    succeeds: bool,
    /// What its condition says, if it has one.
    condition: Option<Decision>,
}

fn any_flow() -> impl Strategy<Value = Vec<Made>> {
    let conditions = vec![None, None, None, None, Some(Decision::Run), Some(Decision::Skip), Some(Decision::Fail)];
    let (rule, condition) = (prop::sample::select(TriggerRule::ALL.to_vec()), prop::sample::select(conditions));
    let task = (any::<u16>(), rule, prop::bool::weighted(0.7), condition);
    prop::collection::vec(task, 1..12).prop_map(|tasks| {
        let made = |(index, (mask, rule, succeeds, condition))| Made {
            needs: (0..index).filter(|bit: &usize| mask >> bit & 1u16 == 1).map(|bit| bit as TaskIndex).collect(),
            rule,
            succeeds,
            condition,
        };
        tasks.into_iter().enumerate().map(made).collect()
    })
}

fn run_of(flow: &[Made]) -> RunState {
    let node = |(index, made): (usize, &Made)| TaskNode {
        name: format!("t{index}").into(),
        needs: made.needs.clone(),
        rule: made.rule,
        only_waits: false,
        calls: false,
        conditional: made.condition.is_some(),
        gone: false,
        fan_out: None,
        item_of: None,
        group: None,
        pool: "default".into(),
        demand: Default::default(),
        priority: 0,
        retries: Retries::NONE,
        idempotent: true,
    };
    let graph = Graph::new(flow.iter().enumerate().map(node).collect()).unwrap();
    RunState::new(RunId(1), Arc::new(graph), true)
}

/// What the rule says of needs that have ended so. `None` stands for a need that has not ended.
fn says(rule: TriggerRule, needs: &[Option<TaskStatus>]) -> Verdict {
    use TaskStatus::{Failed, Skipped, Succeeded, UpstreamFailed};
    let some = |wanted: &[TaskStatus]| needs.iter().flatten().any(|status| wanted.contains(status));
    let (succeeded, failed, skipped) = (some(&[Succeeded]), some(&[Failed, UpstreamFailed]), some(&[Skipped]));
    let ended = needs.iter().all(Option::is_some);
    match rule {
        _ if needs.is_empty() => Verdict::Run,
        TriggerRule::AllSuccess if failed => Verdict::Fail,
        TriggerRule::AllSuccess if ended && skipped => Verdict::Skip,
        TriggerRule::AllSuccess if ended => Verdict::Run,
        TriggerRule::AllDone if ended => Verdict::Run,
        TriggerRule::OneFailed if failed => Verdict::Run,
        TriggerRule::OneFailed if ended => Verdict::Skip,
        TriggerRule::OneSuccess if succeeded => Verdict::Run,
        TriggerRule::OneSuccess if ended && failed => Verdict::Fail,
        TriggerRule::OneSuccess if ended => Verdict::Skip,
        TriggerRule::NoneFailed if failed => Verdict::Fail,
        TriggerRule::NoneFailed if ended => Verdict::Run,
        _ => Verdict::Wait,
    }
}

/// How each task ends, whatever the order.
fn oracle(flow: &[Made]) -> Vec<TaskStatus> {
    let mut ends: Vec<TaskStatus> = Vec::new();
    for made in flow {
        let needs: Vec<_> = made.needs.iter().map(|&need| Some(ends[need as usize])).collect();
        ends.push(match says(made.rule, &needs) {
            Verdict::Run if made.condition == Some(Decision::Skip) => TaskStatus::Skipped,
            Verdict::Run if made.condition == Some(Decision::Fail) => TaskStatus::Failed,
            Verdict::Run if made.succeeds => TaskStatus::Succeeded,
            Verdict::Run => TaskStatus::Failed,
            Verdict::Skip => TaskStatus::Skipped,
            Verdict::Fail => TaskStatus::UpstreamFailed,
            Verdict::Wait => panic!("every need has ended"),
        });
    }
    ends
}

/// Takes a step, and decides what it asks to be decided.
fn take(run: &mut RunState, flow: &[Made], event: Event) {
    let mut events = vec![event];
    while let Some(event) = events.pop() {
        for action in step(run, event, NOW).unwrap() {
            if let Action::Decide { task } = action {
                let decision = flow[task as usize].condition.unwrap();
                events.push(Event::Decided { task, decision });
            }
        }
    }
}

/// Runs it to its end; which task moves next say the choices. A task that begins must be allowed to by its rule.
fn drive(run: &mut RunState, flow: &[Made], choices: &[u8]) {
    take(run, flow, Event::Admit);
    let mut choices = choices.iter().cycle();
    // Every task is leased once and ends once.
    for _ in 0..2 * flow.len() {
        let can_move =
            |task: &TaskIndex| matches!(run.tasks[*task as usize].status, TaskStatus::Ready | TaskStatus::Running);
        let movable: Vec<TaskIndex> = run.graph.indices().filter(can_move).collect();
        if movable.is_empty() {
            break;
        }
        let task = movable[*choices.next().unwrap() as usize % movable.len()];
        let made = &flow[task as usize];
        if run.tasks[task as usize].status == TaskStatus::Ready {
            let status =
                |need: &TaskIndex| Some(run.tasks[*need as usize].status).filter(|status| status.is_terminal());
            let needs: Vec<_> = made.needs.iter().map(status).collect();
            assert_eq!(says(made.rule, &needs), Verdict::Run, "task {task} begins with needs {needs:?}");
            take(run, flow, Event::Lease { task });
        } else {
            let attempt = run.tasks[task as usize].attempts;
            let ending = if made.succeeds { Ending::Succeeded } else { Ending::Failed(Fault::default()) };
            take(run, flow, Event::Finish { task, attempt, ending });
        }
    }
    assert!(run.status.is_terminal(), "the run never ends: {run:?}");
}

fn check(run: &RunState, flow: &[Made]) {
    let statuses: Vec<TaskStatus> = run.tasks.iter().map(|task| task.status).collect();
    let expected = oracle(flow);
    assert_eq!(statuses, expected);
    let bad = expected.iter().any(|status| status.is_bad());
    assert_eq!(run.status, if bad { RunStatus::Failed } else { RunStatus::Succeeded });
}

fn seeded(cases: u32) -> ProptestConfig {
    let seed = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(seeded(2000))]

    #[test]
    fn every_run_ends_as_its_rules_say_in_any_order(mut flow in any_flow(), choices in prop::collection::vec(any::<u8>(), 1..40)) {
        let mut run = run_of(&flow);
        drive(&mut run, &flow, &choices);
        check(&run, &flow);
        for (task, made) in run.tasks.iter().zip(&flow) {
            let ran = matches!(task.status, TaskStatus::Succeeded | TaskStatus::Failed) && made.condition != Some(Decision::Fail);
            prop_assert_eq!(task.attempts, u32::from(ran), "{:?}", made);
        }
        // Once the causes are mended, a re-run of what failed ends as if nothing had ever failed.
        if run.status == RunStatus::Failed {
            flow.iter_mut().for_each(|made| {
                made.succeeds = true;
                made.condition = made.condition.filter(|condition| *condition != Decision::Fail);
            });
            run.graph = run_of(&flow).graph;
            let tasks = rerun_tasks(&run, &RerunScope::Failed, &[]).unwrap();
            step(&mut run, Event::Rerun { tasks }, NOW).unwrap();
            drive(&mut run, &flow, &choices);
            check(&run, &flow);
        }
    }
}

#[test]
fn a_wide_join_and_a_long_chain_are_not_quadratic() {
    const WIDTH: usize = 20_000;
    let one = |needs| Made { needs, rule: TriggerRule::AllSuccess, succeeds: true, condition: None };
    let join = std::iter::repeat_n(one(vec![]), WIDTH).chain([one((0..WIDTH as TaskIndex).collect())]).collect();
    let chain = (0..WIDTH as TaskIndex).map(|task| one(task.checked_sub(1).into_iter().collect())).collect();
    for flow in [join, chain] as [Vec<Made>; 2] {
        let mut run = run_of(&flow);
        let began = std::time::Instant::now();
        step(&mut run, Event::Admit, NOW).unwrap();
        for task in run.graph.indices() {
            step(&mut run, Event::Lease { task }, NOW).unwrap();
            step(&mut run, Event::Finish { task, attempt: 1, ending: Ending::Succeeded }, NOW).unwrap();
        }
        assert_eq!(run.status, RunStatus::Succeeded);
        // A hundred times what it takes; scanning every task at every step takes minutes.
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "took {:?}", began.elapsed());
    }
}
