//! What is known of the items of a task before it runs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::findings::remedy_for;

/// What the items of a task look like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ItemShape {
    /// That shows when the task runs.
    Unknown,
    /// Single values.
    Plain,
    /// Maps that all have these fields.
    Fields(BTreeSet<String>),
}

impl ItemShape {
    /// The shape of these items.
    pub(crate) fn of(items: &[Value]) -> Self {
        let keys = |item: &Value| item.as_object().map(|fields| fields.keys().cloned().collect::<BTreeSet<String>>());
        // An item that is a template may become anything.
        let is_plain = |item: &Value| match item {
            Value::String(text) => !text.contains("{{"),
            Value::Array(_) | Value::Object(_) => false,
            _ => true,
        };
        let all: Option<Vec<BTreeSet<String>>> = items.iter().map(keys).collect();
        let in_all = all.and_then(|all| all.into_iter().reduce(|one, other| &one & &other));
        match in_all {
            Some(fields) => Self::Fields(fields),
            None if !items.is_empty() && items.iter().all(is_plain) => Self::Plain,
            None => Self::Unknown,
        }
    }
}

/// Message and remedy if there is no such item, or none with this field.
pub(super) fn reject(shape: Option<&ItemShape>, field: Option<&str>) -> Option<(String, Option<String>)> {
    match (shape, field) {
        (None, _) => {
            let remedy = "add for_each: to the task, with the items that it goes over".to_owned();
            Some(("item is known only in a task that goes over items".to_owned(), Some(remedy)))
        }
        (Some(ItemShape::Plain), Some(field)) => {
            let message = format!("the items have no fields, so there is no item.{field}");
            Some((message, Some("write item".to_owned())))
        }
        (Some(ItemShape::Fields(known)), Some(field)) if !known.contains(field) => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Some((format!("not every item has a field {field}"), remedy_for(field, &known)))
        }
        _ => None,
    }
}
