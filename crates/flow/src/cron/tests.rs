//! Cron against a walk over every minute, in odd time zones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use jiff::civil::date;

use super::*;

fn next(cron: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(cron).unwrap();
    let start = date(2024, 2, 1).at(0, 0, 0, 0);
    let times = std::iter::successors(cron.next_civil(start), |time| cron.next_civil(*time));
    times.take(count).map(|time| time.strftime("%m-%d %H:%M %a").to_string()).collect()
}

#[test]
fn names_minutes() {
    assert_eq!(next("0 6 29 2 *", 1), ["02-29 06:00 Thu"]);
    assert_eq!(
        next("5-15/5,59 0 * * *", 5),
        ["02-01 00:05 Thu", "02-01 00:10 Thu", "02-01 00:15 Thu", "02-01 00:59 Thu", "02-02 00:05 Fri"]
    );
    assert_eq!(next("0 12 * mar SUN", 2), ["03-03 12:00 Sun", "03-10 12:00 Sun"]);
    assert_eq!(next("0 12 * * 7", 1), next("0 12 * * 0", 1));
    // Both day fields restricted: either makes the day.
    assert_eq!(next("0 0 13 * FRI", 3), ["02-02 00:00 Fri", "02-09 00:00 Fri", "02-13 00:00 Tue"]);
    // A star with a step does not restrict.
    assert_eq!(next("0 0 */2 * THU", 2), ["02-15 00:00 Thu", "02-29 00:00 Thu"]);
    assert_eq!(next("@weekly", 1), ["02-04 00:00 Sun"]);
    assert_eq!(next("10/20 1 * * *", 3), ["02-01 01:10 Thu", "02-01 01:30 Thu", "02-01 01:50 Thu"]);
}

#[test]
fn backwards_names_the_same_minutes() {
    for text in ["0 6 29 2 *", "5-15/5,59 0 * * *", "0 0 13 * FRI", "*/7 */5 * * *"] {
        let cron = Cron::parse(text).unwrap();
        let (from, to) = (date(2023, 12, 31).at(23, 59, 0, 0), date(2024, 3, 5).at(0, 0, 0, 0));
        let forward = std::iter::successors(cron.next_civil(from), |time| cron.next_civil(*time));
        let forward: Vec<_> = forward.take_while(|time| *time < to).collect();
        let back = std::iter::successors(cron.previous_civil(to), |time| cron.previous_civil(*time));
        let mut back: Vec<_> = back.take_while(|time| *time > from).collect();
        back.reverse();
        assert_eq!(forward, back, "{text}");
    }
}

#[test]
fn refuses_with_a_reason() {
    let reason = |text: &str| Cron::parse(text).unwrap_err().to_string();
    let lines = [
        reason(""),
        reason("* * * *"),
        reason("60 * * * *"),
        reason("0 5-2 * * *"),
        reason("0 * * FEBR *"),
        reason("*/0 * * * *"),
        reason("@fortnightly"),
        reason("0 0 31 2,4 *"),
        reason("-5 * * * *"),
        reason("99999999999 * * * *"),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}
