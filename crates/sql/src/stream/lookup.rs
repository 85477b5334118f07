//! What stands right of a lookup join, where it is a table with nothing but projections and filters above it: then the
//! table is not read as a stream, but asked.

use std::sync::Arc;

use datafusion::common::DFSchema;
use mulgil_connect::lookup::{LookupCache, LookupOptions};
use mulgil_dataflow::definition::LookupRead;
use mulgil_dataflow::expression::Expression;
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::join::{Cache, Condition, JoinKind, LookupJoin, Preparation, Sides};

use super::translate::{Translation, arrow_schema};
use crate::problem::SqlError;

/// A table that is looked up, and what becomes of its rows.
pub(super) struct LookedUp {
    table: String,
    projection: Vec<usize>,
    preparation: Vec<Preparation>,
    /// For each column of the rows, the table's column that it repeats.
    origins: Vec<Option<usize>>,
    options: LookupOptions,
}

impl Translation {
    /// Takes a table with its projections and filters off the end of the graph; `None`, and the graph as it was, where
    /// other things stand there from node `begin` on.
    pub(super) fn take_table(&mut self, begin: usize) -> Result<Option<LookedUp>, SqlError> {
        let Some((source, above)) = self.graph.nodes.get(begin..).and_then(<[_]>::split_first) else { return Ok(None) };
        let LogicalOperator::Source { table, projection, .. } = &source.operator else { return Ok(None) };
        let Some(options) = self.lookups.get(table).copied() else { return Ok(None) };
        let mut preparation = Vec::new();
        let mut origins: Vec<Option<usize>> = projection.iter().copied().map(Some).collect();
        for (number, node) in (begin + 1..).zip(above) {
            if node.inputs != [number - 1] {
                return Ok(None);
            }
            match &node.operator {
                LogicalOperator::Project { expressions } => {
                    let origin = |expression: &Arc<dyn Expression>| {
                        expression.as_column().and_then(|column| origins.get(column).copied().flatten())
                    };
                    origins = expressions.iter().map(|named| origin(&named.expression)).collect();
                    preparation.push(Preparation::Project(expressions.clone(), Arc::clone(&node.schema)));
                }
                LogicalOperator::Filter { predicate } => preparation.push(Preparation::Filter(Arc::clone(predicate))),
                // What is looked up has no time of its own.
                LogicalOperator::Watermark { .. } => {}
                _ => return Ok(None),
            }
        }
        let looked_up =
            LookedUp { table: table.clone(), projection: projection.clone(), preparation, origins, options };
        self.graph.nodes.truncate(begin);
        Ok(Some(looked_up))
    }
}

impl LookedUp {
    /// The join with this table.
    pub(super) fn lookup(
        self,
        kind: JoinKind,
        keys: Sides<Vec<usize>>,
        on: String,
        condition: Option<Condition>,
        outputs: Sides<Vec<usize>>,
        right: &DFSchema,
    ) -> Result<LookupJoin, SqlError> {
        let pairs = keys.right.iter().enumerate();
        let asked = pairs.filter_map(|(pair, column)| Some((pair, self.origins.get(*column).copied().flatten()?)));
        let (asked_by, columns): (Vec<usize>, Vec<usize>) = asked.unzip();
        let (cache, reload_ms) = match self.options.cache {
            LookupCache::None => (Cache::None, None),
            LookupCache::Partial { rows_max, expire_after_write, keeps_missing } => {
                let ttl_ms = expire_after_write.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
                (Cache::Partial { rows_max, ttl_ms, keeps_missing }, None)
            }
            LookupCache::Full { reload_interval } => {
                (Cache::None, Some(u64::try_from(reload_interval.as_millis()).unwrap_or(u64::MAX)))
            }
        };
        let is_whole = reload_ms.is_some();
        if !is_whole && columns.is_empty() {
            return Err(SqlError::NotInStream {
                construct: format!(
                    "FOR SYSTEM_TIME AS OF of {} by {on}, which no column of it answers alone,",
                    self.table
                ),
                remedy: "compare a column of the table with an expression of its type, or set 'lookup.cache' = 'FULL'"
                    .to_owned(),
            });
        }
        let read = LookupRead {
            table: self.table,
            projection: self.projection,
            keys: (!is_whole).then_some(columns),
            retries_max: self.options.retries_max,
            reload_ms,
        };
        let (right, capacity, preparation) = (arrow_schema(right), self.options.capacity, self.preparation);
        Ok(LookupJoin { kind, read, preparation, right, keys, asked_by, on, condition, outputs, cache, capacity })
    }
}
