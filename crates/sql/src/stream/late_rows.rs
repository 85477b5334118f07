//! Late rows as a side output: what an operator drops goes to the table that the view or statement names.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema};
use datafusion::logical_expr::{Expr, LogicalPlan, cast};
use mulgil_dataflow::expression::Expression;
use mulgil_dataflow::graph::{LogicalOperator, NodeId};

use super::expression::{BoundExpression, normalized_key};
use super::key::Key;
use super::translate::{Rows, Translation};
use crate::plan::late_input::LateInputNode;
use crate::plan::late_rows::LateTable;
use crate::problem::SqlError;
use crate::session::QUERY_FILE;

/// An operator's input. Behind the columns that the plan says it may have more: those that its late rows are written with.
/// Where all columns decide an order, the plan's come first.
pub(super) struct Input {
    pub(super) rows: Rows,
    /// How many columns the plan says.
    pub(super) width: usize,
    /// Who takes its late rows.
    pub(super) late_table: Option<Arc<LateTable>>,
}

impl Input {
    /// A key of the rows, by the plan's columns.
    pub(super) fn key_of_plan(&self, key: &Key) -> Key {
        key.project(&(0..self.width).map(Some).collect::<Vec<Option<usize>>>())
    }
}

impl Translation {
    /// The input of an operator that drops rows as too late if `drops`.
    pub(super) fn input(&mut self, plan: &LogicalPlan, drops: bool) -> Result<Input, SqlError> {
        let Some(mark) = LateInputNode::find(plan).filter(|_| drops) else {
            let rows = self.rows(plan)?;
            return Ok(Input { width: rows.schema.fields().len(), rows, late_table: None });
        };
        let table = mark.table.clone();
        let table = table.map_err(|mistake| mistake.in_file(Path::new(QUERY_FILE)))?;
        let rows = self.rows(&mark.input)?;
        let width = plan.schema().fields().len();
        let mut columns: Vec<usize> =
            plan.schema().columns().iter().map(|own| rows.schema.index_of_column(own)).collect::<Result<_, _>>()?;
        columns
            .extend((0..rows.schema.fields().len()).filter(|column| !columns.contains(column)).collect::<Vec<usize>>());
        let fields = columns.iter().map(|column| rows.schema.qualified_field(*column));
        let fields = fields.map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, rows.schema.as_arrow().metadata().clone())?);
        let columns: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
        let is_in_order = schema.columns() == rows.schema.columns();
        let rows = if is_in_order { rows } else { self.project(rows, &columns, &schema)? };
        // A change that comes too late is no row that could be put somewhere.
        let late_table = Some(table).filter(|_| !self.graph.is_updating(rows.node));
        Ok(Input { rows, width, late_table })
    }

    /// Lets the rows of input `port` that an operator drops go to `table`, if there is one. `schema` is that of the
    /// operator's input.
    pub(super) fn late_rows_of(
        &mut self,
        (operator, port): (NodeId, usize),
        schema: &DFSchemaRef,
        table: Option<&LateTable>,
    ) -> Result<(), SqlError> {
        let Some(table) = table else { return Ok(()) };
        let columns = columns_for(table, schema)?;
        self.late_rows_to(table, (operator, port), schema, columns)
    }

    /// Lets the rows of input `port` that an operator drops go to `table`. `columns` of the operator's input are those of
    /// the table.
    pub(super) fn late_rows_to(
        &mut self,
        table: &LateTable,
        (operator, port): (NodeId, usize),
        input: &DFSchemaRef,
        columns: Vec<Column>,
    ) -> Result<(), SqlError> {
        let late = self.push(LogicalOperator::LateRows { port }, vec![operator], input, Key::none());
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
