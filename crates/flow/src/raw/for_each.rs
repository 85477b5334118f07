//! What a task goes over, as it is written.

use super::word;
use crate::findings::Findings;
use crate::read::{FromNode, Located, Text, raw_map};
use crate::yaml::{Data, Node};

raw_map! {
    /// What a task goes over, and how.
    RawForEachInFull: "for_each" {
        /// The list, or a template that gives one. Either this or `sql`.
        "items" items: RawItems,
        /// A query whose rows are the items, or a .sql file with one: it runs when the task would begin.
        "sql" sql: Text,
        /// More items than this are an error. Without it, 10000.
        "max_items" max_items: Located<u32>,
        /// How many items may be under way at once. Without it, as many as the pool has slots.
        "max_parallel" max_parallel: Located<u32>,
        /// How many items one task does, one after the other: a number, or auto, which is as many as take about two minutes.
        "group" group: RawGrouping,
    }
}

/// Items: a list, or a template that gives one.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawItems {
    /// A list.
    List(Located<Vec<serde_json::Value>>),
    /// A template that gives one.
    Template(Text),
}

impl FromNode for RawItems {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match (&node.data, node.to_json()) {
            (Data::List(_), serde_json::Value::Array(value)) => Some(Self::List(Located { value, at: node.at })),
            _ => FromNode::from_node(node, findings).map(Self::Template),
        }
    }
}

/// How many items one task does: a number, or `auto`.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawGrouping {
    /// So many.
    Of(Located<u32>),
    /// In a word.
    Word(GroupingWord),
}

/// How many items one task does, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupingWord {
    /// By how long they took lately.
    Auto,
}

impl FromNode for RawGrouping {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let text = Text::from_node(node, findings)?;
        match text.value.parse() {
            Ok(value) => Some(Self::Of(Located { value, at: node.at })),
            Err(_) => {
                word(node, "group", &[("auto", GroupingWord::Auto)], findings).map(|found| Self::Word(found.value))
            }
        }
    }
}

/// What a task goes over: the items, or a map.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawForEach {
    /// The items.
    Items(RawItems),
    /// With limits.
    InFull(Box<RawForEachInFull>),
}

impl FromNode for RawForEach {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match node.data {
            Data::Map(_) => FromNode::from_node(node, findings).map(|raw| Self::InFull(Box::new(raw))),
            _ => FromNode::from_node(node, findings).map(Self::Items),
        }
    }
}
