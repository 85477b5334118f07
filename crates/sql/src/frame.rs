//! Queries built in Rust, step by step: everything that SQL can say.
//!
//! ```
//! # fn busiest(session: &mulgil_sql::session::Session) -> Result<(), mulgil_sql::problem::SqlError> {
//! use std::time::Duration;
//! use mulgil_sql::frame::{aggregate::count, col, lit, tumble};
//!
//! let busy = session
//!     .table("bid")?
//!     .filter(col("price").gt(lit(100)))?
//!     .window(tumble("date_time", Duration::from_secs(10)))?
//!     .group_by([col("auction"), col("window_end")], [count(lit(1)).alias("bids")])?
//!     .top_n(3, [col("window_end")], [col("bids").sort(false, false)])?;
//! let stream = busy.stream()?;
//! # Ok(()) }
//! ```
//!
//! A frame holds the same logical plan that SQL text becomes, so both executions are the same too; expressions are
//! DataFusion's.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{Column, JoinType, UnnestOptions};
pub use datafusion::functions_aggregate::expr_fn as aggregate;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{ExprFunctionExt, Extension, SortExpr};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
pub use datafusion::prelude::{Expr, cast, col, lit, when};
use mulgil_connect::definition::TableName;
use mulgil_dataflow::graph::Window;
use mulgil_dataflow::time_to_live::TimeToLive;
pub use mulgil_dataflow::trigger::EarlyFire;
use mulgil_dataflow::trigger::Trigger;

use crate::catalog::Catalog;
use crate::options::StreamOptions;
use crate::plan::window::{CallWindow, WindowAssignNode, WindowPolicy};
use crate::plan::{Planner, Unscanned, planning_state};
use crate::problem::{Mistake, SqlError};
use crate::session::{QUERY_FILE, single_statement};
use crate::statement::StatementKind;
use crate::stream::{self, StreamPlan};
use datafusion::sql::sqlparser::tokenizer::Location;

/// The column by which [`Frame::top_n`] knows the first rows.
const ROW_NUMBER: &str = "row number";

/// Windows of event time over a column.
#[derive(Clone, Debug)]
pub struct WindowCall {
    column: String,
    kind: WindowKind,
    trigger: Trigger,
}

#[derive(Clone, Debug)]
enum WindowKind {
    Tumble { size: Duration },
    Hop { slide: Duration, size: Duration },
    Session { gap: Duration, keys: Vec<Expr> },
}

/// Windows of one size, side by side.
pub fn tumble(column: &str, size: Duration) -> WindowCall {
    WindowCall::new(column, WindowKind::Tumble { size })
}

/// Windows of one size that begin every `slide`.
pub fn hop(column: &str, slide: Duration, size: Duration) -> WindowCall {
    WindowCall::new(column, WindowKind::Hop { slide, size })
}

/// Windows of rows of equal `keys` that follow each other by no more than `gap`.
pub fn session(column: &str, gap: Duration, keys: impl IntoIterator<Item = Expr>) -> WindowCall {
    WindowCall::new(column, WindowKind::Session { gap, keys: keys.into_iter().collect() })
}

impl WindowCall {
    fn new(column: &str, kind: WindowKind) -> Self {
        Self { column: column.to_owned(), kind, trigger: Trigger::default() }
    }

    /// Lets rows that come so much later than the watermark still update their windows.
    pub fn allowing(mut self, lateness: Duration) -> Self {
        self.trigger.allowed_lateness_ms = u64::try_from(lateness.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Lets windows give what they have so far, again and again before they end.
    pub fn early(mut self, every: EarlyFire) -> Self {
        self.trigger.early = Some(every);
        self
    }
}

/// A query as far as it is built.
#[derive(Clone, Debug)]
pub struct Frame {
    catalog: Arc<Catalog>,
    /// How long state lives that nothing else bounds.
    time_to_live: Option<TimeToLive>,
    plan: LogicalPlan,
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Frame {
    /// The rows of a table or view.
    pub(crate) fn table(catalog: &Arc<Catalog>, name: &str) -> Result<Self, SqlError> {
        let table = TableName::parse(name);
        let planner = Planner::new(catalog, planning_state(), &Unscanned, &StreamOptions::default());
        match catalog.table(&table) {
            // Columns of a table are found by its name too, as in SQL.
            Some(table) => Ok(Self { catalog: Arc::clone(catalog), time_to_live: None, plan: planner.table(table)? }),
            None => Self::sql(catalog, &format!("SELECT * FROM {name}")),
        }
    }

    /// The rows of a `SELECT`.
    pub(crate) fn sql(catalog: &Arc<Catalog>, sql: &str) -> Result<Self, SqlError> {
        let problem = |mistake: Mistake| SqlError::from(mistake.in_file(std::path::Path::new(QUERY_FILE)));
        let statement = single_statement(sql)?;
        let StatementKind::Query(query) = &statement.kind else {
            return Err(problem(Mistake::new(Location { line: 1, column: 1 }, "expected a SELECT")));
        };
        let planner = Planner::new(catalog, planning_state(), &Unscanned, &StreamOptions::default());
        let plan = planner.query(query, statement.at).map_err(problem)?;
        Ok(Self { catalog: Arc::clone(catalog), time_to_live: None, plan })
    }

    /// With a time to live for state that nothing else bounds.
    pub(crate) fn with_time_to_live(mut self, time_to_live: Option<TimeToLive>) -> Self {
        self.time_to_live = time_to_live;
        self
    }

    /// The logical plan.
    pub fn plan(&self) -> &LogicalPlan {
        &self.plan
    }

    fn then(
        self,
        step: impl FnOnce(LogicalPlanBuilder) -> datafusion::common::Result<LogicalPlanBuilder>,
    ) -> Result<Self, SqlError> {
        let plan = step(LogicalPlanBuilder::from(self.plan))?.build()?;
        Ok(Self { plan, ..self })
    }

    /// Lets the columns be named `name.column`.
    ///
    /// # Errors
    /// As DataFusion's builder, here and below: an unknown column, a type that does not fit.
    pub fn alias(self, name: &str) -> Result<Self, SqlError> {
        self.then(|plan| plan.alias(name))
    }

    /// `WHERE`.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn filter(self, predicate: Expr) -> Result<Self, SqlError> {
        self.then(|plan| plan.filter(predicate))
    }

    /// `SELECT`.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn select(self, columns: impl IntoIterator<Item = Expr>) -> Result<Self, SqlError> {
        self.then(|plan| plan.project(columns.into_iter().collect::<Vec<Expr>>()))
    }

    /// All columns, and one more.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn with_column(self, name: &str, value: Expr) -> Result<Self, SqlError> {
        let columns: Vec<Expr> = self.plan.schema().columns().into_iter().map(Expr::Column).collect();
        self.select(columns.into_iter().chain([value.alias(name)]))
    }

    /// Appends `window_start`, `window_end` and `window_time`: `TUMBLE`, `HOP` and `SESSION` of SQL.
    ///
    /// # Errors
    /// The column is no timestamp; see [`Frame::alias`].
    pub fn window(self, call: WindowCall) -> Result<Self, SqlError> {
        let time = self.plan.schema().qualified_field_with_unqualified_name(&call.column)?;
        let time = Column::from(time);
        let window = match call.kind {
            WindowKind::Tumble { size } => CallWindow::Aligned(Window::Tumbling { size_ms: ms(size), offset_ms: 0 }),
            WindowKind::Hop { slide, size } => {
                CallWindow::Aligned(Window::Hopping { slide_ms: ms(slide), size_ms: ms(size), offset_ms: 0 })
            }
            WindowKind::Session { gap, keys } => {
                let keys = datafusion::logical_expr::expr_rewriter::normalize_cols(keys, &self.plan)?;
                CallWindow::Session { gap_ms: ms(gap), keys, max_ms: None }
            }
        };
        if let CallWindow::Aligned(window) = &window {
            window.check().map_err(datafusion::common::DataFusionError::Plan)?;
        }
        let policy = WindowPolicy { trigger: call.trigger, late_rows: None };
        let node = WindowAssignNode::new(self.plan, time, window, policy)?;
        Ok(Self { plan: LogicalPlan::Extension(Extension { node: Arc::new(node) }), ..self })
    }

    /// `GROUP BY`.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn group_by(
        self,
        keys: impl IntoIterator<Item = Expr>,
        aggregates: impl IntoIterator<Item = Expr>,
    ) -> Result<Self, SqlError> {
        self.then(|plan| {
            plan.aggregate(keys.into_iter().collect::<Vec<_>>(), aggregates.into_iter().collect::<Vec<_>>())
        })
    }

    /// The first `n` rows of each partition: `ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...) <= n`.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn top_n(
        self,
        n: u64,
        partition_by: impl IntoIterator<Item = Expr>,
        order_by: impl IntoIterator<Item = SortExpr>,
    ) -> Result<Self, SqlError> {
        let columns: Vec<Expr> = self.plan.schema().columns().into_iter().map(Expr::Column).collect();
        let number = row_number().partition_by(partition_by.into_iter().collect());
        let number = number.order_by(order_by.into_iter().collect()).build()?.alias(ROW_NUMBER);
        self.over([number])?.filter(Expr::Column(Column::new_unqualified(ROW_NUMBER)).lt_eq(lit(n)))?.select(columns)
    }

    /// Appends window functions: `... OVER (...)`.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn over(self, functions: impl IntoIterator<Item = Expr>) -> Result<Self, SqlError> {
        let columns: Vec<Expr> = self.plan.schema().columns().into_iter().map(Expr::Column).collect();
        let functions: Vec<Expr> = functions.into_iter().collect();
        let bare = functions.iter().map(|function| function.clone().unalias());
        let bare = datafusion::logical_expr::expr_rewriter::normalize_cols(bare, &self.plan)?;
        let named: Vec<Expr> = bare
            .iter()
            .zip(&functions)
            .map(|(bare, function)| {
                let name = function.schema_name().to_string();
                Expr::Column(Column::new_unqualified(bare.schema_name().to_string())).alias(name)
            })
            .collect();
        let plan = LogicalPlanBuilder::window_plan(self.plan, bare)?;
        Self { plan, ..self }.select(columns.into_iter().chain(named))
    }

    /// `JOIN ... ON`.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn join(self, right: Frame, kind: JoinType, on: impl IntoIterator<Item = Expr>) -> Result<Self, SqlError> {
        self.then(|plan| plan.join_on(right.plan, kind, on))
    }

    /// `UNION ALL`.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn union(self, other: Frame) -> Result<Self, SqlError> {
        self.then(|plan| plan.union(other.plan))
    }

    /// `SELECT DISTINCT`.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn distinct(self) -> Result<Self, SqlError> {
        self.then(LogicalPlanBuilder::distinct)
    }

    /// A row for each element of a list; rows without elements are dropped.
    ///
    /// # Errors
    /// See [`Frame::alias`].
    pub fn unnest(self, column: &str) -> Result<Self, SqlError> {
        let options = UnnestOptions::new().with_preserve_nulls(false);
        let column = Column::from(self.plan.schema().qualified_field_with_unqualified_name(column)?);
        self.then(|plan| plan.unnest_columns_with_options(vec![column], options))
    }

    /// A call of a function by its name in SQL: DataFusion's, Flink's, or one that was registered.
    ///
    /// # Errors
    /// There is no such function.
    pub fn call(&self, name: &str, arguments: Vec<Expr>) -> Result<Expr, SqlError> {
        let own = &self.catalog.functions;
        if let Some(function) = own.scalar.get(name).or_else(|| planning_state().scalar_functions().get(name)) {
            return Ok(function.call(arguments));
        }
        match own.aggregate.get(name).or_else(|| planning_state().aggregate_functions().get(name)) {
            Some(function) => Ok(function.call(arguments)),
            None => Err(datafusion::common::DataFusionError::Plan(format!("unknown function {name}")).into()),
        }
    }

    /// As a dataflow that ends in the sink [`stream::RESULT_SINK`].
    ///
    /// # Errors
    /// A construct that stream mode does not know.
    pub fn stream(&self) -> Result<StreamPlan, SqlError> {
        self.stream_into(stream::RESULT_SINK)
    }

    /// As a dataflow that ends in the sink `sink`.
    ///
    /// # Errors
    /// As [`Frame::stream`].
    pub fn stream_into(&self, sink: &str) -> Result<StreamPlan, SqlError> {
        stream::plan(self.plan.clone(), Some(sink.to_owned()), self.time_to_live, None)
    }

    /// The dataflow, as text.
    ///
    /// # Errors
    /// As [`Frame::stream`].
    pub fn explain(&self) -> Result<String, SqlError> {
        Ok(mulgil_dataflow::explain::logical(&self.stream()?.graph, mulgil_dataflow::explain::Format::Text))
    }
}
