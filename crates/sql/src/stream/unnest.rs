//! `UNNEST` as a dataflow. A list of lists is unnested one level after the other.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{DFSchema, DFSchemaRef, NullHandling};
use datafusion::logical_expr::Unnest;
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::unnest::{UnnestColumn, UnnestDefinition, WithoutElements};

use super::key::Key;
use super::translate::{Rows, Translation, arrow_schema};
use crate::problem::SqlError;

impl Translation {
    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Result<Rows, SqlError> {
        let mut input = self.rows(&unnest.input)?;
        let depth = unnest.list_type_columns.iter().map(|(_, list)| list.depth).max().unwrap_or(1);
        if depth > 1 && unnest.list_type_columns.len() > 1 {
            return Err(SqlError::not_in_stream("UNNEST of a list of lists beside another list"));
        }
        let without_elements = match unnest.options.null_handling {
            NullHandling::Drop => WithoutElements::Nothing,
            NullHandling::Preserve => WithoutElements::NullForNull,
            NullHandling::PreserveAndExpandEmpty => WithoutElements::Null,
        };
        if let (2.., Some((list, _))) = (depth, unnest.list_type_columns.first()) {
            for _ in 1..depth {
                input = self.inner_lists(input, *list, without_elements)?;
            }
        }
        let columns = columns_of(unnest)?;
        let definition = UnnestDefinition { input: arrow_schema(&input.schema), columns, without_elements };
        let operator = LogicalOperator::Apply(Arc::new(definition));
        Ok(self.push(operator, vec![input.node], &unnest.schema, Key::none()))
    }

    /// Makes a row of each list in a list.
    fn inner_lists(&mut self, input: Rows, list: usize, without_elements: WithoutElements) -> Result<Rows, SqlError> {
        let element = |field: &FieldRef| match field.data_type() {
            DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
                Arc::new(Field::new(field.name(), element.data_type().clone(), true))
            }
            _ => Arc::clone(field),
        };
        let fields = input.schema.iter().enumerate().map(|(column, (qualifier, field))| {
            (qualifier.cloned(), if column == list { element(field) } else { Arc::clone(field) })
        });
        let schema: DFSchemaRef = Arc::new(DFSchema::new_with_metadata(fields.collect(), Default::default())?);
        let columns = (0..schema.fields().len())
            .map(|column| if column == list { UnnestColumn::Elements(column) } else { UnnestColumn::Repeated(column) });
        let input_schema: Arc<Schema> = arrow_schema(&input.schema);
        let definition = UnnestDefinition { input: input_schema, columns: columns.collect(), without_elements };
        Ok(self.push(LogicalOperator::Apply(Arc::new(definition)), vec![input.node], &schema, Key::none()))
    }
}

/// Where each output column comes from.
fn columns_of(unnest: &Unnest) -> Result<Vec<UnnestColumn>, SqlError> {
    let mut columns: Vec<UnnestColumn> = Vec::with_capacity(unnest.dependency_indices.len());
    for (source, field) in unnest.dependency_indices.iter().zip(unnest.schema.fields()) {
        let is_elements = unnest
            .list_type_columns
            .iter()
            .any(|(column, list)| column == source && list.output_column.name() == field.name());
        let column = if unnest.struct_type_columns.contains(source) {
            let before =
                columns.iter().filter(|known| matches!(known, UnnestColumn::Field { column, .. } if column == source));
            UnnestColumn::Field { column: *source, field: before.count() }
        } else if is_elements {
            UnnestColumn::Elements(*source)
        } else {
            UnnestColumn::Repeated(*source)
        };
        columns.push(column);
    }
    Ok(columns)
}
