//! Which secrets a text reads.

use std::collections::BTreeSet;

use super::environment;
use crate::{Quote, Task, TaskKind};

/// The names of the secrets that a template uses.
#[must_use]
pub fn secrets_read(text: &str) -> BTreeSet<String> {
    if !text.contains("secrets") {
        return BTreeSet::new();
    }
    let environment = environment(Quote::None);
    let Ok(compiled) = environment.template_from_str(text) else { return BTreeSet::new() };
    let names = compiled.undeclared_variables(true);
    let named = names.iter().filter_map(|name| name.strip_prefix("secrets."));
    named.map(|rest| rest.split('.').next().unwrap_or(rest).to_owned()).collect()
}

impl Task {
    /// The names of the secrets that its attempts need.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<String> {
        let own = match &self.kind {
            TaskKind::Shell { command } => vec![command.as_str()],
            TaskKind::Http(http) => http.texts(),
            TaskKind::Wait(wait) => wait.texts(),
            TaskKind::Flow(_) | TaskKind::View(_) => Vec::new(),
            TaskKind::Python(_) | TaskKind::Sql { .. } | TaskKind::Transfer { .. } => Vec::new(),
        };
        own.into_iter().chain(self.env.values().map(String::as_str)).flat_map(secrets_read).collect()
    }
}
