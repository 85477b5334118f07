//! Waiting as a task: for something outside that comes when it comes.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Serialize;

use crate::StatusRange;

/// What is waited for, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitTask {
    /// What is waited for.
    #[serde(rename = "for")]
    pub wanted: WaitFor,
    /// The pause between two looks.
    pub poke_every: SignedDuration,
    /// What becomes of the task when its timeout is over.
    pub on_timeout: OnTimeout,
}

impl WaitTask {
    /// The pause between two looks, where nothing is said.
    pub const POKE_EVERY: SignedDuration = SignedDuration::from_secs(30);

    /// Every text that is a template.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        match &self.wanted {
            WaitFor::File(text) | WaitFor::Until(text) | WaitFor::Sql(text) => vec![text],
            WaitFor::Table { values, .. } => {
                values.iter().flat_map(|values| values.values()).map(String::as_str).collect()
            }
            WaitFor::Http { url, headers, .. } => headers.values().chain([url]).map(String::as_str).collect(),
        }
    }
}

/// What is waited for. Texts are templates, rendered with [`crate::Quote::None`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// A file whose path matches: `*`, `?`, `[a-z]` and `**` as in a shell; relative to the project's folder.
    File(String),
    /// Rows of a table.
    Table {
        /// The table.
        table: String,
        /// Of which partition: values of columns. `None` is any row; no values are the partition of the run's `ds`.
        values: Option<BTreeMap<String, String>>,
    },
    /// An answer with one of these statuses.
    Http {
        /// Who is asked, by GET.
        url: String,
        /// With which headers.
        headers: BTreeMap<String, String>,
        /// The statuses.
        expect: Vec<StatusRange>,
    },
    /// A date or time.
    Until(String),
    /// A query of one column whose first row is true, or a number other than 0.
    Sql(String),
}

impl WaitFor {
    /// It in one line, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::File(path) => format!("file {path}"),
            Self::Table { table, values: None } => format!("rows in {table}"),
            Self::Table { table, values: Some(values) } if values.is_empty() => format!("partition of {table}"),
            Self::Table { table, values: Some(values) } => {
                let values: Vec<String> = values.iter().map(|(column, value)| format!("{column}={value}")).collect();
                format!("partition {} of {table}", values.join("/"))
            }
            Self::Http { url, .. } => format!("answer of {url}"),
            Self::Until(time) => format!("until {time}"),
            Self::Sql(sql) => format!("query {}", sql.trim().lines().next().unwrap_or_default()),
        }
    }
}

/// What becomes of a task that has waited long enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// It fails.
    #[default]
    Fail,
    /// It is skipped.
    Skip,
}
