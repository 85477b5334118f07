//! The kill matrix of generations: the real program dies at each named point of a build that takes over, with rows coming all
//! the time; whatever was there answers at once after the restart, the build goes on, and in the end the view holds what
//! its query gives over the whole topic. Then it is rolled back, and forward again.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mulgil_engine::crash::SWAP_POINTS;

use crate::crash::Server;
use crate::program::Folder;

/// Longer than anything here takes, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A prefix of `k` numbers has the count `k` and the sum `k (k - 1) / 2`.
pub(crate) const RIGHT: &str = "SELECT count(*) AS c, sum(n) AS s FROM numbers";
/// With a bug: each number is taken for one more than it is.
pub(crate) const WRONG: &str = "SELECT count(*) AS c, sum(n + 1) AS s FROM numbers";

pub(crate) fn declare(project: &Folder, query: &str) {
    let options = "'checkpoint-interval' = '20 ms', 'parallelism' = '2'";
    let view = format!("CREATE MATERIALIZED TABLE totals WITH ({options}) REFRESH_MODE = KAPPA AS {query};");
    project.write("views/totals.sql", &view);
}

pub(crate) fn lay_out() -> Folder {
    let project = Folder::new();
    project.write("mulgil.yaml", "");
    let numbers = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'log', 'topic' = 'numbers', 'format' = 'json');";
    project.write("sources/numbers.sql", numbers);
    project
}

pub(crate) fn produce(project: &Folder, next: &mut u64, count: u64) {
    let command = &mut project.command(&["log", "produce", "numbers"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("mulgil runs");
    let mut lines = child.stdin.take().expect("a pipe");
    let text: String = (*next..*next + count).map(|n| format!("{{\"n\": {n}}}\n")).collect();
    lines.write_all(text.as_bytes()).expect("it reads");
    drop(lines);
    assert!(child.wait().expect("it ends").success());
    *next += count;
}

pub(crate) fn serve(project: &Folder, change: impl FnOnce(&mut Command) -> &mut Command) -> Server {
    let command = ["server", "--listen", "127.0.0.1:0", "--sql-listen", "127.0.0.1:0"];
    let mut server = Server::start(change(&mut project.command(&command)));
    project.wait_for_server(&mut server.0);
    server
}

/// What the view answers: how many numbers, and whether by the right query; every answer is the truth about a prefix.
pub(crate) fn answer(project: &Folder) -> Option<(u64, bool)> {
    let output = project.command(&["sql", "--format", "csv", "-c", "SELECT c, s FROM totals"]).output();
    let output = output.expect("mulgil runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = text.lines().nth(1).filter(|_| output.status.success())?;
    let (count, sum) = row.split_once(',').expect("two columns");
    let (count, sum): (u64, u64) = (count.parse().expect("a number"), sum.parse().unwrap_or(0));
    let truth = count * count.saturating_sub(1) / 2;
    assert!(sum == truth || sum == truth + count, "{count} numbers with the sum {sum} are no prefix");
    Some((count, sum == truth))
}

pub(crate) fn shown(project: &Folder) -> serde_json::Value {
    serde_json::from_str(&project.succeed(&["view", "show", "totals", "--format", "json"])).expect("JSON")
}

pub(crate) fn until_it_answers(project: &Folder, wanted: (u64, bool)) {
    let began = Instant::now();
    loop {
        let found = answer(project);
        if found == Some(wanted) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{found:?}, not {wanted:?}: {}", shown(project));
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn until_built(project: &Folder) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let view = shown(project);
        if view.get("building").is_none() {
            return view;
        }
        assert!(began.elapsed() < PATIENCE, "it does not take over: {view}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_build_outlives_kills_at_every_point_and_the_view_answers_all_the_time() {
    let project = lay_out();
    let mut next = 0;
    produce(&project, &mut next, 2_000);
    declare(&project, WRONG);
    drop(serve(&project, |command| command));
    let mut is_right = false;
    for point in SWAP_POINTS {
        // It answers the way it did before the last kill, at the latest when it has read on.
        let server = serve(&project, |command| command);
        until_it_answers(&project, (next, is_right));
        drop(server);
        // The other query, so that it shows which generation answers.
        is_right = !is_right;
        declare(&project, if is_right { RIGHT } else { WRONG });
        let mut server = Server::start(
            project.command(&["server", "--listen", "127.0.0.1:0"]).env("MULGIL_CRASH_AT", format!("{point}:1")),
        );
        if point == "after the build is noted" {
            // That of a replay that somebody asks for; a changed definition is noted before anything runs.
            project.wait_for_server(&mut server.0);
            until_built(&project);
            let _ = project.command(&["view", "replay", "totals", "--no-wait"]).output();
        }
        let began = Instant::now();
        while server.0.try_wait().expect("a child").is_none() {
            assert!(began.elapsed() < PATIENCE, "it never came to \"{point}\"");
            std::thread::sleep(Duration::from_millis(20));
        }
        let server = serve(&project, |command| command);
        assert!(answer(&project).is_some(), "after \"{point}\" it does not answer at once");
        produce(&project, &mut next, 500);
        until_built(&project);
        until_it_answers(&project, (next, is_right));
        drop(server);
    }

    let server = serve(&project, |command| command);
    let number = shown(&project)["generation"].as_u64().expect("a number");
    let told = project.run_to_end(&["view", "rollback", "totals"]);
    assert!(told.contains("answers now; mulgil view rollback totals goes back"), "{told}");
    produce(&project, &mut next, 100);
    until_it_answers(&project, (next, !is_right));
    // The server dies, and the roll-back stands.
    drop(server);
    let _server = serve(&project, |command| command);
    until_it_answers(&project, (next, !is_right));
    project.run_to_end(&["view", "rollback", "totals"]);
    until_it_answers(&project, (next, is_right));
    assert_eq!(shown(&project)["generation"].as_u64(), Some(number));
    let told = project.run_to_end(&["view", "replay", "totals", "--rows-per-second", "1000000"]);
    assert!(told.contains("of totals answers now"), "{told}");
    until_it_answers(&project, (next, is_right));
}
