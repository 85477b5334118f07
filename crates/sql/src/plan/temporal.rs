//! The logical node of a temporal join: each left row with the version of the right table that holds at its time; and of
//! a lookup join: with what the right table holds.
//!
//! The versions of a key follow each other in the order of the right side's time; of several at one time the one whose
//! columns are largest, in their order, counts. Batch makes each version's span of time of it, and joins ranges.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, Result, plan_err};
use datafusion::functions_window::expr_fn::lead;
use datafusion::logical_expr::utils::{conjunction, find_valid_equijoin_key_pair, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, build_join_schema,
};

use super::keep_last::all_versions;
use crate::stream::time_attribute::{TimeAttribute, time_attribute};

/// Of which time a version is meant, and which column says from when it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Versions {
    /// A column of the left side.
    pub(crate) time: Column,
    /// A column of the right side.
    pub(crate) from: Column,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TemporalJoinNode {
    pub(crate) left: LogicalPlan,
    pub(crate) right: LogicalPlan,
    /// Inner or left.
    pub(crate) join_type: JoinType,
    /// What must be equal.
    pub(crate) on: Vec<(Expr, Expr)>,
    /// What else must hold for the version that was found.
    pub(crate) condition: Option<Expr>,
    /// `None` for a lookup join.
    pub(crate) versions: Option<Versions>,
    /// Whether `on` names the right table's primary key.
    pub(crate) is_by_primary_key: bool,
    schema: DFSchemaRef,
}

/// The column that says until when a version holds, in batch.
const VALID_TO: &str = "valid_to #";

impl TemporalJoinNode {
    /// The join of `join`'s left side with the versions of `right`: at `time`, or as it is. Of a table with a primary key
    /// (by the indices of its columns) a version is one of that key, whatever else the condition compares.
    pub(super) fn of(join: &Join, right: LogicalPlan, time: Option<Column>, primary_key: &[usize]) -> Result<Self> {
        let left = join.left.as_ref().clone();
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return plan_err!("FOR SYSTEM_TIME AS OF is for JOIN and LEFT JOIN");
        }
        let mut on = join.on.clone();
        let mut rest = Vec::new();
        for conjunct in join.filter.iter().cloned().flat_map(split_conjunction_owned) {
            let pair = match &conjunct {
                Expr::BinaryExpr(binary) if binary.op == datafusion::logical_expr::Operator::Eq => {
                    find_valid_equijoin_key_pair(&binary.left, &binary.right, left.schema(), right.schema())?
                }
                _ => None,
            };
            match pair {
                Some(pair) => on.push(pair),
                None => rest.push(conjunct),
            }
        }
        if on.is_empty() {
            return plan_err!("FOR SYSTEM_TIME AS OF needs a key: ON o.key = t.key");
        }
        let is_by_primary_key = keep_primary_key(&mut on, &mut rest, &right, primary_key);
        let right = match &time {
            Some(_) => as_versions(right, &on)?,
            None => right,
        };
        let versions = match time {
            None => None,
            Some(time) => {
                let Some(from) = version_column(&right) else {
                    return plan_err!(
                        "the table of FOR SYSTEM_TIME AS OF {} has no watermark, so nothing says from when its versions hold",
                        time.flat_name()
                    );
                };
                Some(Versions { time, from: Column::from(right.schema().qualified_field(from)) })
            }
        };
        let node = Self::new(left, right, join.join_type, on, conjunction(rest), versions)?;
        Ok(Self { is_by_primary_key, ..node })
    }

    fn new(
        left: LogicalPlan,
        right: LogicalPlan,
        join_type: JoinType,
        on: Vec<(Expr, Expr)>,
        condition: Option<Expr>,
        versions: Option<Versions>,
    ) -> Result<Self> {
        let schema = build_join_schema(left.schema(), right.schema(), &join_type)?.into();
        Ok(Self { left, right, join_type, on, condition, versions, is_by_primary_key: false, schema })
    }

    /// A plan of DataFusion's that gives the same.
    pub(super) fn expand(&self) -> Result<LogicalPlan> {
        let keys: (Vec<Expr>, Vec<Expr>) = self.on.iter().cloned().unzip();
        let left = LogicalPlanBuilder::from(self.left.clone());
        let Some(Versions { time, from }) = &self.versions else {
            return left.join_with_expr_keys(self.right.clone(), self.join_type, keys, self.condition.clone())?.build();
        };
        let (time, from) = (Expr::Column(time.clone()), Expr::Column(from.clone()));
        let columns = self.right.schema().columns().into_iter().map(Expr::Column);
        let order = std::iter::once(from.clone()).chain(columns).map(|column| column.sort(true, true));
        let valid_to = lead(from.clone(), Some(1), None)
            .partition_by(keys.1.clone())
            .order_by(order.collect())
            .build()?
            .alias(VALID_TO);
        let versions =
            LogicalPlanBuilder::from(self.right.clone()).filter(from.clone().is_not_null())?.window(vec![valid_to])?;
        let valid_to = Expr::Column(Column::new_unqualified(VALID_TO));
        let holds = time.clone().gt_eq(from).and(valid_to.clone().is_null().or(time.lt(valid_to)));
        let condition = conjunction(std::iter::once(holds).chain(self.condition.clone()));
        let columns = self.schema.columns().into_iter().map(Expr::Column);
        left.join_with_expr_keys(versions.build()?, self.join_type, keys, condition)?
            .project(columns.collect::<Vec<Expr>>())?
            .build()
    }

    fn columns_used(&self, schema: &DFSchema) -> Vec<usize> {
        let expressions = self.expressions();
        let refs = expressions.iter().flat_map(Expr::column_refs);
        refs.filter_map(|column| schema.maybe_index_of_column(column)).collect()
    }
}

/// Keeps the pairs that name the primary key, where all of it is named; what else must be equal is a condition.
fn keep_primary_key(
    on: &mut Vec<(Expr, Expr)>,
    rest: &mut Vec<Expr>,
    right: &LogicalPlan,
    primary_key: &[usize],
) -> bool {
    let place = |expression: &Expr| match expression {
        Expr::Column(column) => {
            right.schema().maybe_index_of_column(column).and_then(|index| primary_key.iter().position(|k| *k == index))
        }
        _ => None,
    };
    let mut named: Vec<usize> = on.iter().filter_map(|(_, key)| place(key)).collect();
    named.sort_unstable();
    named.dedup();
    if primary_key.is_empty() || named.len() < primary_key.len() {
        return false;
    }
    let (keys, others): (Vec<_>, Vec<_>) = std::mem::take(on).into_iter().partition(|(_, key)| place(key).is_some());
    *on = keys;
    rest.extend(others.into_iter().map(|(left, right)| left.eq(right)));
    true
}

/// A table's versions, where `right` keeps the last ones of the keys that are joined; else `right`.
fn as_versions(right: LogicalPlan, on: &[(Expr, Expr)]) -> Result<LogicalPlan> {
    let key = |(_, key): &(Expr, Expr)| match key {
        Expr::Column(column) => right.schema().maybe_index_of_column(column),
        _ => None,
    };
    let Some(keys) = on.iter().map(key).collect::<Option<Vec<usize>>>() else { return Ok(right) };
    for time in 0..right.schema().fields().len() {
        if let Some(all) = all_versions(&right, &keys, time)?
            && version_column(&all) == Some(time)
        {
            return Ok(all);
        }
    }
    Ok(right)
}

/// The column that says from when a row holds: that of the watermark; else the only timestamp.
fn version_column(plan: &LogicalPlan) -> Option<usize> {
    let columns = 0..plan.schema().fields().len();
    let is_event_time = |column: &usize| time_attribute(plan, *column) == Some(TimeAttribute::EventTime);
    columns.clone().find(is_event_time).or_else(|| {
        let is_timestamp = |column: &usize| matches!(plan.schema().field(*column).data_type(), DataType::Timestamp(..));
        let mut timestamps = columns.filter(is_timestamp);
        timestamps.next().filter(|_| timestamps.next().is_none())
    })
}

impl PartialOrd for TemporalJoinNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.left.partial_cmp(&other.left)
    }
}

impl UserDefinedLogicalNodeCore for TemporalJoinNode {
    fn name(&self) -> &str {
        "TemporalJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The keys in pairs, then the times, then the condition.
    fn expressions(&self) -> Vec<Expr> {
        let keys = self.on.iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
        let times = self.versions.iter().flat_map(|versions| [versions.time.clone(), versions.from.clone()]);
        keys.chain(times.map(Expr::Column)).chain(self.condition.clone()).collect()
    }

    /// A filter beside the join is not one of a side's own rows: a filtered version would let an older one hold.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.versions {
            Some(versions) => write!(f, "TemporalJoin: as of {}", versions.time),
            None => write!(f, "LookupJoin"),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let mut on = Vec::with_capacity(self.on.len());
        for _ in &self.on {
            let (Some(left), Some(right)) = (exprs.next(), exprs.next()) else {
                return plan_err!("a temporal join has pairs of keys");
            };
            on.push((left, right));
        }
        let versions = match self.versions {
            Some(_) => match (exprs.next(), exprs.next()) {
                (Some(Expr::Column(time)), Some(Expr::Column(from))) => Some(Versions { time, from }),
                _ => return plan_err!("the times of a temporal join are columns"),
            },
            None => None,
        };
        let mut inputs = inputs.into_iter();
        match (inputs.next(), inputs.next()) {
            (Some(left), Some(right)) => {
                let node = Self::new(left, right, self.join_type, on, exprs.next(), versions)?;
                Ok(Self { is_by_primary_key: self.is_by_primary_key, ..node })
            }
            _ => plan_err!("a temporal join has two inputs"),
        }
    }

    /// Of versions all columns are needed: they decide which of several at one time counts.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let mut left: Vec<usize> = output_columns.iter().copied().filter(|column| *column < width).collect();
        left.extend(self.columns_used(self.left.schema()));
        let mut right: Vec<usize> = match self.versions {
            Some(_) => (0..self.right.schema().fields().len()).collect(),
            None => output_columns.iter().filter_map(|column| column.checked_sub(width)).collect(),
        };
        right.extend(self.columns_used(self.right.schema()));
        for columns in [&mut left, &mut right] {
            columns.sort_unstable();
            columns.dedup();
        }
        Some(vec![left, right])
    }
}
