//! From the logical plan to a dataflow graph.

use datafusion::logical_expr::LogicalPlan;
use mulgil_dataflow::graph::Graph;

use crate::problem::SqlError;

/// The sink of a bare `SELECT`.
pub const RESULT_SINK: &str = "result";

/// A statement as a dataflow.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// What to run.
    pub graph: Graph,
}

pub(crate) fn plan(plan: LogicalPlan, sink: Option<String>) -> Result<StreamPlan, SqlError> {
    let _ = (plan, sink);
    Err(SqlError::not_in_stream("this"))
}
