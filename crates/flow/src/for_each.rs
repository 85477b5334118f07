//! A task that does its work once for each item of a list.

use serde::Serialize;
use serde_json::Value;

use crate::Variables;
use crate::template::{value, values};

/// What a task goes over, and how.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForEach {
    /// Where its items come from.
    pub items: Items,
    /// More items than this are an error.
    pub max_items: u32,
    /// How many may be under way at once; `None` for no limit beyond the pool's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
}

/// Where items come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Items {
    /// These; each text in them is a template.
    List(Vec<Value>),
    /// A template whose value is a list, such as `{{ results.files }}`.
    Template(String),
}

impl ForEach {
    /// More items than this are an error, where the flow does not say otherwise.
    pub const MAX_ITEMS_DEFAULT: u32 = 10_000;
    /// What a flow may say at most.
    pub const MAX_ITEMS_MAX: u32 = 100_000;

    /// The texts in it that may be templates.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        match &self.items {
            Items::List(list) => list.iter().flat_map(texts_in).collect(),
            Items::Template(template) => vec![template.clone()],
        }
    }

    /// The items for a run with these variables, or why there are none, in a sentence.
    pub fn items(&self, variables: &Variables) -> Result<Vec<Value>, String> {
        let in_place = |error| format!("in `for_each:`, {error}");
        let items = match &self.items {
            Items::List(list) => {
                let items = list.iter().map(|item| values(item, variables));
                items.collect::<Result<Vec<Value>, _>>().map_err(in_place)?
            }
            Items::Template(template) => listed(value(template, variables).map_err(in_place)?)?,
        };
        if items.len() > self.max_items as usize {
            let (count, max) = (items.len(), self.max_items);
            return Err(format!(
                "`for_each:` has {count} items, and at most {max} are allowed: raise `max_items:`, or give fewer and larger items"
            ));
        }
        Ok(items)
    }
}

/// Every text in a value.
pub(crate) fn texts_in(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts_in).collect(),
        Value::Object(fields) => fields.values().flat_map(texts_in).collect(),
        _ => Vec::new(),
    }
}

/// The list that a template has given: as such, or written as JSON.
fn listed(value: Value) -> Result<Vec<Value>, String> {
    let value = match value {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other => other,
    };
    match value {
        Value::Array(items) => Ok(items),
        other => {
            let what = match other {
                Value::Null => "nothing",
                Value::Object(_) => "a map",
                Value::String(_) => "a text",
                _ => "a single value",
            };
            Err(format!(
                "`for_each:` needs a list, and was given {what}: a task gives one as its result, such as [1, 2]"
            ))
        }
    }
}
