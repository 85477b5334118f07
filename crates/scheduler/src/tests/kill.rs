//! `kill -9` in the middle of a backfill, several times at random moments: after the last start all 365 runs have
//! succeeded, each task exactly once.
//!
//! The test runs this very test program again as the server process, with a real database, a real worker and real shell
//! tasks. Each task notes its day and name in a file as its last act, so that doubled side effects of finished tasks
//! are seen, not only what the history believes.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mulgil_history::History;
use mulgil_history::read::RunQuery;
use mulgil_history::sqlite::SqliteHistory;
use mulgil_history::write::BackfillStatus;
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};
use mulgil_worker::process::members_of;

use super::fixture::{House, wait_for};
use crate::{BackfillRequest, Change};

const KILLS: u32 = 5;
/// The server is killed within this time after its start.
const LIFE_MAX: Duration = Duration::from_millis(800);
const DONE_MAX: Duration = Duration::from_secs(180);
const FOLDER: &str = "MULGIL_TEST_KILL_FOLDER";

const YEAR: &str = "
flow: year
schedule: {cron: '0 6 * * *', timezone: America/New_York, start: 2013-01-01, end: 2014-01-01, catchup: all}
tasks:
  land: {shell: 'echo {{ ds }} land $MULGIL_ATTEMPT >> effects'}
  aggregate: {needs: [land], shell: 'echo {{ ds }} aggregate $MULGIL_ATTEMPT >> effects'}
  publish: {needs: [aggregate], shell: 'echo {{ ds }} publish $MULGIL_ATTEMPT >> effects'}
";

/// The server process: not a test by itself, but what the test below starts and kills.
#[tokio::test]
#[ignore = "started by the kill test as its server process"]
async fn server_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let flow = YEAR.replace("catchup: all", "catchup: none");
    let house = House::open(&folder, &[&flow]).await;
    let mut changes = house.handle.subscribe();
    let request = BackfillRequest {
        flow: "year".to_owned(),
        from: "2013-01-01".parse().unwrap(),
        to: "2013-12-31".parse().unwrap(),
        concurrency: Some(8),
        which: Default::default(),
        order: Default::default(),
        params: Default::default(),
        trial: None,
        retries: false,
        rounds: 0,
        confirmed: false,
    };
    // After a restart every interval has its run already, and this begins nothing.
    let started = house.handle.start_backfill(request).await.unwrap();
    assert!(started.backfill.is_none() || started.new == 365, "a restart made other runs: {started:?}");
    loop {
        let row = house.history.backfill(mulgil_sched::id::BackfillId(1)).await.unwrap().unwrap();
        if row.status != BackfillStatus::Running {
            break;
        }
        wait_for(&mut changes, |change| matches!(change, Change::Backfill { .. })).await;
    }
    house.close(Duration::ZERO).await;
}

fn start_server(folder: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["tests::kill::server_process", "--exact", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).stdout(Stdio::null()).spawn().unwrap()
}

/// A small generator (splitmix64), so that the printed seed repeats the moments.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[tokio::test]
async fn killing_the_server_again_and_again_loses_nothing_and_doubles_nothing() {
    let seed: u64 = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    let mut random_state = seed;
    let folder = tempfile::tempdir().unwrap();
    let mut in_the_middle = 0;
    for kill in 1..=KILLS {
        let mut server = start_server(folder.path());
        let life = Duration::from_millis(random(&mut random_state) % LIFE_MAX.as_millis() as u64);
        tokio::time::sleep(life).await;
        server.kill().unwrap();
        let status = server.wait().unwrap();
        println!("kill {kill} after {life:?}: {status}");
        assert!(status.signal() == Some(9) || status.success(), "the server failed by itself: {status}");
        in_the_middle += u32::from(!status.success());
    }
    assert!(in_the_middle > 0, "the backfill was done before the first kill: this tests nothing");
    finish(folder.path());
    check(folder.path()).await;
}

fn finish(folder: &Path) {
    let mut server = start_server(folder);
    let until = Instant::now() + DONE_MAX;
    loop {
        if let Some(status) = server.try_wait().unwrap() {
            assert!(status.success(), "the last server failed: {status}");
            return;
        }
        assert!(Instant::now() < until, "the backfill is not done after {DONE_MAX:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

async fn check(folder: &Path) {
    let history = SqliteHistory::open(&folder.join("history.db")).await.unwrap();
    let query = RunQuery { limit: 1_000, ..RunQuery::default() };
    let runs = history.runs(&query).await.unwrap();
    assert_eq!(runs.len(), 365, "no run lost, none doubled");
    let mut lost = 0;
    let mut winners: HashMap<(String, String), u32> = HashMap::new();
    for run in &runs {
        assert_eq!(run.status, RunStatus::Succeeded, "{}", run.name);
        let detail = history.run(run.id).await.unwrap().unwrap();
        assert!(detail.tasks.iter().all(|task| task.status == TaskStatus::Succeeded), "{}", run.name);
        for task in &detail.tasks {
            let of_task = || detail.attempts.iter().filter(|attempt| attempt.task == task.name);
            let succeeded: Vec<_> = of_task().filter(|attempt| attempt.status == AttemptStatus::Succeeded).collect();
            assert_eq!(succeeded.len(), 1, "{} {} succeeded {} times", run.name, task.name, succeeded.len());
            let others = of_task().filter(|attempt| attempt.status != AttemptStatus::Succeeded);
            assert!(others.clone().all(|attempt| attempt.status == AttemptStatus::Lost), "{detail:?}");
            lost += others.count();
            assert_eq!(task.retries_used, 0, "a lost attempt is no retry");
            let day = run.name.rsplit('/').next().unwrap().to_owned();
            winners.insert((day, task.name.clone()), succeeded[0].attempt);
        }
    }
    check_effects(folder, &winners, lost);
}

/// Every task that succeeded had its effect, and what ran twice are only attempts that the kill took away.
fn check_effects(folder: &Path, winners: &HashMap<(String, String), u32>, lost: usize) {
    let effects = std::fs::read_to_string(folder.join("effects")).unwrap();
    let mut seen: BTreeMap<(String, String, u32), u32> = BTreeMap::new();
    for line in effects.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        *seen.entry((words[0].to_owned(), words[1].to_owned(), words[2].parse().unwrap())).or_default() += 1;
    }
    for ((day, task), attempt) in winners {
        let times = seen.get(&(day.clone(), task.clone(), *attempt)).copied().unwrap_or(0);
        assert_eq!(times, 1, "attempt {attempt} of {task} of {day} ran {times} times");
    }
    let extra = seen.len() - winners.len();
    assert!(extra <= lost, "{extra} effects of attempts that did not succeed, but only {lost} lost attempts");
    println!("{lost} attempts were lost, {extra} of them after their effect");
}

const LONG: &str = "flow: long\ntasks: {t: {shell: 'echo $$ > pid; sleep 1000 & wait', idempotent: false}}";

/// The other server process: one long task.
#[tokio::test]
#[ignore = "started by the test below as its server process"]
async fn server_process_with_a_long_task() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let house = House::open(&folder, &[LONG]).await;
    house.trigger("long").await;
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn what_a_killed_server_left_running_is_killed_and_not_started_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["tests::kill::server_process_with_a_long_task", "--exact", "--ignored", "--nocapture"]);
    let mut server = command.env(FOLDER, folder.path()).stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + super::fixture::PATIENCE;
    let group: i32 = loop {
        let text = std::fs::read_to_string(folder.path().join("pid")).unwrap_or_default();
        match text.trim().parse() {
            Ok(pid) if members_of(pid).len() == 2 => break pid,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        assert!(Instant::now() < until, "the task never ran");
    };
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(members_of(group).len(), 2, "the group outlives its server");

    let house = House::open(folder.path(), &[LONG]).await;
    assert!(members_of(group).is_empty(), "the next server ends it");
    let detail = house.detail(mulgil_sched::id::RunId(1)).await;
    assert_eq!(detail.run.status, RunStatus::Failed);
    assert_eq!(detail.attempts.len(), 1, "a task that is not idempotent is not started again");
    assert!(detail.attempts[0].error.as_deref().unwrap().contains("idempotent: false"), "{detail:?}");
    house.close(Duration::ZERO).await;
}
