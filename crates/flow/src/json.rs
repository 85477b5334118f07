//! JSON as the tree that YAML gives, for definitions that a script has made: each node stands where the script made it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::findings::Position;
use crate::yaml::{Data, Key, Node, Scalar, Style};

/// The lines of a script by the path of what they made: `""` is the flow, `tasks/load` a task, `tasks/load/retries` a key of
/// one. What has no line of its own stands where the thing around it stands.
pub type Lines = BTreeMap<String, u32>;

/// The tree of a definition.
pub(crate) fn tree(definition: &Value, lines: &Lines) -> Node {
    node(definition, &mut String::new(), Position { line: 1, column: 1 }, lines)
}

fn node(value: &Value, path: &mut String, around: Position, lines: &Lines) -> Node {
    let at = lines.get(path.as_str()).map_or(around, |line| Position { line: (*line).max(1), column: 1 });
    let plain = |text: String| Data::Scalar(Scalar { text, style: Style::Plain });
    let data = match value {
        Value::Null => plain(String::new()),
        Value::Bool(truth) => plain(truth.to_string()),
        Value::Number(number) => plain(number.to_string()),
        // Where in the script a place of the text stands cannot be known, as with YAML's folded blocks.
        Value::String(text) => Data::Scalar(Scalar { text: text.clone(), style: Style::Folded }),
        Value::Array(items) => Data::List(items.iter().map(|item| node(item, path, at, lines)).collect()),
        Value::Object(fields) => {
            let length = path.len();
            let mut entries = Vec::with_capacity(fields.len());
            for (key, value) in fields {
                if length > 0 {
                    path.push('/');
                }
                path.push_str(key);
                let inner = node(value, path, at, lines);
                entries.push((Key { at: inner.at, text: key.clone() }, inner));
                path.truncate(length);
            }
            Data::Map(entries)
        }
    };
    Node { at, data }
}
