//! A condition on a total holds after the total is made.
//!
//! A sum without groups has a row even where there is nothing to sum up, so no condition on that row can be asked of what is summed up instead.
//! DataFusion asks it there when the condition has no column of the sum, as in `SELECT NULL AS x, count(*) ... WHERE x > 1`, and so gives a row
//! where there is none. Spark had the same fault (SPARK-22983) and mends it the same way: below such a sum nothing is pushed.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// DataFusion's rules, with conditions above totals left where they are.
pub(super) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let ours = PushDownAboveTotals::default();
    let own = |rule: Arc<dyn OptimizerRule + Send + Sync>| {
        if rule.name() == ours.name() { Arc::new(PushDownAboveTotals::default()) as _ } else { rule }
    };
    Optimizer::new().rules.into_iter().map(own).collect()
}

/// [`PushDownFilter`], but for conditions on totals.
#[derive(Debug, Default)]
pub(crate) struct PushDownAboveTotals(PushDownFilter);

impl OptimizerRule for PushDownAboveTotals {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if is_condition_on_total(&plan) { Ok(Transformed::no(plan)) } else { self.0.rewrite(plan, config) }
    }
}

/// Whether a plan is a condition, or several, on a sum that may have a row for no rows.
fn is_condition_on_total(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return false };
    match filter.input.as_ref() {
        LogicalPlan::Aggregate(sum) => {
            sum.group_expr.is_empty() || sum.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)))
        }
        input => is_condition_on_total(input),
    }
}
