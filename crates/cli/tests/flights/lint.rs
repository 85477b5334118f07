//! `mulgil flow lint` beside a server that has the history open: people edit flows while they run.

use std::process::Stdio;

use crate::program::Folder;

#[test]
fn flows_are_checked_while_a_server_runs() {
    let folder = Folder::new();
    folder.write("mulgil.yaml", "");
    folder.write("flows/one.yaml", "flow: one\ntasks:\n  a: {shell: 'true'}\n");
    let mut server = folder.command(&["server", "--listen", "127.0.0.1:0"]).stderr(Stdio::null()).spawn().unwrap();
    folder.wait_for_server(&mut server);

    let said = folder.succeed(&["flow", "lint"]);

    server.kill().unwrap();
    server.wait().unwrap();
    assert!(said.contains("flows/one.yaml:3:3: advice: task a has no timeout"), "{said}");
}
