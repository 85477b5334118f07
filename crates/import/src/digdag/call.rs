//! `call>` and `require>`: here a task that runs another flow. What `call>` runs within the same session is a run of its own.

use mulgil_flow::yaml::{Key, Node};
use serde_json::{Value, json};

use super::{scalar_of, text_of};
use crate::draft::name_of;

/// The keys of the task, and what is different.
pub(super) fn call(operator: &str, text: &str, entries: &[(Key, Node)]) -> Result<(Value, &'static str), String> {
    let value = |name: &str| entries.iter().find(|(key, _)| key.text == name).map(|(_, value)| value);
    if text.contains("${") {
        return Err("which workflow it is shows when it runs: write flow: with a name".to_owned());
    }
    if value("project_name").is_some() || value("project_id").is_some() {
        return Err("it belongs to another project: bring its workflow into this one".to_owned());
    }
    if value("session_time").and_then(text_of).is_some_and(|time| time != "${session_time}") {
        return Err("it is about another session: hand the date on as a parameter, by flow: and params:".to_owned());
    }
    let file = text.rsplit('/').next().unwrap_or(text);
    let name = name_of(file.strip_suffix(".dig").unwrap_or(file));
    let given: serde_json::Map<String, Value> = match value("params").map(|node| &node.data) {
        Some(mulgil_flow::yaml::Data::Map(params)) => {
            params.iter().map(|(key, value)| (key.text.clone(), scalar_of(value))).collect()
        }
        _ => serde_json::Map::new(),
    };
    let on = value("rerun_on").and_then(text_of);
    let on = on.or_else(|| (operator == "require>").then(|| "none".to_owned())).filter(|on| on != "failed");
    let different = match operator {
        "require>" => "the run of the same interval; it has to declare the parameters that it is given",
        _ => "as a run of its own, which gets none of the variables here: hand them on by params:",
    };
    Ok((json!({"flow": name, "params": given, "rerun_on": on}), different))
}
