//! What a parameter's value has to keep beside its type: a choice, a range, a pattern.

use std::fmt;

use regex::Regex;
use serde::Serialize;
use serde_json::Value;

/// The limits of a parameter's values; each may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// The only values that are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
    /// The smallest number, or the first date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// The largest number, or the last date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// A regular expression that a text has to match as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

impl Limits {
    /// Whether a value of the right type is within them.
    #[must_use]
    pub fn allow(&self, value: &Value) -> bool {
        let is_chosen = self.choices.is_empty() || self.choices.contains(value);
        let is_large = self.min.as_ref().is_none_or(|min| is_ordered(min, value));
        let is_small = self.max.as_ref().is_none_or(|max| is_ordered(value, max));
        let fits = self.pattern.as_deref().is_none_or(|pattern| {
            let text = value.as_str().unwrap_or_default();
            whole(pattern).is_ok_and(|pattern| pattern.is_match(text))
        });
        is_chosen && is_large && is_small && fits
    }

    /// Whether there is no limit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut said = Vec::new();
        if !self.choices.is_empty() {
            said.push(format!("one of {}", self.choices.iter().map(plain).collect::<Vec<_>>().join(", ")));
        }
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => said.push(format!("from {} to {}", plain(min), plain(max))),
            (Some(min), None) => said.push(format!("at least {}", plain(min))),
            (None, Some(max)) => said.push(format!("at most {}", plain(max))),
            (None, None) => {}
        }
        said.extend(self.pattern.as_ref().map(|pattern| format!("like {pattern}")));
        f.write_str(&said.join(", "))
    }
}

/// A pattern that has to match the whole text.
pub(crate) fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{pattern})$"))
}

/// Whether one number or date is not after the other.
pub(crate) fn is_ordered(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => {
            let date = |text: &str| text.parse::<jiff::civil::Date>().ok();
            matches!((date(one), date(other)), (Some(one), Some(other)) if one <= other)
        }
        _ => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => one <= other,
            _ => matches!((one.as_f64(), other.as_f64()), (Some(one), Some(other)) if one <= other),
        },
    }
}
