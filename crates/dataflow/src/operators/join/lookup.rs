//! Lookup join: each left row with what a table beside the dataflow holds when the row is processed.
//!
//! The operator reads nothing itself. It hands out *questions* (the distinct keys of the rows of a turn) and takes *answers*
//! in as messages; who asks, and how often again when the system is gone, is the runtime's affair. Rows whose keys are
//! not known yet wait in line, up to a number; they come out in the order in which they came, and event time waits
//! behind them. What was answered may be kept, for a time and up to a number of rows; that a key has no rows is an answer
//! too. A table that cannot be asked for single keys comes as a whole, before the first row is taken, and again when it
//! has changed: then the new one takes the place of the old between two batches.
//!
//! Nothing of it is kept in checkpoints. A cut waits until no row does, and after a restart what was known is asked again.

mod instance;
mod known;
mod preparation;

use arrow::datatypes::SchemaRef;

use super::condition::Condition;
use super::kind::{JoinKind, Sides};
use crate::definition::{Distribution, LookupRead, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError};

pub use self::preparation::Preparation;

/// A lookup join with everything bound.
#[derive(Clone, Debug)]
pub struct LookupJoin {
    /// Inner or left.
    pub kind: JoinKind,
    /// The table, which of its columns are read, and by which it is asked.
    pub read: LookupRead,
    /// What becomes of the table's rows before they are joined.
    pub preparation: Vec<Preparation>,
    /// The columns of the rows that are joined.
    pub right: SchemaRef,
    /// The columns of each side that must be equal, in pairs of one type.
    pub keys: Sides<Vec<usize>>,
    /// For each column by which the table is asked, the pair of `keys` that gives its values.
    pub asked_by: Vec<usize>,
    /// The keys in words: `a = b AND c = d`.
    pub on: String,
    /// What else must hold for a pair.
    pub condition: Option<Condition>,
    /// The columns of each side that come out, left before right.
    pub outputs: Sides<Vec<usize>>,
    /// What is kept of answers. A table that comes as a whole is kept as a whole.
    pub cache: Cache,
    /// How many rows may wait for answers.
    pub capacity: usize,
}

/// What is kept of answers, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Nothing that no waiting row needs: every turn asks anew.
    None,
    /// Rows of keys that were asked for.
    Partial {
        /// The most rows; a key without rows counts as one. Those that were answered first go first.
        rows_max: usize,
        /// How long they are kept, by the machine's clock.
        ttl_ms: Option<i64>,
        /// Whether it is kept that a key has no rows.
        keeps_missing: bool,
    },
}

impl OperatorDefinition for LookupJoin {
    fn describe(&self) -> String {
        let condition = self.condition.as_ref();
        let condition = condition.map_or_else(String::new, |condition| format!(" where {}", condition.predicate));
        let way = match (&self.read.keys, self.cache) {
            (None, _) => "held as a whole".to_owned(),
            (Some(_), Cache::None) => "asked for every row".to_owned(),
            (Some(_), Cache::Partial { rows_max, .. }) => format!("with up to {rows_max} rows kept"),
        };
        format!("lookup in {} ({way}) by {} on {}{condition}", self.read.table, self.kind.name(), self.on)
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Any
    }

    fn is_updating(&self, _: &[bool]) -> bool {
        false
    }

    fn check(&self, inputs: &[bool]) -> Result<(), String> {
        if inputs.contains(&true) {
            let reason = "rows that look up a table must not change: what was found for a row could not be taken back";
            return Err(reason.to_owned());
        }
        Ok(())
    }

    fn looks_up(&self) -> Option<LookupRead> {
        Some(self.read.clone())
    }

    fn instance(&self, inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(instance::LookupInstance::new(self, inputs, schema)?))
    }
}
