//! January: a backfill in which one day fails for a reason that a person can see, mend, and re-run.

use crate::oracle;
use crate::program::{DAMAGED_DAY, Project};

const JANUARY: [&str; 4] = ["--from", "2013-01-01", "--to", "2013-01-31"];

#[test]
fn a_damaged_file_fails_one_day_and_mending_it_heals_that_day_only() {
    let project = Project::new();
    let backfill = [&["flow", "backfill", "daily_delays"], &JANUARY[..]].concat();

    let output = project.run(&backfill);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "one day fails: {errors}");
    assert!(errors.contains("30 succeeded, 1 failed"), "{errors}");
    let place = format!("flight_date={DAMAGED_DAY}/departures.csv:401");
    assert!(errors.contains(&place), "the error names file and line: {errors}");

    let departures = oracle::departures();
    let all_days = oracle::daily(&departures, "2013-01-31");
    let without: Vec<String> = all_days.iter().filter(|row| !row.starts_with(DAMAGED_DAY)).cloned().collect();
    assert_eq!(project.rows(oracle::DAILY_QUERY), without, "nothing half-written of the day that failed is visible");

    project.mend();
    let preview = project.succeed(&["flow", "rerun", "daily_delays/2013-01-16", "--dry-run", "--format", "csv"]);
    assert_eq!(preview.lines().count(), 4, "land failed, aggregate and publish depend on it: {preview}");
    project.succeed(&["flow", "rerun", "daily_delays/2013-01-16"]);
    assert_eq!(project.rows(oracle::DAILY_QUERY), all_days);

    // What is done is left alone, and what is done again by force replaces itself.
    let again = project.run(&backfill);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("31 left alone"),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    project.succeed(&["flow", "rerun", "daily_delays/2013-01-16", "--from", "land"]);
    assert_eq!(project.rows(oracle::DAILY_QUERY), all_days);
    assert_eq!(project.rows("SELECT count(*) FROM raw.departures"), [oracle_count(&departures, "2013-01-31")]);
    let reports = std::fs::read_dir(project.path().join("reports")).expect("reports").count();
    assert_eq!(reports, 31);
}

fn oracle_count(departures: &[oracle::Departure], last_day: &str) -> String {
    departures.iter().filter(|departure| departure.day.as_str() <= last_day).count().to_string()
}
