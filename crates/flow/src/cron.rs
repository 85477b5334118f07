//! Cron expressions: which minutes of the calendar they name. What that means on a clock that jumps is decided in
//! [`crate::schedule`].

use jiff::ToSpan;
use jiff::civil::{Date, DateTime};
use serde::{Serialize, Serializer};

/// The calendar repeats its leap years, dates and (nearly) weekdays within this many days; an expression that names no
/// day in that time names none ever.
const DAYS_SEARCHED_MAX: usize = 366 * 12;

/// A cron expression of five fields: minute, hour, day of month, month, day of week.
///
/// Fields are `*`, numbers, names (`JAN`, `MON`), ranges, lists and steps; Sunday is 0 or 7. When both day fields are
/// restricted, either makes the day (as in Vixie's cron). `@hourly`, `@daily` (`@midnight`), `@weekly`, `@monthly` and
/// `@yearly` (`@annually`) are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    message: String,
}

/// How far a fire is rounded down to find the boundary of its data interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// Not at all: the schedule may fire several times an hour.
    Instant,
    /// To the start of the local hour: it fires at most once an hour.
    Hour,
    /// To the start of the local day: it fires at most once a day.
    Day,
}

/// The values that one field names, as a bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// Whether it is written with a star or a step, rather than as a list of values.
    open: bool,
    /// Whether it is `*`, alone or with a step: then it does not restrict the day.
    star: bool,
}

/// What a field may hold.
struct FieldKind {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTE: FieldKind = FieldKind { name: "minute", min: 0, max: 59, names: &[] };
const HOUR: FieldKind = FieldKind { name: "hour", min: 0, max: 23, names: &[] };
const DAY: FieldKind = FieldKind { name: "day of month", min: 1, max: 31, names: &[] };
const MONTH: FieldKind = FieldKind {
    name: "month",
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEKDAY: FieldKind =
    FieldKind { name: "day of week", min: 0, max: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };

impl Cron {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let expanded = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            word if word.starts_with('@') => {
                return Err(error(format!("{word} is none of @hourly, @daily, @weekly, @monthly, @yearly")));
            }
            fields => fields,
        };
        let fields: Vec<&str> = expanded.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(error(format!(
                "it has {} fields where five are needed: minute, hour, day of month, month, day of week",
                fields.len()
            )));
        };
        let mut weekdays = Field::parse(weekday, &WEEKDAY)?;
        if weekdays.has(7) {
            weekdays.bits |= 1;
        }
        let cron = Self {
            text: text.trim().to_owned(),
            minutes: Field::parse(minute, &MINUTE)?,
            hours: Field::parse(hour, &HOUR)?,
            days: Field::parse(day, &DAY)?,
            months: Field::parse(month, &MONTH)?,
            weekdays,
        };
        match cron.next_civil(jiff::civil::date(1999, 12, 31).at(23, 59, 0, 0)) {
            Some(_) => Ok(cron),
            None => Err(error("it names no day that exists, such as February 30")),
        }
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How far its fires are rounded down to find the boundaries of data intervals.
    #[must_use]
    pub fn grain(&self) -> Grain {
        match (self.minutes.bits.count_ones(), self.hours.bits.count_ones()) {
            (1, 1) => Grain::Day,
            (1, _) => Grain::Hour,
            _ => Grain::Instant,
        }
    }

    /// Whether its hours are a star or have a step, so that it means time that passes, not times of day.
    pub(crate) fn is_elapsed(&self) -> bool {
        self.hours.open
    }

    /// The first minute it names after `after`.
    pub(crate) fn next_civil(&self, after: DateTime) -> Option<DateTime> {
        let from = after.checked_add(1.minute()).ok()?.with().second(0).subsec_nanosecond(0).build().ok()?;
        let today = Some(from.date()).filter(|&date| self.names_day(date));
        if let Some(found) = today.and_then(|date| self.first_of_day(date, from.hour(), from.minute())) {
            return Some(found);
        }
        let mut date = from.date();
        for _ in 0..DAYS_SEARCHED_MAX {
            date = date.tomorrow().ok()?;
            if self.names_day(date) {
                return self.first_of_day(date, 0, 0);
            }
        }
        None
    }

    /// The last minute it names before `before`.
    pub(crate) fn previous_civil(&self, before: DateTime) -> Option<DateTime> {
        let to = before.checked_sub(1.nanosecond()).ok()?;
        let today = Some(to.date()).filter(|&date| self.names_day(date));
        if let Some(found) = today.and_then(|date| self.last_of_day(date, to.hour(), to.minute())) {
            return Some(found);
        }
        let mut date = to.date();
        for _ in 0..DAYS_SEARCHED_MAX {
            date = date.yesterday().ok()?;
            if self.names_day(date) {
                return self.last_of_day(date, 23, 59);
            }
        }
        None
    }

    fn names_day(&self, date: Date) -> bool {
        let by_month_day = self.days.has(date.day());
        let by_weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        let both_restricted = !self.days.star && !self.weekdays.star;
        let day = if both_restricted { by_month_day || by_weekday } else { by_month_day && by_weekday };
        day && self.months.has(date.month())
    }

    /// The first time of the day at or after `hour:minute`.
    fn first_of_day(&self, date: Date, hour: i8, minute: i8) -> Option<DateTime> {
        if self.hours.has(hour)
            && let Some(minute) = (minute..60).find(|&m| self.minutes.has(m))
        {
            return Some(date.at(hour, minute, 0, 0));
        }
        let hour = (hour + 1..24).find(|&h| self.hours.has(h))?;
        let minute = (0..60).find(|&m| self.minutes.has(m))?;
        Some(date.at(hour, minute, 0, 0))
    }

    /// The last time of the day at or before `hour:minute`.
    fn last_of_day(&self, date: Date, hour: i8, minute: i8) -> Option<DateTime> {
        if self.hours.has(hour)
            && let Some(minute) = (0..=minute).rev().find(|&m| self.minutes.has(m))
        {
            return Some(date.at(hour, minute, 0, 0));
        }
        let hour = (0..hour).rev().find(|&h| self.hours.has(h))?;
        let minute = (0..60).rev().find(|&m| self.minutes.has(m))?;
        Some(date.at(hour, minute, 0, 0))
    }
}

/// Days of the week as cron writes them: which of the seven are named, from Sunday.
pub(crate) fn weekdays(text: &str) -> Result<[bool; 7], CronError> {
    let field = Field::parse(text.trim(), &WEEKDAY)?;
    Ok([0, 1, 2, 3, 4, 5, 6].map(|day| field.has(day) || (day == 0 && field.has(7))))
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Field {
    fn parse(text: &str, kind: &FieldKind) -> Result<Self, CronError> {
        let mut field = Self { bits: 0, open: false, star: text.starts_with('*') };
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                None => (part, None),
                Some((range, step)) => (range, Some(kind.step(step)?)),
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (kind.min, kind.max),
                Some((first, last)) => (kind.value(first)?, kind.value(last)?),
                None if step.is_some() => (kind.value(range)?, kind.max),
                None => (kind.value(range)?, kind.value(range)?),
            };
            if first > last {
                return Err(error(format!("the range {range} of the {} ends before it begins", kind.name)));
            }
            field.open |= range == "*" || step.is_some();
            for value in (first..=last).step_by(step.unwrap_or(1)) {
                field.bits |= 1 << value;
            }
        }
        Ok(field)
    }

    fn has(self, value: i8) -> bool {
        // Calendar fields are small and never negative.
        u32::try_from(value).ok().and_then(|value| 1u64.checked_shl(value)).is_some_and(|bit| self.bits & bit != 0)
    }
}

impl FieldKind {
    fn value(&self, text: &str) -> Result<u32, CronError> {
        let by_name = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = by_name.and_then(|index| u32::try_from(index).ok()).map(|index| index + self.min);
        match named.or_else(|| text.parse().ok()) {
            Some(value) if (self.min..=self.max).contains(&value) => Ok(value),
            _ => Err(error(format!("{text:?} is no {}; it takes {} to {}", self.name, self.min, self.max))),
        }
    }

    fn step(&self, text: &str) -> Result<usize, CronError> {
        match text.parse() {
            Ok(step) if (1..=60).contains(&step) => Ok(step),
            _ => Err(error(format!("{text:?} is no step of the {}; it takes 1 to 60", self.name))),
        }
    }
}

fn error(message: impl Into<String>) -> CronError {
    CronError { message: message.into() }
}

#[cfg(test)]
mod tests;
