//! Secrets: a flow names them, the project says where they are, and only who runs a task looks them up.
//!
//! So no text that is kept or shown (flow files, definitions, history, API) ever holds one.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// In an environment variable of the process that runs the task.
    Env(String),
    /// In a file, relative to the project's folder; a line break at its end is no part of it.
    File(String),
}

impl SecretSource {
    /// Reads `env:NAME` or `file:PATH`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once(':')?;
        let place = place.trim();
        match kind.trim() {
            _ if place.is_empty() => None,
            "env" if !place.contains(['=', '\0']) => Some(Self::Env(place.to_owned())),
            "file" => Some(Self::File(place.to_owned())),
            _ => None,
        }
    }
}

/// Secrets that were looked up, by name. What they are is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// The values by name, for who masks or renders them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a secret.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl FromIterator<(String, String)> for Secrets {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
