//! Late rows as a side output: what an operator drops goes to the table that the view or statement names.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema};
use datafusion::logical_expr::{Expr, cast};
use mulgil_dataflow::expression::Expression;
use mulgil_dataflow::graph::{LogicalOperator, NodeId};

use super::expression::{BoundExpression, normalized_key};
use super::key::Key;
use super::translate::{Rows, Translation};
use crate::plan::late_rows::LateTable;
use crate::problem::SqlError;

impl Translation {
    /// Lets the rows that an operator drops go to `table`. `columns` of the operator's input are those of the table.
    pub(super) fn late_rows_to(
        &mut self,
        table: &LateTable,
        operator: NodeId,
        input: &DFSchemaRef,
        columns: Vec<Column>,
    ) -> Result<(), SqlError> {
        let late = self.push(LogicalOperator::LateRows, vec![operator], input, Key::none());
        let mut written = Vec::with_capacity(columns.len());
        for (column, field) in columns.into_iter().zip(table.schema.fields()) {
            let is_typed = input.field_from_column(&column)?.data_type() == field.data_type();
            let column = Expr::Column(column);
            let column = if is_typed { column } else { cast(column, field.data_type().clone()) };
            written.push(column.alias(field.name()));
        }
        let schema = Arc::new(DFSchema::try_from(table.schema.as_ref().clone())?);
        let rows = self.project(late, &written, &schema)?;
        self.push(LogicalOperator::Sink { table: table.name.to_string() }, vec![rows.node], &schema, Key::none());
        Ok(())
    }

    /// Keys as columns of the input, by which rows can move, as [`BoundExpression::bind_key`] has them.
    pub(super) fn keys_as_columns(&mut self, input: Rows, keys: Vec<Expr>) -> Result<(Rows, Vec<Expr>), SqlError> {
        let mut fields: Vec<_> =
            input.schema.iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        let mut columns: Vec<Expr> = input.schema.columns().into_iter().map(Expr::Column).collect();
        let mut named = Vec::with_capacity(keys.len());
        for (number, key) in keys.into_iter().enumerate() {
            let is_column = matches!(key, Expr::Column(_));
            let normalized = normalized_key(&key, &input.schema)?;
            if is_column && key == normalized {
                named.push(key);
                continue;
            }
            let data_type = BoundExpression::bind(&normalized, &input.schema)?.data_type();
            // Users cannot name a column so.
            let name = format!("key {number}");
            fields.push((None, Arc::new(Field::new(&name, data_type, true))));
            named.push(Expr::Column(Column::new_unqualified(&name)));
            columns.push(normalized.alias(name));
        }
        if columns.len() == input.schema.fields().len() {
            return Ok((input, named));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema.as_arrow().metadata().clone())?);
        Ok((self.project(input, &columns, &schema)?, named))
    }
}

/// The columns of `schema` that the table's columns are called like.
pub(super) fn columns_for(table: &LateTable, schema: &DFSchema) -> Result<Vec<Column>, SqlError> {
    let column = |field: &Arc<Field>| {
        let index = schema.fields().iter().position(|own| own.name() == field.name());
        let named = index.map(|index| Column::from(schema.qualified_field(index)));
        named.ok_or_else(|| SqlError::NotInStream {
            construct: format!(
                "column {} of table {} for late rows, which is not kept here,",
                field.name(),
                table.name
            ),
            remedy: format!("select {} where the windows are made", field.name()),
        })
    };
    table.schema.fields().iter().map(column).collect()
}
