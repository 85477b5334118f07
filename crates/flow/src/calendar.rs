//! Calendars: the days on which schedules rest, by name, so that every flow of a country keeps the same holidays.
//!
//! A calendar only takes days away from a schedule. Since data intervals tile time, the first run after a rest is about
//! everything since the run before it: nothing is lost.

use std::collections::BTreeSet;

use jiff::civil::Date;
use serde::{Serialize, Serializer};

use crate::Diagnostic;
use crate::findings::{Findings, Position};

/// Days on which schedules that name it may fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Its name in the project.
    pub name: String,
    /// The days of the week that count, from Sunday.
    pub(crate) weekdays: [bool; 7],
    /// Dates on which nothing fires.
    pub(crate) skip: BTreeSet<Date>,
    /// Dates that count although their day of the week does not.
    pub(crate) also: BTreeSet<Date>,
    /// A file with more dates to skip, and where it is named.
    pub(crate) file: Option<(String, Position)>,
}

impl Calendar {
    /// Whether schedules may fire on that local date.
    #[must_use]
    pub fn has(&self, date: Date) -> bool {
        let weekday = usize::try_from(date.weekday().to_sunday_zero_offset()).unwrap_or(0);
        let counts = self.weekdays.get(weekday).copied().unwrap_or(true) || self.also.contains(&date);
        counts && !self.skip.contains(&date)
    }

    /// Takes in the dates of its file: one a line, `#` begins a comment.
    pub(crate) fn read_dates(&mut self, file: &str, text: &str) -> Vec<Diagnostic> {
        let mut findings = Findings::new(file);
        for (number, line) in (1..).zip(text.lines()) {
            let written = line.split_once('#').map_or(line, |(date, _)| date).trim();
            if written.is_empty() {
                continue;
            }
            match date(written) {
                Some(date) => {
                    self.skip.insert(date);
                }
                None => findings.add(
                    Position { line: number, column: 1 },
                    format!("{written:?} is no date"),
                    Some("write one date a line, such as 2026-12-25".to_owned()),
                ),
            }
        }
        findings.into_vec()
    }
}

/// A date as `2026-12-25`, and nothing else.
pub(crate) fn date(text: &str) -> Option<Date> {
    text.parse().ok().filter(|_| text.len() == "2026-12-25".len())
}

/// In a definition a calendar is its name: a new holiday is no new version of every flow.
impl Serialize for Calendar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}
