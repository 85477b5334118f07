//! The contract of clocks that jump, at every transition of every zone from 1970 to 2040, against an oracle that only walks
//! through time and looks at the wall clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use jiff::civil::{DateTime, date};
use jiff::tz::TimeZoneDatabase;

use super::*;

/// How far around a transition fires are looked at: rare ones over a day and more, frequent ones over some hours.
const FAR: i64 = 16 * 3600;
const NEAR: i64 = 3 * 3600;
/// Of how many expressions each transition is tried; which, depends on the seed, and all get their turn.
const CASES_EACH: usize = 6;

/// An expression, said again without cron: whether it means time that passes, how far it is looked at, and which minutes it
/// names.
struct Case {
    cron: &'static str,
    elapsed: bool,
    reach: i64,
    names: fn(Shown) -> bool,
}

/// A minute of the wall clock.
#[derive(Clone, Copy)]
struct Shown {
    hour: i64,
    minute: i64,
    /// From Sunday.
    weekday: i64,
    day: i8,
}

const CASES: [Case; 11] = [
    Case { cron: "30 2 * * *", elapsed: false, reach: FAR, names: |t| (t.hour, t.minute) == (2, 30) },
    Case { cron: "0 0 * * *", elapsed: false, reach: FAR, names: |t| (t.hour, t.minute) == (0, 0) },
    Case { cron: "59 23 * * *", elapsed: false, reach: FAR, names: |t| (t.hour, t.minute) == (23, 59) },
    Case { cron: "0 1 * * SUN", elapsed: false, reach: FAR, names: |t| (t.hour, t.minute, t.weekday) == (1, 0, 0) },
    Case { cron: "5 3 1-7 * *", elapsed: false, reach: FAR, names: |t| (t.hour, t.minute) == (3, 5) && t.day <= 7 },
    Case { cron: "15,45 0,1,2,3 * * *", elapsed: false, reach: FAR, names: |t| t.hour < 4 && t.minute % 30 == 15 },
    Case { cron: "0 0-23 * * *", elapsed: false, reach: NEAR, names: |t| t.minute == 0 },
    Case { cron: "0 * * * *", elapsed: true, reach: NEAR, names: |t| t.minute == 0 },
    Case { cron: "20 */2 * * *", elapsed: true, reach: NEAR, names: |t| t.hour % 2 == 0 && t.minute == 20 },
    Case { cron: "*/15 * * * *", elapsed: true, reach: NEAR, names: |t| t.minute % 15 == 0 },
    Case { cron: "1 1-5/4 * * *", elapsed: true, reach: FAR, names: |t| [1, 5].contains(&t.hour) && t.minute == 1 },
];

/// What the wall clock shows at an instant, both in seconds since 1970, the former as if it were UTC.
fn shown_at(zone: &TimeZone, at: i64) -> i64 {
    at + i64::from(zone.to_offset(Timestamp::from_second(at).unwrap()).seconds())
}

/// The instants of a span, what the wall clock shows at each, and how people read it: a walk in steps so small that every
/// minute is met.
struct Walk {
    steps: Vec<(i64, i64)>,
    /// The minutes of the wall clock from the first that is shown.
    first: i64,
    minutes: Vec<Shown>,
}

impl Walk {
    fn over(zone: &TimeZone, from: i64, to: i64) -> Self {
        // Liberia was behind by 44 minutes and 30 seconds until 1972; all others count in whole minutes.
        let whole = [from, to].iter().all(|at| (shown_at(zone, *at) - at) % 60 == 0);
        let step = if whole { 60 } else { 30 };
        let mut steps = Vec::new();
        for hour in (from..to).step_by(3600) {
            let (begin, end) = (shown_at(zone, hour), shown_at(zone, hour + 3600));
            // No clock jumps there and back within an hour.
            let calm = end - begin == 3600;
            let shown = |at| if calm { begin + at - hour } else { shown_at(zone, at) };
            steps.extend((hour..hour + 3600).step_by(step).map(|at| (at, shown(at))));
        }
        let first = steps.iter().map(|(_, shown)| shown.div_euclid(60)).min().unwrap();
        let last = steps.iter().map(|(_, shown)| shown.div_euclid(60)).max().unwrap();
        let mut minutes = Vec::new();
        for days in first.div_euclid(1440)..=last.div_euclid(1440) {
            let day = date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap().day();
            // 1970 began on a Thursday.
            let weekday = (days + 4).rem_euclid(7);
            minutes.extend((0..1440).map(|of| Shown { hour: of / 60, minute: of % 60, weekday, day }));
        }
        Self { steps, first: first.div_euclid(1440) * 1440, minutes }
    }

    fn read(&self, shown: i64) -> Shown {
        self.minutes[usize::try_from(shown.div_euclid(60) - self.first).unwrap()]
    }

    /// Every instant after `from` that shows a named minute.
    fn elapsed(&self, from: i64, names: fn(Shown) -> bool) -> Vec<i64> {
        let late = &self.steps[self.steps.partition_point(|(at, _)| *at <= from)..];
        let named = late.iter().filter(|(_, shown)| shown % 60 == 0 && names(self.read(*shown)));
        named.map(|(at, _)| *at).collect()
    }

    /// For every named minute, the first instant at which the clock shows it or more: one that does not show it is left out if what is
    /// skipped is; and every other instant that shows it counts too if both comings do.
    fn times_of_day_with(&self, dst: Dst, names: fn(Shown) -> bool) -> Vec<i64> {
        let mut fires: BTreeSet<i64> = self.times_of_day(names).into_iter().collect();
        let showing: BTreeSet<i64> = self.elapsed(i64::MIN, names).into_iter().collect();
        match dst {
            Dst::First => {}
            Dst::Skip => fires.retain(|at| showing.contains(at)),
            Dst::Both => fires.extend(showing),
        }
        fires.into_iter().collect()
    }

    /// For every named minute, the first instant at which the clock shows it or more.
    fn times_of_day(&self, names: fn(Shown) -> bool) -> Vec<i64> {
        let mut fires = Vec::new();
        let mut highest = self.steps[0].1;
        for (at, shown) in &self.steps {
            let mut passed = (highest.div_euclid(60) + 1) * 60;
            let mut fire = false;
            while passed <= *shown {
                fire |= names(self.read(passed));
                passed += 60;
            }
            if fire {
                fires.push(*at);
            }
            highest = highest.max(*shown);
        }
        fires
    }
}

fn check<'a>(cases: impl Iterator<Item = &'a Case>, name: &str, zone: &TimeZone, walk: &Walk, transition: i64) {
    for (number, case) in cases.enumerate() {
        // Each in its turn, as the expressions are.
        let dst = Dst::ALL[(number + usize::try_from(transition.rem_euclid(7)).unwrap()) % 3];
        let cron = Cron::parse(case.cron).unwrap();
        assert_eq!(cron.is_elapsed(), case.elapsed, "{}", case.cron);
        let (from, to) = (transition - case.reach, transition + case.reach);
        let mut expected = match case.elapsed {
            true => walk.elapsed(from, case.names),
            false => walk.times_of_day_with(dst, case.names),
        };
        expected.retain(|at| *at > from && *at <= to);
        let instant = |second| Timestamp::from_second(second).unwrap();
        let place = || format!("{}, dst: {dst:?}, in {name} around {}", case.cron, instant(transition));

        let next = |at: Timestamp| next_fire(&cron, zone, dst, at).filter(|fire| *fire <= instant(to));
        let found = std::iter::successors(next(instant(from)), |at| next(*at));
        let found: Vec<i64> = found.map(Timestamp::as_second).collect();
        assert_eq!(found, expected, "{}", place());

        let previous = |at: Timestamp| previous_fire(&cron, zone, dst, at).filter(|fire| *fire > instant(from));
        let found = std::iter::successors(previous(instant(to + 1)), |at| previous(*at));
        let mut found: Vec<i64> = found.map(Timestamp::as_second).collect();
        found.reverse();
        assert_eq!(found, expected, "backwards: {}", place());
    }
}

/// The transitions of a zone in those years: when, from which offset, to which.
fn transitions(zone: &TimeZone) -> Vec<(i64, i32, i32)> {
    let (begin, end): (DateTime, DateTime) = (date(1970, 1, 1).at(0, 0, 0, 0), date(2041, 1, 1).at(0, 0, 0, 0));
    let [begin, end] = [begin, end].map(|time| time.to_zoned(TimeZone::UTC).unwrap().timestamp());
    let found = zone.following(begin).map(|transition| transition.timestamp()).take_while(|at| *at < end);
    let offsets = |at: Timestamp| {
        let before = zone.to_offset(at - SignedDuration::from_secs(1));
        (at.as_second(), before.seconds(), zone.to_offset(at).seconds())
    };
    found.map(offsets).filter(|(_, before, after)| before != after).collect()
}

/// Zones whose clocks jump in the same way at the same time are one case: what is around a transition is what counts.
#[test]
fn every_transition_of_every_zone_keeps_the_contract() {
    let seed: usize = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    let database = TimeZoneDatabase::bundled();
    let mut seen = BTreeSet::new();
    let (mut zones, mut all) = (0, 0);
    for name in database.available() {
        let zone = database.get(name.as_str()).unwrap();
        zones += 1;
        let transitions = transitions(&zone);
        for (place, transition) in transitions.iter().enumerate() {
            all += 1;
            // Two changes within the reach of one look belong together.
            let near = |other: &&(i64, i32, i32)| (other.0 - transition.0).abs() <= 2 * FAR;
            let around: Vec<_> = transitions[place.saturating_sub(2)..].iter().take(5).filter(near).copied().collect();
            if seen.insert(around.clone()) {
                // The highest that the clock has shown before counts, and clocks have been set back by a day.
                let back = if around.iter().any(|(_, before, after)| before - after > 3 * 3600) { 26 } else { 4 };
                let begin = transition.0 - FAR - back * 3600;
                let walk = Walk::over(&zone, begin, transition.0 + FAR + 3600);
                let cases = (0..CASES_EACH).map(|turn| &CASES[(seed + seen.len() * CASES_EACH + turn) % CASES.len()]);
                check(cases, name.as_str(), &zone, &walk, transition.0);
            }
        }
    }
    println!("{zones} zones, {all} transitions, {} of them different", seen.len());
    assert!(zones > 500 && all > 20_000 && seen.len() > 2_000, "the tz database is not whole");
}
