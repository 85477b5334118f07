//! Data intervals tile time without gap or overlap, also where clocks jump.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use jiff::civil::{DateTime, date};
use jiff::tz::TimeZoneDatabase;

use super::*;

/// Zones whose clocks do odd things: whole days skipped, half-hour shifts, changes at midnight, changes by two hours.
const ODD_ZONES: [&str; 12] = [
    "America/New_York",
    "Europe/London",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "America/Havana",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Africa/Cairo",
    "Antarctica/Troll",
    "Asia/Kathmandu",
];

/// Expressions, and the minutes that they name, said without cron.
type Named = (&'static str, fn(DateTime) -> bool);
const EXPRESSIONS: [Named; 8] = [
    ("0 6 * * *", |t| (t.hour(), t.minute()) == (6, 0)),
    ("30 2 * * *", |t| (t.hour(), t.minute()) == (2, 30)),
    ("0 0 * * *", |t| (t.hour(), t.minute()) == (0, 0)),
    ("*/20 0,1,2 * * *", |t| t.hour() <= 2 && t.minute() % 20 == 0),
    ("0 * * * *", |t| t.minute() == 0),
    ("15 */2 * * *", |t| t.hour() % 2 == 0 && t.minute() == 15),
    ("*/30 * * * *", |t| t.minute() % 30 == 0),
    ("45 23 * * 1-5", |t| (t.hour(), t.minute()) == (23, 45) && (1..=5).contains(&t.weekday().to_sunday_zero_offset())),
];

fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap()
}

fn schedule(cron: &str, zone_name: &str) -> Schedule {
    let rule = Rule::Cron(Cron::parse(cron).unwrap());
    Schedule {
        rule,
        timezone: zone(zone_name),
        start: None,
        end: None,
        catchup: Catchup::All,
        dst: Dst::First,
        calendar: None,
        on: Vec::new(),
        overlap: None,
    }
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Fires by walking every minute: the slow way, with no arithmetic about transitions.
fn walked(cron: &str, names: fn(DateTime) -> bool, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let elapsed = Cron::parse(cron).unwrap().is_elapsed();
    let mut fires = Vec::new();
    // The latest wall clock time shown so far. It starts a day early, since clocks may have been set back before `from`.
    let mut at = from - SignedDuration::from_hours(26);
    let mut shown = zone.to_datetime(at);
    while at < to {
        at += SignedDuration::from_mins(1);
        let now = zone.to_datetime(at);
        let mut passed = Vec::new();
        while shown < now {
            shown = shown.checked_add(1.minute()).unwrap();
            passed.push(shown);
        }
        let fire = if elapsed { names(now) } else { passed.into_iter().any(names) };
        if fire && at > from && at <= to {
            fires.push(at);
        }
    }
    fires
}

#[test]
fn fires_are_those_of_a_walk_over_every_minute() {
    let seed: usize = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    let database = TimeZoneDatabase::bundled();
    let all: Vec<String> = database.available().map(|name| name.to_string()).collect();
    let sampled = (0..25).map(|n| all[(seed + n * 7919) % all.len()].as_str());
    for name in ODD_ZONES.into_iter().chain(sampled) {
        let zone = zone(name);
        let begin = if name == "Pacific/Apia" { "2011-06-01T00:00Z" } else { "2005-01-01T00:00Z" };
        // Transitions on whole minutes only, which is all of them since 1972.
        for transition in zone.following(instant(begin)).take(3) {
            let from = transition.timestamp() - SignedDuration::from_hours(30);
            let to = transition.timestamp() + SignedDuration::from_hours(30);
            for (cron, names) in EXPRESSIONS {
                let expected = walked(cron, names, &zone, from, to);
                let parsed = Cron::parse(cron).unwrap();
                let next = |at: Timestamp| clock::next_fire(&parsed, &zone, Dst::First, at).filter(|fire| *fire <= to);
                let found: Vec<Timestamp> = std::iter::successors(next(from), |at| next(*at)).collect();
                assert_eq!(found, expected, "{cron} in {name} around {}", transition.timestamp());
                let previous =
                    |at: Timestamp| clock::previous_fire(&parsed, &zone, Dst::First, at).filter(|fire| *fire > from);
                let beyond = to + SignedDuration::from_nanos(1);
                let mut back: Vec<Timestamp> = std::iter::successors(previous(beyond), |at| previous(*at)).collect();
                back.reverse();
                assert_eq!(back, expected, "backwards: {cron} in {name} around {}", transition.timestamp());
            }
        }
    }
}

#[test]
fn intervals_tile_time_in_every_odd_zone() {
    for name in ODD_ZONES {
        for (cron, _) in EXPRESSIONS {
            let schedule = schedule(cron, name);
            let mut before: Option<Fire> = None;
            let mut fires = 0;
            for fire in schedule.fires(instant("2011-10-01T00:00Z")).take(400) {
                assert!(fire.interval.start < fire.interval.end, "{cron} in {name}: {}", fire.interval);
                assert!(fire.interval.end <= fire.at, "{cron} in {name}: fires before {} has ended", fire.interval);
                if let Some(before) = before {
                    assert_eq!(before.interval.end, fire.interval.start, "{cron} in {name}: gap or overlap");
                }
                before = Some(fire);
                fires += 1;
            }
            assert_eq!(fires, 400);
        }
    }
}

#[test]
fn a_daily_schedule_is_about_the_whole_local_day_before() {
    let schedule = schedule("0 6 * * *", "America/New_York");
    let fire = schedule.next_after(instant("2013-01-02T00:00-05:00")).unwrap();
    assert_eq!(fire.at, instant("2013-01-02T06:00-05:00"));
    assert_eq!(fire.interval.to_string(), "2013-01-01T05:00:00Z/2013-01-02T05:00:00Z");

    let hours = |day: jiff::civil::Date| {
        let midnight = |day: jiff::civil::Date| day.to_zoned(zone("America/New_York")).unwrap().timestamp();
        let intervals: Vec<_> = schedule.intervals(midnight(day), midnight(day.tomorrow().unwrap())).collect();
        assert_eq!(intervals.len(), 1);
        intervals[0].end.duration_since(intervals[0].start).as_hours()
    };
    assert_eq!(hours(date(2013, 3, 9)), 24);
    assert_eq!(hours(date(2013, 3, 10)), 23);
    assert_eq!(hours(date(2013, 11, 3)), 25);
}

#[test]
fn the_whole_year_is_365_intervals_within_start_and_end() {
    let mut schedule = schedule("0 6 * * *", "America/New_York");
    schedule.start = Some(instant("2013-01-01T00:00-05:00"));
    schedule.end = Some(instant("2014-01-01T00:00-05:00"));
    let intervals: Vec<_> = schedule.intervals(Timestamp::MIN, Timestamp::MAX).collect();
    assert_eq!(intervals.len(), 365);
    assert_eq!(intervals[0].start, schedule.start.unwrap());
    assert_eq!(intervals[364].end, schedule.end.unwrap());
    let last = schedule.fires(Timestamp::MIN).last().unwrap();
    assert_eq!(last.at, instant("2014-01-01T06:00-05:00"));
    assert_eq!(schedule.next_after(last.at), None);
}

#[test]
fn other_grains() {
    let first = |cron: &str| schedule(cron, "Asia/Seoul").next_after(instant("2020-01-06T12:34+09:00")).unwrap();
    let shown = |fire: Fire| format!("{} {}", fire.at, fire.interval);
    // Monday 2020-01-13 06:30 in Seoul is about the week from Monday to Monday.
    assert_eq!(shown(first("30 6 * * MON")), "2020-01-12T21:30:00Z 2020-01-05T15:00:00Z/2020-01-12T15:00:00Z");
    assert_eq!(shown(first("5 * * * *")), "2020-01-06T04:05:00Z 2020-01-06T03:00:00Z/2020-01-06T04:00:00Z");
    assert_eq!(shown(first("15 6,18 * * *")), "2020-01-06T09:15:00Z 2020-01-05T21:00:00Z/2020-01-06T09:00:00Z");
    assert_eq!(shown(first("*/15 * * * *")), "2020-01-06T03:45:00Z 2020-01-06T03:30:00Z/2020-01-06T03:45:00Z");
    assert_eq!(shown(first("@monthly")), "2020-01-31T15:00:00Z 2019-12-31T15:00:00Z/2020-01-31T15:00:00Z");
}

#[test]
fn every_counts_real_time_from_its_start() {
    let start = instant("2013-03-10T00:00-05:00");
    let rule = Rule::Every(SignedDuration::from_mins(90));
    let timezone = zone("America/New_York");
    let schedule = Schedule {
        rule,
        timezone,
        start: Some(start),
        end: None,
        catchup: Catchup::Latest,
        dst: Dst::First,
        calendar: None,
        on: Vec::new(),
        overlap: None,
    };
    let fires: Vec<Fire> = schedule.fires(Timestamp::MIN).take(3).collect();
    assert_eq!(fires[0].interval.start, start);
    assert_eq!(fires[2].at, start + SignedDuration::from_mins(270));
    assert_eq!(fires[2].interval, DataInterval { start: fires[1].at, end: fires[2].at });
}

#[test]
fn catch_up_keeps_what_it_says() {
    let mut schedule = schedule("0 6 * * *", "UTC");
    let mut kept = |catchup| {
        schedule.catchup = catchup;
        let missed = schedule.missed(instant("2020-01-01T06:00Z"), instant("2020-01-05T06:00Z"));
        missed.iter().map(|fire| fire.at.to_zoned(TimeZone::UTC).day()).collect::<Vec<_>>()
    };
    assert_eq!(kept(Catchup::None), Vec::<i8>::new());
    assert_eq!(kept(Catchup::Latest), [5]);
    assert_eq!(kept(Catchup::AtMost(2)), [4, 5]);
    assert_eq!(kept(Catchup::All), [2, 3, 4, 5]);
}

#[test]
fn a_calendar_takes_days_away_and_no_time_is_lost() {
    let text = "calendars:\n  work: {weekdays: MON-FRI, skip: 2026-01-01, also: [2026-01-03], file: days.txt}";
    let mut project = crate::Project::parse("mulgil.yaml", text).unwrap();
    let found = project.read_calendars("mulgil.yaml", |path| {
        assert_eq!(path, "days.txt");
        Ok("# of the company\n2026-01-06   # its birthday\n\n".to_owned())
    });
    assert_eq!(found, []);
    let mut schedule = schedule("0 6 * * *", "Asia/Seoul");
    schedule.calendar = Some(project.calendars["work"].clone());
    let fires: Vec<Fire> = schedule.fires(instant("2025-12-31T00:00+09:00")).take(5).collect();
    let shown = fires.iter().map(|fire| {
        let local = |at: Timestamp| schedule.timezone.to_datetime(at).date().to_string();
        format!("{}: {} to {}", local(fire.at), local(fire.interval.start), local(fire.interval.end))
    });
    // Thursday the 1st and Tuesday the 6th are holidays, Saturday the 3rd is worked.
    let expected = [
        "2025-12-31: 2025-12-30 to 2025-12-31",
        "2026-01-02: 2025-12-31 to 2026-01-02",
        "2026-01-03: 2026-01-02 to 2026-01-03",
        "2026-01-05: 2026-01-03 to 2026-01-05",
        "2026-01-07: 2026-01-05 to 2026-01-07",
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    schedule.rule = Rule::Every(SignedDuration::from_mins(1));
    let after = schedule.next_after(instant("2026-01-05T23:59:30+09:00")).unwrap();
    assert_eq!(after.at, instant("2026-01-07T00:00+09:00"));
    assert_eq!(after.interval.start, instant("2026-01-05T23:59+09:00"));
}

#[test]
fn calendars_that_are_wrong_are_told_with_their_place() {
    let project = "calendars:\n  empty: {}\n  odd: {weekdays: MON-FUN, skip: [2026-02-30]}\n";
    let found = crate::Project::parse("mulgil.yaml", project).unwrap_err();
    let mut lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    let text = "calendars:\n  gone: {file: gone.txt}\n  bad: {file: bad.txt}\n  good: {weekdays: 1-5}";
    let mut project = crate::Project::parse("mulgil.yaml", text).unwrap();
    let found = project.read_calendars("mulgil.yaml", |path| match path {
        "bad.txt" => Ok("2026-01-01\n1 May".to_owned()),
        _ => Err("no such file".to_owned()),
    });
    lines.extend(found.iter().map(ToString::to_string));
    assert_eq!(project.calendars.keys().collect::<Vec<_>>(), ["good"], "a flow must not run on a holiday by mistake");
    insta::assert_snapshot!(lines.join("\n"));
}

/// New York, 2013: 02:00 to 03:00 is skipped on 10 March, 01:00 to 02:00 comes twice on 3 November.
#[test]
fn dst_says_what_a_skipped_time_and_one_that_comes_twice_mean() {
    let cases = [
        (Dst::Skip, "2013-03-10", ["2013-03-10T01:30:00-05"].as_slice()),
        (Dst::First, "2013-03-10", &["2013-03-10T01:30:00-05", "2013-03-10T03:00:00-04"]),
        (Dst::Both, "2013-03-10", &["2013-03-10T01:30:00-05", "2013-03-10T03:00:00-04"]),
        (Dst::Skip, "2013-11-03", &["2013-11-03T01:30:00-04", "2013-11-03T02:30:00-05"]),
        (Dst::First, "2013-11-03", &["2013-11-03T01:30:00-04", "2013-11-03T02:30:00-05"]),
        (Dst::Both, "2013-11-03", &["2013-11-03T01:30:00-04", "2013-11-03T01:30:00-05", "2013-11-03T02:30:00-05"]),
    ];
    for (dst, day, expected) in cases {
        let schedule = Schedule { dst, ..schedule("30 1,2 * * *", "America/New_York") };
        let date: jiff::civil::Date = day.parse().unwrap();
        let [from, to] = [date, date.tomorrow().unwrap()]
            .map(|date| date.to_zoned(zone("America/New_York")).unwrap().timestamp() - SignedDuration::from_nanos(1));
        let fires: Vec<Fire> = schedule.fires(from).take_while(|fire| fire.at <= to).collect();
        let found: Vec<Timestamp> = fires.iter().map(|fire| fire.at).collect();
        let expected: Vec<Timestamp> = expected.iter().map(|text| instant(text)).collect();
        assert_eq!(found, expected, "{dst:?} on {day}");
        assert!(fires.windows(2).all(|pair| pair[0].interval.end == pair[1].interval.start), "{dst:?}: {fires:?}");
    }
}
