//! How a view or a statement runs as a stream, beside what its SQL says: the options that a view's `WITH (...)` may hold,
//! and that `SET` says for the statements after it.

use std::collections::BTreeMap;
use std::path::Path;

use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_connect::definition::TableName;
use mulgil_connect::guarantee::Guarantee;
use mulgil_dataflow::time_to_live::TimeToLive;
use mulgil_dataflow::trigger::{EarlyFire, Trigger};

use crate::duration::duration_of_text;
use crate::problem::{Mistake, SqlProblem, did_you_mean};
use crate::statement::Setting;

/// The names of the options.
pub(crate) const STREAM_OPTIONS: [&str; 7] =
    ["allowed-lateness", "early-fire", "early-fire-clock", "guarantee", "late-rows", "state-ttl", "state-ttl-clock"];

/// What is said, or taken where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// When windows give results besides when they end: options `early-fire` (with `early-fire-clock` = `event` by event
    /// time, else by the machine's clock) and `allowed-lateness`.
    pub trigger: Trigger,
    /// How long state that nothing else bounds is kept: option `state-ttl`, by event time, or by the machine's clock with
    /// `state-ttl-clock` = `processing`.
    pub time_to_live: Option<TimeToLive>,
    /// The tables to which rows go that are too late, each to the first of which it has all columns: option `late-rows`,
    /// names with commas between.
    pub late_rows: Vec<TableName>,
    /// What is promised of its rows: option `guarantee`; the strongest that there is where nothing is said.
    pub guarantee: Option<Guarantee>,
}

/// What the `SET` statements of a text have said so far.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    written: BTreeMap<String, String>,
    places: BTreeMap<String, Location>,
}

impl Settings {
    /// Notes what one more statement says, in place of what was said about the same option before. Gives what is said in
    /// all.
    ///
    /// # Errors
    /// There is no such option, or it cannot have that value.
    pub fn set(&mut self, setting: &Setting, file: &Path) -> Result<StreamOptions, SqlProblem> {
        if !STREAM_OPTIONS.contains(&setting.option.as_str()) {
            let mistake = Mistake::new(setting.option_at, format!("unknown option '{}'", setting.option));
            let remedy = did_you_mean(&setting.option, &STREAM_OPTIONS, "options");
            return Err(mistake.remedy(remedy).in_file(file));
        }
        self.written.insert(setting.option.clone(), setting.value.clone());
        self.places.insert(setting.option.clone(), setting.value_at);
        let place = |option: &str| self.places.get(option).copied().unwrap_or(setting.value_at);
        StreamOptions::read(&self.written, place).map_err(|mistake| mistake.in_file(file))
    }

    /// Whether something was said about an option.
    pub fn says(&self, option: &str) -> bool {
        self.written.contains_key(option)
    }
}

impl StreamOptions {
    /// Reads the options among `written` that are known here; `place` says where an option's value stands.
    pub(crate) fn read(written: &BTreeMap<String, String>, place: impl Fn(&str) -> Location) -> Result<Self, Mistake> {
        let options = Written { options: written, place: &place };
        let early = match (options.length_of_time("early-fire", 1)?, options.is_by_clock("early-fire-clock")?) {
            (Some(ms), Some(false)) => Some(EarlyFire::EventTime(ms)),
            (Some(ms), _) => Some(EarlyFire::ProcessingTime(ms)),
            (None, _) => None,
        };
        let time_to_live = match (options.length_of_time("state-ttl", 0)?, options.is_by_clock("state-ttl-clock")?) {
            (Some(ms), Some(true)) => Some(TimeToLive::ProcessingTime(ms)),
            (Some(ms), _) => Some(TimeToLive::EventTime(ms)),
            (None, _) => None,
        };
        let allowed_lateness_ms = options.length_of_time("allowed-lateness", 0)?.map_or(0, i64::unsigned_abs);
        let late_rows = written.get("late-rows").map_or("", String::as_str).split(',').map(str::trim);
        let late_rows = late_rows.filter(|table| !table.is_empty()).map(TableName::parse).collect();
        let guarantee = options.guarantee()?;
        Ok(Self { trigger: Trigger { early, allowed_lateness_ms }, time_to_live, late_rows, guarantee })
    }
}

/// Options as they are written.
struct Written<'a> {
    options: &'a BTreeMap<String, String>,
    place: &'a dyn Fn(&str) -> Location,
}

impl Written<'_> {
    /// An option that says how long, in milliseconds.
    fn length_of_time(&self, option: &str, ms_min: i64) -> Result<Option<i64>, Mistake> {
        let Some(text) = self.options.get(option) else { return Ok(None) };
        duration_of_text(text).filter(|ms| *ms >= ms_min).map(Some).ok_or_else(|| {
            Mistake::new((self.place)(option), format!("'{text}' is not a length of time"))
                .remedy("write for example '1 d' or '30 min'")
        })
    }

    fn guarantee(&self) -> Result<Option<Guarantee>, Mistake> {
        let Some(text) = self.options.get("guarantee") else { return Ok(None) };
        text.parse().map(Some).map_err(|reason: String| {
            let (what, remedy) = reason.split_once("; ").unwrap_or((&reason, ""));
            Mistake::new((self.place)("guarantee"), what).remedy(remedy)
        })
    }

    /// An option that names a clock: whether it is the machine's.
    fn is_by_clock(&self, option: &str) -> Result<Option<bool>, Mistake> {
        match self.options.get(option).map(String::as_str) {
            None => Ok(None),
            Some("event") => Ok(Some(false)),
            Some("processing") => Ok(Some(true)),
            Some(other) => Err(Mistake::new((self.place)(option), format!("'{other}' is no clock"))
                .remedy("write 'event' or 'processing'")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn read(written: &[(&str, &str)]) -> Result<StreamOptions, String> {
        let written = written.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        StreamOptions::read(&written, |_| Location { line: 1, column: 1 }).map_err(|mistake| mistake.message)
    }

    #[test]
    fn early_results_go_by_the_clock_and_time_to_live_by_event_time_unless_said_otherwise() {
        let trigger =
            |early| StreamOptions { trigger: Trigger { early, allowed_lateness_ms: 0 }, ..StreamOptions::default() };
        let cases = [
            (vec![], Ok(StreamOptions::default())),
            (vec![("early-fire", "10 s")], Ok(trigger(Some(EarlyFire::ProcessingTime(10_000))))),
            (
                vec![("early-fire", "1 min"), ("early-fire-clock", "event")],
                Ok(trigger(Some(EarlyFire::EventTime(60_000)))),
            ),
            (
                vec![("state-ttl", "1 s"), ("allowed-lateness", "2 s"), ("late-rows", "raw.late, later")],
                Ok(StreamOptions {
                    trigger: Trigger::allowing(2_000),
                    time_to_live: Some(TimeToLive::EventTime(1_000)),
                    late_rows: vec![TableName::parse("raw.late"), TableName::parse("later")],
                    guarantee: None,
                }),
            ),
            (
                vec![("guarantee", "at-least-once")],
                Ok(StreamOptions { guarantee: Some(Guarantee::AtLeastOnce), ..StreamOptions::default() }),
            ),
            (vec![("guarantee", "always")], Err("'always' is no guarantee".to_owned())),
            (vec![("early-fire", "0 s")], Err("'0 s' is not a length of time".to_owned())),
            (vec![("early-fire-clock", "sun")], Err("'sun' is no clock".to_owned())),
        ];
        for (written, expected) in cases {
            assert_eq!(read(&written), expected, "{written:?}");
        }
    }
}
