//! `PROCTIME()` as a stamp that rows get where they are read.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use mulgil_dataflow::graph::LogicalOperator;

use super::key::Key;
use super::translate::{Rows, Translation};
use crate::plan::processing_time::{column_of, is_call, replace};
use crate::problem::SqlError;

/// The column of the stamp, before it is named by its table. Users cannot name a column so.
const STAMP: &str = "processing time";

/// Whether an expression over a plan's columns is its column of `PROCTIME()`.
pub(super) fn is_processing_time(plan: &LogicalPlan, expression: &Expr) -> bool {
    match (plan, expression) {
        (LogicalPlan::Projection(projection), Expr::Column(column)) => {
            let index = projection.schema.maybe_index_of_column(column);
            let source = index.and_then(|index| projection.expr.get(index));
            source.is_some_and(|source| is_call(&source.clone().unalias_nested().data))
        }
        _ => false,
    }
}

impl Translation {
    /// A projection of the columns that a table is declared with, `PROCTIME()` among them.
    pub(super) fn stamped(&mut self, projection: &Projection) -> Result<Option<Rows>, SqlError> {
        if column_of(projection).is_none() {
            return Ok(None);
        }
        let input = self.rows(&projection.input)?;
        if !matches!(self.graph.nodes.get(input.node).map(|node| &node.operator), Some(LogicalOperator::Source { .. }))
        {
            return Err(SqlError::NotInStream {
                construct: "PROCTIME() other than as a column of a table".to_owned(),
                remedy: "add a computed column to the table: p AS PROCTIME()".to_owned(),
            });
        }
        if self.graph.is_updating(input.node) {
            return Err(SqlError::NotInStream {
                construct: "PROCTIME() as a column of a changelog, whose rows would be taken back at another time,"
                    .to_owned(),
                remedy: "leave the column out, or take an event time that the rows say".to_owned(),
            });
        }
        let stamp = Field::new(STAMP, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false);
        let mut fields: Vec<_> =
            input.schema.iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        fields.push((None, Arc::new(stamp)));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema.metadata().clone())?);
        let stamped = self.push(LogicalOperator::ProcessingTime, vec![input.node], &schema, Key::none());
        let stamp = Expr::Column(Column::new_unqualified(STAMP));
        let columns = projection.expr.iter().map(|column| Ok(replace(column.clone(), &stamp)?.data));
        let columns = columns.collect::<Result<Vec<Expr>, SqlError>>()?;
        self.project(stamped, &columns, &projection.schema).map(Some)
    }
}
