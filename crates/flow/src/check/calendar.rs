//! The rules of calendars, and the files that they name.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::Date;

use super::value::check_name;
use crate::calendar::date;
use crate::cron::weekdays;
use crate::findings::Findings;
use crate::raw::RawCalendar;
use crate::read::OneOrMany;
use crate::yaml::Key;
use crate::{Calendar, Diagnostic, Project};

/// A calendar of the project file.
pub(super) fn calendar(name: &Key, raw: RawCalendar, findings: &mut Findings) -> Calendar {
    check_name(&name.text, name.at, "calendar", findings);
    let says_nothing = raw.weekdays.is_none() && raw.skip.is_none() && raw.file.is_none() && !raw.broken;
    if says_nothing {
        let remedy = "add weekdays: MON-FRI, skip: with dates, or file: with a file of dates".to_owned();
        findings.add(raw.at, format!("calendar {} takes no day away", name.text), Some(remedy));
    }
    let mut days = [true; 7];
    if let Some(text) = raw.weekdays {
        match weekdays(&text.value) {
            Ok(found) => days = found,
            Err(error) => {
                let message = format!("bad weekdays {:?}: {error}", text.value);
                findings.add(text.at, message, Some("write MON-FRI, or 1-5".to_owned()));
            }
        }
    }
    Calendar {
        name: name.text.clone(),
        weekdays: days,
        skip: dates(raw.skip, findings),
        also: dates(raw.also, findings),
        file: raw.file.map(|text| (text.value, text.at)),
    }
}

fn dates(raw: Option<OneOrMany>, findings: &mut Findings) -> BTreeSet<Date> {
    let mut dates = BTreeSet::new();
    for text in raw.map_or_else(Vec::new, |raw| raw.0) {
        match date(&text.value) {
            Some(date) => {
                dates.insert(date);
            }
            None => {
                let remedy = "write dates such as 2026-12-25".to_owned();
                findings.add(text.at, format!("{:?} is no date", text.value), Some(remedy));
            }
        }
    }
    dates
}

impl Project {
    /// Reads the files that calendars name with `read`, which takes a path relative to the project's folder. A calendar
    /// whose file cannot be read is no calendar any more: its flows had better stop than run on a holiday.
    pub fn read_calendars(
        &mut self,
        file_name: &str,
        mut read: impl FnMut(&str) -> Result<String, String>,
    ) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        self.calendars.retain(|name, calendar| {
            let Some((file, at)) = calendar.file.clone() else { return true };
            let wrong = match read(&file) {
                Ok(text) => Arc::make_mut(calendar).read_dates(&file, &text),
                Err(error) => {
                    let mut findings = Findings::new(file_name);
                    let message = format!("the file {file} of calendar {name} cannot be read: {error}");
                    findings.add(at, message, Some("its path is relative to the project's folder".to_owned()));
                    findings.into_vec()
                }
            };
            let whole = wrong.is_empty();
            found.extend(wrong);
            whole
        });
        found
    }
}
