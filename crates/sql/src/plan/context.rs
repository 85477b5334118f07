//! What a query may name: the catalog's tables and views, and the functions.
//!
//! A table stands for its connector's rows, with the computed columns above them and the watermark above those; a view
//! stands for its query. So one text gives one plan, whoever runs it.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, DataFusionError, ExprSchema, Result, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, Extension, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF,
    TableSource, WindowUDF, cast,
};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_connect::definition::{TableDefinition, TableName};
use mulgil_connect::lookup::LookupOptions;

use super::as_of::{AsOfPlanner, resolve_versions};
use super::client_words::in_our_words;
use super::distinct_on::number_rows;
use super::group_window::write_out;
use super::late_input::{LateRowsTo, of_a_view};
use super::late_rows::LateTable;
use super::lateral::flatten;
use super::membership::decide_membership;
use super::processing_time;
use super::table_call::TableCallPlanner;
use super::watermark::WatermarkNode;
use super::window_call::WindowCallPlanner;
use crate::catalog::{Catalog, Table, View};
use crate::function::Functions;
use crate::options::StreamOptions;
use crate::problem::{Mistake, ProblemKind, did_you_mean};
use crate::statement::QueryText;

/// Where the rows of tables and the stored results of views come from.
pub(crate) trait Scans {
    /// The physical columns of a table; `None` for a plan that is not going to read.
    fn table(&self, definition: &TableDefinition) -> Option<Arc<dyn TableSource>>;
    /// The stored result of a view; `None` for its query in its place.
    fn view(&self, view: &View) -> Option<Arc<dyn TableSource>>;
    /// Whether a table that the program fills itself never has a row.
    fn is_always_empty(&self, _: &TableName) -> bool {
        false
    }
    /// A table that the program fills itself.
    fn system(&self, _: &TableName) -> Option<Arc<dyn TableSource>> {
        None
    }
}

/// Plans that read nothing.
pub(crate) struct Unscanned;

impl Scans for Unscanned {
    fn table(&self, _: &TableDefinition) -> Option<Arc<dyn TableSource>> {
        None
    }

    fn view(&self, _: &View) -> Option<Arc<dyn TableSource>> {
        None
    }
}

/// `raw.departures` as DataFusion refers to it.
pub(crate) fn reference_of(name: &TableName) -> TableReference {
    if name.namespace == TableName::DEFAULT_NAMESPACE {
        TableReference::bare(name.name.clone())
    } else {
        TableReference::partial(name.namespace.clone(), name.name.clone())
    }
}

/// The table's name in a reference.
pub(crate) fn table_name_of(reference: &TableReference) -> TableName {
    TableName {
        namespace: reference.schema().unwrap_or(TableName::DEFAULT_NAMESPACE).to_owned(),
        name: reference.table().to_owned(),
    }
}

/// A table source of which only the columns are known. It takes no filters: they stay in the plan.
struct Unread {
    schema: SchemaRef,
    lookup: Option<LookupOptions>,
    has_changes: bool,
}

impl TableSource for Unread {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// A table source for a plan that is not going to read.
pub(crate) fn unread(schema: SchemaRef) -> Arc<dyn TableSource> {
    Arc::new(Unread { schema, lookup: None, has_changes: false })
}

/// How the table behind a source that is not read is looked up.
pub(crate) fn lookup_options(source: &Arc<dyn TableSource>) -> Option<LookupOptions> {
    let source: &dyn Any = source.as_ref();
    source.downcast_ref::<Unread>()?.lookup
}

/// Whether the table behind a source that is not read gives a changelog.
pub(crate) fn has_changes(source: &Arc<dyn TableSource>) -> bool {
    let source: &dyn Any = source.as_ref();
    source.downcast_ref::<Unread>().is_some_and(|unread| unread.has_changes)
}

fn unread_table(definition: &TableDefinition) -> Result<Arc<dyn TableSource>> {
    let lookup = LookupOptions::of(definition).map_err(DataFusionError::from)?;
    let (schema, has_changes) = (definition.physical_schema(), definition.has_changes());
    Ok(Arc::new(Unread { schema, lookup: Some(lookup), has_changes }))
}

/// A table source that stands for a plan.
struct Inlined {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TableSource for Inlined {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

fn inlined(plan: LogicalPlan) -> Arc<dyn TableSource> {
    Arc::new(Inlined { schema: Arc::new(Schema::new(plan.schema().fields().clone())), plan })
}

/// Plans queries over a catalog.
pub(crate) struct Planner<'a> {
    catalog: &'a Catalog,
    state: &'a SessionState,
    scans: &'a dyn Scans,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    /// The tables to one of which rows go that are too late.
    late_tables: Result<Vec<Arc<LateTable>>, Mistake>,
    /// The types of `$1`, `$2`, …, where somebody has said them.
    parameters: Vec<Option<FieldRef>>,
    /// Functions that come before all others.
    functions: Option<&'a Functions>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(
        catalog: &'a Catalog,
        state: &'a SessionState,
        scans: &'a dyn Scans,
        options: &StreamOptions,
    ) -> Self {
        let functions = catalog.functions.table.keys().cloned().collect();
        let late_tables = LateTable::find_all(catalog, &options.late_rows);
        let for_windows = late_tables.clone().unwrap_or_default();
        let relation_planners: Vec<Arc<dyn RelationPlanner>> = vec![
            Arc::new(AsOfPlanner { primary_keys: catalog.primary_keys() }),
            Arc::new(WindowCallPlanner {
                trigger: options.trigger,
                session_max_ms: options.session_max_ms,
                late_tables: for_windows,
            }),
            Arc::new(TableCallPlanner { functions }),
        ];
        Self { catalog, state, scans, relation_planners, late_tables, parameters: Vec::new(), functions: None }
    }

    /// With functions that come before all others.
    pub(crate) fn with_functions(mut self, functions: Option<&'a Functions>) -> Self {
        self.functions = functions;
        self
    }

    /// With the types of `$1`, `$2`, … in the query's text.
    pub(crate) fn with_parameters(mut self, types: &[Option<DataType>]) -> Self {
        let field = |data_type: &DataType| Arc::new(Field::new("", data_type.clone(), true));
        self.parameters = types.iter().map(|data_type| data_type.as_ref().map(field)).collect();
        self
    }

    fn parser_options(&self) -> ParserOptions {
        ParserOptions::new().with_collect_spans(true).with_map_string_types_to_utf8view(false)
    }

    /// The query's plan, not optimised.
    pub(crate) fn query(&self, query: &QueryText, at: Location) -> Result<LogicalPlan, Mistake> {
        let mut query = query.query.clone();
        if self.functions.is_some() {
            in_our_words(&mut query, &|name| self.scans.is_always_empty(name) && !self.has_one_like(name));
        }
        let statement = ast::Statement::Query(write_out(query)?);
        self.late_rows(at)?;
        SqlToRel::new_with_options(self, self.parser_options())
            .sql_statement_to_plan_with_context(
                statement,
                &mut PlannerContext::new().with_prepare_param_data_types(self.parameters.clone()),
            )
            .and_then(|plan| resolve_versions(plan, at))
            .and_then(flatten)
            .and_then(number_rows)
            .and_then(decide_membership)
            .map_err(|error| Mistake::from_planner(&error, at))
    }

    /// Where the late rows of a statement go that stands at `at`.
    pub(crate) fn late_rows(&self, at: Location) -> Result<LateRowsTo, Mistake> {
        let tables = self.late_tables.clone().map_err(|mistake| Mistake { at, ..mistake })?;
        Ok(LateRowsTo { tables, at })
    }

    /// An expression over the columns of `plan`.
    pub(crate) fn expression(&self, tree: &ast::Expr, plan: &LogicalPlan) -> Result<Expr> {
        SqlToRel::new_with_options(self, self.parser_options()).sql_to_expr(
            tree.clone(),
            plan.schema(),
            &mut PlannerContext::new(),
        )
    }

    /// The rows of a table: its connector's, with the declared types, computed columns, and the watermark above.
    pub(crate) fn table(&self, table: &Table) -> Result<LogicalPlan> {
        let reference = reference_of(&table.definition.name);
        let source = match self.scans.table(&table.definition) {
            Some(source) => source,
            None => unread_table(&table.definition)?,
        };
        let scan = LogicalPlanBuilder::scan(reference.clone(), source, None)?.build()?;
        let plan = self.declared_columns(table, scan)?;
        if table.definition.watermark.is_none()
            && let LogicalPlan::Projection(projection) = &plan
            && let Some(column) = processing_time::column_of(projection)
        {
            let time = Expr::Column(Column::from(plan.schema().qualified_field(column)));
            let node = WatermarkNode { bound: time.clone(), input: plan, time };
            return Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }));
        }
        let Some((watermark, (_, bound))) = table.definition.watermark.as_ref().zip(table.places.watermark.as_ref())
        else {
            return Ok(plan);
        };
        let bound = self.expression(bound, &plan)?;
        let time = Expr::Column(Column::new(Some(reference), watermark.column.clone()));
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(WatermarkNode { input: plan, time, bound }) }))
    }

    /// Puts casts and computed columns above the scan, where there are any.
    pub(crate) fn declared_columns(&self, table: &Table, scan: LogicalPlan) -> Result<LogicalPlan> {
        let reference = reference_of(&table.definition.name);
        let mut changed = false;
        let mut columns = Vec::with_capacity(table.definition.columns.len());
        for (column, tree) in table.definition.columns.iter().zip(&table.places.computed) {
            let expression = match tree {
                Some(tree) => {
                    let computed = self.expression(tree, &scan)?;
                    changed = true;
                    let is_typed = computed.get_type(scan.schema()).is_ok_and(|given| given == column.data_type);
                    if is_typed || column.data_type == DataType::Null {
                        computed
                    } else {
                        cast(computed, column.data_type.clone())
                    }
                }
                None => {
                    let physical = Column::new(Some(reference.clone()), column.name.clone());
                    if scan.schema().data_type(&physical)? == &column.data_type {
                        columns.push(Expr::Column(physical));
                        continue;
                    }
                    changed = true;
                    cast(Expr::Column(physical), column.data_type.clone())
                }
            };
            columns.push(expression.alias_qualified(Some(reference.clone()), column.name.clone()));
        }
        if changed { LogicalPlanBuilder::from(scan).project(columns)?.build() } else { Ok(scan) }
    }

    /// The rows of a view: its stored result, or its query.
    fn view(&self, view: &View) -> Result<Arc<dyn TableSource>> {
        if let Some(stored) = self.scans.view(view) {
            return Ok(stored);
        }
        // The view itself sees to its late rows, whoever reads it.
        let options = StreamOptions { late_rows: Vec::new(), ..view.stream.clone() };
        let planner = Planner::new(self.catalog, self.state, self.scans, &options);
        let at = Location { line: view.line, column: 1 };
        let plan = planner.query(&view.query, at).map_err(|mistake| {
            let problem = mistake.in_file(&view.file);
            outside(
                Mistake::new(Location { line: 0, column: 0 }, format!("view {} is wrong", view.name))
                    .remedy(format!("see {problem}")),
            )
        })?;
        let takes_late_rows = self.late_tables.as_ref().is_ok_and(|tables| !tables.is_empty());
        Ok(inlined(if takes_late_rows { of_a_view(plan)? } else { plan }))
    }

    /// Whether the project has a table that a query may mean by this name of the catalog's.
    fn has_one_like(&self, name: &TableName) -> bool {
        let own = TableName { namespace: TableName::DEFAULT_NAMESPACE.to_owned(), name: name.name.clone() };
        self.knows(name) || self.knows(&own)
    }

    fn knows(&self, name: &TableName) -> bool {
        self.catalog.table(name).is_some() || self.catalog.view(name).is_some()
    }

    fn unknown(&self, name: &TableName) -> DataFusionError {
        let nowhere = Location { line: 0, column: 0 };
        if let Some(problem) = self.catalog.problem(name) {
            let place = format!("{}:{}:{}", problem.file.display(), problem.line, problem.column);
            return outside(
                Mistake::new(nowhere, format!("{name} is declared, but broken"))
                    .remedy(format!("mend it first: {place}: {}", problem.message)),
            );
        }
        let names = self.catalog.names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let remedy = did_you_mean(&name.to_string(), &names, "tables and views");
        let mistake = Mistake::new(nowhere, format!("unknown table {name}")).remedy(remedy);
        outside(mistake.kind(ProblemKind::UnknownTable))
    }
}

fn outside(mistake: Mistake) -> DataFusionError {
    DataFusionError::External(Box::new(mistake))
}

impl ContextProvider for Planner<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let name = table_name_of(&name);
        if let Some(system) = self.scans.system(&name).filter(|_| !self.knows(&name)) {
            return Ok(system);
        }
        if let Some(table) = self.catalog.table(&name) {
            return self.table(table).map(inlined);
        }
        match self.catalog.view(&name) {
            Some(view) => self.view(view),
            None => Err(self.unknown(&name)),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        None
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let name = if self.functions.is_some() { name.trim_start_matches("pg_catalog.") } else { name };
        if let Some(function) = self.functions.and_then(|functions| functions.scalar.get(name)) {
            return Some(Arc::clone(function));
        }
        let own = &self.catalog.functions;
        let own = own.scalar.get(name).or_else(|| own.table.get(name));
        own.or_else(|| self.state.scalar_functions().get(name)).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let own = self.catalog.functions.aggregate.get(name);
        own.or_else(|| self.state.aggregate_functions().get(name)).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
