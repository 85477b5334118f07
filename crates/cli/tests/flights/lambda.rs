//! A view of two layers in the real program, which is killed at each named point of a boundary that moves, and in between, with
//! events coming all the time: whenever it answers, each window is there once and whole. In the end batch has counted the
//! late rows too, and the drift says which windows they were in.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mulgil_engine::crash::BOUNDARY_POINTS;

use crate::crash::Server;
use crate::program::Folder;

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn lay_out() -> Folder {
    let project = Folder::new();
    project.write("mulgil.yaml", "");
    project.write(
        "sources/events.sql",
        "CREATE TABLE events (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
         WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');",
    );
    project.write(
        "views/sums.sql",
        "CREATE MATERIALIZED TABLE sums WITH ('checkpoint-interval' = '20 ms', 'speed-retention' = '1 d') REFRESH_MODE = LAMBDA AS
         SELECT window_start, count(*) AS c, sum(n) AS s FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)
         GROUP BY window_start, window_end;
         CREATE MATERIALIZED TABLE totals WITH ('checkpoint-interval' = '20 ms', 'pane' = '10 s') REFRESH_MODE = LAMBDA AS
         SELECT count(*) AS c, sum(n) AS s FROM events;",
    );
    project
}

/// Appends events: each its number, and the second at which it happens.
fn produce(project: &Folder, events: impl Iterator<Item = (u64, u64)>) {
    let command = &mut project.command(&["log", "produce", "events"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("mulgil runs");
    let mut lines = child.stdin.take().expect("a pipe");
    let line = |(n, at): (u64, u64)| {
        let (hour, minute, second) = (at / 3_600, at / 60 % 60, at % 60);
        format!("{{\"n\": {n}, \"ts\": \"2024-01-01T{hour:02}:{minute:02}:{second:02}\"}}\n")
    };
    lines.write_all(events.map(line).collect::<String>().as_bytes()).expect("it reads");
    drop(lines);
    assert!(child.wait().expect("it ends").success());
}

fn serve(project: &Folder) -> Server {
    let mut server = Server::start(&mut project.command(&["server", "--listen", "127.0.0.1:0"]));
    project.wait_for_server(&mut server.0);
    server
}

/// The count and the sum of each window, in order; none while it does not answer.
fn windows(project: &Folder) -> Option<Vec<(u64, u64)>> {
    pairs(project, "SELECT c, s FROM sums ORDER BY window_start")
}

/// The count and the sum of all events, which are there once each, up to one of them; none while it does not answer.
fn total(project: &Folder) -> Option<u64> {
    let (count, sum) = *pairs(project, "SELECT c, coalesce(s, 0) FROM totals")?.first()?;
    assert_eq!(sum, (0..count).sum::<u64>(), "of {count} events");
    Some(count)
}

fn pairs(project: &Folder, sql: &str) -> Option<Vec<(u64, u64)>> {
    let output = project.command(&["sql", "--format", "csv", "-c", sql]).output().expect("mulgil runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |text: &str| text.parse().expect("a number");
    let pair = |line: &str| line.split_once(',').map(|(c, s)| (number(c), number(s))).expect("two columns");
    output.status.success().then(|| text.lines().skip(1).map(pair).collect())
}

fn whole(count: u64) -> Vec<(u64, u64)> {
    (0..count).map(|window| (10, (window * 10..window * 10 + 10).sum())).collect()
}

fn until_windows(project: &Folder, wanted: &[(u64, u64)]) {
    let began = Instant::now();
    loop {
        let found = windows(project);
        if found.as_deref() == Some(wanted) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{found:?}, not {wanted:?}: {}", shown(project));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn until_total(project: &Folder, wanted: u64) {
    let began = Instant::now();
    while total(project) != Some(wanted) {
        assert!(began.elapsed() < PATIENCE, "{:?} events, not {wanted}", total(project));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn shown(project: &Folder) -> serde_json::Value {
    serde_json::from_str(&project.succeed(&["view", "show", "sums", "--format", "json"])).expect("JSON")
}

/// Waits until the archive has come to a watermark; it may have to read on after a restart.
fn until_archived(project: &Folder, watermark: &str) {
    let began = Instant::now();
    loop {
        let view = shown(project);
        let archive = &view["layers"]["archives"][0];
        if archive["watermark"].as_str().is_some_and(|at| at >= watermark) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{view}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn each_window_and_event_is_there_once_whatever_is_killed() {
    let project = lay_out();
    let mut next = 0;
    let mut go_on = |project: &Folder| {
        produce(project, (next..next + 100).map(|n| (n, n)));
        next += 100;
        // The watermark is five seconds behind the last event, and the window that it is in is open.
        let watermark = next - 6;
        (next / 10 - 1, format!("2024-01-01T00:{:02}:{:02}", watermark / 60, watermark % 60))
    };
    for point in BOUNDARY_POINTS {
        for nth in 1..=2 {
            let crash = format!("{point}:{nth}");
            let mut server =
                Server::start(project.command(&["server", "--listen", "127.0.0.1:0"]).env("MULGIL_CRASH_AT", crash));
            project.wait_for_server(&mut server.0);
            let mut refreshed = Vec::new();
            let view = if nth == 1 { "sums" } else { "totals" };
            for _ in 0..nth {
                let (ended, watermark) = go_on(&project);
                until_windows(&project, &whole(ended));
                until_total(&project, 10 * ended + 10);
                until_archived(&project, &watermark);
                refreshed = project.command(&["view", "refresh", view]).output().expect("mulgil runs").stderr;
            }
            let began = Instant::now();
            while server.0.try_wait().expect("a child").is_none() {
                let said = String::from_utf8_lossy(&refreshed);
                assert!(began.elapsed() < PATIENCE, "it never came to \"{point}\" for the {nth}. time: {said}");
                std::thread::sleep(Duration::from_millis(20));
            }
            drop(server);
            // Killed again while it goes on from there.
            let server = serve(&project);
            let found = windows(&project).expect("it answers");
            assert_eq!(found, whole(found.len() as u64), "after \"{point}\"");
            assert!(total(&project).is_some(), "after \"{point}\"");
            drop(server);
        }
    }
    let _server = serve(&project);
    let (ended, watermark) = go_on(&project);
    until_windows(&project, &whole(ended));
    until_archived(&project, &watermark);
    project.succeed(&["view", "refresh", "sums"]);
    assert_eq!(windows(&project), Some(whole(ended)));
    until_total(&project, 10 * ended + 10);
    project.succeed(&["view", "refresh", "totals"]);
    assert_eq!(total(&project), Some(10 * ended + 10));
    // An event that comes long after its window.
    produce(&project, [(1_000, 42)].into_iter());
    let (ended, watermark) = go_on(&project);
    until_windows(&project, &whole(ended));
    until_archived(&project, &watermark);
    project.succeed(&["view", "refresh", "sums"]);
    let mut corrected = whole(ended);
    corrected[4] = (11, corrected[4].1 + 1_000);
    assert_eq!(windows(&project), Some(corrected));
    project.succeed(&["view", "refresh", "totals"]);
    let events = 10 * ended + 10;
    let all = Some(vec![(events + 1, (0..events).sum::<u64>() + 1_000)]);
    assert_eq!(pairs(&project, "SELECT c, s FROM totals"), all);
    let drift = project.succeed(&["view", "drift", "sums", "--format", "csv"]);
    let off: Vec<&str> = drift.lines().skip(1).collect();
    assert!(off.len() == 1 && off[0].contains("2024-01-01T00:00:50Z,1,1,1,0,0"), "{drift}");
}

#[test]
fn a_view_changes_its_mode_and_answers_all_the_time() {
    let project = lay_out();
    let both = std::fs::read_to_string(project.path("views/sums.sql")).expect("the views");
    let text = format!("{};", both.split(';').next().expect("the view of windows"));
    project.write("views/sums.sql", &text.replace("LAMBDA", "CONTINUOUS"));
    project.write(
        "views/counted.sql",
        "CREATE MATERIALIZED TABLE counted REFRESH_MODE = CONTINUOUS AS SELECT count(*) AS c FROM events;",
    );
    produce(&project, (0..100).map(|n| (n, n)));
    let server = serve(&project);
    until_windows(&project, &whole(9));
    for mode in ["KAPPA", "CONTINUOUS", "lambda"] {
        project.succeed(&["view", "switch", "sums", "--to", mode]);
        assert_eq!(windows(&project), Some(whole(9)), "as {mode} it does not answer at once");
        let word = format!("REFRESH_MODE = {}", mode.to_uppercase());
        assert_eq!(shown(&project)["mode"], mode.to_lowercase());
        let changed = std::fs::read_to_string(project.path("views/sums.sql")).expect("the view");
        assert_eq!(changed, text.replace("REFRESH_MODE = LAMBDA", &word));
    }
    until_archived(&project, "2024-01-01T00:01:34");
    project.succeed(&["view", "refresh", "sums"]);
    assert_eq!(windows(&project), Some(whole(9)));
    assert_eq!(shown(&project)["layers"]["boundary"], "2024-01-01T00:01:30Z");

    // What the stream has forgotten is computed again beside what answers.
    for mode in ["KAPPA", "full", "LAMBDA", "FULL", "CONTINUOUS"] {
        let told = project.run_to_end(&["view", "switch", "sums", "--to", mode]);
        assert!(told.contains("of sums answers now"), "{told}");
        let found = windows(&project).expect("it answers");
        // Batch sees the window that has not ended, too.
        assert_eq!(found.iter().take(9).copied().collect::<Vec<_>>(), whole(9), "as {mode}");
        let view = shown(&project);
        assert_eq!((&view["mode"], view.get("building")), (&mode.to_lowercase().into(), None));
    }
    // Without windows the layers hold states: they are built, too.
    let told = project.run_to_end(&["view", "switch", "counted", "--to", "LAMBDA"]);
    assert!(told.contains("of counted answers now"), "{told}");
    assert_eq!(windows(&project), Some(whole(9)));
    drop(server);
}
