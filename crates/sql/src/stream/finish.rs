//! `ORDER BY` and `LIMIT` on top of a streaming `SELECT`: applied in batch, to the final rows of a bounded input.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Column, DFSchemaRef, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;

use crate::plan::planning_state;
use crate::problem::SqlError;

/// The name under which the final rows are read.
const FINAL_ROWS: &str = "final rows";

/// What is left to do with the final rows.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The plan's top, over `core`'s columns.
    top: LogicalPlan,
    /// The columns of the final rows.
    core: DFSchemaRef,
}

impl Finish {
    /// Splits a plan into what runs as a stream and what is done afterwards.
    pub(crate) fn split(plan: LogicalPlan) -> Result<(LogicalPlan, Option<Self>), SqlError> {
        let depth = depth_of_top(&plan);
        if depth == 0 {
            return Ok((plan, None));
        }
        let mut core = &plan;
        for _ in 0..depth {
            core = match core.inputs().first() {
                Some(input) => input,
                None => return Ok((plan, None)),
            };
        }
        let core = core.clone();
        let schema = Arc::clone(core.schema());
        Ok((core, Some(Self { top: plan, core: schema })))
    }

    /// The columns after the last step.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.top.schema().fields().clone()))
    }

    /// Orders and limits the final rows.
    ///
    /// # Errors
    /// An expression cannot be evaluated.
    pub async fn apply(&self, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, SqlError> {
        let schema: SchemaRef = Arc::new(Schema::new(self.core.fields().clone()));
        let table = MemTable::try_new(schema, vec![rows])?;
        let reference = TableReference::bare(FINAL_ROWS);
        let scan = LogicalPlanBuilder::scan(reference.clone(), provider_as_source(Arc::new(table)), None)?;
        let columns = self.core.iter().map(|(qualifier, field)| {
            Expr::Column(Column::new(Some(reference.clone()), field.name()))
                .alias_qualified(qualifier.cloned(), field.name())
        });
        let core = scan.project(columns.collect::<Vec<Expr>>())?.build()?;
        let plan = replace_core(&self.top, depth_of_top(&self.top), core)?;
        let context = SessionContext::new_with_state(planning_state().clone());
        Ok(context.execute_logical_plan(plan).await?.collect().await?)
    }
}

/// How many nodes from the root down to the lowest `ORDER BY` or `LIMIT` of the top, that one included.
fn depth_of_top(plan: &LogicalPlan) -> usize {
    let (mut node, mut depth, mut lowest) = (plan, 0, 0);
    loop {
        depth += 1;
        match node {
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => lowest = depth,
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {}
            _ => return lowest,
        }
        match node.inputs().first() {
            Some(input) => node = input,
            None => return lowest,
        }
    }
}

fn replace_core(plan: &LogicalPlan, depth: usize, core: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    if depth == 0 {
        return Ok(core);
    }
    match plan.inputs().first() {
        Some(input) => {
            let input = replace_core(input, depth - 1, core)?;
            Ok(plan.with_new_exprs(plan.expressions(), vec![input])?)
        }
        None => Ok(plan.clone()),
    }
}
