//! The physical graph: a logical graph cut into *stages* joined by *exchanges*.
//!
//! A stage is a chain of operators that run one behind the other in one thread, with as many parallel instances
//! (*subtasks*) as the graph's parallelism. Rows cross between stages where the same key must meet (hash), where every
//! subtask needs them (broadcast), where load is to be spread (round-robin), or where streams part and join (forward).

mod contest;
mod plan;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::chain::{Chain, Link};
use crate::definition::{Distribution, LookupRead, OperatorDefinition, Port};
use crate::expression::{Expression, NamedExpression};
use crate::graph::{NodeId, Window};
use crate::operator::{Operator, OperatorError};
use crate::operators::aggregation::Aggregation;
use crate::operators::filter::Filter;
use crate::operators::pre_aggregate::PreAggregate;
use crate::operators::processing_time::ProcessingTime;
use crate::operators::project::Project;
use crate::operators::slice_table::Form;
use crate::operators::sliced_aggregate::SlicedAggregate;
use crate::operators::union::Union;
use crate::operators::window_aggregate::WindowAggregate;
use crate::operators::window_assign::WindowAssign;
use crate::spill::{Keys, Spilling, StateMemory};

pub use plan::{PlanError, PlanOptions, plan, plan_with};

/// Stages and the exchanges between them.
#[derive(Clone, Debug)]
pub struct PhysicalGraph {
    /// How many subtasks each stage has.
    pub parallelism: usize,
    /// The stages; whatever feeds a stage stands before it.
    pub stages: Vec<Stage>,
    /// The exchanges.
    pub edges: Vec<Edge>,
}

/// A chain of operators, with a source before it or a sink behind it if there is one.
#[derive(Clone, Debug)]
pub struct Stage {
    /// A name for people.
    pub name: String,
    /// The table its rows are read from; `None` for a stage that is fed by others.
    pub source: Option<SourceRead>,
    /// The table beside the dataflow that its first operator looks up.
    pub lookup: Option<LookupRead>,
    /// What is done, in this order.
    pub operators: Vec<StageOperator>,
    /// Its side outputs.
    pub sides: Vec<SideOutput>,
    /// The table its rows are written to.
    pub sink: Option<String>,
    /// The columns of its output.
    pub schema: SchemaRef,
    /// Whether its output is a changelog.
    pub is_updating: bool,
}

/// The rows that an operator of a stage drops as too late, where somebody takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideOutput {
    /// Which of the stage's operators.
    pub operator: usize,
    /// The input of that operator from which they come.
    pub port: usize,
}

/// Reading a table.
#[derive(Clone, Debug)]
pub struct SourceRead {
    /// The node of the logical graph.
    pub node: NodeId,
    /// The table's full name.
    pub table: String,
    /// The columns read, as indices into the table's physical columns.
    pub projection: Vec<usize>,
    /// How event time advances; `None` where the table says nothing about it: then it does so only at the end.
    pub watermark: Option<SourceWatermark>,
    /// Whether it is read up to now, also where the job follows its tables.
    pub to_end: bool,
}

/// How event time advances over the rows read.
#[derive(Clone, Debug)]
pub struct SourceWatermark {
    /// How many of the stage's operators run before the bound can be computed.
    pub after: usize,
    /// For each row, the watermark that it allows.
    pub bound: Arc<dyn Expression>,
    /// Whether the bound is the processing time: then the clock is the watermark of partitions from which no rows come.
    pub is_clock: bool,
}

/// An operator within a stage.
#[derive(Clone, Debug)]
pub struct StageOperator {
    /// The node of the logical graph whose state it holds; `None` for the local part of one, which holds none at a cut.
    pub node: Option<NodeId>,
    /// What it does, for people.
    pub name: String,
    /// What it does.
    pub kind: OperatorKind,
    /// The columns of its output.
    pub schema: SchemaRef,
}

/// What a physical operator does.
#[derive(Clone, Debug)]
pub enum OperatorKind {
    /// Appends the time of the job's clock.
    ProcessingTime,
    /// Computes columns.
    Project(Vec<NamedExpression>),
    /// Keeps some rows.
    Filter(Arc<dyn Expression>),
    /// Appends window bounds.
    WindowAssign {
        /// The time column.
        column: usize,
        /// Which windows there are.
        window: Window,
    },
    /// Makes partial states of rows.
    PreAggregate(Arc<Aggregation>),
    /// Aggregates rows, or partial states, per key and window.
    WindowAggregate(Arc<Aggregation>, Form),
    /// What the definition says, over such inputs.
    Apply(Arc<dyn OperatorDefinition>, Vec<Port>),
    /// Passes the rows of every port on.
    Union,
}

/// How rows move from one stage to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The stage that gives.
    pub from: usize,
    /// The side output of that stage, by number; `None` for its own output.
    pub side: Option<usize>,
    /// The stage that takes.
    pub to: usize,
    /// The input port of its first operator.
    pub port: usize,
    /// Which subtask gets a row.
    pub exchange: Exchange,
}

/// Which subtask of the next stage gets a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The one of the same number.
    Forward,
    /// Every one.
    Broadcast,
    /// One after the other, batch by batch.
    RoundRobin,
    /// The one that holds the key group of the key in these columns.
    Hash(Vec<usize>),
}

impl Exchange {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Exchange::Forward => "forward",
            Exchange::Broadcast => "broadcast",
            Exchange::RoundRobin => "round-robin",
            Exchange::Hash(_) => "hash",
        }
    }
}

impl Stage {
    /// Makes one instance of the operators `range` of this stage; those that can put state away do so beyond `memory`.
    ///
    /// # Errors
    /// An operator cannot be made: a key's type cannot be a key.
    pub fn chain(&self, range: std::ops::Range<usize>, memory: Option<&StateMemory>) -> Result<Chain, OperatorError> {
        let operators = self.operators.get(range.clone()).unwrap_or_default();
        let link = |(index, operator): (usize, &StageOperator)| {
            let side = |port: usize| self.sides.iter().position(|side| *side == SideOutput { operator: index, port });
            let late_rows_to = std::array::from_fn(side);
            let instance = match memory.zip(operator.keys()) {
                Some((memory, keys)) => {
                    let operator = operator.clone();
                    Box::new(Spilling::new(Box::new(move || operator.instance()), keys, memory)?)
                }
                None => operator.instance()?,
            };
            Ok(Link { name: operator.name.clone(), node: operator.node, operator: instance, late_rows_to })
        };
        Ok(Chain::new(range.zip(operators).map(link).collect::<Result<_, OperatorError>>()?))
    }
}

impl StageOperator {
    /// The keys by which its inputs lie, where its state is cut by them; `None` where it has none, or all rows are one key's.
    fn keys(&self) -> Option<Vec<Keys>> {
        let keys = match &self.kind {
            OperatorKind::WindowAggregate(aggregation, Form::States) => {
                vec![Keys::Columns((0..aggregation.keys.len()).collect())]
            }
            OperatorKind::WindowAggregate(aggregation, Form::Rows) => {
                let keys = aggregation.keys.iter().map(|key| Arc::clone(&key.expression));
                vec![Keys::Expressions(keys.collect())]
            }
            OperatorKind::Apply(definition, inputs) => {
                let keys = (0..inputs.len()).map(|port| match definition.distribution(port) {
                    Distribution::Keyed(columns) => Some(Keys::Columns(columns)),
                    Distribution::Any | Distribution::Broadcast => None,
                });
                keys.collect::<Option<Vec<Keys>>>()?
            }
            _ => return None,
        };
        (!keys.is_empty() && !keys.iter().any(Keys::is_empty)).then_some(keys)
    }

    fn instance(&self) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(match &self.kind {
            OperatorKind::ProcessingTime => Box::new(ProcessingTime::new(self.schema.clone())),
            OperatorKind::Project(expressions) => Box::new(Project::new(expressions.clone(), self.schema.clone())),
            OperatorKind::Filter(predicate) => Box::new(Filter::new(Arc::clone(predicate))),
            OperatorKind::WindowAssign { column, window } => {
                Box::new(WindowAssign::new(*column, *window, self.schema.clone()))
            }
            OperatorKind::PreAggregate(aggregation) => Box::new(PreAggregate::new(Arc::clone(aggregation))?),
            OperatorKind::WindowAggregate(aggregation, form) if !aggregation.window.is_tumbling() => {
                Box::new(SlicedAggregate::new(Arc::clone(aggregation), *form)?)
            }
            OperatorKind::WindowAggregate(aggregation, form) => {
                Box::new(WindowAggregate::new(Arc::clone(aggregation), *form)?)
            }
            OperatorKind::Apply(definition, inputs) => definition.instance(inputs, &self.schema)?,
            OperatorKind::Union => Box::new(Union::new(self.schema.clone())),
        })
    }
}

#[cfg(test)]
mod tests;
