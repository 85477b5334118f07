//! The rules of a flow's schedule.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::value::{duration, instant};
use crate::findings::{Findings, Position};
use crate::raw::{CatchupWord, RawCatchup, RawSchedule};
use crate::read::{Located, Text};
use crate::schedule::Rule;
use crate::{Calendar, Catchup, Cron, Dst, Grain, Project, Schedule};

/// A schedule; nothing where its rule cannot be told.
pub(super) fn schedule(
    raw: RawSchedule,
    timezone: &TimeZone,
    project: &Project,
    findings: &mut Findings,
) -> Option<Schedule> {
    let start = raw.start.as_ref().and_then(|text| instant(text, timezone, findings));
    let end = raw.end.as_ref().and_then(|text| instant(text, timezone, findings));
    if let (Some(start), Some(end), Some(text)) = (start, end, &raw.end)
        && end <= start
    {
        findings.add(text.at, "the schedule ends before it starts", Some("put a later end".to_owned()));
    }
    let catchup = match raw.catchup {
        None => Catchup::default(),
        Some(RawCatchup::Word(CatchupWord::None) | RawCatchup::AtMost(0)) => Catchup::None,
        Some(RawCatchup::Word(CatchupWord::Latest)) => Catchup::Latest,
        Some(RawCatchup::Word(CatchupWord::All)) => Catchup::All,
        Some(RawCatchup::AtMost(number)) => Catchup::AtMost(number),
    };
    let named = raw.calendar.as_ref().map(|text| text.at);
    let calendar = raw.calendar.and_then(|text| calendar(&text, project, findings));
    let on = raw.on.map_or_else(Vec::new, |tables| tables.0.into_iter().map(|table| table.value).collect());
    let overlap = raw.overlap.map(|overlap| overlap.value);
    let rule = rule(raw.cron, raw.every, raw.at, findings)?;
    let dst = raw.dst.map_or_else(Dst::default, |dst| checked_dst(&dst, &rule, findings));
    let schedule = Schedule { rule, timezone: timezone.clone(), start, end, catchup, dst, calendar, on, overlap };
    if let (Some(at), true) = (named, never_fires(&schedule)) {
        let remedy = "its days of the week and the schedule's have none in common".to_owned();
        findings.add(at, "the calendar leaves no day on which the schedule fires", Some(remedy));
    }
    Some(schedule)
}

fn calendar(text: &Text, project: &Project, findings: &mut Findings) -> Option<Arc<Calendar>> {
    let found = project.calendars.get(&text.value).cloned();
    if found.is_none() && project.calendars.is_empty() {
        let remedy = "add it to calendars: in mulgil.yaml".to_owned();
        findings.add(text.at, format!("unknown calendar {}", text.value), Some(remedy));
    } else if found.is_none() {
        findings.unknown(text.at, "calendar", &text.value, project.calendars.keys().map(String::as_str));
    }
    found
}

/// `dst` is for times of day, and two runs on one day need two intervals.
fn checked_dst(dst: &Located<Dst>, rule: &Rule, findings: &mut Findings) -> Dst {
    let is_clock = |cron: &&Cron| !cron.is_elapsed();
    let Some(cron) = (match rule {
        Rule::Cron(cron) => Some(cron).filter(is_clock),
        Rule::Every(_) => None,
    }) else {
        let remedy = "leave it out, or name the hours as numbers".to_owned();
        findings.add(dst.at, "dst is for times of day, and this rule goes by the time that passes", Some(remedy));
        return dst.value;
    };
    if dst.value == Dst::Both && cron.grain() == Grain::Day {
        let remedy = "leave it out: a daily run is about its whole day, however many hours that has".to_owned();
        findings.add(dst.at, "a rule that fires once a day has nothing to be about at a second coming", Some(remedy));
    }
    dst.value
}

/// Whether it has no fire at all, looked at without its end, from its start or any other day.
fn never_fires(schedule: &Schedule) -> bool {
    let endless = Schedule { end: None, ..schedule.clone() };
    endless.calendar.is_some() && endless.next_after(Timestamp::UNIX_EPOCH).is_none()
}

fn rule(cron: Option<Text>, every: Option<Text>, at: Position, findings: &mut Findings) -> Option<Rule> {
    match (cron, every) {
        (Some(text), None) => match Cron::parse(&text.value) {
            Ok(cron) => Some(Rule::Cron(cron)),
            Err(error) => {
                let remedy = "five fields, such as 0 6 * * * for 06:00 every day".to_owned();
                findings.add(text.at, format!("bad cron expression {:?}: {error}", text.value), Some(remedy));
                None
            }
        },
        (None, Some(text)) => duration(&text, "every", findings).map(Rule::Every),
        (Some(_), Some(every)) => {
            findings.add(every.at, "the schedule has both cron and every", Some("keep one of them".to_owned()));
            None
        }
        (None, None) => {
            let remedy =
                "add cron: \"0 6 * * *\" or every: 15m; beside on: it says where intervals begin and end".to_owned();
            findings.add(at, "the schedule says nothing about when", Some(remedy));
            None
        }
    }
}
