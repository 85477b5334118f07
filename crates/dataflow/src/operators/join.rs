//! Join: every pair of a left and a right row whose keys are equal and for which the condition holds; and, as its kind
//! asks, rows of one side for which there is no such pair, or only whether there is one.
//!
//! Both sides are stored. A row that comes in is joined with what the other side has stored by then, so each pair is
//! found once, by the later of its rows. Either input may be a changelog: a row that is taken back takes back its pairs.
//! A row that comes out *alone* (outer, semi, anti) does so by the number of its matches: when that leaves zero, or comes
//! back to it, the row is corrected. This is the symmetric hash join (Wilschut and Apers, 1991) with match counts.
//!
//! A batch is joined as a whole: its keys are numbered once, all candidate pairs are named by row numbers, the condition
//! is evaluated once over them, and what is left is gathered column by column.

mod changes;
mod condition;
mod fingerprint;
mod instance;
mod journal;
mod keys;
mod kind;
mod lookup;
mod retention;
mod sealed;
mod side;
mod temporal;
mod timely;

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

pub use self::condition::Condition;
pub use self::kind::{JoinKind, Side, Sides};
pub use self::lookup::{Cache, LookupJoin, Preparation};
pub use self::retention::Retention;
pub use self::temporal::TemporalJoin;
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError};
use crate::operators::rank::Contest;
use crate::time_to_live::TimeToLive;

/// A join with everything bound.
#[derive(Clone, Debug)]
pub struct Join {
    /// What it gives.
    pub kind: JoinKind,
    /// The columns of each side that must be equal, in pairs of one type. None: everything may match everything.
    pub keys: Sides<Vec<usize>>,
    /// The same in words: `a = b AND c = d`.
    pub on: String,
    /// Whether a null in a key equals a null. Otherwise a row with a null in its key has no match.
    pub nulls_match: bool,
    /// What else must hold for a pair.
    pub condition: Option<Condition>,
    /// The columns of each side that come out, left before right. A side that does not come out has none.
    pub outputs: Sides<Vec<usize>>,
    /// Until when rows can find a partner, where the condition says so for both sides.
    pub retention: Option<Sides<Retention>>,
    /// How long rows are kept otherwise; for ever where nothing is said.
    pub time_to_live: Option<TimeToLive>,
    /// Whether the right side is a bounded table that left rows look up: it is read to its end first, every subtask holds
    /// all of it, and left rows are not stored. For inner and left joins.
    pub is_lookup: bool,
    /// Whether every subtask holds all of the right side, which is small, and left rows stay where they are. For joins
    /// without keys of which no right row comes out alone.
    pub is_right_everywhere: bool,
    /// The columns by which left rows lie then, where they may be taken back: a row's changes must find it also after a
    /// restart with another parallelism.
    pub left_by: Vec<usize>,
    /// What is asked of the pairs, by the columns that come out: those that are sure to lose may be left out.
    pub contest: Option<Contest>,
}

impl OperatorDefinition for Join {
    fn describe(&self) -> String {
        let mut text = if self.is_lookup { "lookup by ".to_owned() } else { String::new() };
        text.push_str(self.kind.name());
        if self.keys.left.is_empty() {
            text.push_str(" of everything with everything");
        } else {
            let _ = write!(text, " on {}", self.on);
        }
        if let Some(condition) = &self.condition {
            let _ = write!(text, " where {}", condition.predicate);
        }
        match (&self.retention, self.time_to_live) {
            (Some(_), _) => text.push_str(", forgetting rows by the watermark"),
            (None, Some(TimeToLive::EventTime(ms))) => {
                let _ = write!(text, ", forgetting rows after {ms} ms of event time");
            }
            (None, Some(TimeToLive::ProcessingTime(ms))) => {
                let _ = write!(text, ", forgetting rows after {ms} ms");
            }
            (None, None) => {}
        }
        if let Some(contest) = &self.contest {
            let _ = write!(text, ", leaving out pairs that are not among the first {}", contest.limit);
        }
        text
    }

    /// Only pairs of inserts can lose for ever.
    fn for_contest(&self, contest: &Contest) -> Option<Arc<dyn OperatorDefinition>> {
        (self.kind == JoinKind::Inner && self.contest.is_none())
            .then(|| Arc::new(Self { contest: Some(contest.clone()), ..self.clone() }) as Arc<dyn OperatorDefinition>)
    }

    fn distribution(&self, port: usize) -> Distribution {
        if self.is_lookup || self.is_right_everywhere {
            return match (port, self.left_by.is_empty()) {
                (0, true) => Distribution::Any,
                (0, false) => Distribution::Keyed(self.left_by.clone()),
                _ => Distribution::Broadcast,
            };
        }
        Distribution::Keyed(self.keys.of(Side::of_port(port)).clone())
    }

    fn keyed_by(&self) -> Option<Vec<usize>> {
        let place = |side: Side, first: usize| -> Option<Vec<usize>> {
            let outputs = self.outputs.of(side);
            let place = |key: &usize| Some(first + outputs.iter().position(|output| output == key)?);
            self.keys.of(side).iter().map(place).collect()
        };
        if self.keys.left.is_empty() || self.is_lookup {
            return None;
        }
        // Padding puts a null where the row's key was: only the keys of a side that is never padded say where rows lie.
        let left = || place(Side::Left, 0);
        let right = || place(Side::Right, self.outputs.left.len());
        match self.kind {
            JoinKind::Inner => left().or_else(right),
            JoinKind::Left | JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => left(),
            JoinKind::Right | JoinKind::RightSemi | JoinKind::RightAnti | JoinKind::RightMark => right(),
            JoinKind::Full => None,
        }
    }

    fn is_updating(&self, inputs: &[bool]) -> bool {
        if self.is_lookup {
            return inputs.contains(&true);
        }
        let corrects = self.kind.alone(Side::Left).unmatched || self.kind.alone(Side::Right).unmatched;
        (corrects && self.retention.is_none()) || inputs.contains(&true)
    }

    fn check(&self, inputs: &[bool]) -> Result<(), String> {
        if self.is_lookup && inputs.get(1) == Some(&true) {
            return Err("the table that is looked up changes; join it without FOR SYSTEM_TIME AS OF".to_owned());
        }
        Ok(())
    }

    fn reads_to_end(&self, port: usize) -> bool {
        self.is_lookup && port == 1
    }

    fn warning(&self) -> Option<String> {
        let is_bounded = self.retention.is_some() || self.time_to_live.is_some() || self.is_lookup;
        (!is_bounded).then(|| {
            format!(
                "the {} keeps every row of both inputs for ever; compare their time attributes in its condition \
                 (l.ts BETWEEN r.ts - INTERVAL '1' HOUR AND r.ts, or equal window ends), or set 'state-ttl'",
                self.describe()
            )
        })
    }

    fn instance(&self, inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(instance::JoinInstance::new(self, inputs, schema)?))
    }
}

#[cfg(test)]
mod tests;
