//! Parameters of a flow: declared with a type and maybe a default, given by whoever starts a run.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Flow, Limits};

/// The parameters of one run by name, complete and checked.
pub type Params = BTreeMap<String, Value>;

/// A declared parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Param {
    /// The type of its values.
    #[serde(rename = "type")]
    pub param_type: ParamType,
    /// Its value when none is given; `None` means that one must be given.
    pub default: Option<Value>,
    /// What its values have to keep beside their type.
    #[serde(flatten)]
    pub limits: Limits,
    /// What it is for.
    pub description: Option<String>,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    /// Any text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A date, `2013-01-31`.
    Date,
}

impl ParamType {
    /// All types.
    pub const ALL: [Self; 5] = [Self::String, Self::Integer, Self::Number, Self::Boolean, Self::Date];

    /// The word for it in flow files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
        }
    }

    /// The type of a value that stands alone; `None` for lists, maps and null.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) if text.parse::<Date>().is_ok() => Some(Self::Date),
            Value::String(_) => Some(Self::String),
            Value::Number(number) if number.is_i64() => Some(Self::Integer),
            Value::Number(_) => Some(Self::Number),
            Value::Bool(_) => Some(Self::Boolean),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The value as one of this type, text included that reads as one.
    pub(crate) fn accept(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::String, Value::String(_)) | (Self::Boolean, Value::Bool(_)) => Some(value.clone()),
            (Self::String, Value::Number(number)) => Some(Value::String(number.to_string())),
            (Self::Integer, Value::Number(number)) => number.as_i64().map(Value::from),
            (Self::Number, Value::Number(_)) => Some(value.clone()),
            (Self::Integer, Value::String(text)) => text.parse::<i64>().ok().map(Value::from),
            (Self::Number, Value::String(text)) => {
                text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from)
            }
            (Self::Boolean, Value::String(text)) => text.parse::<bool>().ok().map(Value::from),
            (Self::Date, Value::String(text)) => text.parse::<Date>().ok().map(|date| Value::String(date.to_string())),
            _ => None,
        }
    }
}

/// Why the parameters of a run are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// The flow has no parameter of that name.
    #[error("flow {flow} has no parameter {name}; it has: {known}")]
    Unknown {
        /// The flow.
        flow: String,
        /// The name given.
        name: String,
        /// The names there are, `none` when there are none.
        known: String,
    },
    /// A parameter without default was not given.
    #[error("flow {flow} needs a value for its parameter {name}")]
    Missing {
        /// The flow.
        flow: String,
        /// The parameter.
        name: String,
    },
    /// A value is not within the limits.
    #[error("parameter {name} of flow {flow} has to be {limits}, and {found} is not")]
    Limit {
        /// The flow.
        flow: String,
        /// The parameter.
        name: String,
        /// What is allowed.
        limits: String,
        /// The value given.
        found: String,
    },
    /// A value does not fit the type.
    #[error("parameter {name} of flow {flow} takes a value of type {expected}, not {found}")]
    Type {
        /// The flow.
        flow: String,
        /// The parameter.
        name: String,
        /// The type, in a word.
        expected: &'static str,
        /// The value given.
        found: String,
    },
}

impl Flow {
    /// The parameters of a run for which none are given. Incomplete if some have no default.
    #[must_use]
    pub fn default_params(&self) -> Params {
        let defaults = self.params.iter().filter_map(|(name, param)| Some((name.clone(), param.default.clone()?)));
        defaults.collect()
    }

    /// Completes the parameters given for a run with the defaults, and checks them. Text that reads as a value of the
    /// declared type counts as one, so that what comes from a command line need not be typed.
    pub fn resolve_params(&self, given: &BTreeMap<String, Value>) -> Result<Params, ParamError> {
        let flow = || self.name.clone();
        let mut resolved = self.default_params();
        for (name, value) in given {
            let Some(param) = self.params.get(name) else {
                let known: Vec<&str> = self.params.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(ParamError::Unknown { flow: flow(), name: name.clone(), known });
            };
            let Some(value) = param.param_type.accept(value) else {
                let (expected, found) = (param.param_type.word(), value.to_string());
                return Err(ParamError::Type { flow: flow(), name: name.clone(), expected, found });
            };
            if !param.limits.allow(&value) {
                let (limits, found) = (param.limits.to_string(), value.to_string());
                return Err(ParamError::Limit { flow: flow(), name: name.clone(), limits, found });
            }
            resolved.insert(name.clone(), value);
        }
        match self.params.keys().find(|name| !resolved.contains_key(*name)) {
            Some(missing) => Err(ParamError::Missing { flow: flow(), name: missing.clone() }),
            None => Ok(resolved),
        }
    }
}
