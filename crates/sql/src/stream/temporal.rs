//! `JOIN ... FOR SYSTEM_TIME AS OF`: a temporal join by event time; by processing time a lookup join.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::join::{Join, Sides, TemporalJoin};

use super::join::{condition, key_pairs, kind_of, on_text};
use super::time_attribute::{TimeAttribute, time_attribute};
use super::translate::{Rows, Translation};
use crate::plan::temporal::{TemporalJoinNode, Versions};
use crate::problem::SqlError;

impl Translation {
    /// A temporal or lookup join.
    pub(super) fn temporal_join(&mut self, join: &TemporalJoinNode) -> Result<Rows, SqlError> {
        let is_lookup = join.versions.is_none();
        let input = self.input(&join.left, !is_lookup)?;
        let left = input.rows.clone();
        let pairs = key_pairs(&join.on, &left.schema, join.right.schema())?;
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = pairs.into_iter().unzip();
        let (left, left_keys) = self.with_keys(left, &left_keys)?;
        let table_begins = self.graph.nodes.len();
        let right = if is_lookup { self.rows_apart(&join.right)? } else { self.rows(&join.right)? };
        // There is one version of a time; what is looked up may be there several times.
        let left_key = input.key_of_plan(&left.key);
        let key = if is_lookup { left_key.beside(&right.key, input.width) } else { left_key };
        let outputs = Sides { left: (0..input.width).collect(), right: (0..right.schema.fields().len()).collect() };
        let (right, right_keys) = self.with_keys(right, &right_keys)?;
        let condition = join.condition.as_ref().map(|filter| condition(filter, &left, &right)).transpose()?;
        let keys = Sides { left: left_keys, right: right_keys };
        let primary_key = if join.is_by_primary_key { ", the primary key" } else { "" };
        let on = on_text(&join.on) + primary_key;
        let kind = kind_of(join.join_type);
        let operator = match &join.versions {
            Some(versions) => {
                let times = Sides {
                    left: event_time(&join.left, versions, true)?,
                    right: event_time(&join.right, versions, false)?,
                };
                LogicalOperator::Apply(Arc::new(TemporalJoin {
                    kind,
                    keys,
                    on,
                    times,
                    condition,
                    outputs,
                    time_to_live: self.time_to_live,
                }))
            }
            None if !self.graph.is_updating(left.node)
                && let Some(table) = self.take_table(table_begins)? =>
            {
                let lookup = table.lookup(kind, keys, on, condition, outputs, &right.schema)?;
                let schema = UserDefinedLogicalNodeCore::schema(join);
                return Ok(self.push(LogicalOperator::Apply(Arc::new(lookup)), vec![left.node], schema, key));
            }
            None => LogicalOperator::Apply(Arc::new(Join {
                kind,
                keys,
                on,
                nulls_match: false,
                condition,
                outputs,
                retention: None,
                time_to_live: None,
                is_lookup,
                is_right_everywhere: false,
                left_by: Vec::new(),
                contest: None,
            })),
        };
        let inputs = vec![left.node, right.node];
        let rows = self.push(operator, inputs, UserDefinedLogicalNodeCore::schema(join), key);
        self.late_rows_of((rows.node, 0), &left.schema, input.late_table.as_deref())?;
        Ok(rows)
    }
}

/// The index of a side's time column, of which the watermark must speak.
fn event_time(side: &LogicalPlan, versions: &Versions, is_left: bool) -> Result<usize, SqlError> {
    let column = if is_left { &versions.time } else { &versions.from };
    let index = side.schema().index_of_column(column)?;
    if matches!(time_attribute(side, index), Some(TimeAttribute::EventTime | TimeAttribute::WindowTime)) {
        return Ok(index);
    }
    let name = &column.name;
    Err(SqlError::NotInStream {
        construct: format!("FOR SYSTEM_TIME AS OF over {name}, of which no watermark speaks,"),
        remedy: format!("add WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND to its table"),
    })
}
