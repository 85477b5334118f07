//! The real program killed while it builds a view from the archive of a table whose log has forgotten its beginning: when the end of
//! the archive is noted, in the middle of the archive, when it has caught up, and after the swap. Whatever was there answers after the
//! restart, the build goes on with the version that it has begun with, and in the end the view holds what its query gives
//! over all that there ever was.

use std::time::{Instant, SystemTime};

use mulgil_engine::crash::{ARCHIVE_POINTS, SWAP_POINTS};
use mulgil_log::{EventLog, LogOptions, Record, TopicOptions};

use crate::crash::Server;
use crate::kappa::{PATIENCE, RIGHT, WRONG, answer, lay_out, produce, serve, shown, until_built, until_it_answers};
use crate::program::Folder;

fn declare(project: &Folder, query: &str) {
    let options = "'checkpoint-interval' = '20 ms', 'parallelism' = '2', 'archive' = 'true'";
    let view = format!("CREATE MATERIALIZED TABLE totals WITH ({options}) REFRESH_MODE = KAPPA AS {query};");
    project.write("views/totals.sql", &view);
}

/// The log, with segments so short that there is something to forget.
fn open_log(project: &Folder) -> EventLog {
    let options = LogOptions { segment_bytes: 4_096, ..LogOptions::default() };
    EventLog::open(project.path(".mulgil/log"), options).expect("the log opens")
}

fn wait(what: &str, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < PATIENCE, "never {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_build_from_the_archive_outlives_kills_and_has_what_the_log_has_forgotten() {
    const COUNT: u64 = 100_000;
    // Longer than the test takes: what is forgotten is forgotten between two servers.
    const RETENTION_MS: i64 = 30 * 24 * 3_600_000;
    let project = lay_out();
    {
        let log = open_log(&project);
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().expect("a clock that is right");
        let now_ms = i64::try_from(since_epoch.as_millis()).expect("a time of today");
        let options = TopicOptions { retention_ms: Some(RETENTION_MS), ..TopicOptions::default() };
        let topic = log.create_topic("numbers", options).expect("a topic");
        for first in (0..COUNT).step_by(1_000) {
            let record = |n: u64| Record { timestamp_ms: now_ms, key: None, value: format!("{{\"n\": {n}}}").into() };
            let records: Vec<Record> = (first..first + 1_000).map(record).collect();
            topic.append_blocking(0, &records).expect("they are appended");
        }
    }
    let mut next = COUNT;
    declare(&project, WRONG);
    let server = serve(&project, |command| command);
    until_it_answers(&project, (next, false));
    wait("archived", || shown(&project)["archives"][0]["rows_in"].as_u64() == Some(COUNT));
    // The last rows come into the lake with the next checkpoint, which a replay asks for.
    project.run_to_end(&["view", "replay", "totals"]);
    drop(server);
    let begins_at = {
        let log = open_log(&project);
        log.enforce_retention(i64::MAX / 2).expect("segments are removed");
        log.topic("numbers").expect("the topic").offsets(0).expect("offsets").start
    };
    assert!(begins_at > COUNT / 2, "the log begins at {begins_at}");

    let mut is_right = false;
    let points = [ARCHIVE_POINTS[0], ARCHIVE_POINTS[1], SWAP_POINTS[1], SWAP_POINTS[3]];
    for (point, nth) in points.into_iter().zip([1, 6, 1, 1]) {
        is_right = !is_right;
        declare(&project, if is_right { RIGHT } else { WRONG });
        let crash_at = format!("{point}:{nth}");
        let mut command = project.command(&["server", "--listen", "127.0.0.1:0"]);
        let mut server = Server::start(command.env("MULGIL_CRASH_AT", crash_at));
        wait(point, || server.0.try_wait().expect("a child").is_some());
        let server = serve(&project, |command| command);
        assert!(answer(&project).is_some(), "after \"{point}\" it does not answer at once");
        produce(&project, &mut next, 500);
        until_built(&project);
        until_it_answers(&project, (next, is_right));
        drop(server);
    }
    let _server = serve(&project, |command| command);
    let told = project.run_to_end(&["view", "replay", "totals"]);
    assert!(told.contains("it is read from archive.numbers up to version"), "{told}");
    until_it_answers(&project, (next, is_right));
}
