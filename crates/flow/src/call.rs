//! Running another flow as a task: for the same data interval, with parameters.
//!
//! What it runs is an ordinary run, identified by its flow, interval and parameters; so asking for it twice finds the same one, and what
//! becomes of one that is there already is a choice.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::for_each::texts_in;
use crate::template::values;
use crate::{TemplateError, Variables};

/// Which flow a task runs, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallTask {
    /// The flow's name.
    pub flow: String,
    /// Its parameters: every text in them is a template, rendered with [`crate::Quote::None`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// What becomes of a run that is there already and has ended.
    #[serde(default, skip_serializing_if = "RerunOn::is_default")]
    pub rerun_on: RerunOn,
}

impl CallTask {
    /// How deep runs may call runs: a deeper chain is taken for one without end.
    pub const DEPTH_MAX: usize = 16;

    /// Every text that is a template.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.params.values().flat_map(texts_in).collect()
    }

    /// The parameters for a run with these variables; the flow that gets them has not seen them yet.
    pub fn given(&self, variables: &Variables) -> Result<BTreeMap<String, Value>, TemplateError> {
        self.params.iter().map(|(name, value)| Ok((name.clone(), values(value, variables)?))).collect()
    }
}

/// What becomes of a run that has ended already when a task asks for it: Digdag's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RerunOn {
    /// It stays as it is.
    None,
    /// One that has succeeded is taken as done; of any other, what failed or was stopped runs again.
    #[default]
    Failed,
    /// All of it runs again.
    All,
}

impl RerunOn {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Failed, Self::All];

    /// The word for it in flow files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Failed => "failed",
            Self::All => "all",
        }
    }

    /// Whether it is what a task gets that says nothing.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
