//! Schedules: what is due runs, what was missed follows the policy, and nothing doubles over restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use mulgil_history::History;
use mulgil_history::read::RunQuery;
use mulgil_history::write::Trigger;
use mulgil_sched::status::RunStatus;

use super::fixture::{House, PATIENCE, task_running, wait_for};
use crate::{Change, Clock, TriggerRequest};

/// A clock that tests move.
struct TestClock(AtomicI64);

impl TestClock {
    fn at(time: &str) -> Arc<Self> {
        let time: Timestamp = time.parse().unwrap();
        Arc::new(Self(AtomicI64::new(time.as_microsecond())))
    }

    fn set(&self, time: &str) {
        let time: Timestamp = time.parse().unwrap();
        self.0.store(time.as_microsecond(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        // Each look takes a microsecond, as with a real clock.
        Timestamp::from_microsecond(self.0.fetch_add(1, Ordering::SeqCst)).unwrap()
    }
}

fn flow(catchup: &str) -> String {
    format!(
        "flow: f\nschedule: {{cron: '0 6 * * *', timezone: UTC, start: 2013-01-01, catchup: {catchup}}}\ntasks: {{t: {{shell: 'true'}}}}"
    )
}

async fn scheduled_days(house: &House) -> Vec<String> {
    let query = RunQuery { flow: Some("f".to_owned()), limit: 100, ..RunQuery::default() };
    let mut runs = house.history.runs(&query).await.unwrap();
    runs.reverse();
    let scheduled = runs.iter().filter(|run| run.trigger == Trigger::Schedule);
    scheduled.map(|run| run.interval_start.unwrap().to_string()[..10].to_owned()).collect()
}

const LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);

#[tokio::test]
async fn missed_runs_follow_the_policy_and_a_restart_doubles_nothing() {
    for (policy, expected) in [
        ("none", vec![]),
        ("latest", vec!["2013-01-03"]),
        ("all", vec!["2013-01-01", "2013-01-02", "2013-01-03"]),
        ("2", vec!["2013-01-02", "2013-01-03"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let flow = flow(policy);
        let clock = TestClock::at("2013-01-04T12:00:00Z");
        for start in 1..=2 {
            let house = House::open_at(folder.path(), &[&flow], clock.clone(), LIFE).await;
            assert_eq!(scheduled_days(&house).await, expected, "catchup: {policy}, start {start}");
            house.close(PATIENCE).await;
        }
        // Two days pass without a server.
        clock.set("2013-01-06T12:00:00Z");
        let house = House::open_at(folder.path(), &[&flow], clock, LIFE).await;
        let days = scheduled_days(&house).await;
        let (last, unique) = (days.last().cloned(), days.iter().collect::<std::collections::BTreeSet<_>>().len());
        assert_eq!(unique, days.len(), "a slot doubled: {days:?}");
        assert_eq!(last.as_deref(), (policy != "none").then_some("2013-01-05"), "catchup: {policy}");
        house.close(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_run_is_made_when_it_is_due_and_not_while_the_flow_is_paused() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2013-01-04T05:59:59.9Z");
    let flow = flow("none");
    let house = House::open_at(folder.path(), &[&flow], clock.clone(), LIFE).await;
    let mut changes = house.handle.subscribe();
    clock.set("2013-01-04T06:00:00Z");
    wait_for(&mut changes, |change| matches!(change, Change::Run { .. })).await;
    assert_eq!(scheduled_days(&house).await, ["2013-01-03"]);

    house.handle.set_paused("f", true).await.unwrap();
    clock.set("2013-01-05T06:00:01Z");
    // Any command makes the loop look at its timers.
    house.handle.pools().await.unwrap();
    house.handle.set_paused("f", false).await.unwrap();
    assert_eq!(scheduled_days(&house).await, ["2013-01-03"], "with catchup none, what a pause hid stays undone");
    house.close(PATIENCE).await;
}

#[tokio::test]
async fn a_run_that_is_due_while_one_before_it_runs_waits_is_left_out_or_takes_its_place() {
    use mulgil_sched::status::RunStatus::{Cancelled, Queued, Running, Succeeded};
    let (first, second) = ("2013-01-03", "2013-01-04");
    for (overlap, at_once, after) in [
        ("queue", [Running, Queued], [Succeeded, Succeeded]),
        ("skip", [Running, Cancelled], [Succeeded, Cancelled]),
        ("cancel", [Cancelled, Succeeded], [Cancelled, Succeeded]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let clock = TestClock::at("2013-01-04T05:59:59.9Z");
        let go = folder.path().join("go");
        let flow = format!(
            "flow: f\nschedule: {{cron: '0 6 * * *', timezone: UTC, start: 2013-01-01, catchup: none, overlap: {overlap}}}\n\
             tasks: {{t: {{shell: \"while [ {{{{ ds }}}} = {first} ] && [ ! -e {} ]; do sleep 0.05; done\"}}}}",
            go.display()
        );
        let house = House::open_at(folder.path(), &[&flow], clock.clone(), LIFE).await;
        let mut changes = house.handle.subscribe();
        clock.set("2013-01-04T06:00:00Z");
        wait_for(&mut changes, task_running("t")).await;
        clock.set("2013-01-05T06:00:00Z");
        house.handle.pools().await.unwrap();
        let begins = Some("2013-01-04T00:00:00Z".parse().unwrap());
        wait_for(
            &mut changes,
            |change| matches!(change, Change::Run { interval_start, .. } if *interval_start == begins),
        )
        .await;
        if overlap == "cancel" {
            wait_for(&mut changes, |change| matches!(change, Change::Run { status: Succeeded, .. })).await;
        }
        assert_eq!(scheduled_days(&house).await, [first, second], "overlap: {overlap}");
        assert_eq!(statuses_of_runs(&house).await, at_once, "overlap: {overlap}");
        std::fs::write(&go, "").unwrap();
        let wanted = after.iter().filter(|status| **status == Succeeded).count();
        while statuses_of_runs(&house).await.iter().filter(|status| **status == Succeeded).count() < wanted {
            wait_for(&mut changes, |change| matches!(change, Change::Run { status: Succeeded, .. })).await;
        }
        assert_eq!(statuses_of_runs(&house).await, after, "overlap: {overlap}");
        house.close(PATIENCE).await;
    }
}

async fn statuses_of_runs(house: &House) -> Vec<mulgil_sched::status::RunStatus> {
    let query = RunQuery { flow: Some("f".to_owned()), limit: 100, ..RunQuery::default() };
    let mut runs = house.history.runs(&query).await.unwrap();
    runs.sort_by_key(|run| run.interval_start);
    runs.iter().map(|run| run.status).collect()
}

/// Hourly writes of a table start the daily flow that waits for it once the day is whole; a flow that was not there then is
/// looked at when it comes, and a restart doubles nothing.
#[tokio::test]
async fn a_flow_runs_when_the_tables_that_it_waits_for_are_written_for_its_whole_interval() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2013-01-02T12:00:00Z");
    let hourly = "flow: hourly\nschedule: {every: 12h, start: 2013-01-01, catchup: none}\n\
                  tasks: {land: {sql: SELECT 1, to: raw.flights, write: replace_table}}";
    let daily = "flow: f\nschedule: {cron: '@daily', start: 2013-01-01, on: raw.flights, catchup: all}\ntasks: {t: {shell: 'true'}}";
    let house = House::open_at(folder.path(), &[hourly, daily], clock.clone(), LIFE).await;
    let mut changes = house.handle.subscribe();
    let write = async |house: &House, start: &str, end: &str| {
        let interval = mulgil_flow::DataInterval { start: start.parse().unwrap(), end: end.parse().unwrap() };
        let ask = TriggerRequest { flow: "hourly".to_owned(), interval: Some(interval), ..TriggerRequest::default() };
        house.handle.trigger(ask).await.unwrap().run
    };
    let evening = write(&house, "2013-01-01T12:00:00Z", "2013-01-02T00:00:00Z").await;
    assert_eq!(house.ended(evening, &mut changes).await.run.status, RunStatus::Succeeded);
    assert_eq!(scheduled_days(&house).await, Vec::<String>::new(), "half of the day is missing");
    let morning = write(&house, "2013-01-01T00:00:00Z", "2013-01-01T12:00:00Z").await;
    house.ended(morning, &mut changes).await;
    assert_eq!(scheduled_days(&house).await, ["2013-01-01"], "made with the success of what it waited for");
    house.close(PATIENCE).await;

    let other = daily.replace("flow: f", "flow: g");
    let house = House::open_at(folder.path(), &[hourly, daily, &other], clock, LIFE).await;
    assert_eq!(scheduled_days(&house).await, ["2013-01-01"]);
    let query = RunQuery { flow: Some("g".to_owned()), limit: 9, ..RunQuery::default() };
    assert_eq!(house.history.runs(&query).await.unwrap().len(), 1, "what was written before it came counts");
    house.close(PATIENCE).await;
}

/// A backfill may write a table ahead of time: a flow that is paused then runs when it is resumed, not only when the day is over.
/// (The simulation found that it never did.)
#[tokio::test]
async fn what_was_written_ahead_of_time_during_a_pause_is_made_up() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2013-01-01T12:00:00Z");
    let writes = "flow: writes\nschedule: {cron: '@daily', start: 2013-01-01, catchup: none}\n\
                  tasks: {land: {sql: SELECT 1, to: raw.flights, write: replace_table}}";
    let daily = "flow: f\nschedule: {cron: '@daily', start: 2013-01-01, on: raw.flights, catchup: all}\ntasks: {t: {shell: 'true'}}";
    let house = House::open_at(folder.path(), &[writes, daily], clock, LIFE).await;
    house.handle.set_paused("f", true).await.unwrap();
    let mut changes = house.handle.subscribe();
    for (start, end) in [("01", "02"), ("03", "04")] {
        let at = |day: &str| format!("2013-01-{day}T00:00:00Z").parse().unwrap();
        let interval = mulgil_flow::DataInterval { start: at(start), end: at(end) };
        let ask = TriggerRequest { flow: "writes".to_owned(), interval: Some(interval), ..TriggerRequest::default() };
        let run = house.handle.trigger(ask).await.unwrap().run;
        house.ended(run, &mut changes).await;
    }
    assert_eq!(scheduled_days(&house).await, Vec::<String>::new());
    house.handle.set_paused("f", false).await.unwrap();
    assert_eq!(scheduled_days(&house).await, ["2013-01-01", "2013-01-03"]);
    house.close(PATIENCE).await;
}

/// What retention has dropped is not missing: a flow that waits for tables leaves intervals alone that are older than runs are kept.
#[tokio::test]
async fn intervals_whose_runs_were_dropped_do_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2013-01-04T12:00:00Z");
    let writes = "flow: writes\nparams: {n: 0}\nschedule: {cron: '@daily', start: 2013-01-01, catchup: none}\n\
                  tasks: {land: {sql: SELECT 1, to: raw.flights, write: replace_table}}";
    let daily = "flow: f\nschedule: {cron: '@daily', start: 2013-01-01, on: raw.flights, catchup: all}\ntasks: {t: {shell: 'true'}}";
    let write = async |house: &House, start: &str, end: &str| {
        let interval = mulgil_flow::DataInterval { start: start.parse().unwrap(), end: end.parse().unwrap() };
        let ask = TriggerRequest { flow: "writes".to_owned(), interval: Some(interval), ..TriggerRequest::default() };
        let mut changes = house.handle.subscribe();
        let run = house.handle.trigger(ask).await.unwrap().run;
        house.ended(run, &mut changes).await;
        wait_for_end_of_all(house).await;
    };
    let house = House::open_at(folder.path(), &[writes, daily], clock.clone(), LIFE).await;
    write(&house, "2013-01-01T00:00:00Z", "2013-01-04T00:00:00Z").await;
    assert_eq!(scheduled_days(&house).await, ["2013-01-01", "2013-01-02", "2013-01-03"]);

    // The write itself is kept: its run is the newest of its flow.
    clock.set("2014-03-01T12:00:00Z");
    let (history, retention): (&dyn History, _) = (house.history.as_ref(), mulgil_flow::Retention::default());
    let dropped = crate::retention::sweep(history, &house.handle, &retention, folder.path(), clock.now()).await;
    assert_eq!(dropped.unwrap(), 2, "the latest scheduled one stays");
    house.close(PATIENCE).await;
    let house = House::open_at(folder.path(), &[writes, daily], clock.clone(), LIFE).await;
    assert_eq!(scheduled_days(&house).await, ["2013-01-03"]);
    write(&house, "2014-02-28T00:00:00Z", "2014-03-01T00:00:00Z").await;
    assert_eq!(scheduled_days(&house).await, ["2013-01-03", "2014-02-28"]);
    house.close(PATIENCE).await;

    let other = daily.replace("flow: f", "flow: g");
    let house = House::open_at(folder.path(), &[writes, daily, &other], clock, LIFE).await;
    let query = RunQuery { flow: Some("g".to_owned()), limit: 9, ..RunQuery::default() };
    assert_eq!(house.history.runs(&query).await.unwrap().len(), 1, "a new flow makes up what is young enough");
    house.close(PATIENCE).await;
}

async fn wait_for_end_of_all(house: &House) {
    let mut changes = house.handle.subscribe();
    while !statuses_of_runs(house).await.iter().all(|status| status.is_terminal()) {
        wait_for(&mut changes, |change| matches!(change, Change::Run { .. })).await;
    }
}
