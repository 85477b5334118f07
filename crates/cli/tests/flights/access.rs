//! The access log of the example `ab-test`, and what its test must come to, computed without any of Mulgil.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use jiff::civil::DateTime;
use jiff::{SignedDuration, ToSpan};

/// How long the source waits for lines that come out of order.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// A line of the log, in the order in which it arrived.
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) at: DateTime,
    user: String,
    opened: bool,
    price: u64,
}

/// A variant, and when a quarter of an hour began.
pub(crate) type Window = (char, DateTime);

/// What a window comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) users: BTreeSet<String>,
    pub(crate) opened: u64,
    /// The sum of what stands behind `minprice=`.
    pub(crate) prices: u64,
}

/// The windows of some lines.
pub(crate) type Tallies = BTreeMap<Window, Tally>;

/// What the generator of the example writes.
pub(crate) fn generate(arguments: &[&str]) -> Vec<Line> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/ab-test/access_log.py");
    let output = Command::new("python3").arg(script).args(arguments).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(read).collect()
}

/// `GET 10.0.212.73 /purchase/u212/list?itembox=1&minprice=0&since=20220830-000200 HTTP/1.1`, by splitting it.
fn read(text: &str) -> Line {
    let between = |before: &str, after: &str| {
        let rest = text.split_once(before).expect("a line of this form").1;
        rest.split_once(after).expect("a line of this form").0.to_owned()
    };
    Line {
        text: text.to_owned(),
        at: DateTime::strptime("%Y%m%d-%H%M%S", between("since=", " ")).expect("a time"),
        user: between("/purchase/", "/list"),
        opened: between("itembox=", "&") == "1",
        price: between("minprice=", "&").parse().expect("a price"),
    }
}

impl Line {
    fn window(&self) -> Window {
        let number: u64 = self.user[1..].parse().expect("a number behind a letter");
        let quarter = self.at.minute() / 15 * 15;
        let start = self.at.date().at(self.at.hour(), quarter, 0, 0);
        (if number.is_multiple_of(2) { 'A' } else { 'B' }, start)
    }
}

/// When a window ends.
pub(crate) fn end(window: &Window) -> DateTime {
    window.1 + 15.minutes()
}

/// The windows of these lines.
pub(crate) fn tallies<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Tallies {
    let mut tallies = Tallies::new();
    for line in lines {
        let tally = tallies.entry(line.window()).or_default();
        tally.requests += 1;
        tally.users.insert(line.user.clone());
        tally.opened += u64::from(line.opened);
        tally.prices += line.price;
    }
    tallies
}

/// How far the watermark is when all of these lines have been read.
pub(crate) fn watermark(lines: &[Line]) -> DateTime {
    lines.iter().map(|line| line.at).max().expect("lines") - PATIENCE
}

/// The lines that a stream must count, which keeps a window for `lateness` after the watermark has passed its end: no line that
/// came before them lets their window be forgotten. Others may be counted or not.
pub(crate) fn in_time(lines: &[Line], lateness: SignedDuration) -> Vec<&Line> {
    let mut latest: Option<DateTime> = None;
    let mut found = Vec::new();
    for line in lines {
        if latest.is_none_or(|latest| end(&line.window()) + lateness > latest - PATIENCE) {
            found.push(line);
        }
        latest = latest.max(Some(line.at));
    }
    found
}
