//! A task that does its work once for each item of a list.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::template::{value, values};
use crate::{SqlText, Variables};

/// What a task goes over, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForEach {
    /// Where its items come from.
    pub items: Items,
    /// More items than this are an error.
    pub max_items: u32,
    /// How many may be under way at once; `None` for no limit beyond the pool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// Whether several items are done one after the other in one task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Grouping>,
}

/// How many items one task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// As many as take about two minutes, by how long they took lately.
    Auto,
    /// So many.
    Of(u32),
}

impl Grouping {
    /// More items one after the other in one task would be a program.
    pub const MAX: u32 = 1_000;
    /// How long one task should take with [`Grouping::Auto`].
    pub const TARGET: SignedDuration = SignedDuration::from_mins(2);
    /// Into how many tasks the items are cut while nobody knows how long one takes.
    const TASKS_AT_FIRST: usize = 100;

    /// How many of so many items go into one task, if one takes so long.
    #[must_use]
    pub fn size(self, items: usize, pace: Option<SignedDuration>) -> usize {
        let size = match (self, pace) {
            (Self::Of(size), _) => size as usize,
            (Self::Auto, Some(pace)) => {
                usize::try_from(Self::TARGET.as_micros() / pace.as_micros().max(1)).unwrap_or(usize::MAX)
            }
            (Self::Auto, None) => items.div_ceil(Self::TASKS_AT_FIRST),
        };
        size.clamp(1, Self::MAX as usize)
    }
}

/// Where items come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Items {
    /// These; each text in them is a template.
    List(Vec<Value>),
    /// A template whose value is a list, such as `{{ results.files }}`.
    Template(String),
    /// The rows of a query: its text is a template, rendered with [`crate::Quote::None`].
    Query(SqlText),
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
            Items::Template(template) | Items::Query(SqlText::Inline(template)) => vec![template.clone()],
            Items::Query(SqlText::File(_)) => Vec::new(),
        }
    }

    /// The query whose rows are the items: an attempt of its own runs it, before there are any.
    #[must_use]
    pub fn query(&self) -> Option<&SqlText> {
        match &self.items {
            Items::Query(sql) => Some(sql),
            Items::List(_) | Items::Template(_) => None,
        }
    }

    /// What its query gave, as items.
    pub fn of_rows(&self, rows: Option<&Value>) -> Result<Vec<Value>, String> {
        self.within_limit(listed(rows.cloned().unwrap_or_default())?)
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
            Items::Query(_) => return Err("the rows of `for_each:` are not there yet".to_owned()),
        };
        self.within_limit(items)
    }

    fn within_limit(&self, items: Vec<Value>) -> Result<Vec<Value>, String> {
        if items.len() > self.max_items as usize {
            let (count, max) = (items.len(), self.max_items);
            return Err(format!(
                "`for_each:` has {count} items, and at most {max} are allowed: raise `max_items:`, or give fewer and larger items"
            ));
        }
        Ok(items)
    }
}

/// Items, so many together.
#[must_use]
pub fn packed(items: Vec<Value>, size: usize) -> Vec<Value> {
    items.chunks(size.max(1)).map(|group| Value::Array(group.to_vec())).collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use jiff::SignedDuration;

    use super::{Grouping, packed};

    /// A worker elsewhere has to know that a task's item is a group of them.
    #[test]
    fn what_a_task_goes_over_travels_with_it() {
        let text = "flow: f\ntasks: {a: {for_each: {items: [1], group: auto}, shell: 'true'}, b: {for_each: '{{ range(2) | list }}', shell: 'true'}}";
        let flow = crate::Flow::parse("f.yaml", text, &crate::Project::default()).unwrap();
        for task in &flow.tasks {
            let there: crate::Task = serde_json::from_value(serde_json::to_value(task).unwrap()).unwrap();
            assert_eq!(there.for_each, task.for_each);
        }
    }

    #[test]
    fn groups_have_the_size_that_was_asked_for_or_that_takes_two_minutes() {
        let ms = |ms| Some(SignedDuration::from_millis(ms));
        let cases = [
            (Grouping::Of(7), 100, ms(1), 7),
            (Grouping::Auto, 10_000, None, 100),
            (Grouping::Auto, 30, None, 1),
            (Grouping::Auto, 10_000, ms(1_000), 120),
            (Grouping::Auto, 10_000, ms(600_000), 1),
            (Grouping::Auto, 10_000, ms(0), 1_000),
        ];
        for (grouping, items, pace, size) in cases {
            assert_eq!(grouping.size(items, pace), size, "{grouping:?} {items} {pace:?}");
        }
        let items = (1..=5).map(Into::into).collect();
        assert_eq!(serde_json::Value::from(packed(items, 2)), serde_json::json!([[1, 2], [3, 4], [5]]));
    }
}
