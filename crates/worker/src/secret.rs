//! Secrets, looked up where a task runs and nowhere else: in the environment, or in files that whoever operates the machine
//! keeps.
//!
//! They are looked up anew for every attempt, `mulgil.yaml` too, so that one that was changed or added needs no restart. All of the project's are masked
//! in an attempt's log, not only those that it asks for: a process inherits the environment, and may print it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use mulgil_flow::{Project, SecretSource, Secrets, Task};

use crate::log::SECRET_LENGTH_MIN;

/// The file that declares them, in the project's folder.
const PROJECT_FILE: &str = "mulgil.yaml";

/// Reads an environment variable.
type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The project's secrets, as places.
#[derive(Clone)]
pub struct SecretStore {
    sources: BTreeMap<String, SecretSource>,
    project_dir: PathBuf,
    environment: Arc<Environment>,
}

impl SecretStore {
    /// The secrets of a project; `environment` reads a variable.
    pub fn new(
        project: &Project,
        project_dir: PathBuf,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { sources: project.secrets.clone(), project_dir, environment: Arc::new(environment) }
    }

    /// No secrets at all.
    #[must_use]
    pub fn none() -> Self {
        Self::new(&Project::default(), PathBuf::new(), |_| None)
    }

    /// The value of a secret.
    ///
    /// # Errors
    /// There is none of that name, or it is not where the project says. The sentence says what to do.
    pub fn get(&self, name: &str) -> Result<String, String> {
        self.get_of(&self.declared(), name)
    }

    /// What the project declares now, as far as its file is whole; while nothing of it is, what it declared at the start.
    fn declared(&self) -> Cow<'_, BTreeMap<String, SecretSource>> {
        let now = std::fs::read_to_string(self.project_dir.join(PROJECT_FILE)).ok();
        match now.and_then(|text| Project::read(PROJECT_FILE, &text).0) {
            Some(project) => Cow::Owned(project.secrets),
            None => Cow::Borrowed(&self.sources),
        }
    }

    fn get_of(&self, declared: &BTreeMap<String, SecretSource>, name: &str) -> Result<String, String> {
        let source = declared.get(name).ok_or_else(|| {
            format!("there is no secret {name}: add `secrets: {{{name}: env:NAME}}` or `file:PATH` to mulgil.yaml")
        })?;
        let value = match source {
            SecretSource::Env(variable) => (self.environment)(variable).ok_or_else(|| {
                format!("secret {name}: the environment variable {variable} is not set: set it where the server starts")
            })?,
            SecretSource::File(file) => {
                let path = self.project_dir.join(file);
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("secret {name}: cannot read {}: {error}", path.display()))?;
                text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text).to_owned()
            }
        };
        if value.len() < SECRET_LENGTH_MIN {
            return Err(format!(
                "secret {name} is shorter than {SECRET_LENGTH_MIN} characters, so it could not be masked in logs: use a longer one"
            ));
        }
        Ok(value)
    }

    /// All that can be found, for masking.
    pub(crate) fn known(&self) -> Secrets {
        let declared = self.declared();
        declared.keys().filter_map(|name| Some((name.clone(), self.get_of(&declared, name).ok()?))).collect()
    }

    /// Those that a task asks for.
    pub(crate) fn of(&self, task: &Task) -> Result<Secrets, String> {
        let declared = self.declared();
        task.secrets().into_iter().map(|name| self.get_of(&declared, &name).map(|value| (name, value))).collect()
    }
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretStore").field(&self.sources).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_secret_that_is_declared_later_needs_no_restart_and_a_broken_file_takes_none_away() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(PROJECT_FILE);
        let text = "secrets: {first: env:FIRST}";
        std::fs::write(&file, text).unwrap();
        let project = Project::parse(PROJECT_FILE, text).unwrap();
        let secrets = SecretStore::new(&project, folder.path().to_owned(), |name| Some(format!("value of {name}")));
        assert!(secrets.get("second").unwrap_err().contains("there is no secret second"));
        std::fs::write(&file, "secrets: {first: env:FIRST, second: env:SECOND}").unwrap();
        assert_eq!(secrets.get("second").unwrap(), "value of SECOND");
        std::fs::write(&file, "secrets: [").unwrap();
        assert_eq!(secrets.get("first").unwrap(), "value of FIRST");
    }
}
