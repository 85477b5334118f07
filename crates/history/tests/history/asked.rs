//! A caller's key: stored with its run or not at all, found again after the history was closed, gone with the run.

use mulgil_history::asked::Asked;
use mulgil_history::write::{RunChange, Trigger, Write};
use mulgil_sched::id::RunId;
use mulgil_sched::status::RunStatus;

use crate::sample::{T0, new_run, run_status, version};
use crate::store::Place;
use crate::suite::over_every_store;

over_every_store! {
    a_key_is_one_run_of_a_flow_for_as_long_as_the_run_is_kept,
}

fn asked(flow: &str, key: &str, run: i64) -> Asked {
    Asked { flow: flow.to_owned(), key: key.to_owned(), run: RunId(run), request: "abc".to_owned(), at: T0 }
}

async fn a_key_is_one_run_of_a_flow_for_as_long_as_the_run_is_kept(place: &Place) {
    let history = place.open().await;
    let of = |asked: &Asked| Write::Asked(asked.clone());
    let (first, other) = (asked("f", "물길 '1'", 1), asked("g", "물길 '1'", 1));
    history.commit(&[version(), new_run(1, Trigger::Manual, None), of(&first), of(&other)]).await.unwrap();
    // With a change that is refused, there is no key either; and a key is given once.
    let (run, from, to) = (RunId(99), RunStatus::Queued, RunStatus::Running);
    let refused = Write::RunStatus(RunChange { run, from, to, timed_out: false, at: T0 });
    history.commit(&[of(&asked("f", "2", 1)), refused]).await.unwrap_err();
    history.commit(&[of(&asked("f", "물길 '1'", 7))]).await.unwrap_err();
    history.close().await;

    let history = place.open().await;
    assert_eq!(history.asked("f", "물길 '1'").await.unwrap(), Some(first));
    assert_eq!(history.asked("g", "물길 '1'").await.unwrap(), Some(other));
    assert_eq!(history.asked("f", "2").await.unwrap(), None);
    let ends = [
        run_status(1, RunStatus::Queued, RunStatus::Running),
        run_status(1, RunStatus::Running, RunStatus::Failed),
        Write::Drop { runs: vec![RunId(1)] },
    ];
    history.commit(&ends).await.unwrap();
    assert_eq!(history.asked("f", "물길 '1'").await.unwrap(), None);
}
