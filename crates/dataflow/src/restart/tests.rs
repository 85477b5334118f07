//! Faults one after the other, and what is decided about each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;

fn fault(kind: FaultKind, error: &str) -> Fault {
    Fault { kind, error: error.to_owned(), ran_for: Duration::from_secs(5), made_progress: false }
}

fn strategy() -> RestartStrategy {
    RestartStrategy { jitter_percent: 0, tries_max: 6, ..RestartStrategy::default() }
}

fn restart(ms: u64) -> Decision {
    Decision::Restart(Duration::from_millis(ms))
}

/// What is decided about each fault.
fn decided(faults: impl IntoIterator<Item = Fault>) -> Vec<Decision> {
    let mut restarts = Restarts::new(strategy());
    faults.into_iter().map(|fault| restarts.decide(fault, 7)).collect()
}

#[test]
fn a_fault_that_may_pass_is_tried_again_for_longer_and_longer_up_to_a_limit() {
    let refused = || fault(FaultKind::Passing, "connection refused");
    let expected = [1_000, 1_500, 2_250, 3_375, 5_062, 7_593].map(|ms| ms);
    let found = decided((0..7).map(|_| refused()));
    for (ms, decision) in expected.iter().zip(&found) {
        let Decision::Restart(after) = decision else { panic!("{decision:?}") };
        assert_eq!(after.as_millis(), *ms);
    }
    assert_eq!(found[6], Decision::Stop(Stop::TooOften(6)));
    let mut restarts = Restarts::new(RestartStrategy { tries_max: 100, ..strategy() });
    let last = (0..40).map(|_| restarts.decide(refused(), 7)).last();
    assert_eq!(last, Some(restart(60_000)), "never longer than the limit");
}

#[test]
fn the_same_error_of_the_same_rows_is_a_poison_row_after_a_few_tries() {
    let poison = || fault(FaultKind::Rows, "operator divide: division by zero");
    let found = decided((0..4).map(|_| poison()));
    assert!(found[..3].iter().all(|decision| matches!(decision, Decision::Restart(_))), "{found:?}");
    assert_eq!(found[3], Decision::Stop(Stop::PoisonRow(3)));
}

#[test]
fn another_error_in_between_or_rows_further_begin_the_count_anew() {
    let poison = || fault(FaultKind::Rows, "division by zero");
    let further = || Fault { made_progress: true, ..poison() };
    let other = || fault(FaultKind::Passing, "connection refused");
    let is_restart = |decision: &Decision| matches!(decision, Decision::Restart(_));
    let with_others = decided([poison(), poison(), other(), poison(), poison(), other()]);
    assert!(with_others.iter().all(is_restart), "{with_others:?}");
    let with_progress = decided((0..20).map(|n| if n % 2 == 0 { further() } else { poison() }));
    assert!(with_progress.iter().all(is_restart), "no try is in vain: {with_progress:?}");
}

#[test]
fn a_run_that_has_lasted_lets_the_backoff_begin_anew() {
    let refused = || fault(FaultKind::Passing, "connection refused");
    let late = Fault { ran_for: Duration::from_secs(3_600), ..refused() };
    assert_eq!(decided([refused(), refused(), late]), [restart(1_000), restart(1_500), restart(1_000)]);
}

#[test]
fn what_stays_as_it_is_is_not_tried_again_nor_what_is_not_to_be() {
    assert_eq!(decided([fault(FaultKind::Lasting, "another query")]), [Decision::Stop(Stop::Lasting)]);
    let mut never = Restarts::new(RestartStrategy { tries_max: 0, ..strategy() });
    assert_eq!(never.decide(fault(FaultKind::Passing, "refused"), 0), Decision::Stop(Stop::NotWanted));
    assert_eq!((never.count(), never.last_error()), (0, Some("refused")));
}

#[test]
fn jitter_makes_a_backoff_shorter_or_longer_by_its_share() {
    let strategy = RestartStrategy { jitter_percent: 10, ..strategy() };
    for (chance, ms) in [(0, 900), (1_000, 1_000), (2_000, 1_100), (2_001, 900)] {
        let decision = Restarts::new(strategy).decide(fault(FaultKind::Passing, "refused"), chance);
        assert_eq!(decision, restart(ms), "{chance}");
    }
}
