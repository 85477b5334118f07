//! A lake table for DataFusion: Delta's own reader, which prunes files by partition and statistics, under a projection
//! that gives the declared types back.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::{ViewTable, empty::EmptyTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, ident};
use deltalake_core::DeltaTable;

use super::schema::LakeSchema;
use super::table::LakeTable;
use crate::error::ConnectError;

/// The table as it is now. One that was never written has no rows.
pub(super) async fn provider(table: &LakeTable, schema: &LakeSchema) -> Result<Arc<dyn TableProvider>, ConnectError> {
    let Some(latest) = table.latest(schema).await? else {
        return Ok(Arc::new(EmptyTable::new(Arc::clone(&schema.declared))));
    };
    let stored = DeltaTable::new(latest.log_store).table_provider().with_snapshot(latest.snapshot).await?;
    let stored_schema = stored.schema();
    let columns = schema.declared.fields().iter().map(|field| {
        let stored_type = stored_schema.field_with_name(field.name()).map(|stored| stored.data_type().clone());
        if stored_type.is_ok_and(|stored_type| stored_type == *field.data_type()) {
            ident(field.name())
        } else {
            cast(ident(field.name()), field.data_type().clone()).alias(field.name())
        }
    });
    let columns: Vec<Expr> = columns.collect();
    let plan = LogicalPlanBuilder::scan(&*table.name, provider_as_source(stored), None)?.project(columns)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
