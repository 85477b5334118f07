//! What becomes of a table's rows before they are joined: what stands between the table and the join in a query.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::batch::Batch;
use crate::chain::{Chain, Link};
use crate::expression::{Expression, NamedExpression};
use crate::operator::{LateRows, Operator, OperatorError, Output};
use crate::operators::filter::Filter;
use crate::operators::project::Project;

/// One step.
#[derive(Clone, Debug)]
pub enum Preparation {
    /// Computes columns, giving rows of the schema.
    Project(Vec<NamedExpression>, SchemaRef),
    /// Keeps the rows for which it is true.
    Filter(Arc<dyn Expression>),
}

/// All steps, one behind the other.
pub(super) fn chain_of(steps: &[Preparation]) -> Chain {
    let link = |step: &Preparation| -> Link {
        let (name, operator): (_, Box<dyn Operator>) = match step {
            Preparation::Project(expressions, schema) => {
                ("project", Box::new(Project::new(expressions.clone(), Arc::clone(schema))))
            }
            Preparation::Filter(predicate) => ("filter", Box::new(Filter::new(Arc::clone(predicate)))),
        };
        Link { name: name.to_owned(), node: None, operator, late_rows_to: Default::default() }
    };
    Chain::new(steps.iter().map(link).collect())
}

/// Rows of the table as they are joined.
pub(super) fn prepared(chain: &mut Chain, rows: RecordBatch) -> Result<Vec<RecordBatch>, OperatorError> {
    let mut prepared = Gathered(Vec::new());
    chain.process(0, Batch::append(rows), &mut prepared).map_err(|error| error.reason)?;
    Ok(prepared.0)
}

struct Gathered(Vec<RecordBatch>);

impl Output for Gathered {
    fn emit(&mut self, batch: Batch) {
        self.0.push(batch.rows);
    }

    fn late(&mut self, _: LateRows<'_>) {}

    fn null_time(&mut self, _: u64) {}
}
