//! A table of files for DataFusion: a condition on partition columns decides which files are opened at all.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::Files;
use super::listing::DataFile;
use super::reader::partition_array;
use crate::provider::scan;

/// A table of files.
#[derive(Debug)]
pub(crate) struct FilesProvider {
    files: Files,
}

impl FilesProvider {
    /// The table; its files are listed at every scan.
    pub(crate) fn new(files: Files) -> Self {
        Self { files }
    }

    fn is_about_partitions(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        let is_partition = |column: &&Column| self.files.partitioned_by.contains(&column.name);
        !columns.is_empty() && columns.iter().all(is_partition) && !filter.is_volatile()
    }

    /// The files whose partition values satisfy all `filters`.
    fn prune(&self, files: Vec<DataFile>, state: &dyn Session, filters: &[Expr]) -> Result<Vec<DataFile>> {
        if filters.is_empty() || files.is_empty() {
            return Ok(files);
        }
        let values = self.partition_values(&files)?;
        let schema = DFSchema::try_from(values.schema())?;
        let mut keep = vec![true; files.len()];
        for filter in filters {
            let filter = state.create_physical_expr(unqualified(filter)?, &schema)?;
            let answers = filter.evaluate(&values)?.into_array(files.len())?;
            for (kept, answer) in keep.iter_mut().zip(answers.as_boolean()) {
                *kept &= answer == Some(true);
            }
        }
        Ok(files.into_iter().zip(keep).filter_map(|(file, kept)| kept.then_some(file)).collect())
    }

    /// A row a file: the values of its partition columns.
    fn partition_values(&self, files: &[DataFile]) -> Result<RecordBatch> {
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for (index, name) in self.files.partitioned_by.iter().enumerate() {
            let field = self.files.schema.field_with_name(name)?;
            let mut values = Vec::with_capacity(files.len());
            for file in files {
                let text = file.values.get(index).and_then(Option::as_deref);
                values.push(partition_array(text, field, &file.path)?);
            }
            columns.push(concat(&values.iter().map(AsRef::as_ref).collect::<Vec<_>>())?);
            fields.push(field.clone());
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

/// The filter with columns named without their table, as in the batch of partition values.
fn unqualified(filter: &Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let stripped = filter.clone().transform(|expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(stripped.data)
}

#[async_trait]
impl TableProvider for FilesProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.files.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answers = filters.iter().map(|filter| {
            if self.is_about_partitions(filter) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        });
        Ok(answers.collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.prune(self.files.list().await?, state, filters)?;
        scan(Arc::new(self.files.with_files(files)), state, projection, limit).await
    }
}
