//! Cron on a clock that jumps: which instants an expression means in a time zone.
//!
//! Hours written as numbers are **times of day**: each named time fires once a day. A time that the clock skips fires at
//! the first instant after the gap; a time that comes twice fires at its first coming.
//!
//! Hours written with a star or a step are **time that passes**: every instant whose wall clock is named fires, so both
//! 01:00s in autumn, and nothing for an hour that does not exist in spring.
//!
//! [`Dst`] is how a schedule may say otherwise of times of day. All three are made of the two ways above: what is skipped is left out if
//! the instant does not show it, and both comings are the instants that show it, with those after a gap.

use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::{Cron, Dst};

/// No clock has been set back further than this.
const FOLD_MAX: SignedDuration = SignedDuration::from_hours(26);

/// The first fire after `after`.
pub(crate) fn next_fire(cron: &Cron, zone: &TimeZone, dst: Dst, after: Timestamp) -> Option<Timestamp> {
    match dst {
        _ if cron.is_elapsed() => next_elapsed(cron, zone, after),
        Dst::First => next_time_of_day(cron, zone, after),
        Dst::Skip => {
            let mut fire = next_time_of_day(cron, zone, after)?;
            while !is_named_at(cron, zone, fire) {
                fire = next_time_of_day(cron, zone, fire)?;
            }
            Some(fire)
        }
        Dst::Both => [next_time_of_day(cron, zone, after), next_elapsed(cron, zone, after)].into_iter().flatten().min(),
    }
}

/// The last fire before `before`.
pub(crate) fn previous_fire(cron: &Cron, zone: &TimeZone, dst: Dst, before: Timestamp) -> Option<Timestamp> {
    match dst {
        _ if cron.is_elapsed() => previous_elapsed(cron, zone, before),
        Dst::First => previous_time_of_day(cron, zone, before),
        Dst::Skip => {
            let mut fire = previous_time_of_day(cron, zone, before)?;
            while !is_named_at(cron, zone, fire) {
                fire = previous_time_of_day(cron, zone, fire)?;
            }
            Some(fire)
        }
        Dst::Both => {
            [previous_time_of_day(cron, zone, before), previous_elapsed(cron, zone, before)].into_iter().flatten().max()
        }
    }
}

/// The instant at which a wall clock shows `time` first, or would, had it not skipped it. Never falls as `time` rises.
pub(crate) fn instant_of(zone: &TimeZone, time: jiff::civil::DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(time);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
        AmbiguousOffset::Gap { .. } => {
            let beyond = ambiguous.later().ok()?.checked_add(1.nanosecond()).ok()?;
            zone.preceding(beyond).next().map(|transition| transition.timestamp())
        }
    }
}

fn next_time_of_day(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut time = zone.to_datetime(after);
    loop {
        // In a fold the wall clock shows times again that have fired already; they are passed over here.
        time = cron.next_civil(time)?;
        let fire = instant_of(zone, time)?;
        if fire > after {
            return Some(fire);
        }
    }
}

fn previous_time_of_day(cron: &Cron, zone: &TimeZone, before: Timestamp) -> Option<Timestamp> {
    let mut time = zone.to_datetime(before);
    // If the clock was set back lately, it has shown later times than it does now.
    if let Some(transition) = zone.preceding(before).next().map(|transition| transition.timestamp())
        && before.duration_since(transition) < FOLD_MAX
        && let Ok(just_before) = transition.checked_sub(1.nanosecond())
    {
        time = time.max(zone.to_datetime(just_before));
    }
    time = time.checked_add(1.nanosecond()).ok()?;
    loop {
        time = cron.previous_civil(time)?;
        let fire = instant_of(zone, time)?;
        if fire < before {
            return Some(fire);
        }
    }
}

fn next_elapsed(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut from = after;
    loop {
        // Between two transitions the offset is constant, and the wall clock only rises.
        let offset = zone.to_offset(from);
        let transition = zone.following(from).next().map(|transition| transition.timestamp());
        let fire = cron.next_civil(offset.to_datetime(from)).and_then(|time| offset.to_timestamp(time).ok());
        match (fire, transition) {
            (Some(fire), Some(transition)) if fire < transition => return Some(fire),
            (fire, None) => return fire,
            (_, Some(transition)) if is_named_at(cron, zone, transition) => return Some(transition),
            (_, Some(transition)) => from = transition,
        }
    }
}

fn previous_elapsed(cron: &Cron, zone: &TimeZone, before: Timestamp) -> Option<Timestamp> {
    let mut to = before;
    loop {
        let offset = zone.to_offset(to.checked_sub(1.nanosecond()).ok()?);
        let transition = zone.preceding(to).next().map(|transition| transition.timestamp());
        let fire = cron.previous_civil(offset.to_datetime(to)).and_then(|time| offset.to_timestamp(time).ok());
        match (fire, transition) {
            (Some(fire), Some(transition)) if fire >= transition => return Some(fire),
            (fire, None) => return fire,
            (_, Some(transition)) => to = transition,
        }
    }
}

fn is_named_at(cron: &Cron, zone: &TimeZone, instant: Timestamp) -> bool {
    let time = zone.to_datetime(instant);
    time.checked_add(1.nanosecond()).ok().and_then(|after| cron.previous_civil(after)) == Some(time)
}

#[cfg(test)]
mod tests;
