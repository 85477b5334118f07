//! The form of `retries:`.

use crate::findings::{Findings, Position};
use crate::read::{FromNode, Located, OneOrMany, Text, raw_map};
use crate::yaml::{Data, Node};

/// Automatic retries: how many, or all about them.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawRetries {
    /// How many attempts may follow the first; all else is as without a word.
    Limit(Located<u32>),
    /// With all keys.
    InFull(RawRetriesInFull),
}

raw_map! {
    /// Automatic retries.
    RawRetriesInFull: "retries" {
        /// How many attempts may follow the first.
        #[schemars(required)]
        "limit" limit: Located<u32>,
        /// The pause before the first retry, such as `30s`. Without it, one minute.
        "delay" delay: Text,
        /// By what the pause is multiplied for each further retry, at least 1. Without it, 2.
        "backoff" backoff: Located<f64>,
        /// No pause grows beyond this. Without it, six hours.
        "delay_max" delay_max: Text,
        /// By up to which share each pause is shortened, at random, so that what failed together does not come back together:
        /// 0 to 1. Without it, 0.
        "jitter" jitter: Located<f64>,
        /// The errors after which there is a retry: timeout, out_of_memory, disk_full, connection, open_files,
        /// command_not_found, other, `exit 75`, `exit 64-78`, `http 5xx`. Without it, all.
        "on" on: OneOrMany,
        /// The errors after which there is no retry, whatever `on` says: the same words.
        "never" never: OneOrMany,
    }
}

impl RawRetries {
    /// Where they stand.
    pub(crate) fn at(&self) -> Position {
        match self {
            Self::Limit(limit) => limit.at,
            Self::InFull(raw) => raw.at,
        }
    }

    /// The same with all keys.
    pub(crate) fn in_full(self) -> RawRetriesInFull {
        match self {
            Self::Limit(limit) => RawRetriesInFull { at: limit.at, limit: Some(limit), ..RawRetriesInFull::default() },
            Self::InFull(raw) => raw,
        }
    }
}

impl FromNode for RawRetries {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match node.data {
            Data::Map(_) => FromNode::from_node(node, findings).map(Self::InFull),
            _ => FromNode::from_node(node, findings).map(Self::Limit),
        }
    }
}
