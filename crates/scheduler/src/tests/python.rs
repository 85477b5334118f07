//! Python tasks with a real interpreter: scripts, modules, functions, their arguments, their ends.

use mulgil_sched::status::{RunStatus, TaskStatus};

use super::fixture::{House, PATIENCE, statuses};

const FLOW: &str = r#"
flow: snakes
params: {limit: 10}
tasks:
  script: {python: {script: jobs/say.py, args: ["it's {{ params.limit }}", 5, true]}, env: {LEVEL: "{{ params.limit }}"}}
  module: {python: {module: jobs.say, args: [a]}}
  function: {python: {function: "jobs/score.py:score", args: {limit: "{{ params.limit }}", weights: {a: [1, null]}}}}
  method: {python: {function: "jobs.score:Scorer.run", args: ["{{ run_id }}"]}}
  decorated: {python: {function: "jobs/score.py:later", args: [2]}}
  environment: {python: {script: jobs/prefix.py, requirements: jobs/none.txt}}
  same: {needs: [environment], python: {script: jobs/prefix.py, requirements: jobs/none.txt}}
  fails: {python: {function: "jobs/score.py:fails"}}
  nowhere: {python: {function: "jobs/score.py:nobody"}}
  no_venv: {python: {script: jobs/say.py, venv: .no-venv}}
"#;

const SAY: &str = "import os, sys\nprint('say', sys.argv[1:], os.environ.get('LEVEL'), os.getcwd())\n";

const SCORE: &str = "
import asyncio
from mulgil import task

def score(limit, weights):
    print('score', repr(limit), weights)

class Scorer:
    def run(run_id):
        print('run', run_id)

@task(retries={'limit': 1})
async def later(n):
    await asyncio.sleep(0)
    print('later', n)

def fails():
    raise ValueError('no such city')
";

#[tokio::test]
async fn scripts_modules_and_functions_run_in_the_interpreter_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("jobs")).unwrap();
    let files = [
        ("say.py", SAY),
        ("score.py", SCORE),
        ("prefix.py", "import sys\nprint('prefix', sys.prefix)\n"),
        ("none.txt", "# nothing\n"),
    ];
    files.iter().for_each(|(name, text)| std::fs::write(folder.path().join("jobs").join(name), text).unwrap());
    let house = House::open(folder.path(), &[FLOW]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("snakes").await;
    let detail = house.ended(run, &mut changes).await;
    let failed = ["fails", "nowhere", "no_venv"];
    for task in &detail.tasks {
        let wanted = if failed.contains(&task.name.as_str()) { TaskStatus::Failed } else { TaskStatus::Succeeded };
        assert_eq!(task.status, wanted, "{}: {:#?}", task.name, detail.attempts);
    }
    assert_eq!(statuses(&detail).0, RunStatus::Failed);
    let said = |task: &str| {
        let attempt = detail.attempts.iter().find(|attempt| attempt.task == task).unwrap();
        std::fs::read_to_string(folder.path().join(&attempt.log)).unwrap()
    };
    let home = folder.path().canonicalize().unwrap().display().to_string();
    for (task, line) in [
        ("script", format!("say [\"it's 10\", '5', 'true'] 10 {home}")),
        ("module", format!("say ['a'] None {home}")),
        ("function", "score 10 {'a': [1, None]}".to_owned()),
        ("method", format!("run {}", detail.run.name)),
        ("decorated", "later 2".to_owned()),
        ("environment", format!("prefix {home}/.mulgil/venvs/")),
        ("same", format!("prefix {home}/.mulgil/venvs/")),
        ("fails", "    raise ValueError('no such city')".to_owned()),
        ("no_venv", ".no-venv/bin/python: not found".to_owned()),
    ] {
        assert!(said(task).contains(&line), "{task}: {line:?} is not in\n{}", said(task));
    }
    assert!(said("environment").contains("making a virtual environment"));
    assert!(!said("same").contains("making a virtual environment"), "it is there already");
    let error =
        |task: &str| detail.attempts.iter().find(|attempt| attempt.task == task).unwrap().error.clone().unwrap();
    assert!(error("fails").contains("exit code 1") && error("fails").contains("ValueError: no such city"));
    assert!(!error("fails").contains("mulgil/call.py"), "{}", error("fails"));
    assert!(error("nowhere").contains("has no attribute 'nobody'"), "{}", error("nowhere"));
    house.close(PATIENCE).await;
}
