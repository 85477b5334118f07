//! The logical dataflow graph: what a query computes, before anyone decides on threads.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::aggregate::AggregateFunction;
use crate::definition::OperatorDefinition;
use crate::expression::{Expression, NamedExpression};
use crate::trigger::Trigger;

/// The index of a node in its graph.
pub type NodeId = usize;

/// A directed acyclic graph of operators, in topological order: a node's inputs stand before it.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The operators.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operator whose inputs are already there.
    pub fn push(&mut self, operator: LogicalOperator, inputs: Vec<NodeId>, schema: SchemaRef) -> NodeId {
        self.nodes.push(Node { inputs, operator, schema });
        self.nodes.len() - 1
    }

    /// Whether a node's rows are a changelog (`+I -U +U -D`) rather than inserts only.
    pub fn is_updating(&self, node: NodeId) -> bool {
        let Some(Node { inputs, operator, .. }) = self.nodes.get(node) else { return false };
        match operator {
            LogicalOperator::Source { has_changes, .. } => *has_changes,
            LogicalOperator::WindowAggregate { trigger, .. } => trigger.is_updating(),
            // Rows that are dropped are as they came.
            LogicalOperator::LateRows { port } => inputs.iter().any(|input| {
                let inputs = self.nodes.get(*input).map(|node| self.updating_inputs(&node.inputs, *input));
                inputs.is_some_and(|inputs| inputs.get(*port) == Some(&true))
            }),
            LogicalOperator::Apply(definition) => definition.is_updating(&self.updating_inputs(inputs, node)),
            _ => self.updating_inputs(inputs, node).contains(&true),
        }
    }

    /// Whether somebody takes the rows that a node drops as too late.
    pub fn gives_late_rows(&self, node: NodeId) -> bool {
        let takes =
            |taker: &Node| matches!(taker.operator, LogicalOperator::LateRows { .. }) && taker.inputs.contains(&node);
        self.nodes.iter().any(takes)
    }

    /// What a user should know before it runs for ever: operators whose state nothing bounds, with the remedy.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |node: &Node| match &node.operator {
            LogicalOperator::Apply(definition) => definition.warning(),
            _ => None,
        };
        self.nodes.iter().filter_map(warning).collect()
    }

    /// How many nodes take each node's rows.
    pub(crate) fn consumers(&self) -> Vec<usize> {
        let mut consumers = vec![0; self.nodes.len()];
        // Late rows are taken aside.
        let takers = self.nodes.iter().filter(|node| !matches!(node.operator, LogicalOperator::LateRows { .. }));
        for input in takers.flat_map(|node| &node.inputs) {
            if let Some(count) = consumers.get_mut(*input) {
                *count += 1;
            }
        }
        consumers
    }

    fn updating_inputs(&self, inputs: &[NodeId], node: NodeId) -> Vec<bool> {
        inputs.iter().map(|input| *input < node && self.is_updating(*input)).collect()
    }
}

/// An operator, its inputs, and the rows it gives.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where its rows come from, one a port.
    pub inputs: Vec<NodeId>,
    /// What it does.
    pub operator: LogicalOperator,
    /// The columns of its output.
    pub schema: SchemaRef,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum LogicalOperator {
    /// Rows of a table, as its connector gives them.
    Source {
        /// The table's full name.
        table: String,
        /// The columns read, as indices into the table's physical columns.
        projection: Vec<usize>,
        /// Whether its rows are a changelog.
        has_changes: bool,
    },
    /// Says how event time advances: the running maximum, per source partition, of `bound` over the rows read. Stands on
    /// a `Source`, with nothing but `Project`s and `ProcessingTime` between, so that it sees every row read and knows its partition.
    Watermark {
        /// The event-time column (a timestamp of any unit).
        column: usize,
        /// For each row, the watermark that it allows, for example `ts - INTERVAL '2' HOUR` (a timestamp).
        bound: Arc<dyn Expression>,
        /// Whether the bound is the processing time itself: then time goes on with the clock, also when no rows come.
        is_clock: bool,
    },
    /// Appends a column that says when the engine read the row, by the job's clock. Stands on a `Source`.
    ProcessingTime,
    /// Computes columns.
    Project {
        /// The columns of the output.
        expressions: Vec<NamedExpression>,
    },
    /// Keeps the rows for which the predicate is true.
    Filter {
        /// A boolean expression.
        predicate: Arc<dyn Expression>,
    },
    /// Gives each row once for each window it belongs to, and appends `window_start`, `window_end`, `window_time` (the end
    /// less 1 ms), each a timestamp of the type that the node's schema says. Rows whose time is null are left out and counted.
    WindowAssign {
        /// The time column.
        column: usize,
        /// Which windows there are.
        window: Window,
    },
    /// Aggregates per key and event-time window, and gives a result when the watermark passes the window's end.
    /// Output columns: the keys, then `window_start`, `window_end` (timestamps of the type that the node's schema says),
    /// then the aggregates; a `Project` follows. Rows whose time is null are left out and counted. With early results or
    /// an allowed lateness the output is a changelog: see [`Graph::is_updating`].
    WindowAggregate {
        /// The time column of the input.
        column: usize,
        /// Which windows there are.
        window: Window,
        /// The grouping keys (without the window).
        keys: Vec<NamedExpression>,
        /// What is computed.
        aggregates: Vec<AggregateCall>,
        /// When windows give results besides when they end.
        trigger: Trigger,
    },
    /// What the definition says: every operator that the planner need not know.
    Apply(Arc<dyn OperatorDefinition>),
    /// The rows that its input, an operator that bounds its state by the watermark, drops because they are too late, with
    /// the columns that they had there: a side output, beside which the operator's own output goes on as ever.
    LateRows {
        /// The input of that operator from which they come.
        port: usize,
    },
    /// All rows of all inputs.
    Union,
    /// Writes the rows to a table or view.
    Sink {
        /// Its full name.
        table: String,
    },
}

/// How event time is cut into windows. Sizes in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Fixed windows of one size, side by side: `[k * size + offset, (k + 1) * size + offset)`.
    Tumbling {
        /// The size.
        size_ms: i64,
        /// Where windows begin, relative to the epoch.
        offset_ms: i64,
    },
    /// Windows of one size of which a new one begins at every slide: `[k * slide + offset, k * slide + offset + size)`.
    Hopping {
        /// From the beginning of a window to that of the next.
        slide_ms: i64,
        /// The size.
        size_ms: i64,
        /// Where windows begin, relative to the epoch.
        offset_ms: i64,
    },
    /// Windows that begin together and end one step after the other, until the largest has the size:
    /// `[k * size + offset, k * size + offset + j * step)` for `j` from 1 to `size / step`.
    Cumulating {
        /// From the end of a window to that of the next.
        step_ms: i64,
        /// The size of the largest, a multiple of the step.
        size_ms: i64,
        /// Where windows begin, relative to the epoch.
        offset_ms: i64,
    },
}

/// One aggregate of an aggregation.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// The output column's name.
    pub name: String,
    /// The function, with bound argument types.
    pub function: Arc<dyn AggregateFunction>,
    /// Its arguments, over the input rows.
    pub arguments: Vec<Arc<dyn Expression>>,
    /// `FILTER (WHERE ...)`.
    pub filter: Option<Arc<dyn Expression>>,
}
