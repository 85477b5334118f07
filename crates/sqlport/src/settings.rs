//! The settings of a connection: what `SET` and `SHOW` speak of. Few of them do something; those that clients set out of habit
//! are taken where they ask for what is so anyway, and refused where they ask for something else.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::service::QueryError;

/// The version of PostgreSQL whose protocol and catalog are spoken, for clients that look at it.
pub const POSTGRES_VERSION: &str = "16.0";

/// What may be said about a setting.
enum Choice {
    /// Anything.
    Any,
    /// One of these; the first is what is written back.
    Of(&'static [&'static str]),
    /// A zone of the IANA database.
    Zone,
    /// A time span: milliseconds, or a number with a unit; 0 for none.
    Span,
    /// Nothing: it is how it is.
    Fixed,
}

/// A setting, its default, and what may be said about it.
type Known = (&'static str, &'static str, Choice);

const SWITCH: &[&str] = &["on", "off", "true", "false", "yes", "no", "1", "0"];
const ONLY_ON: &[&str] = &["on", "true", "yes", "1"];
const ISOLATION: &[&str] = &["read committed", "read uncommitted", "repeatable read", "serializable"];

const KNOWN: [Known; 28] = [
    ("application_name", "", Choice::Any),
    ("bytea_output", "hex", Choice::Of(&["hex"])),
    ("client_encoding", "UTF8", Choice::Of(&["UTF8", "utf-8", "unicode", "sql_ascii"])),
    ("client_min_messages", "notice", Choice::Any),
    ("datestyle", "ISO, MDY", Choice::Of(&["ISO, MDY", "ISO", "ISO, DMY", "ISO, YMD", "DMY", "MDY", "YMD"])),
    ("default_transaction_isolation", "read committed", Choice::Of(ISOLATION)),
    ("default_transaction_read_only", "on", Choice::Of(ONLY_ON)),
    ("extra_float_digits", "1", Choice::Any),
    ("geqo", "on", Choice::Of(SWITCH)),
    ("idle_in_transaction_session_timeout", "0", Choice::Span),
    ("in_hot_standby", "off", Choice::Fixed),
    ("integer_datetimes", "on", Choice::Fixed),
    ("intervalstyle", "postgres", Choice::Of(&["postgres"])),
    ("is_superuser", "off", Choice::Fixed),
    ("jit", "off", Choice::Of(SWITCH)),
    ("lock_timeout", "0", Choice::Span),
    ("max_identifier_length", "63", Choice::Fixed),
    ("max_index_keys", "32", Choice::Fixed),
    ("role", "none", Choice::Any),
    ("search_path", "\"$user\", public", Choice::Any),
    ("server_encoding", "UTF8", Choice::Fixed),
    ("server_version", POSTGRES_VERSION, Choice::Fixed),
    ("server_version_num", "160000", Choice::Fixed),
    ("standard_conforming_strings", "on", Choice::Of(ONLY_ON)),
    ("statement_timeout", "0", Choice::Span),
    ("timezone", "UTC", Choice::Zone),
    ("transaction_isolation", "read committed", Choice::Of(ISOLATION)),
    ("transaction_read_only", "on", Choice::Of(ONLY_ON)),
];

/// Settings that the server tells its clients of, with the names as PostgreSQL spells them.
const TOLD: [(&str, &str); 13] = [
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("default_transaction_read_only", "default_transaction_read_only"),
    ("in_hot_standby", "in_hot_standby"),
    ("integer_datetimes", "integer_datetimes"),
    ("intervalstyle", "IntervalStyle"),
    ("is_superuser", "is_superuser"),
    ("search_path", "search_path"),
    ("server_encoding", "server_encoding"),
    ("server_version", "server_version"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
];

/// The settings of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
    /// As the connection began with them: what `RESET` goes back to.
    first: BTreeMap<String, String>,
    zone: TimeZone,
    timeout_max: Option<Duration>,
}

impl Settings {
    /// The defaults. A statement may never take longer than `timeout_max`.
    pub(crate) fn new(timeout_max: Option<Duration>) -> Self {
        let values: BTreeMap<_, _> =
            KNOWN.iter().map(|(name, default, _)| ((*name).to_owned(), (*default).to_owned())).collect();
        Self { first: values.clone(), values, zone: TimeZone::UTC, timeout_max }
    }

    /// What is set now becomes what `RESET` goes back to.
    pub(crate) fn begin(&mut self) {
        self.first.clone_from(&self.values);
    }

    /// All settings, by name in lower case.
    pub(crate) fn all(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// One setting.
    pub(crate) fn get(&self, name: &str) -> Result<&str, QueryError> {
        let value = self.values.get(&name.to_lowercase());
        value.map(String::as_str).ok_or_else(|| unknown(name))
    }

    /// The zone in which moments are written.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// How long a statement may take.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        let asked = self.values.get("statement_timeout").and_then(|text| span_of(text)).filter(|span| !span.is_zero());
        match (asked, self.timeout_max) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (asked, most) => asked.or(most),
        }
    }

    /// Takes a new value, or says why not. Names with a dot are the client's own.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        let name = name.to_lowercase();
        if name.contains('.') {
            self.values.insert(name, value.to_owned());
            return Ok(());
        }
        let Some((_, _, choice)) = KNOWN.iter().find(|(known, _, _)| *known == name) else {
            return Err(unknown(&name));
        };
        let refused = |hint: String| {
            let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
            QueryError::new(QueryError::INVALID_VALUE, message).hint(hint)
        };
        let value = match choice {
            Choice::Any => value.to_owned(),
            Choice::Of(choices) => {
                let same = choices.iter().find(|choice| choice.eq_ignore_ascii_case(value.trim()));
                let same = same.ok_or_else(|| refused(format!("it can be {}", choices.join(", "))))?;
                match (name.as_str(), choices.first()) {
                    ("client_encoding" | "datestyle", Some(first)) => (*first).to_owned(),
                    _ => (*same).to_owned(),
                }
            }
            Choice::Zone => {
                self.zone = zone_of(value).ok_or_else(|| refused("write a name such as Europe/Paris".to_owned()))?;
                value.to_owned()
            }
            Choice::Span => {
                span_of(value).ok_or_else(|| refused("write milliseconds, or a text such as '5s'".to_owned()))?;
                value.to_owned()
            }
            Choice::Fixed => {
                return Err(QueryError::new("55P02", format!("parameter \"{name}\" cannot be changed")));
            }
        };
        self.values.insert(name, value);
        Ok(())
    }

    /// Goes back to the value that the connection began with.
    pub(crate) fn reset(&mut self, name: &str) -> Result<(), QueryError> {
        let name = name.to_lowercase();
        match self.first.get(&name).cloned() {
            Some(first) if self.values.get(&name) == Some(&first) => Ok(()),
            Some(first) => self.set(&name, &first),
            None => self.values.remove(&name).map(|_| ()).ok_or_else(|| unknown(&name)),
        }
    }

    /// Goes back to all values that the connection began with.
    pub(crate) fn reset_all(&mut self) {
        self.values.clone_from(&self.first);
        self.zone = self.values.get("timezone").and_then(|name| zone_of(name)).unwrap_or(TimeZone::UTC);
    }

    /// What the client is told at the beginning: PostgreSQL's spelling and the value.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&'static str, &str)> {
        TOLD.iter().filter_map(|(name, spelled)| Some((*spelled, self.values.get(*name)?.as_str())))
    }

    /// How a setting is spelled that the client has to be told of when it changes.
    pub(crate) fn spelled(name: &str) -> Option<&'static str> {
        TOLD.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, spelled)| *spelled)
    }
}

fn unknown(name: &str) -> QueryError {
    QueryError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

fn zone_of(name: &str) -> Option<TimeZone> {
    match name.trim() {
        "" => None,
        name if ["utc", "gmt", "default", "local"].iter().any(|utc| name.eq_ignore_ascii_case(utc)) => {
            Some(TimeZone::UTC)
        }
        name => TimeZone::get(name).ok(),
    }
}

/// `250`, `250ms`, `5s`, `2min`, `1h`, `1d`.
fn span_of(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let factor: u64 = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(factor)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn settings_take_what_they_can_be_and_nothing_else() {
        let cases: &[(&str, &str, Result<&str, &str>)] = &[
            ("client_encoding", "utf-8", Ok("UTF8")),
            ("client_encoding", "latin1", Err("22023")),
            ("DateStyle", "ISO", Ok("ISO, MDY")),
            ("DateStyle", "German", Err("22023")),
            ("TimeZone", "Europe/Paris", Ok("Europe/Paris")),
            ("TimeZone", "Mars/Olympus", Err("22023")),
            ("statement_timeout", "5s", Ok("5s")),
            ("statement_timeout", "soon", Err("22023")),
            ("default_transaction_read_only", "off", Err("22023")),
            ("server_version", "1", Err("55P02")),
            ("extra_float_digits", "3", Ok("3")),
            ("my.own", "x", Ok("x")),
            ("no_such_thing", "x", Err("42704")),
        ];
        for (name, value, expected) in cases {
            let mut settings = Settings::new(None);
            let outcome = settings.set(name, value).map_err(|error| error.code);
            assert_eq!(outcome.map(|()| settings.get(name).unwrap()), *expected, "{name} = {value}");
        }
    }

    #[test]
    fn reset_goes_back_to_the_beginning_of_the_connection() {
        let mut settings = Settings::new(None);
        settings.set("timezone", "Asia/Seoul").unwrap();
        settings.begin();
        settings.set("timezone", "UTC").unwrap();
        settings.reset("TimeZone").unwrap();
        assert_eq!(settings.zone(), &TimeZone::get("Asia/Seoul").unwrap());
        settings.set("timezone", "UTC").unwrap();
        settings.reset_all();
        assert_eq!(settings.zone(), &TimeZone::get("Asia/Seoul").unwrap());
    }

    #[test]
    fn nobody_gets_more_time_than_the_server_gives() {
        let mut settings = Settings::new(Some(Duration::from_secs(60)));
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(60)));
        settings.set("statement_timeout", "250ms").unwrap();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_millis(250)));
        settings.set("statement_timeout", "1h").unwrap();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(60)));
    }
}
