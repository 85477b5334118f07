//! The `WITH (...)` options of one table: asked for by name, and refused with the allowed names when unknown.

use std::str::FromStr;
use std::time::Duration;

use crate::definition::TableDefinition;
use crate::error::ConnectError;

/// How unlike two names may be for one to be offered in place of the other.
const SIMILARITY_MIN: f64 = 0.75;

/// Reads the options of one table.
pub(crate) struct Options<'a> {
    table: &'a TableDefinition,
}

impl<'a> Options<'a> {
    /// The options of `table`, once all of them are in `allowed`.
    pub(crate) fn new(table: &'a TableDefinition, allowed: &[&str]) -> Result<Self, ConnectError> {
        let options = Self { table };
        for name in table.options.keys() {
            if !allowed.contains(&name.as_str()) {
                let reason = format!("unknown option '{name}'{}", suggestion(name, allowed));
                return Err(options.refusal(reason));
            }
        }
        Ok(options)
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.table.options.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The table's name, for messages.
    pub(crate) fn table_name(&self) -> String {
        self.table.name.to_string()
    }

    /// The value of an option, if it is given.
    pub(crate) fn optional(&self, name: &str) -> Option<&'a str> {
        self.table.options.get(name).map(String::as_str)
    }

    /// The value of an option that must be given.
    pub(crate) fn required(&self, name: &str, example: &str) -> Result<&'a str, ConnectError> {
        self.optional(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            self.refusal(format!("option '{name}' is missing; add '{name}' = '{example}' to WITH (...)"))
        })
    }

    /// The value of an option that is one of a few words; without it, the first of them.
    pub(crate) fn one_of<T: Copy>(&self, name: &str, choices: &[(&str, T)], default: T) -> Result<T, ConnectError> {
        let Some(value) = self.optional(name) else { return Ok(default) };
        let chosen = choices.iter().find(|(word, _)| *word == value);
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.refusal(format!("'{name}' = '{value}' is not known{}", suggestion(value, &words)))
        })
    }

    /// A truth value.
    pub(crate) fn boolean(&self, name: &str, default: bool) -> Result<bool, ConnectError> {
        self.one_of(name, &[("true", true), ("false", false)], default)
    }

    /// A single ASCII character.
    pub(crate) fn character(&self, name: &str, default: u8) -> Result<u8, ConnectError> {
        match self.optional(name).map(str::as_bytes) {
            None => Ok(default),
            Some(br"\t") => Ok(b'\t'),
            Some([character]) => Ok(*character),
            Some(_) => Err(self.refusal(format!("'{name}' must be one ASCII character, or '\\t'"))),
        }
    }

    /// A number.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ConnectError> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| self.refusal(format!("'{name}' = '{value}' is not a whole number")))
    }

    /// A size, as `128 MB`, `64kb` or `4096`; a kilobyte has 1024 bytes, as Flink has it.
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<u64>, ConnectError> {
        const UNITS: [(&str, u32); 13] = [
            ("", 0),
            ("b", 0),
            ("bytes", 0),
            ("k", 10),
            ("kb", 10),
            ("kibibytes", 10),
            ("m", 20),
            ("mb", 20),
            ("mebibytes", 20),
            ("g", 30),
            ("gb", 30),
            ("t", 40),
            ("tb", 40),
        ];
        let Some(value) = self.optional(name) else { return Ok(None) };
        let (number, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
        let unit = unit.trim().to_ascii_lowercase();
        let shift = UNITS.iter().find(|(word, _)| *word == unit).map(|(_, shift)| *shift);
        let bytes = shift.and_then(|shift| number.parse::<u64>().ok()?.checked_mul(1 << shift));
        bytes.map(Some).ok_or_else(|| {
            self.refusal(format!("'{name}' = '{value}' is not a size; write for example '64 kb', '128 MB', '1 gb'"))
        })
    }

    /// A span of time, as `500 ms`, `30 s` or `5 min`.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, ConnectError> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        let span = value.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        span.map(Some).ok_or_else(|| {
            self.refusal(format!(
                "'{name}' = '{value}' is not a span of time; write for example '500 ms', '30 s', '5 min'"
            ))
        })
    }

    /// An error about this table's definition.
    pub(crate) fn refusal(&self, reason: impl Into<String>) -> ConnectError {
        refusal(self.table, reason)
    }
}

/// An error about the definition of `table`.
pub(crate) fn refusal(table: &TableDefinition, reason: impl Into<String>) -> ConnectError {
    ConnectError::Definition { table: table.name.to_string(), reason: reason.into() }
}

/// `; did you mean 'format'? allowed: connector, format, path`.
pub(crate) fn suggestion(name: &str, allowed: &[&str]) -> String {
    let similar = |word: &&&str| strsim::jaro_winkler(name, word);
    let best = allowed.iter().max_by(|a, b| similar(a).total_cmp(&similar(b)));
    let allowed = allowed.join(", ");
    match best {
        Some(best) if similar(&best) >= SIMILARITY_MIN => format!("; did you mean '{best}'? allowed: {allowed}"),
        _ => format!("; allowed: {allowed}"),
    }
}
