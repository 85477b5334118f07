//! What an operator is before it has instances: how it describes itself, how the rows of its inputs must lie, whether it
//! gives a changelog, and how an instance is made.
//!
//! The planner knows this trait and no operator behind it. So an operator is one file: its definition, its instance, and
//! the idea of both.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::operator::{Operator, OperatorError};
use crate::operators::rank::Contest;

/// How the rows of one input must lie on the subtasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// As they lie already.
    Any,
    /// Equal keys in these columns on one subtask. Without columns, all rows on one subtask.
    Keyed(Vec<usize>),
    /// Every row on every subtask.
    Broadcast,
}

/// A table beside the dataflow that an operator looks up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupRead {
    /// The table's full name.
    pub table: String,
    /// The columns read, as indices into the table's physical columns.
    pub projection: Vec<usize>,
    /// The columns by which it is asked, as indices into the table's physical columns, all of them read; `None` where it
    /// comes as a whole.
    pub keys: Option<Vec<usize>>,
    /// How often a question that failed is asked again.
    pub retries_max: u32,
    /// How often a table that comes as a whole is looked at for changes, while tables are followed.
    pub reload_ms: Option<u64>,
}

/// What an operator's input is like.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether it is a changelog (`+I -U +U -D`) rather than inserts only.
    pub is_updating: bool,
}

/// The part of an operator that can run before the exchange, on the side where rows are: it makes fewer rows of many.
#[derive(Clone, Debug)]
pub struct LocalPart {
    /// What runs before the exchange. Its input is the operator's.
    pub before: Arc<dyn OperatorDefinition>,
    /// The columns that cross the exchange.
    pub schema: SchemaRef,
    /// What runs behind it, in place of the operator.
    pub after: Arc<dyn OperatorDefinition>,
}

/// An operator with everything bound.
///
/// # Contract
/// Instances are independent of each other: the results of all subtasks together are the same for every parallelism,
/// given inputs that lie as [`OperatorDefinition::distribution`] asks.
pub trait OperatorDefinition: fmt::Debug + Send + Sync {
    /// What it does, in one line, as `explain` shows it.
    fn describe(&self) -> String;
    /// How the rows of input `port` must lie.
    fn distribution(&self, port: usize) -> Distribution;
    /// The columns of the output by whose key groups the output's rows lie, where the inputs are keyed.
    fn keyed_by(&self) -> Option<Vec<usize>> {
        None
    }
    /// Whether its output is a changelog, for inputs of which these are changelogs.
    fn is_updating(&self, inputs: &[bool]) -> bool;
    /// Whether it can run on such inputs.
    ///
    /// # Errors
    /// A sentence saying what is wrong, and what to do.
    fn check(&self, inputs: &[bool]) -> Result<(), String> {
        let _ = inputs;
        Ok(())
    }
    /// Whether input `port` must end before the operator can do anything: tables beneath it are read up to now, not
    /// followed.
    fn reads_to_end(&self, port: usize) -> bool {
        let _ = port;
        false
    }
    /// The table beside the dataflow that it looks up: the runtime asks for its rows. Only for operators of one input.
    fn looks_up(&self) -> Option<LookupRead> {
        None
    }
    /// Whether its state says all rows that it has given and that stand, so that it can give them once more (see
    /// [`Operator::give_again`]): its rows can then be computed anew by those behind it.
    fn gives_again(&self) -> bool {
        false
    }
    /// What its user should know before it runs for ever: a state that nothing bounds, and the remedy.
    fn warning(&self) -> Option<String> {
        None
    }
    /// How to split it around a hash exchange, where that pays. Only for operators of one keyed input. The keys of the
    /// split's inner schema are those that `after` asks for.
    fn local_part(&self, input: &Port) -> Option<LocalPart> {
        let _ = input;
        None
    }
    /// Where it ranks inserts: what it asks of its rows.
    fn contest(&self) -> Option<Contest> {
        None
    }
    /// The same operator, but that it may leave out inserts that are sure to lose a contest over its output's columns.
    /// `None` where it cannot, or would gain nothing.
    fn for_contest(&self, contest: &Contest) -> Option<Arc<dyn OperatorDefinition>> {
        let _ = contest;
        None
    }
    /// Makes an instance that gives rows of `schema`.
    ///
    /// # Errors
    /// A key's type cannot be a key, a function has no accumulator.
    fn instance(&self, inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError>;
}
