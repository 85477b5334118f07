//! Addresses and passwords that stand elsewhere: `env:NAME` and `file:PATH`.

use std::path::Path;
use std::sync::Arc;

/// Looks up a variable of the environment. Given by who may read it.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The value that a text is or refers to. Read anew for each delivery, so that a changed secret needs no restart.
pub(crate) fn resolve(text: &str, environment: &Environment, project_dir: &Path) -> Result<String, String> {
    if let Some(name) = text.strip_prefix("env:") {
        return environment(name).ok_or_else(|| format!("the environment variable {name} is not set"));
    }
    let Some(path) = text.strip_prefix("file:") else { return Ok(text.to_owned()) };
    let read = std::fs::read_to_string(project_dir.join(path)).map_err(|error| format!("read {path}: {error}"))?;
    Ok(read.trim_end_matches(['\r', '\n']).to_owned())
}
