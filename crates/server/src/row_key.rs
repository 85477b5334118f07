//! The rows of a view in which columns have given values, asked for over HTTP: `key={"origin":"JFK"}`.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use mulgil_connect::definition::TableName;
use mulgil_serving::views::Views;
use mulgil_sql::point_query::{Operand, PointQuery};
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::rows::{quoted, sql_type};
use crate::sql::Rows;
use crate::views::RowsQuery;

/// Columns of a view, each with the value that it is to have: an array of one, of the column's type.
pub(crate) struct RowKey {
    columns: Vec<(usize, ArrayRef)>,
}

impl RowKey {
    /// The columns and values that a request names, if it names any.
    pub(crate) fn of(page: &RowsQuery, schema: &Schema) -> Result<Option<Self>, ApiError> {
        match (&page.key, &page.order) {
            (None, _) => Ok(None),
            (Some(text), None) => Self::parse(text, schema).map(Some),
            (Some(_), Some(_)) => {
                Err(ApiError::invalid("rows of a key have no order").with_hint("say `key` or `order`, and not both"))
            }
        }
    }

    /// Reads an object with a value for each column.
    fn parse(text: &str, schema: &Schema) -> Result<Self, ApiError> {
        let hint = "key is a JSON object of columns and values, such as {\"origin\":\"JFK\"}";
        let object: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| ApiError::invalid(format!("the key cannot be read: {error}")).with_hint(hint))?;
        if object.is_empty() {
            return Err(ApiError::invalid("the key has no column").with_hint(hint));
        }
        let column = |(name, value): (&String, &Value)| {
            let Some((at, field)) = schema.column_with_name(name) else {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                return Err(ApiError::invalid(format!("there is no column {name}"))
                    .with_hint(format!("the columns are: {}", names.join(", "))));
            };
            Ok((at, value_of(name, value, field.data_type())?))
        };
        Ok(Self { columns: object.iter().map(column).collect::<Result<_, _>>()? })
    }

    /// The rows, from the view's index where it has one for these columns.
    pub(crate) async fn rows(self, views: &Views, view: &TableName, limit: usize) -> Result<Rows, ApiError> {
        let started = Instant::now();
        let schema = views.schema(view)?;
        let (columns, values): (Vec<usize>, Vec<ArrayRef>) = self.columns.into_iter().unzip();
        let query = PointQuery {
            view: view.clone(),
            view_schema: Arc::clone(&schema),
            schema: Arc::clone(&schema),
            columns: (0..schema.fields().len()).collect(),
            equals: columns.iter().enumerate().map(|(at, column)| (*column, Operand::Parameter(at))).collect(),
            // One row more than asked for shows whether there are more.
            limit: Some(limit + 1),
        };
        if let Some(rows) = views.look_up(&query, &values).await? {
            let rows = futures::stream::iter([Ok::<RecordBatch, ArrowError>(rows)]);
            return Rows::collect(&schema, rows, limit, started).await;
        }
        let text = text_of(view, &schema, &columns, limit);
        let answer = views.session().query_with(&text, &values).await?;
        Rows::collect(&answer.schema, answer.stream, limit, started).await
    }
}

/// A value of a column's type.
fn value_of(name: &str, value: &Value, data_type: &DataType) -> Result<ArrayRef, ApiError> {
    let text = match value {
        Value::Null => return Ok(new_null_array(data_type, 1)),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            return Err(ApiError::invalid(format!("{name} = {value} is no single value")));
        }
    };
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let texts = StringArray::from(vec![text]);
    cast_with_options(&texts, data_type, &strict)
        .map_err(|_| ApiError::invalid(format!("{name} = {value} is no {}", sql_type(data_type))))
}

fn text_of(view: &TableName, schema: &SchemaRef, columns: &[usize], limit: usize) -> String {
    let names = columns.iter().filter_map(|column| schema.fields().get(*column));
    let equal = names.enumerate().map(|(at, field)| format!("{} = ${}", quoted(field.name()), at + 1));
    let equal = equal.collect::<Vec<_>>().join(" AND ");
    format!("SELECT * FROM {}.{} WHERE {equal} LIMIT {}", quoted(&view.namespace), quoted(&view.name), limit + 1)
}
