//! A table for DataFusion: conditions on the time of its rows are the database's to look at, so that a day of a long table is read
//! from its index. Every condition is looked at again behind it.
//!
//! Only `>=` and `<` are handed on, and `=` of a day as both: a column may be declared coarser than it is stored, and then these
//! two, and no others, are true of what is stored just where they are true of what is declared.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tokio_postgres::types::Type;

use super::source::PostgresSource;
use super::{PostgresTable, quoted};
use crate::error::ConnectError;
use crate::provider::scan;

/// A table that is read in batch.
pub(super) struct PostgresProvider {
    table: PostgresTable,
    /// The columns that the database has as days or times too.
    times: Vec<String>,
}

impl PostgresProvider {
    /// Asks the database for the types of its columns. What is wrong with the table is said when it is read.
    pub(super) async fn new(table: PostgresTable) -> std::result::Result<Self, ConnectError> {
        let client = table.database.connect().await?;
        let times = [Type::DATE, Type::TIMESTAMP, Type::TIMESTAMPTZ];
        let columns = client.prepare(&format!("SELECT * FROM {} LIMIT 0", table.relation())).await;
        let columns = columns.map(|statement| {
            let times = statement.columns().iter().filter(|column| times.contains(column.type_()));
            times.map(|column| column.name().to_owned()).collect()
        });
        Ok(Self { table, times: columns.unwrap_or_default() })
    }

    /// A condition as the database understands it.
    fn condition(&self, filter: &Expr) -> Option<String> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
        if *op == Operator::And {
            return Some(format!("{} AND {}", self.condition(left)?, self.condition(right)?));
        }
        let (column, op, value) = match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
            (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
            _ => return None,
        };
        if !self.times.contains(&column.name) {
            return None;
        }
        let name = quoted(&column.name);
        match (op, value) {
            (Operator::GtEq, value) => Some(format!("{name} >= {}", literal(value)?)),
            (Operator::Lt, value) => Some(format!("{name} < {}", literal(value)?)),
            (Operator::Eq, ScalarValue::Date32(Some(day))) => {
                let (first, next) = (ScalarValue::Date32(Some(*day)), ScalarValue::Date32(day.checked_add(1)));
                Some(format!("{name} >= {} AND {name} < {}", literal(&first)?, literal(&next)?))
            }
            _ => None,
        }
    }
}

/// A day or a time as a statement spells it.
fn literal(value: &ScalarValue) -> Option<String> {
    if let ScalarValue::Date32(Some(days)) = value {
        let midnight = jiff::Timestamp::from_second(i64::from(*days) * 86_400).ok()?;
        return Some(format!("'{}'::date", midnight.strftime("%Y-%m-%d")));
    }
    let DataType::Timestamp(_, zone) = value.data_type() else { return None };
    let micros = match value {
        ScalarValue::TimestampSecond(Some(seconds), _) => seconds.checked_mul(1_000_000)?,
        ScalarValue::TimestampMillisecond(Some(millis), _) => millis.checked_mul(1_000)?,
        ScalarValue::TimestampMicrosecond(Some(micros), _) => *micros,
        ScalarValue::TimestampNanosecond(Some(nanos), _) if nanos % 1_000 == 0 => nanos / 1_000,
        _ => return None,
    };
    let time = jiff::Timestamp::from_microsecond(micros).ok()?.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string();
    // Without a zone it is UTC's, as the session has it.
    let sql_type = if zone.is_some() { "timestamptz" } else { "timestamp" };
    (!time.starts_with('-')).then(|| format!("'{time}'::{sql_type}"))
}

impl fmt::Debug for PostgresProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresProvider").field("table", &self.table.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for PostgresProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.condition(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let conditions: Vec<String> = filters.iter().filter_map(|filter| self.condition(filter)).collect();
        let condition = Some(conditions.join(" AND ")).filter(|condition| !condition.is_empty());
        let table = PostgresTable { condition, ..self.table.clone() };
        scan(Arc::new(PostgresSource::new(table)), state, projection, limit).await
    }
}
