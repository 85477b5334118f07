//! Files that start runs: each once, when it has been written, also over restarts.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mulgil_flow::Flow;
use mulgil_history::History;
use mulgil_history::read::RunQuery;
use mulgil_history::write::Trigger;
use mulgil_sched::status::RunStatus;

use super::fixture::{House, PATIENCE, source};
use crate::landing::Landing;

const FLOW: &str = "flow: f\ntriggers: [{file: 'landing/*.csv'}, {file: 'landing/a*'}]\nparams: {file: {type: string, pattern: '.*v'}}\n\
                    tasks: {t: {shell: 'cat {{ params.file }}'}}";

fn landing(house: &House, folder: &Path) -> Landing {
    let kept = Some(SignedDuration::from_hours(24 * 400));
    Landing::new(house.history.clone(), house.handle.clone(), folder.to_owned(), kept)
}

fn flows() -> Vec<Arc<Flow>> {
    vec![source(FLOW).flow]
}

async fn look(landing: &mut Landing) -> usize {
    landing.look(&flows(), Timestamp::now()).await.unwrap()
}

/// What the runs were started for, oldest first.
async fn files(house: &House) -> Vec<String> {
    let query = RunQuery { flow: Some("f".to_owned()), limit: 1000, ..RunQuery::default() };
    let mut runs = house.history.runs(&query).await.unwrap();
    runs.reverse();
    assert!(runs.iter().all(|run| run.trigger == Trigger::File && run.interval_start.is_none()));
    runs.iter().map(|run| run.params["file"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_file_starts_one_run_when_it_is_whole_also_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join("landing").join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("landing")).unwrap();
    write("a.csv", "1");
    write(".hidden.csv", "1");
    write("b.txt", "1");
    std::fs::create_dir(folder.path().join("landing/folder.csv")).unwrap();
    let house = House::open(folder.path(), &[FLOW]).await;
    let mut changes = house.handle.subscribe();
    let mut landing_here = landing(&house, folder.path());
    assert_eq!(look(&mut landing_here).await, 0, "it may be under way");
    write("growing.csv", "1");
    assert_eq!(look(&mut landing_here).await, 1);
    assert_eq!(files(&house).await, ["landing/a.csv"]);
    let run = house.history.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await.unwrap().remove(0);
    let ended = house.ended(run.id, &mut changes).await;
    assert_eq!(ended.run.status, RunStatus::Succeeded);
    let log = std::fs::read_to_string(folder.path().join(&ended.attempts[0].log)).unwrap();
    assert!(log.contains("Z 1\n"), "{log}");

    write("growing.csv", "12");
    assert_eq!(look(&mut landing_here).await, 0, "it has changed since");
    assert_eq!((look(&mut landing_here).await, look(&mut landing_here).await), (1, 0));
    // Written anew under its old name, it is another one.
    write("a.csv", "123");
    assert_eq!((look(&mut landing_here).await, look(&mut landing_here).await), (0, 1));
    // It is gone for a while, as if its disk were away, and comes back as it was.
    let (here, away) = (folder.path().join("landing"), folder.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    assert_eq!(look(&mut landing_here).await, 0);
    std::fs::rename(&away, &here).unwrap();
    assert_eq!((look(&mut landing_here).await, look(&mut landing_here).await), (0, 0));
    // One that the flow refuses starts nothing, and stops no other.
    write("also_refused", "1");
    write("b.csv", "1");
    assert_eq!((look(&mut landing_here).await, look(&mut landing_here).await), (0, 1));
    drop(landing_here);
    house.close(PATIENCE).await;

    let expected = ["landing/a.csv", "landing/growing.csv", "landing/a.csv", "landing/b.csv"];
    write("c.csv", "1");
    let house = House::open(folder.path(), &[FLOW]).await;
    let mut landing_here = landing(&house, folder.path());
    assert_eq!((look(&mut landing_here).await, look(&mut landing_here).await), (0, 1));
    assert_eq!(files(&house).await, [&expected[..], &["landing/c.csv"]].concat());
    house.close(PATIENCE).await;
}

#[tokio::test]
async fn files_wait_while_the_flow_is_paused_and_old_ones_have_had_their_run() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[FLOW]).await;
    std::fs::create_dir(folder.path().join("landing")).unwrap();
    for number in 0..150 {
        std::fs::write(folder.path().join(format!("landing/{number:03}.csv")), "1").unwrap();
    }
    // Their runs may have been dropped.
    let mut late = landing(&house, folder.path());
    let later = Timestamp::now() + SignedDuration::from_hours(24 * 401);
    for _ in 0..3 {
        assert_eq!(late.look(&flows(), later).await.unwrap(), 0);
    }
    house.handle.set_paused("f", true).await.unwrap();
    let mut landing_here = landing(&house, folder.path());
    for _ in 0..3 {
        assert_eq!(look(&mut landing_here).await, 0);
    }
    house.handle.set_paused("f", false).await.unwrap();
    // Not all at once, and in the order in which they came.
    assert_eq!(
        (look(&mut landing_here).await, look(&mut landing_here).await, look(&mut landing_here).await),
        (100, 50, 0)
    );
    let mut files = files(&house).await;
    files.dedup();
    assert_eq!(files.len(), 150);
    house.close(PATIENCE).await;
}
