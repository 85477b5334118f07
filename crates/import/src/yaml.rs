//! A definition as the YAML that a person would write: block maps, plain words where they are safe, `|` for several lines.

use serde_json::Value;

/// The text of a definition, which is a map.
pub(crate) fn write(definition: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(fields) = definition {
        for (key, value) in fields {
            entry(key, value, 0, &mut text);
        }
    }
    text
}

fn entry(key: &str, value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    out.push_str(&format!("{indent}{}:", word(key)));
    match value {
        Value::Object(fields) if !fields.is_empty() && !is_short(value) => {
            out.push('\n');
            for (key, value) in fields {
                entry(key, value, depth + 1, out);
            }
        }
        Value::String(text) if is_block(text) => {
            out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in text.trim_end_matches('\n').split('\n') {
                let pad = if line.is_empty() { "" } else { indent.as_str() };
                out.push_str(&format!("{pad}{}{line}\n", if line.is_empty() { "" } else { "  " }));
            }
        }
        value => out.push_str(&format!(" {}\n", flow(value))),
    }
}

/// In one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{}: {}", word(key), flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn is_short(value: &Value) -> bool {
    let is_leaf = |value: &Value| !value.is_object() && !value.as_str().is_some_and(|text| text.contains('\n'));
    value.as_object().is_some_and(|fields| fields.values().all(is_leaf)) && flow(value).len() < 80
}

/// A block keeps its lines as they are: the first may not begin with a space, and nothing may be a control character.
fn is_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && !text.ends_with("\n\n")
        && text.chars().all(|c| c == '\n' || !c.is_control())
        && text.lines().all(|line| line.trim_end() == line)
}

/// A scalar: as it is where every reader takes it for a text and it breaks nothing, else in double quotes.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' ' | '$' | '=' | '+' | ';');
    let starts_well = text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '/' | '.' | '_'));
    let is_word =
        !matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off");
    if starts_well && is_word && text.chars().all(is_plain) && text.trim() == text && text.parse::<f64>().is_err() {
        return text.to_owned();
    }
    // JSON's way to write a text is one of YAML's.
    Value::String(text.to_owned()).to_string()
}
