//! Several items in one attempt: what the task does for one item, done for each of them, one after the other, until one fails.

use std::sync::Arc;

use mulgil_flow::template::shell_word;
use mulgil_flow::{Task, Variables};
use serde_json::Value;

use crate::dispatcher::Lease;
use crate::result::{RESULT_VARIABLE, ResultFile};
use crate::shell::ShellTask;

/// Does each of its arguments in a shell of its own, all in one process group.
const EACH: &str = "for each; do ( eval \"$each\" ) || exit; done";

/// The lease as if it were for each of its items alone; `None` if it is for one.
pub(crate) fn leases(lease: &Lease, task: &Task) -> Option<Vec<Lease>> {
    task.for_each.as_ref()?.group?;
    let Some(Value::Array(items)) = &lease.variables.item else { return None };
    let alone = |item: &Value| Lease {
        variables: Arc::new(Variables { item: Some(item.clone()), ..(*lease.variables).clone() }),
        ..lease.clone()
    };
    Some(items.iter().map(alone).collect())
}

/// One shell that does what the shells of these leases do.
pub(crate) fn as_one(
    leases: &[Lease],
    shell: impl Fn(&Lease) -> Result<ShellTask, String>,
    result: &ResultFile,
) -> Result<ShellTask, String> {
    let mut shells = Vec::new();
    for (number, lease) in leases.iter().enumerate() {
        let mut shell = shell(lease)?;
        shell.environment.insert(RESULT_VARIABLE.to_owned(), result.of_item(number).display().to_string());
        shells.push(shell);
    }
    let first = shells.first().ok_or("a group has no items")?;
    let (environment, folder) = (first.environment.clone(), first.folder.clone());
    let each = shells.iter().zip(leases).enumerate().map(|(number, (shell, lease))| {
        let item = lease.variables.item.as_ref().map_or_else(String::new, text_of);
        let mut script = format!("echo {}\n", word(&format!("item {} of {}: {item}", number + 1, leases.len()))?);
        for (name, value) in shell.environment.iter().filter(|(name, value)| environment.get(*name) != Some(value)) {
            script += &format!("export {name}={}\n", word(value)?);
        }
        Ok(script + &shell.command)
    });
    let each = each.collect::<Result<Vec<String>, String>>()?;
    Ok(ShellTask { command: EACH.to_owned(), each, environment, folder })
}

fn word(text: &str) -> Result<String, String> {
    shell_word(text).ok_or_else(|| "an item holds a NUL character, which no command can take".to_owned())
}

fn text_of(item: &Value) -> String {
    item.as_str().map_or_else(|| item.to_string(), str::to_owned)
}
