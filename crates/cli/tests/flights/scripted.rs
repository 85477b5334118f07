//! A scripted flow, tried without a server: from another folder than the project's, with results from task to task.

use crate::program::Folder;

#[test]
fn a_scripted_flow_is_tried_from_another_folder_and_hands_results_on() {
    let folder = Folder::new();
    folder.write("project/mulgil.yaml", "");
    folder.write(
        "project/flows/scored.py",
        "from mulgil import flow, shell, task

@task
def score(limit):
    return {'rows': limit}

@flow
def scored(limit: int = 3):
    shell('say', 'echo {{ results.score.rows }} > said', needs=score(limit))
",
    );
    let relative = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mulgil"));
        let output =
            command.args(["--project", "project"]).args(arguments).current_dir(folder.path("")).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
        assert!(output.status.success(), "{arguments:?}: {said}");
    };
    relative(&["flow", "lint"]);
    relative(&["flow", "test", "project/flows/scored.py", "--param", "limit=9"]);
    assert_eq!(std::fs::read_to_string(folder.path("project/said")).unwrap(), "9\n");
}
