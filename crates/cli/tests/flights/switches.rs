//! The kill matrix of modes: the real program dies at each named point at which what keeps a view hands over to what is to keep
//! it. Whatever was there answers at once after the restart, every answer is of whole windows, and in the end it is kept as the
//! file says.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mulgil_engine::crash::SWAP_POINTS;

use crate::crash::Server;
use crate::program::Folder;

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Each of them is built beside the one before.
const MODES: [&str; 6] = ["FULL", "KAPPA", "FULL", "LAMBDA", "CONTINUOUS", "FULL"];

fn lay_out() -> Folder {
    let project = Folder::new();
    project.write("mulgil.yaml", "");
    project.write(
        "sources/events.sql",
        "CREATE TABLE events (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');",
    );
    project
}

fn declare(project: &Folder, mode: &str) {
    project.write(
        "views/sums.sql",
        &format!(
            "CREATE MATERIALIZED TABLE sums WITH ('checkpoint-interval' = '20 ms') REFRESH_MODE = {mode} AS
             SELECT window_start, count(*) AS c, sum(n) AS s FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)
             GROUP BY window_start, window_end;"
        ),
    );
}

/// Appends events: event `n` happens at second `n`.
fn produce(project: &Folder, next: &mut u64, count: u64) {
    let command = &mut project.command(&["log", "produce", "events"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("mulgil runs");
    let mut lines = child.stdin.take().expect("a pipe");
    let line = |n: u64| {
        let (hour, minute, second) = (n / 3_600, n / 60 % 60, n % 60);
        format!("{{\"n\": {n}, \"ts\": \"2024-01-01T{hour:02}:{minute:02}:{second:02}\"}}\n")
    };
    lines.write_all((*next..*next + count).map(line).collect::<String>().as_bytes()).expect("it reads");
    drop(lines);
    assert!(child.wait().expect("it ends").success());
    *next += count;
}

fn serve(project: &Folder) -> Server {
    let mut server = Server::start(&mut project.command(&["server", "--listen", "127.0.0.1:0"]));
    project.wait_for_server(&mut server.0);
    server
}

/// How many windows are whole; only the last may be in its course. None while the view does not answer.
fn whole(project: &Folder) -> Option<u64> {
    let sql = "SELECT c, s FROM sums ORDER BY window_start";
    let output = project.command(&["sql", "--format", "csv", "-c", sql]).output().expect("mulgil runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<&str> = text.lines().skip(1).filter(|_| output.status.success()).collect();
    let mut whole = 0;
    for (place, row) in (0..).zip(&rows) {
        let (count, sum) = row.split_once(',').expect("two columns");
        let (count, sum): (u64, u64) = (count.parse().expect("a number"), sum.parse().expect("a number"));
        assert_eq!(sum, (place * 10..place * 10 + count).sum::<u64>(), "{rows:?}");
        assert!(count == 10 || place + 1 == rows.len() as u64, "{rows:?}");
        whole += u64::from(count == 10);
    }
    output.status.success().then_some(whole)
}

fn shown(project: &Folder) -> serde_json::Value {
    serde_json::from_str(&project.succeed(&["view", "show", "sums", "--format", "json"])).expect("JSON")
}

fn until(project: &Folder, what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: {}", shown(project));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_view_is_kept_in_another_way_whatever_is_killed_and_answers_all_the_time() {
    let project = lay_out();
    let mut next = 0;
    produce(&project, &mut next, 501);
    declare(&project, MODES[0]);
    let server = serve(&project);
    project.succeed(&["view", "refresh", "sums"]);
    drop(server);
    // The note of a build that nobody asked for stands before anything runs.
    let points = SWAP_POINTS.into_iter().skip(1);
    for (modes, point) in MODES.windows(2).zip(points.cycle().take(MODES.len() - 1)) {
        declare(&project, modes[1]);
        let crash = format!("{point}:1");
        let mut server =
            Server::start(project.command(&["server", "--listen", "127.0.0.1:0"]).env("MULGIL_CRASH_AT", crash));
        until(&project, &format!("{modes:?} never came to \"{point}\""), || {
            server.0.try_wait().expect("a child").is_some()
        });
        let server = serve(&project);
        let found = whole(&project);
        assert!(found.is_some_and(|found| found >= 50), "{modes:?}, killed at \"{point}\": {found:?}");
        produce(&project, &mut next, 100);
        until(&project, "it takes over", || shown(&project).get("building").is_none());
        let view = shown(&project);
        assert_eq!(view["mode"], modes[1].to_lowercase());
        if matches!(modes[1], "FULL" | "LAMBDA") {
            until(&project, "archived", || {
                let archive = &shown(&project)["layers"]["archives"][0];
                modes[1] == "FULL" || archive["watermark"].as_str().is_some_and(|at| at >= "2024-01-01T00:08")
            });
            project.succeed(&["view", "refresh", "sums"]);
        }
        until(&project, "all windows", || whole(&project) == Some(next / 10));
        drop(server);
    }
    assert_eq!(next, 1_001);
}
