//! Dates, times and spans, as PostgreSQL writes them: ISO, with `BC` before the year 1.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::service::QueryError;

/// PostgreSQL's binary dates count from 2000-01-01: days after 1970-01-01.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A time that PostgreSQL's types cannot hold.
pub(super) fn out_of_range() -> QueryError {
    QueryError::new("22008", "a time is beyond what PostgreSQL's types can hold")
}

fn failed(error: std::fmt::Error) -> QueryError {
    QueryError::new(QueryError::INTERNAL, error.to_string())
}

/// Year, month and day of a day after 1970-01-01, in the Gregorian calendar that goes on for ever. Years are counted from
/// March, so that the leap day is a year's last: after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Writes a date without its era, and says whether it is before the year 1.
fn put_date(days: i64, out: &mut BytesMut) -> Result<bool, QueryError> {
    let (year, month, day) = civil(days);
    let shown = if year > 0 { year } else { 1 - year };
    write!(out, "{shown:04}-{month:02}-{day:02}").map_err(failed)?;
    Ok(year <= 0)
}

fn put_era(is_before: bool, out: &mut BytesMut) {
    if is_before {
        out.put_slice(b" BC");
    }
}

/// `2013-01-31`, from days after 1970-01-01.
pub(super) fn write_date(days: i64, out: &mut BytesMut) -> Result<(), QueryError> {
    let is_before = put_date(days, out)?;
    put_era(is_before, out);
    Ok(())
}

/// `06:15:00.25`, from microseconds after midnight.
pub(super) fn write_clock(micros: i64, out: &mut BytesMut) -> Result<(), QueryError> {
    let seconds = micros / SECOND;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60).map_err(failed)?;
    let fraction = format!("{:06}", micros % SECOND);
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        write!(out, ".{fraction}").map_err(failed)?;
    }
    Ok(())
}

fn put_timestamp(micros: i64, out: &mut BytesMut) -> Result<bool, QueryError> {
    let is_before = put_date(micros.div_euclid(DAY), out)?;
    out.put_u8(b' ');
    write_clock(micros.rem_euclid(DAY), out)?;
    Ok(is_before)
}

/// `2013-01-31 06:15:00`, from microseconds after 1970-01-01.
pub(super) fn write_timestamp(micros: i64, out: &mut BytesMut) -> Result<(), QueryError> {
    let is_before = put_timestamp(micros, out)?;
    put_era(is_before, out);
    Ok(())
}

/// `2013-01-31 06:15:00+01`: a moment in a zone, with its distance from UTC.
pub(super) fn write_moment(micros: i64, zone: &TimeZone, out: &mut BytesMut) -> Result<(), QueryError> {
    // What the time zone's data does not reach is written in UTC.
    let offset = Timestamp::from_microsecond(micros).map_or(0, |moment| zone.to_offset(moment).seconds());
    let local = micros.checked_add(i64::from(offset) * SECOND).ok_or_else(out_of_range)?;
    let is_before = put_timestamp(local, out)?;
    let (sign, distance) = (if offset < 0 { '-' } else { '+' }, offset.abs());
    let (hours, minutes, seconds) = (distance / 3_600, distance / 60 % 60, distance % 60);
    write!(out, "{sign}{hours:02}").map_err(failed)?;
    if minutes != 0 || seconds != 0 {
        write!(out, ":{minutes:02}").map_err(failed)?;
    }
    if seconds != 0 {
        write!(out, ":{seconds:02}").map_err(failed)?;
    }
    put_era(is_before, out);
    Ok(())
}

/// An `interval`: its parts stay apart, since months and days have no one length.
pub(super) struct Span {
    pub(super) months: i32,
    pub(super) days: i32,
    pub(super) micros: i64,
}

impl Span {
    /// `1 year 2 mons 3 days 04:05:06`, or binary.
    pub(super) fn write(&self, binary: bool, out: &mut BytesMut) -> Result<(), QueryError> {
        if binary {
            out.put_i64(self.micros);
            out.put_i32(self.days);
            out.put_i32(self.months);
            return Ok(());
        }
        let begin = out.len();
        // Once a part was negative, the positive ones after it say so.
        let mut was_negative = false;
        let mut space = "";
        for (count, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if count != 0 {
                let plus = if was_negative && count > 0 { "+" } else { "" };
                let plural = if count == 1 { "" } else { "s" };
                write!(out, "{space}{plus}{count} {unit}{plural}").map_err(failed)?;
                was_negative = count < 0;
                space = " ";
            }
        }
        if self.micros == 0 && out.len() > begin {
            return Ok(());
        }
        let sign = match self.micros {
            ..0 => "-",
            _ if was_negative => "+",
            _ => "",
        };
        write!(out, "{space}{sign}").map_err(failed)?;
        write_clock(self.micros.checked_abs().ok_or_else(out_of_range)?, out)
    }
}
