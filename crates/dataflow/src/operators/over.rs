//! OVER windows: each row with what a function makes of the rows around it in its partition.
//!
//! Ordered by event time over inserts only, rows wait until the watermark has passed them and come out once, in order
//! within their partition; of the rows before, only those are kept that a frame can still reach, or the state of a function
//! that goes on from where it was. Rows that come later than the watermark are dropped and counted.
//!
//! In any other case a partition is kept whole; whenever it has changed in a turn it is computed again, and what is
//! different from before is given out as a changelog.
//!
//! With a time to live, a partition that no row has touched for so long is forgotten; its next row begins anew.

mod changing;
mod in_time;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::row_store::OrderColumn;
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError};
use crate::time_to_live::TimeToLive;
use crate::window_function::{Reach, WindowFunction};

/// Appends a column for each window function; all of them have the same partition and order.
#[derive(Clone, Debug)]
pub struct OverDefinition {
    /// The input's columns.
    pub input: SchemaRef,
    /// The columns of the partition; none for one partition.
    pub partition: Vec<usize>,
    /// The order within.
    pub order: Vec<OrderColumn>,
    /// What is computed.
    pub functions: Vec<Arc<dyn WindowFunction>>,
    /// The event-time column, where it comes first in the order, ascending, nulls last.
    pub time: Option<usize>,
    /// How long a partition that no row touches is kept.
    pub time_to_live: Option<TimeToLive>,
}

impl OverDefinition {
    /// The event-time column, if rows come out once, in its order.
    fn in_time(&self, input_is_updating: bool) -> Option<usize> {
        let looks_ahead = self.functions.iter().any(|function| function.reach() == Reach::Ahead);
        self.time.filter(|_| !input_is_updating && !looks_ahead)
    }
}

impl OperatorDefinition for OverDefinition {
    fn describe(&self) -> String {
        let functions: Vec<String> = self.functions.iter().map(ToString::to_string).collect();
        let forgets = self.time_to_live.filter(|_| !self.partition.is_empty());
        let forgets = forgets.map_or_else(String::new, |ttl| format!(", forgetting partitions after {ttl}"));
        format!("compute {}{forgets}", functions.join(", "))
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Keyed(self.partition.clone())
    }

    fn keyed_by(&self) -> Option<Vec<usize>> {
        Some(self.partition.clone())
    }

    fn is_updating(&self, inputs: &[bool]) -> bool {
        self.in_time(inputs.contains(&true)).is_none()
    }

    fn instance(&self, inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        let is_updating = inputs.iter().any(|port| port.is_updating);
        Ok(match self.in_time(is_updating) {
            Some(time) => Box::new(in_time::InTime::new(self.clone(), time, schema.clone())?),
            None => Box::new(changing::Changing::new(self.clone(), schema.clone())?),
        })
    }
}

/// The part of the state that holds rows.
const ROWS: &str = "rows";

fn no_part(name: &str) -> OperatorError {
    OperatorError::Unsupported(format!("OVER windows have no state of the name {name}"))
}

/// The result of each function for each row.
fn evaluate(
    functions: &[Arc<dyn WindowFunction>],
    rows: &RecordBatch,
    partitions: &[Range<usize>],
) -> Result<Vec<ArrayRef>, OperatorError> {
    let result = |function: &Arc<dyn WindowFunction>| Ok(function.evaluate(rows, partitions)?);
    functions.iter().map(result).collect()
}
