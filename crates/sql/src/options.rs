//! How a view or a statement runs as a stream, beside what its SQL says: the options that a view's `WITH (...)` may hold,
//! and that `SET` says for the statements after it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_connect::definition::TableName;
use mulgil_connect::guarantee::Guarantee;
use mulgil_dataflow::restart::RestartStrategy;
use mulgil_dataflow::time_to_live::TimeToLive;
use mulgil_dataflow::trigger::{EarlyFire, Trigger};

use crate::duration::duration_of_text;
use crate::problem::{Mistake, SqlProblem, did_you_mean};
use crate::size::size_of_text;
use crate::statement::Setting;

/// The names of the options.
pub(crate) const STREAM_OPTIONS: [&str; 16] = [
    "allowed-lateness",
    "early-fire",
    "early-fire-clock",
    "guarantee",
    "late-rows",
    "restart-strategy.exponential-delay.attempts-before-reset-backoff",
    "restart-strategy.exponential-delay.backoff-multiplier",
    "restart-strategy.exponential-delay.initial-backoff",
    "restart-strategy.exponential-delay.jitter-factor",
    "restart-strategy.exponential-delay.max-backoff",
    "restart-strategy.exponential-delay.reset-backoff-threshold",
    "restart-strategy.poison-attempts",
    "restart-strategy.type",
    "state-memory",
    "state-ttl",
    "state-ttl-clock",
];

/// What is said, or taken where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// When windows give results besides when they end: options `early-fire` (with `early-fire-clock` = `event` by event
    /// time, else by the machine's clock) and `allowed-lateness`.
    pub trigger: Trigger,
    /// How long state that nothing else bounds is kept: option `state-ttl`, by event time, or by the machine's clock with
    /// `state-ttl-clock` = `processing`.
    pub time_to_live: Option<TimeToLive>,
    /// How long a piece of event time is that no session leaves: option `session-max` of views.
    pub session_max_ms: Option<i64>,
    /// The tables to which rows go that are too late, each to the first of which it has all columns: option `late-rows`,
    /// names with commas between.
    pub late_rows: Vec<TableName>,
    /// What is promised of its rows: option `guarantee`; the strongest that there is where nothing is said.
    pub guarantee: Option<Guarantee>,
    /// How it is started again when it has failed: options `restart-strategy.*`.
    pub restart: RestartStrategy,
    /// How much memory its state may take, in bytes, before the rest goes to files: option `state-memory`.
    pub state_memory_bytes: Option<usize>,
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

    /// Whether something was said about an option that begins so.
    pub fn says_any(&self, beginning: &str) -> bool {
        self.written.keys().any(|option| option.starts_with(beginning))
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
        let session_max_ms = options.length_of_time("session-max", 1)?;
        let late_rows = written.get("late-rows").map_or("", String::as_str).split(',').map(str::trim);
        let late_rows = late_rows.filter(|table| !table.is_empty()).map(TableName::parse).collect();
        let guarantee = options.guarantee()?;
        let restart = options.restart_strategy()?;
        let state_memory_bytes = options.size("state-memory")?;
        let trigger = Trigger { early, allowed_lateness_ms };
        Ok(Self { trigger, time_to_live, session_max_ms, late_rows, guarantee, restart, state_memory_bytes })
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

    /// How what has failed is started again: Flink's options, and how soon a row counts as one that nobody can take.
    fn restart_strategy(&self) -> Result<RestartStrategy, Mistake> {
        let delay = |name: &str| format!("restart-strategy.exponential-delay.{name}");
        let span = |name: &str, unsaid: Duration| {
            let said = self.length_of_time(&delay(name), 1)?;
            Ok(said.map_or(unsaid, |ms| Duration::from_millis(ms.unsigned_abs())))
        };
        let percent = |name: &str, unsaid: u32| self.number(&delay(name), f64::from(unsaid) / 100.0);
        let unsaid = RestartStrategy::default();
        let tries_max = self.number(&delay("attempts-before-reset-backoff"), f64::from(unsaid.tries_max))?;
        let poison_tries_max = self.number("restart-strategy.poison-attempts", f64::from(unsaid.poison_tries_max))?;
        let is_off = match self.options.get("restart-strategy.type").map(String::as_str) {
            None | Some("exponential-delay" | "exponentialdelay") => false,
            Some("none" | "off" | "disable") => true,
            Some(other) => {
                let mistake = Mistake::new((self.place)("restart-strategy.type"), format!("'{other}' is not possible"));
                return Err(mistake.remedy("write 'exponential-delay' or 'none'"));
            }
        };
        Ok(RestartStrategy {
            backoff_first: span("initial-backoff", unsaid.backoff_first)?,
            backoff_max: span("max-backoff", unsaid.backoff_max)?,
            multiplier_percent: whole(percent("backoff-multiplier", unsaid.multiplier_percent)? * 100.0),
            jitter_percent: whole(percent("jitter-factor", unsaid.jitter_percent)? * 100.0),
            reset_after: span("reset-backoff-threshold", unsaid.reset_after)?,
            tries_max: if is_off { 0 } else { whole(tries_max).max(1) },
            poison_tries_max: whole(poison_tries_max).max(1),
        })
    }

    /// An option that is a number, not below zero.
    fn number(&self, option: &str, unsaid: f64) -> Result<f64, Mistake> {
        let Some(text) = self.options.get(option) else { return Ok(unsaid) };
        let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| {
            Mistake::new((self.place)(option), format!("'{text}' is not a number")).remedy("write for example '1.5'")
        })
    }

    /// An option that says how much, in bytes.
    fn size(&self, option: &str) -> Result<Option<usize>, Mistake> {
        let Some(text) = self.options.get(option) else { return Ok(None) };
        size_of_text(text).map(Some).ok_or_else(|| {
            Mistake::new((self.place)(option), format!("'{text}' is not a size")).remedy("write for example '256 MB'")
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

/// The nearest whole number.
fn whole(number: f64) -> u32 {
    // A cast of a number that is too large gives the largest.
    number.round() as u32
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
                    session_max_ms: None,
                    late_rows: vec![TableName::parse("raw.late"), TableName::parse("later")],
                    guarantee: None,
                    restart: RestartStrategy::default(),
                    state_memory_bytes: None,
                }),
            ),
            (
                vec![("state-memory", "256 MB")],
                Ok(StreamOptions { state_memory_bytes: Some(256_000_000), ..StreamOptions::default() }),
            ),
            (vec![("state-memory", "much")], Err("'much' is not a size".to_owned())),
            (
                vec![("guarantee", "at-least-once")],
                Ok(StreamOptions { guarantee: Some(Guarantee::AtLeastOnce), ..StreamOptions::default() }),
            ),
            (
                vec![
                    ("restart-strategy.exponential-delay.initial-backoff", "10 ms"),
                    ("restart-strategy.exponential-delay.backoff-multiplier", "2.5"),
                    ("restart-strategy.exponential-delay.attempts-before-reset-backoff", "4"),
                ],
                Ok(StreamOptions {
                    restart: RestartStrategy {
                        backoff_first: Duration::from_millis(10),
                        multiplier_percent: 250,
                        tries_max: 4,
                        ..RestartStrategy::default()
                    },
                    ..StreamOptions::default()
                }),
            ),
            (vec![("restart-strategy.type", "always")], Err("'always' is not possible".to_owned())),
            (vec![("restart-strategy.poison-attempts", "-1")], Err("'-1' is not a number".to_owned())),
            (vec![("guarantee", "always")], Err("'always' is no guarantee".to_owned())),
            (vec![("early-fire", "0 s")], Err("'0 s' is not a length of time".to_owned())),
            (vec![("early-fire-clock", "sun")], Err("'sun' is no clock".to_owned())),
        ];
        for (written, expected) in cases {
            assert_eq!(read(&written), expected, "{written:?}");
        }
    }
}
