//! A flow that calls another, tried without a server: what it calls runs too, and is told with it.

use serde_json::Value;

use crate::program::Folder;

const CHILD: &str = "
flow: child
params: {n: 1}
tasks:
  first: {shell: 'echo {{ params.n }} >> first; echo it was {{ params.n }}'}
  second: {needs: [first], shell: 'test {{ params.n }} != 3'}
";

fn folder(parent: &str) -> Folder {
    let folder = Folder::new();
    folder.write("mulgil.yaml", "");
    folder.write("flows/child.yaml", CHILD);
    folder.write("flows/parent.yaml", parent);
    folder
}

/// How the run ended, and of each task its name, its status and what is said of it.
fn tried(folder: &Folder, succeeds: bool) -> (Value, Vec<[String; 3]>) {
    let tried = folder.command(&["--format", "json", "flow", "test", "flows/parent.yaml"]).output().unwrap();
    let errors = String::from_utf8_lossy(&tried.stderr);
    assert_eq!(tried.status.success(), succeeds, "{errors}");
    let mut told: Value = serde_json::from_slice(&tried.stdout).unwrap();
    let tasks = told["tasks"].take();
    let text = |task: &Value, key: &str| task[key].as_str().unwrap_or_default().to_owned();
    let row = |task: &Value| ["task", "status", "log"].map(|key| text(task, key));
    (told, tasks.as_array().unwrap().iter().map(row).collect())
}

fn rows(expected: &[[&str; 3]]) -> Vec<[String; 3]> {
    expected.iter().map(|row| row.map(str::to_owned)).collect()
}

#[test]
fn a_flow_is_tried_with_those_that_it_calls() {
    let folder =
        folder("flow: parent\ntasks: {sub: {flow: child, params: {n: 7}}, after: {needs: [sub], shell: 'true'}}");
    let (run, tasks) = tried(&folder, true);
    assert_eq!(run["status"], "succeeded", "{run}");
    let [child] = tasks.iter().filter_map(|[task, ..]| task.strip_suffix(": first")).collect::<Vec<_>>()[..] else {
        panic!("{tasks:?}")
    };
    let (first, second) = (format!("{child}: first"), format!("{child}: second"));
    let expected = [
        ["sub", "succeeded", ""],
        ["after", "succeeded", ""],
        [first.as_str(), "succeeded", "it was 7"],
        [second.as_str(), "succeeded", ""],
    ];
    assert_eq!(tasks, rows(&expected));
    assert_eq!(std::fs::read_to_string(folder.path("first")).unwrap(), "7\n");
    // No trace: tried again, it is not found to have run before.
    tried(&folder, true);
    assert_eq!(std::fs::read_to_string(folder.path("first")).unwrap(), "7\n7\n");
}

#[test]
fn a_flow_fails_with_one_that_it_calls_and_says_which() {
    let folder = folder("flow: parent\ntasks: {sub: {for_each: [2, 3], flow: child, params: {n: '{{ item }}'}}}");
    let (run, tasks) = tried(&folder, false);
    assert_eq!(run["status"], "failed", "{run}");
    let failed: Vec<&[String; 3]> = tasks.iter().filter(|[_, status, _]| status == "failed").collect();
    let [whole, item, second] = failed[..] else { panic!("{tasks:?}") };
    let child = second[0].strip_suffix(": second").unwrap();
    assert_eq!((whole[0].as_str(), item[2].as_str()), ("sub", format!("its run {child} has failed").as_str()));
    let mut said: Vec<String> =
        std::fs::read_to_string(folder.path("first")).unwrap().lines().map(str::to_owned).collect();
    said.sort();
    assert_eq!(said, ["2", "3"], "both were called");
}
