//! Rolling aggregation: `GROUP BY` without a window, over input that need not end. Each group has one row of results,
//! which changes as rows come.
//!
//! Changes are gathered: at the end of a turn each group that was touched gives at most one `-U` with its former result
//! and one `+U` with the present one; a result that has come back to what it was gives nothing. Without keys there is one
//! group, and it has a row even when the input ends without any, as in SQL.
//!
//! Keys, arguments and filters are columns of the input: a projection before the operator computes them.

mod changes;
mod counted;
mod distinct;
mod entries;
mod exact_sums;
mod extremes;
mod float_sums;
pub(super) mod key_table;
pub(super) mod lifetime;
mod lists;
mod local;
mod marked;
mod marks;
mod numbers;
mod restated;
mod rolling;
mod sealed;
mod sharing;
mod slots;
pub(super) mod state;
mod sums;
mod windows;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

use self::key_table::KeyTable;
use self::rolling::{Input, Rolling};
pub use self::windows::GroupWindows;
use crate::aggregate::AggregateFunction;
use crate::definition::{Distribution, LocalPart, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError};
use crate::time_to_live::TimeToLive;

/// One aggregate, over columns of the input.
#[derive(Clone, Debug)]
pub struct RollingCall {
    /// The function, with bound argument types.
    pub function: Arc<dyn AggregateFunction>,
    /// The columns of its arguments.
    pub arguments: Vec<usize>,
    /// Their types.
    pub argument_types: Vec<DataType>,
    /// Whether only distinct arguments count. The function is the one without `DISTINCT`.
    pub is_distinct: bool,
    /// The boolean column of `FILTER (WHERE ...)`.
    pub filter: Option<usize>,
    /// The call as a user writes it.
    pub text: String,
}

/// A rolling aggregation with everything bound. Output columns: the keys, then the results.
#[derive(Clone, Debug)]
pub struct GroupAggregate {
    /// How many of the input's columns, from the first, are the grouping keys.
    pub key_count: usize,
    /// What is computed.
    pub calls: Vec<RollingCall>,
    /// The keys as a user writes them.
    pub key_texts: Vec<String>,
    /// How long a group that no row touches is kept.
    pub time_to_live: Option<TimeToLive>,
    /// How groups are windows, where they are those of a changelog.
    pub windows: Option<GroupWindows>,
}

impl fmt::Display for GroupAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<&str> = self.calls.iter().map(|call| call.text.as_str()).collect();
        match (calls.as_slice(), self.key_texts.as_slice()) {
            ([], keys) => write!(f, "distinct {}", keys.join(", ")),
            (calls, []) => write!(f, "aggregate {}", calls.join(", ")),
            (calls, keys) => write!(f, "aggregate {} by {}", calls.join(", "), keys.join(", ")),
        }?;
        if let Some(windows) = &self.windows {
            write!(f, "{windows}")?;
        }
        match self.time_to_live {
            Some(TimeToLive::EventTime(ms)) => write!(f, ", forgetting groups after {ms} ms of event time"),
            Some(TimeToLive::ProcessingTime(ms)) => write!(f, ", forgetting groups after {ms} ms"),
            None => Ok(()),
        }
    }
}

impl OperatorDefinition for GroupAggregate {
    fn describe(&self) -> String {
        self.to_string()
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Keyed((0..self.key_count).collect())
    }

    fn keyed_by(&self) -> Option<Vec<usize>> {
        Some((0..self.key_count).collect())
    }

    /// Keys alone never change.
    fn is_updating(&self, inputs: &[bool]) -> bool {
        let gives_once = self.windows.is_some_and(|windows| windows.gives_once());
        !gives_once && (!self.calls.is_empty() || self.windows.is_some() || inputs.contains(&true))
    }

    /// Where no group is forgotten while its result stands.
    fn gives_again(&self) -> bool {
        self.windows.is_none() && self.time_to_live.is_none()
    }

    fn warning(&self) -> Option<String> {
        let closes = self.windows.is_some_and(|windows| windows.closes_after_ms.is_some());
        (self.key_count > 0 && self.time_to_live.is_none() && !closes).then(|| {
            format!(
                "the {self} keeps a state for every key for ever; aggregate per window if there are ever more keys, or set \
                 'state-ttl'"
            )
        })
    }

    fn local_part(&self, input: &Port) -> Option<LocalPart> {
        if self.windows.is_some() {
            return None;
        }
        // Rows that are taken back have to find their states: they travel as they are.
        match (input.is_updating, self.key_count) {
            (false, _) => Some(local::split(self, &input.schema)),
            (true, 0) => Some(marked::split(self, &input.schema)),
            (true, _) => None,
        }
    }

    fn instance(&self, inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        let is_updating = inputs.iter().any(|port| port.is_updating);
        let input = if is_updating || self.windows.is_some() { Input::Changes } else { Input::Rows };
        Ok(Box::new(Rolling::new(self, input, Arc::clone(schema))?))
    }
}

impl GroupAggregate {
    /// A table for the keys, which are the first columns of `schema`.
    fn key_table(&self, schema: &SchemaRef) -> Result<KeyTable, ArrowError> {
        KeyTable::new((0..self.key_count).map(|column| type_of(schema, column)))
    }
}

/// The type of a column; null where there is none.
fn type_of(schema: &SchemaRef, column: usize) -> DataType {
    schema.fields().get(column).map_or(DataType::Null, |field| field.data_type().clone())
}

#[cfg(test)]
mod tests;
