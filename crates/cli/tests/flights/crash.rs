//! The kill matrix of views: the real program dies at each of the named points of a checkpoint, again and again, with rows
//! coming all the time and another parallelism at every start; in the end each view holds what its query gives over the
//! whole topic.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mulgil_engine::crash::POINTS;

use crate::program::{Folder, sorted_rows};

/// Where the process dies: a view's result is part of the checkpoint, so it has no commit and no mark of its own.
fn points() -> impl Iterator<Item = &'static str> {
    POINTS.into_iter().filter(|point| !point.contains("the sink's commit") && !point.contains("the mark"))
}

/// The last rows: an hour after the first.
const LAST_ROUND: u64 = 360;

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(180);

const SOURCES: &str = "
CREATE TABLE bids (auction INT, bidder INT, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
WITH ('connector' = 'log', 'topic' = 'bids', 'format' = 'json');
";

/// Views by name: a rolling aggregate, windows, a top-N, a join with itself, distinct values, sessions.
const VIEWS: [(&str, &str); 6] = [
    ("per_bidder", "SELECT bidder, count(*) AS n, sum(price) AS total, max(price) AS most FROM bids GROUP BY bidder"),
    (
        "per_window",
        "SELECT auction, window_start, count(*) AS n, avg(price) AS mean FROM HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '5' \
         SECOND, INTERVAL '10' SECOND) GROUP BY auction, window_start, window_end",
    ),
    (
        "highest",
        "SELECT auction, bidder, price, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC, ts, \
         bidder) AS place FROM bids) WHERE place <= 2",
    ),
    (
        "outbid",
        "SELECT a.auction, a.bidder, b.bidder AS by_whom FROM bids AS a JOIN bids AS b ON a.auction = b.auction AND \
         b.price = a.price + 1",
    ),
    ("bidders", "SELECT auction, count(DISTINCT bidder) AS n FROM bids GROUP BY auction"),
    (
        "visits",
        "SELECT bidder, window_start, count(*) AS n FROM SESSION(TABLE bids PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '2' \
         SECOND) GROUP BY bidder, window_start, window_end",
    ),
];

/// Rows of one round, as JSON lines. Event time goes on from round to round, out of order by less than the watermark allows.
fn bids(round: u64) -> String {
    let bid = |n: u64| {
        let at = round * 10_000 + n * 50 - (n * 7_919 % 3_000).min(round * 10_000 + n * 50);
        let (auction, bidder, price) = (round * 7 + n * 31 % 7, n * 17 % 23, n * 13 % 101);
        let (seconds, ms) = (at / 1_000, at % 1_000);
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        format!(
            "{{\"auction\": {auction}, \"bidder\": {bidder}, \"price\": {price}, \"ts\": \"2024-01-01T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}\"}}\n"
        )
    };
    (0..200).map(bid).collect()
}

fn lay_out(project: &Folder, parallelism: u64) {
    project.write("mulgil.yaml", "");
    project.write("sources/bids.sql", SOURCES);
    for (number, (name, query)) in (0..).zip(VIEWS) {
        let mut options = format!("'checkpoint-interval' = '20 ms', 'parallelism' = '{parallelism}'");
        // Now and then next to all state is in files, and comes back into memory at the next start.
        if (number + parallelism).is_multiple_of(2) {
            options.push_str(", 'state-memory' = '4 kB'");
        }
        let view = format!("CREATE MATERIALIZED TABLE {name} WITH ({options}) REFRESH_MODE = CONTINUOUS AS {query};");
        project.write(&format!("views/{name}.sql"), &view);
    }
}

/// A server that ends with the test, however that ends.
pub(crate) struct Server(pub(crate) Child);

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mulgil runs"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server that is to die at a point, gives it rows, and waits for its death.
fn live_and_die(project: &Folder, point: &str, nth: u64, round: &mut u64) {
    let mut command = project.command(&["server", "--listen", "127.0.0.1:0"]);
    let mut server = Server::start(command.env("MULGIL_CRASH_AT", format!("{point}:{nth}")));
    let began = Instant::now();
    while server.0.try_wait().expect("a child").is_none() {
        assert!(began.elapsed() < PATIENCE && *round < LAST_ROUND, "it never came to \"{point}\"");
        // Rows until it dies; those that are not acknowledged may be there or not: the topic says what is true.
        *round += 1;
        if !produce(project, *round) {
            // It is not up yet, or no longer.
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn produce(project: &Folder, round: u64) -> bool {
    let command = &mut project.command(&["log", "produce", "bids"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mulgil runs");
    // It may end before it has read everything.
    let _ = child.stdin.take().expect("a pipe").write_all(bids(round).as_bytes());
    child.wait().expect("it ends").success()
}

#[test]
fn whatever_point_it_dies_at_every_view_comes_to_the_same_rows() {
    let project = Folder::new();
    lay_out(&project, 1);
    assert!(produce(&project, 0), "the topic is made");
    let mut round = 0;
    for (number, point) in (1..).zip(points()) {
        lay_out(&project, 1 + number % 3);
        // A start recovers each view once, and only those that have come to a checkpoint: one of them has.
        let nth = if point.ends_with("recovery") { 1 } else { 1 + number % 4 };
        live_and_die(&project, point, nth, &mut round);
    }
    lay_out(&project, 2);
    let mut server = Server::start(&mut project.command(&["server", "--listen", "127.0.0.1:0"]));
    project.wait_for_server(&mut server.0);
    let began = Instant::now();
    // The last rows bring event time past every window.
    while !produce(&project, LAST_ROUND) {
        assert!(began.elapsed() < PATIENCE, "the server takes no rows");
    }
    for (name, query) in VIEWS {
        let expected = sorted_rows(&project.succeed(&["sql", "--format", "csv", "-c", query]));
        loop {
            let found =
                sorted_rows(&project.succeed(&["sql", "--format", "csv", "-c", &format!("SELECT * FROM {name}")]));
            // Windows that event time has not come past yet are not in the view.
            let missing = expected.iter().filter(|row| found.binary_search(row).is_err()).count();
            let surplus = found.iter().filter(|row| expected.binary_search(row).is_err()).count();
            if surplus == 0 && missing <= open_windows(name, &expected) && found.len() + missing == expected.len() {
                break;
            }
            if began.elapsed() > PATIENCE {
                let shown = project.succeed(&["view", "show", name, "--format", "json"]);
                panic!("{name}: {missing} rows are missing, {surplus} are too many\n{expected:?}\n{found:?}\n{shown}");
            }
        }
    }
}

/// How many rows are of windows that have not ended when the last row has come: those of the last round.
fn open_windows(view: &str, expected: &[String]) -> usize {
    let is_last = |row: &&String| row.contains("T01:00:") || row.contains("T00:59:5");
    if ["per_window", "visits"].contains(&view) { expected.iter().filter(is_last).count() } else { 0 }
}
