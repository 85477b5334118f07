//! A commit whose answer was lost is stored once, whether it had reached the server or not.

use mulgil_history::postgres::leading::Standing;
use mulgil_history::write::Trigger;
use mulgil_history::{History, HistoryError};
use mulgil_sched::status::RunStatus;

use crate::cluster::Cluster;
use crate::cut::{Cut, Door};
use crate::sample::{new_run, run_status, version};
use crate::store::{LIFE, database, leading, open, server};

#[tokio::test]
async fn a_batch_is_stored_once_whichever_word_was_lost() {
    let url = database();
    let door = Door::before(&url);
    let history = leading(&door.url(&url)).await;
    history.commit(&[version()]).await.unwrap();
    let mut run = 0;
    for cut in [Cut::BeforeTheCommit, Cut::AfterTheCommit, Cut::AfterTheCommit, Cut::BeforeTheCommit, Cut::Never] {
        run += 1;
        let batch = [new_run(run, Trigger::Manual, None), run_status(run, RunStatus::Queued, RunStatus::Running)];
        door.slam(cut);
        let first = history.commit(&batch).await;
        if cut != Cut::Never {
            let error = first.unwrap_err();
            assert!(error.is_passing(), "{cut:?}: {error}");
            // As the scheduler's loop does: the same batch, before any other.
            history.commit(&batch).await.unwrap();
        }
        let queued = history.events(0, 100).await.unwrap();
        let queued = queued.iter().filter(|event| event.run.is_some_and(|id| id.0 == run)).count();
        assert_eq!(queued, 2, "{cut:?}: each event once");
    }
    assert_eq!(history.memory().await.unwrap().runs.len(), 5);
}

#[tokio::test]
async fn a_server_that_lost_the_lease_meanwhile_does_not_take_its_batch_for_stored() {
    let url = database();
    let door = Door::before(&url);
    let history = leading(&door.url(&url)).await;
    door.slam(Cut::BeforeTheCommit);
    let batch = [version(), new_run(1, Trigger::Manual, None)];
    assert!(history.commit(&batch).await.unwrap_err().is_passing());
    Cluster::shared().run_in(&url, "UPDATE leader SET epoch = epoch + 1, batch = 1");
    let error = history.commit(&batch).await.unwrap_err();
    assert!(matches!(error, HistoryError::Fenced), "{error}");
    assert!(history.memory().await.unwrap().runs.is_empty());
}

#[tokio::test]
async fn a_leader_that_stands_still_in_the_middle_of_a_commit_is_replaced_all_the_same() {
    let url = database();
    let door = Door::before(&url);
    let (first, second) = (leading(&door.url(&url)).await, open(&url).await);
    assert!(first.renew(std::time::Duration::from_millis(1)).await.unwrap());
    door.slam(Cut::HoldTheCommit);
    let batch = [version(), new_run(1, Trigger::Manual, None)];
    let takes_over = async {
        while !matches!(second.campaign(&server("two"), LIFE).await.unwrap(), Standing::Leads(_)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        done = first.commit(&batch) => panic!("its commit hangs: {done:?}"),
        () = takes_over => {}
    }
    assert!(second.memory().await.unwrap().runs.is_empty(), "what was not committed is undone");
    let refused = first.commit(&batch).await.unwrap_err();
    assert!(matches!(refused, HistoryError::Fenced), "{refused}");
}

#[tokio::test]
async fn a_database_that_is_killed_is_waited_for() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let history = leading(&cluster.url()).await;
    history.commit(&[version()]).await.unwrap();
    cluster.order("kill");
    let batch = [new_run(1, Trigger::Manual, None)];
    let error = history.commit(&batch).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    let error = history.memory().await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    cluster.order("start");
    history.commit(&batch).await.unwrap();
    assert_eq!(history.memory().await.unwrap().runs.len(), 1);
}
