//! Cancelling ends the whole process group, grandchildren included.

use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};

use super::fixture::{House, PATIENCE, statuses, wait_for};
use crate::Change;

const FAMILY: &str = "
flow: family
tasks:
  parent: {shell: 'sh -c \"sleep 1000 & echo \\$! > grandchild; echo ready; wait\" & wait'}
  after: {needs: [parent], shell: 'true'}
";

pub(super) fn is_alive(pid: &str) -> bool {
    // A zombie has ended; only nobody has asked yet how.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn grandchild_of(folder: &std::path::Path) -> String {
    // The shell writes the number after the attempt counts as running: there is no event to wait for.
    let path = folder.join("grandchild");
    let reading = async {
        loop {
            match std::fs::read_to_string(&path) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap()
}

#[tokio::test]
async fn after_a_cancel_no_process_of_the_group_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[FAMILY]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("family").await;
    let grandchild = grandchild_of(folder.path()).await;
    assert!(is_alive(&grandchild));
    house.handle.cancel_run(run).await.unwrap();
    let cancelling = |change: &Change| matches!(change, Change::Run { status: RunStatus::Cancelling, .. });
    wait_for(&mut changes, cancelling).await;
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&detail), (RunStatus::Cancelled, vec![TaskStatus::Cancelled; 2]));
    assert_eq!(detail.attempts[0].status, AttemptStatus::Cancelled);
    assert!(!is_alive(&grandchild));
    house.close(PATIENCE).await;
}
