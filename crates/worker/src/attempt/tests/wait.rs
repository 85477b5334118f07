//! What wait tasks wait for, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::bench::House;
use crate::data::{DataTasks, SqlTask, TableWait, TransferTask};
use crate::dispatcher::Outcome;
use crate::log::AttemptLog;

/// Answers that come one after the other.
struct Answers(Vec<Result<Value, String>>, AtomicUsize);

impl Answers {
    fn next(&self) -> Result<Value, String> {
        self.0[self.1.fetch_add(1, Ordering::Relaxed)].clone()
    }
}

#[async_trait]
impl DataTasks for Answers {
    async fn sql(&self, task: SqlTask, _: &AttemptLog) -> Result<Option<Value>, String> {
        assert_eq!(task.text, "SELECT 1 > 0 -- 2024-01-02");
        self.next().map(Some)
    }

    async fn has_rows(&self, wait: TableWait) -> Result<bool, String> {
        assert_eq!((wait.table.as_str(), wait.values), ("raw.a", None));
        self.next().map(|value| value == json!(true))
    }

    async fn transfer(&self, _: TransferTask, _: &AttemptLog) -> Result<serde_json::Value, String> {
        Err("not here".to_owned())
    }
}

#[tokio::test]
async fn a_query_has_to_be_true_in_its_only_column() {
    let mut house = House::new("");
    let later = [
        Err("no such table".to_owned()),
        Ok(json!(null)),
        Ok(json!({"a": false})),
        Ok(json!({"a": 0})),
        Ok(json!({"a": null})),
    ];
    for there in [json!({"a": true}), json!({"a": 2})] {
        house.data = Arc::new(Answers(later.iter().cloned().chain([Ok(there)]).collect(), AtomicUsize::new(0)));
        let ended = house.run(r#"{wait: {sql: "SELECT 1 > 0 -- {{ params.day }}", poke_every: 1ms}}"#).await;
        assert_eq!(ended.outcome, Outcome::Succeeded(None), "{}", ended.log);
        assert!(ended.log.contains("not yet: no such table"), "{}", ended.log);
    }
    house.data = Arc::new(Answers(vec![Ok(json!({"a": true, "b": true}))], AtomicUsize::new(0)));
    let ended = house.run(r#"{wait: {sql: "SELECT 1 > 0 -- {{ params.day }}"}}"#).await;
    assert!(ended.error().contains("gives one column"), "{}", ended.error());
}

#[tokio::test]
async fn rows_of_a_table_are_waited_for() {
    let mut house = House::new("");
    house.data = Arc::new(Answers(vec![Ok(json!(false)), Ok(json!(true))], AtomicUsize::new(0)));
    let ended = house.run("{wait: {table: raw.a, poke_every: 1ms}}").await;
    assert_eq!(ended.outcome, Outcome::Succeeded(None), "{}", ended.log);
}

#[tokio::test]
async fn files_are_matched_as_in_a_shell() {
    let house = House::new("");
    std::fs::create_dir_all(house.path().join("landing/2024-01-02/deep")).unwrap();
    std::fs::write(house.path().join("landing/2024-01-02/deep/a.csv"), "").unwrap();
    for pattern in ["landing/{{ params.day }}/**/*.csv", "landing/*/deep/[ab].csv", "landing/**/a.csv"] {
        let ended = house.run(&format!(r#"{{wait: {{file: "{pattern}", poke_every: 1ms}}, timeout: 60s}}"#)).await;
        assert_eq!(ended.outcome, Outcome::Succeeded(None), "{}", ended.log);
    }
    // Neither a folder, nor a file of another name.
    for pattern in ["landing/*/deep", "landing/*.csv"] {
        let ended = house.run(&format!(r#"{{wait: {{file: "{pattern}", poke_every: 1ms}}, timeout: 20ms}}"#)).await;
        assert!(matches!(ended.outcome, Outcome::TimedOut(_)), "{}", ended.log);
    }
}

#[tokio::test]
async fn a_time_that_has_come_is_not_waited_for() {
    let house = House::new("timezone: Asia/Seoul");
    for until in ["{{ params.day }}", "2024-01-02T08:00", "2024-01-02T08:00:00+09:00"] {
        let ended = house.run(&format!(r#"{{wait: {{until: "{until}"}}}}"#)).await;
        assert_eq!(ended.outcome, Outcome::Succeeded(None), "{}", ended.log);
    }
    assert!(house.run("{wait: {until: soon}}").await.error().contains("neither date nor time"));
    let soon = Timestamp::now() + SignedDuration::from_millis(200);
    assert_eq!(house.run(&format!("{{wait: {{until: '{soon}'}}}}")).await.outcome, Outcome::Succeeded(None));
    assert!(Timestamp::now() >= soon);
}

#[tokio::test]
async fn the_time_counts_from_the_first_beginning() {
    let mut house = House::new("");
    house.since = Timestamp::now() - SignedDuration::from_hours(2);
    let ended = house.run("{wait: {file: never, on_timeout: skip}, timeout: 1h}").await;
    assert_eq!(ended.outcome, Outcome::Skipped("it did not come within 1h".to_owned()));
    let ended = house.run("{wait: {file: never}, timeout: 1h}").await;
    assert!(matches!(ended.outcome, Outcome::TimedOut(_)));
}
