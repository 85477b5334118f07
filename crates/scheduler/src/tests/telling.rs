//! Notices and alerts with everything real: SQLite, a worker, processes.

use mulgil_history::History;
use mulgil_history::outbox::NoticeStatus;
use mulgil_history::read::{NoticeQuery, NoticeRow};

use super::fixture::House;
use crate::TriggerRequest;

async fn notices(house: &House) -> Vec<NoticeRow> {
    let mut rows = house.history.notices(&NoticeQuery { limit: 100, ..NoticeQuery::default() }).await.unwrap();
    rows.reverse();
    rows
}

#[tokio::test]
async fn a_run_is_told_of_once_with_all_its_failed_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let flow = "flow: f\non_failure: [{webhook: 'http://x'}]\non_retry: [{webhook: 'http://r'}]\n\
                on_success: [{webhook: 'http://y'}, {webhook: 'http://z'}]\n\
                params: {n: 0}\ntasks:\n  a: {shell: '[ {{ params.n }} = 1 ]'}\n\
                \x20 b: {shell: '[ {{ params.n }} = 1 ]', retries: {limit: 2, delay: 1ms}}\n  c: {needs: [a], shell: 'true'}";
    let house = House::open(folder.path(), &[flow]).await;
    let run = |n: i64| {
        let params = [("n".to_owned(), n.into())].into();
        TriggerRequest { flow: "f".to_owned(), params, ..TriggerRequest::default() }
    };
    let mut changes = house.handle.subscribe();
    let mut ended = async |n| {
        let id = house.handle.trigger(run(n)).await.unwrap().run;
        super::fixture::wait_for(
            &mut changes,
            |change| matches!(change, crate::Change::Run { run, status, .. } if *run == id && status.is_terminal()),
        )
        .await;
        id
    };
    let failed = ended(0).await;
    let rows = notices(&house).await;
    let told: Vec<_> = rows.iter().map(|row| (row.kind.as_str(), row.channel.as_str(), row.run, row.status)).collect();
    let waits = NoticeStatus::Waiting;
    let (retry, failure) = ("webhook:http://r", "webhook:http://x");
    assert_eq!(told, [("retry", retry, Some(failed), waits), ("failure", failure, Some(failed), waits)]);
    let tasks = serde_json::json!([{"task": "a", "attempt": 1}, {"task": "b", "attempt": 3}]);
    assert_eq!((&rows[1].body["tasks"], &rows[1].body["run"]["status"]), (&tasks, &"failed".into()));

    ended(1).await;
    let rows = notices(&house).await;
    let told: Vec<_> = rows.iter().skip(2).map(|row| (row.kind.as_str(), row.channel.as_str())).collect();
    assert_eq!(told, [("success", "webhook:http://y"), ("success", "webhook:http://z")]);
    let gauges = house.handle.gauges().await.unwrap();
    assert_eq!(gauges.notices_waiting, 4);
    let runs: Vec<_> = gauges.tally.runs.iter().map(|((_, status), ends)| (*status, ends.count)).collect();
    assert_eq!(runs, [("failed", 1), ("succeeded", 1)]);
    let attempts: u64 = gauges.tally.attempts.values().map(|ends| ends.count).sum();
    assert_eq!(attempts, 4 + 3);
}
