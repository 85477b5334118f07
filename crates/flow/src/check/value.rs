//! Single values: durations, time zones, instants, names.

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

use crate::findings::{Findings, remedy_for};
use crate::read::{Located, Text};

/// Longer names would not fit into file names and tables of people.
const NAME_CHARS_MAX: usize = 100;

/// A duration such as `90s`, `15m`, `2h 30m` or `1d`; days have 24 hours.
pub(super) fn duration(text: &Text, what: &str, findings: &mut Findings) -> Option<SignedDuration> {
    let span: Option<Span> = text.value.parse().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    match duration {
        Some(duration) if duration.is_positive() => Some(duration),
        _ => {
            let message = format!("{what} {:?} is no duration", text.value);
            findings.add(text.at, message, Some("write 30s, 15m, 2h or 1d".to_owned()));
            None
        }
    }
}

/// A number of bytes, such as `512 MB` or `1.5GiB`. Of memory all units are powers of 1,024.
pub(super) fn size(text: &Text, what: &str, findings: &mut Findings) -> Option<u64> {
    let written = text.value.trim();
    let split = written.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(written.len());
    let (number, unit) = written.split_at_checked(split).unwrap_or_default();
    let power = match unit.trim().to_lowercase().as_str() {
        "kb" | "kib" => Some(1),
        "mb" | "mib" => Some(2),
        "gb" | "gib" => Some(3),
        "tb" | "tib" => Some(4),
        _ => None,
    };
    let bytes = number.parse::<f64>().ok().zip(power).map(|(number, power)| number * 1_024_f64.powi(power));
    // Beyond that a number of bytes is none that a machine has.
    let bytes = bytes.filter(|bytes| (1.0..1e18).contains(bytes)).map(|bytes| bytes as u64);
    if bytes.is_none() {
        findings.add(text.at, format!("{what} {:?} is no size", text.value), Some("write 512 MB or 2 GB".to_owned()));
    }
    bytes
}

/// An IANA time zone, from the database that is built in.
pub(super) fn zone(text: &Text, findings: &mut Findings) -> Option<TimeZone> {
    let database = TimeZoneDatabase::bundled();
    if let Ok(zone) = database.get(&text.value) {
        return Some(zone);
    }
    let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let guess = remedy_for(&text.value, &names).filter(|remedy| !remedy.starts_with("known"));
    let remedy = guess.unwrap_or_else(|| "write an IANA name, such as Europe/Berlin or UTC".to_owned());
    findings.add(text.at, format!("unknown time zone {}", text.value), Some(remedy));
    None
}

/// A date (its first instant), a local time, or an instant with an offset.
pub(super) fn instant(text: &Text, zone: &TimeZone, findings: &mut Findings) -> Option<Timestamp> {
    let written = text.value.as_str();
    if let Ok(instant) = written.parse::<Timestamp>() {
        return Some(instant);
    }
    let date = written.parse::<Date>().ok().filter(|_| written.len() == "2013-01-01".len());
    let local = match date {
        Some(date) => date.to_zoned(zone.clone()).ok(),
        None => written.parse::<DateTime>().ok().and_then(|time| time.to_zoned(zone.clone()).ok()),
    };
    if local.is_none() {
        let remedy = "write 2013-01-01, 2013-01-01T06:00 or 2013-01-01T06:00:00Z".to_owned();
        findings.add(text.at, format!("{written:?} is neither date nor time"), Some(remedy));
    }
    local.map(|zoned| zoned.timestamp())
}

/// A name that is safe in paths, URLs and templates.
pub(super) fn check_name(name: &str, at: crate::findings::Position, what: &str, findings: &mut Findings) {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on_well = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !starts_well || !goes_on_well || name.len() > NAME_CHARS_MAX {
        let remedy = format!("letters, digits, _ and -, a letter first, at most {NAME_CHARS_MAX}");
        findings.add(at, format!("{name:?} cannot be a name of a {what}"), Some(remedy));
    }
}

/// How many may be at once: one at least.
pub(super) fn at_once(number: Located<u32>, problem: &str, findings: &mut Findings) -> u32 {
    if number.value == 0 {
        findings.add(number.at, problem, Some("write 1 or more".to_owned()));
    }
    number.value
}
