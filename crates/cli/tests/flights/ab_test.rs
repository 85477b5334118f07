//! The example `ab-test`, as its README has it, in the real program: three days of an access log that comes out of order. With
//! batch every three hours the answer at any moment is what batch said last, and behind it what the stream says; as `KAPPA` the
//! same project comes to the same answer. A bug in the query is found by the sizes of the two groups, and mended by a replay.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};

use crate::access::{Line, Tallies, Window, end, generate, in_time, tallies, watermark};
use crate::crash::Server;
use crate::program::Folder;

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(180);
/// Three days, with fewer requests than those of the README.
const LOG: [&str; 2] = ["--per-minute", "3"];
/// Knows the IDs of the web site alone: users of the mobile app have no number then, and fall into B.
const WRONG: (&str, &str) = ("'^[um](\\d+)$'", "'^u(\\d+)$'");
/// As the README says it.
const AS_KAPPA: [(&str, &str); 2] =
    [("'speed-retention' = '1 d'", "'allowed-lateness' = '1 d'"), ("REFRESH_MODE = LAMBDA", "REFRESH_MODE = KAPPA")];
const VIEW: &str = "views/ab_test.sql";
/// Takes fewer cores than the machine may have, and says sooner what is there.
const QUICK: (&str, &str) = ("WITH (", "WITH ('checkpoint-interval' = '200 ms', 'parallelism' = '2', ");

/// What a window shows: requests, users, those that opened the box, the sum of the prices.
type Shown = std::collections::BTreeMap<Window, (u64, u64, u64, u64)>;

fn example(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ab-test");
    std::fs::read_to_string(folder.join(path)).expect("a file of the example")
}

/// The view's text with some of it replaced.
fn view(changes: &[(&str, &str)]) -> String {
    changes.iter().chain([&QUICK]).fold(example(VIEW), |text, (old, new)| {
        assert!(text.contains(old), "{VIEW} does not say {old}");
        text.replace(old, new)
    })
}

fn lay_out(view: &str) -> Folder {
    let project = Folder::new();
    let made = project.succeed(&["init", "--example", "ab-test", project.path("").to_str().expect("a path")]);
    assert!(made.is_empty(), "{made}");
    project.write(VIEW, view);
    project
}

fn serve(project: &Folder) -> Server {
    let mut server = Server::start(&mut project.command(&["server", "--listen", "127.0.0.1:0"]));
    project.wait_for_server(&mut server.0);
    server
}

fn produce(project: &Folder, lines: &[Line]) {
    let command = &mut project.command(&["log", "produce", "access", "--raw"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("mulgil runs");
    let text: String = lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success());
}

fn shown(project: &Folder) -> serde_json::Value {
    serde_json::from_str(&project.succeed(&["view", "show", "ab_test", "--format", "json"])).expect("JSON")
}

/// Waits until the view says so; gives what it then says.
fn until(project: &Folder, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let view = shown(project);
        if wanted(&view) {
            return view;
        }
        assert!(began.elapsed() < PATIENCE, "not {what}: {view}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn time(text: &str) -> DateTime {
    text.trim_end_matches('Z').parse().expect("a time")
}

/// Waits until the stream, and the archive if there is one, have read so far; gives the boundary that the next refresh will find.
fn until_read(project: &Folder, lines: &[Line]) -> DateTime {
    let read = watermark(lines);
    let is_there = |at: &serde_json::Value| at.as_str().is_some_and(|at| time(at) >= read);
    until(project, "read", |view| {
        let archives = view["layers"]["archives"].as_array().map_or(&[][..], Vec::as_slice);
        is_there(&view["watermark"]) && archives.iter().all(|archive| is_there(&archive["watermark"]))
    });
    read.date().at(read.hour(), read.minute() / 15 * 15, 0, 0)
}

/// What the view answers; a window that it has twice is a mistake.
fn answer(project: &Folder) -> Shown {
    let sql = "SELECT variant, window_start, requests, users, opened, CAST(round(mean_min_price * requests) AS BIGINT) FROM ab_test";
    let text = project.succeed(&["sql", "--format", "csv", "-c", sql]);
    let mut shown = Shown::new();
    for row in text.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let number = |cell: usize| cells[cell].parse::<u64>().expect("a number");
        let window = (cells[0].chars().next().expect("a variant"), time(cells[1]));
        let twice = shown.insert(window, (number(2), number(3), number(4), number(5)));
        assert_eq!(twice, None, "{window:?} is there twice");
    }
    shown
}

fn exactly(truth: &Tallies, ended_by: DateTime) -> Shown {
    let ended = truth.iter().filter(|(window, _)| end(window) <= ended_by);
    let row = |(window, tally): (&Window, &crate::access::Tally)| {
        (*window, (tally.requests, tally.users.len() as u64, tally.opened, tally.prices))
    };
    ended.map(row).collect()
}

/// What is wrong with what a stream has said of the windows between two times: it has counted every line that came in time, and
/// no line that never came. Where all came in time, that is one answer.
fn mistake(found: &Shown, lines: &[Line], (after, by): (DateTime, DateTime)) -> Option<String> {
    let (least, most) = (exactly(&tallies(in_time(lines, SignedDuration::ZERO)), by), exactly(&tallies(lines), by));
    let is_of_stream = |window: &&Window| end(window) > after;
    if let Some(window) = least.keys().filter(is_of_stream).find(|window| !found.contains_key(*window)) {
        return Some(format!("{window:?} is missing"));
    }
    found.iter().filter(|(window, _)| end(window) > after).find_map(|(window, row)| {
        let (low, high) =
            (least.get(window).copied().unwrap_or_default(), most.get(window).copied().unwrap_or_default());
        let fits = row.0 >= low.0 && row.0 <= high.0 && row.1 >= low.1 && row.1 <= high.1;
        let fits = fits && row.2 >= low.2 && row.2 <= high.2 && row.3 >= low.3 && row.3 <= high.3;
        (!fits).then(|| format!("{window:?} is {row:?}, not between {low:?} and {high:?}"))
    })
}

/// Where the lines are cut: at each three hours of event time, behind the first line that is from later.
fn three_hours(lines: &[Line]) -> Vec<usize> {
    let begin = date(2022, 8, 30).at(0, 0, 0, 0);
    let moments = (1..=24).map(|batch| begin + SignedDuration::from_hours(3 * batch));
    moments.filter_map(|moment| lines.iter().position(|line| line.at >= moment)).map(|place| place + 1).collect()
}

#[test]
fn at_any_moment_the_answer_is_the_last_batch_and_behind_it_the_stream() {
    let project = lay_out(&view(&[]));
    let lines = generate(&LOG);
    let _server = serve(&project);
    let (mut came, mut boundary, mut batch) = (0, None, Shown::new());
    let (mut seen_off, mut seen_exact) = (Vec::new(), 0);
    let cuts = three_hours(&lines);
    assert_eq!(cuts.len(), 24, "the test is over three days");
    for cut in cuts {
        produce(&project, &lines[came..cut]);
        came = cut;
        let so_far = &lines[..came];
        let next = until_read(&project, so_far);
        let after = boundary.unwrap_or(DateTime::MIN);
        let began = Instant::now();
        let found = loop {
            // What the watermark has let out is there when the view has taken it in.
            let found = answer(&project);
            let Some(mistake) = mistake(&found, so_far, (after, next)) else { break found };
            assert!(began.elapsed() < PATIENCE, "{mistake}");
        };
        // Up to the boundary it is what batch said three hours ago, to the last late line.
        let of_batch: Shown =
            found.iter().filter(|(window, _)| end(window) <= after).map(|(w, row)| (*w, *row)).collect();
        assert_eq!(of_batch, batch);
        if boundary.is_none() {
            project.run_to_end(&["flow", "run", "batch"]);
        } else {
            project.succeed(&["view", "refresh", "ab_test"]);
        }
        let view = shown(&project);
        assert_eq!(view["layers"]["boundary"].as_str().map(time), Some(next));
        batch = exactly(&tallies(so_far), next);
        assert_eq!(answer(&project), batch, "when batch has spoken of all windows up to {next}");
        for (window, row) in found.iter().filter(|(window, _)| end(window) > after) {
            if batch.get(window) == Some(row) {
                seen_exact += 1;
            } else {
                seen_off.push(end(window));
            }
        }
        boundary = Some(next);
    }
    // The lines of phones that were switched off come up to a day later.
    produce(&project, &lines[came..]);
    let by = until_read(&project, &lines);
    let archived =
        |view: &serde_json::Value| view["layers"]["archives"][0]["rows_in"].as_u64() == Some(lines.len() as u64);
    until(&project, "archived", archived);
    project.succeed(&["view", "refresh", "ab_test"]);
    assert!(by >= date(2022, 9, 2).at(0, 0, 0, 0), "the last window of the test has ended by {by}");
    assert_eq!(answer(&project), exactly(&tallies(&lines), by));

    // The drift names the windows in which the stream had been off, and no other.
    let drift = project.succeed(&["view", "drift", "ab_test", "--format", "csv"]);
    let told: Vec<DateTime> = drift.lines().skip(1).map(|row| time(row.split(',').next().expect("a time"))).collect();
    for window in &seen_off {
        assert!(told.contains(window), "the stream was off in {window}: {drift}");
    }
    let (least, most) = (exactly(&tallies(in_time(&lines, SignedDuration::ZERO)), by), exactly(&tallies(&lines), by));
    let may_be_off =
        |told: &DateTime| most.iter().any(|(window, row)| end(window) == *told && least.get(window) != Some(row));
    assert!(told.iter().all(may_be_off), "a window without late lines is off: {drift}");
    assert!(!told.is_empty() && seen_exact > 400, "{} windows were off, {seen_exact} were right at once", told.len());
}

/// How many of a hundred requests are of variant A, as the README asks for it.
fn percent_of_a(project: &Folder) -> f64 {
    let sql = "SELECT 100.0 * sum(requests) FILTER (WHERE variant = 'A') / sum(requests) FROM ab_test";
    let text = project.succeed(&["sql", "--format", "csv", "-c", sql]);
    text.lines().nth(1).expect("a row").parse().expect("a number")
}

#[test]
fn as_kappa_it_comes_to_the_same_answer_and_a_bug_is_mended_without_a_gap() {
    let project = lay_out(&view(&[WRONG, AS_KAPPA[0], AS_KAPPA[1]]));
    std::fs::remove_file(project.path("flows/batch.yaml")).expect("there is no batch layer");
    let lines = generate(&LOG);
    // This is the condition: no line is later than a window is kept.
    assert_eq!(in_time(&lines, SignedDuration::from_hours(24)).len(), lines.len());
    assert!(in_time(&lines, SignedDuration::ZERO).len() < lines.len());
    let _server = serve(&project);
    produce(&project, &lines);
    let by = until_read(&project, &lines);
    let truth = exactly(&tallies(&lines), by);
    let requests = |shown: &Shown| shown.values().map(|row| row.0).sum::<u64>();
    let began = Instant::now();
    let wrong = loop {
        let found = answer(&project);
        if requests(&found) == requests(&truth) {
            break found;
        }
        assert!(began.elapsed() < PATIENCE, "{} of {} requests", requests(&found), requests(&truth));
    };
    // No request is lost, so nothing looks wrong; but users are dealt out half and half, and requests are not.
    assert!(percent_of_a(&project) < 40.0, "{}", percent_of_a(&project));
    assert_ne!(wrong, truth);

    let before = shown(&project)["generation"].as_u64().expect("a number");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut answers, began) = ((0, 0), Instant::now());
            // Not for ever: the test may fail elsewhere, and then nobody says stop.
            while !stop.load(Ordering::SeqCst) && began.elapsed() < PATIENCE {
                let found = answer(&project);
                assert!(
                    found == wrong && answers.1 == 0 || found == truth,
                    "neither the one answer nor the other: {found:?}"
                );
                answers = if found == wrong { (answers.0 + 1, 0) } else { (answers.0, answers.1 + 1) };
            }
            answers
        });
        // The file is saved: the server builds the view anew, from the beginning of the log.
        project.write(VIEW, &view(&AS_KAPPA));
        until(&project, "replayed", |view| view["generation"].as_u64() > Some(before) && view["building"].is_null());
        let began = Instant::now();
        while answer(&project) != truth {
            assert!(began.elapsed() < PATIENCE, "the generation that took over has another answer");
        }
        stop.store(true, Ordering::SeqCst);
        assert!(reader.join().expect("every answer is one of the two").0 > 0, "nobody asked while it was built");
    });
    let share = percent_of_a(&project);
    assert!((48.0..52.0).contains(&share), "{share}");
}

#[test]
fn as_lambda_a_bug_is_mended_by_the_next_batch_also_of_the_past() {
    let project = lay_out(&view(&[WRONG]));
    let lines = generate(&["--per-minute", "3", "--days", "1"]);
    let _server = serve(&project);
    produce(&project, &lines);
    let by = until_read(&project, &lines);
    project.succeed(&["view", "refresh", "ab_test"]);
    let truth = exactly(&tallies(&lines), by);
    assert_ne!(answer(&project), truth);
    assert!(percent_of_a(&project) < 40.0, "{}", percent_of_a(&project));

    project.write(VIEW, &view(&[]));
    until(&project, "read again", |view| view["definition"].as_str().is_some_and(|text| text.contains(WRONG.0)));
    until_read(&project, &lines);
    project.succeed(&["view", "refresh", "ab_test"]);
    assert_eq!(answer(&project), truth);
    let share = percent_of_a(&project);
    assert!((47.0..53.0).contains(&share), "{share}");
}
