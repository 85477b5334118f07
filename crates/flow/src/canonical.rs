//! A flow in its canonical form: everything that it means, in one order, whatever its file looks like. The form is what is
//! hashed to a version, and what is compared when two versions are.

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::{Flow, FlowVersion};

/// The hash of everything that the flow means; where it stands in which file is no part of that.
pub(crate) fn version_of(flow: &Flow) -> FlowVersion {
    FlowVersion(format!("{:032x}", xxh3_128(value_of(flow).to_string().as_bytes())))
}

fn value_of(flow: &Flow) -> Value {
    let mut value = serde_json::to_value(flow).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|key, _| !matches!(key.as_str(), "file" | "version"));
        for task in fields.get_mut("tasks").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(fields) = task.as_object_mut() {
                fields.retain(|key, _| !matches!(key.as_str(), "line" | "column"));
            }
        }
    }
    value
}

/// The canonical form for people: a line a key, texts of several lines as they are, what is not set left out.
#[must_use]
pub fn canonical_lines(flow: &Flow) -> Vec<String> {
    let mut lines = Vec::new();
    if let Value::Object(fields) = value_of(flow) {
        entries(&fields, "", &mut lines);
    }
    lines
}

/// The name of a thing stands before the rest of it.
fn entries(fields: &Map<String, Value>, indent: &str, lines: &mut Vec<String>) {
    let (name, rest): (Vec<_>, Vec<_>) = fields.iter().partition(|(key, _)| *key == "name");
    for (key, value) in name.into_iter().chain(rest) {
        entry(key, value, indent, lines);
    }
}

fn entry(key: &str, value: &Value, indent: &str, lines: &mut Vec<String>) {
    let deeper = format!("{indent}  ");
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            lines.push(format!("{indent}{key}:"));
            entries(fields, &deeper, lines);
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            lines.push(format!("{indent}{key}:"));
            items.iter().for_each(|value| item(value, &deeper, lines));
        }
        Value::String(text) if text.contains('\n') => {
            lines.push(format!("{indent}{key}: |"));
            lines.extend(text.split('\n').map(|line| format!("{deeper}{line}").trim_end().to_owned()));
        }
        Value::String(text) if is_plain(text) => lines.push(format!("{indent}{key}: {text}")),
        other => lines.push(format!("{indent}{key}: {other}")),
    }
}

fn item(value: &Value, indent: &str, lines: &mut Vec<String>) {
    let first = lines.len();
    match value {
        Value::Object(fields) if !fields.is_empty() => entries(fields, &format!("{indent}  "), lines),
        other => lines.push(format!("{indent}  {other}")),
    }
    if let Some(line) = lines.get_mut(first) {
        line.replace_range(indent.len()..indent.len() + 1, "-");
    }
}

/// Whether a text cannot be taken for anything else without quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.starts_with(['|', '"', '[', '{']) && text.parse::<Value>().is_err()
}
