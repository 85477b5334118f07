//! One server leads at a time; what another one decides is not stored.

use std::time::Duration;

use mulgil_history::postgres::leading::Standing;
use mulgil_history::write::Trigger;
use mulgil_history::{History, HistoryError};
use mulgil_sched::id::RunId;
use mulgil_sched::status::RunStatus;

use crate::sample::{new_run, run_status, version};
use crate::store::{LIFE, database, leading, open, server};

/// As short as the database's clock can tell.
const MOMENT: Duration = Duration::from_millis(1);

#[tokio::test]
async fn who_does_not_lead_stores_nothing_but_reads() {
    let url = database();
    let (first, second) = (leading(&url).await, open(&url).await);
    first.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let standing = second.campaign(&server("two"), LIFE).await.unwrap();
    assert_eq!(standing, Standing::Follows(server("one")));
    assert_eq!(second.leader(), Some(server("one")));
    let refused = second.commit(&[version()]).await.unwrap_err();
    assert!(matches!(refused, HistoryError::Fenced) && !refused.is_passing(), "{refused}");
    assert_eq!(second.run(RunId(1)).await.unwrap().unwrap().run.status, RunStatus::Queued);
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_over_and_its_old_server_is_fenced() {
    let url = database();
    let (first, second) = (leading(&url).await, open(&url).await);
    first.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    // It stands still: its lease is not renewed for longer than it lives.
    assert!(first.renew(MOMENT).await.unwrap());
    let standing = loop {
        match second.campaign(&server("two"), LIFE).await.unwrap() {
            Standing::Leads(before) => break before,
            Standing::Follows(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(standing, Some(server("one")), "the new one is told whose work it takes over");
    let begin = [run_status(1, RunStatus::Queued, RunStatus::Running)];
    let refused = first.commit(&begin).await.unwrap_err();
    assert!(matches!(refused, HistoryError::Fenced), "{refused}");
    assert!(!first.renew(LIFE).await.unwrap(), "what is lost is not renewed");
    second.commit(&begin).await.unwrap();
    assert_eq!(first.run(RunId(1)).await.unwrap().unwrap().run.status, RunStatus::Running);
    assert_eq!(first.campaign(&server("one"), LIFE).await.unwrap(), Standing::Follows(server("two")));
}

#[tokio::test]
async fn a_lease_that_ran_out_and_that_nobody_took_goes_on() {
    let url = database();
    let first = leading(&url).await;
    assert!(first.renew(MOMENT).await.unwrap());
    first.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    assert!(first.renew(LIFE).await.unwrap());
}

#[tokio::test]
async fn a_lease_that_was_given_back_is_free_at_once() {
    let url = database();
    let (first, second) = (leading(&url).await, open(&url).await);
    first.give_back().await.unwrap();
    assert_eq!(second.campaign(&server("two"), LIFE).await.unwrap(), Standing::Leads(None));
    let refused = first.commit(&[version()]).await.unwrap_err();
    assert!(matches!(refused, HistoryError::Fenced), "{refused}");
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_leads() {
    let url = database();
    let servers = futures::future::join_all((0..8).map(|_| open(&url))).await;
    let asks = servers
        .iter()
        .enumerate()
        .map(|(number, history)| async move { history.campaign(&server(&number.to_string()), LIFE).await.unwrap() });
    let standings = futures::future::join_all(asks).await;
    let leads = standings.iter().filter(|standing| matches!(standing, Standing::Leads(_))).count();
    assert_eq!(leads, 1, "{standings:?}");
}
