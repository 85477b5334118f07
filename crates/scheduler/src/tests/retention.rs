//! What is kept no longer is dropped, with its files, by the loop that knows what is open.

use jiff::{SignedDuration, Timestamp};
use mulgil_flow::Retention;
use mulgil_history::History;

use super::fixture::{House, wait_for};
use crate::retention::sweep;
use crate::{Change, TriggerRequest};

#[tokio::test]
async fn old_runs_and_logs_are_dropped_and_open_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let flow = "flow: f\nparams: {n: 0}\ntasks: {a: {shell: 'echo {{ params.n }}; while [ {{ params.n }} = 0 ] && ! [ -e go ]; do sleep 0.01; done'}}";
    let house = House::open(folder.path(), &[flow]).await;
    let mut changes = house.handle.subscribe();
    let trigger = |n: i64| TriggerRequest {
        flow: "f".to_owned(),
        params: [("n".to_owned(), n.into())].into(),
        ..TriggerRequest::default()
    };
    let open = house.handle.trigger(trigger(0)).await.unwrap().run;
    let mut ended = Vec::new();
    for n in 1..=3 {
        let id = house.handle.trigger(trigger(n)).await.unwrap().run;
        wait_for(
            &mut changes,
            |change| matches!(change, Change::Run { run, status, .. } if *run == id && status.is_terminal()),
        )
        .await;
        ended.push(id);
    }
    let log = |run: mulgil_sched::id::RunId| folder.path().join(format!(".mulgil/logs/f/{run}/a.1.log"));
    assert!(ended.iter().all(|run| log(*run).exists()));
    let later = |hours| Timestamp::now() + SignedDuration::from_hours(hours);
    let day = SignedDuration::from_hours(24);
    let (runs, logs, notices) = (None, Some(day), None);
    let history: &dyn History = house.history.as_ref();
    // Nothing is a day old yet.
    sweep(history, &house.handle, &Retention { runs, logs, notices }, folder.path(), later(0)).await.unwrap();
    assert!(ended.iter().all(|run| log(*run).exists()));
    sweep(history, &house.handle, &Retention { runs, logs, notices }, folder.path(), later(25)).await.unwrap();
    let kept: Vec<bool> = ended.iter().map(|run| log(*run).exists()).collect();
    assert_eq!(kept, [false, false, true], "the last one's stays");
    assert!(log(open).exists(), "it is open");

    let all = Retention { runs: Some(day), logs: Some(day), notices: Some(day) };
    let dropped = sweep(history, &house.handle, &all, folder.path(), later(25)).await.unwrap();
    assert_eq!(dropped, 2);
    assert!(history.run(ended[0]).await.unwrap().is_none());
    assert!(history.run(ended[2]).await.unwrap().is_some() && history.run(open).await.unwrap().is_some());
    // The loop goes on with what is open.
    std::fs::write(folder.path().join("go"), "").unwrap();
    wait_for(
        &mut changes,
        |change| matches!(change, Change::Run { run, status, .. } if *run == open && status.is_terminal()),
    )
    .await;
}
