//! Answers prepared queries for the rows of a key from the view's index.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use mulgil_sql::point_query::PointQuery;
use mulgil_sqlport::{QueryError, Shortcut};

use crate::node::Node;

/// A query for the rows of a key, over the project as it was last read.
pub(super) struct PointAnswers {
    node: Node,
    query: PointQuery,
}

impl PointAnswers {
    pub(super) fn shortcut(node: Node, query: PointQuery) -> Arc<dyn Shortcut> {
        Arc::new(Self { node, query })
    }
}

impl fmt::Debug for PointAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PointAnswers").field("query", &self.query).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shortcut for PointAnswers {
    async fn rows(&self, parameters: &[ArrayRef]) -> Result<Option<RecordBatch>, QueryError> {
        let loaded = self.node.loaded();
        let found = loaded.views.look_up(&self.query, parameters).await;
        found.map_err(|error| QueryError::new(QueryError::INTERNAL, error.to_string()))
    }
}
