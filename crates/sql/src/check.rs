//! Checks declarations: does every name exist, does every type fit, can the view be planned in its mode?

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::{TableDefinition, TableName};
use mulgil_dataflow::key::KEY_GROUP_COUNT;

use crate::catalog::{Catalog, Table, View};
use crate::duration::duration_of_text;
use crate::layers::{Layers, is_unwindowed, states_of};
use crate::options::{STREAM_OPTIONS, StreamOptions};
use crate::plan::processing_time::PROCTIME;
use crate::plan::{Planner, Unscanned, expand::expand, planning_state, reference_of, unread, window_call_input};
use crate::problem::{Mistake, SqlError, did_you_mean};
use crate::statement::{QueryText, RefreshMode, Statement, TableDeclaration, ViewDeclaration};

/// The most rows that a view's result may hold in memory, where `rows-max` says nothing.
const ROWS_MAX_DEFAULT: usize = 10_000_000;

/// Checks a table and fills in the types of its computed columns.
pub(crate) fn table(declaration: &TableDeclaration, statement: &Statement, file: &Path) -> Result<Table, Mistake> {
    let mut table = Table {
        definition: declaration.definition.clone(),
        file: file.to_owned(),
        line: statement.line(),
        text: statement.text.clone(),
        places: declaration.places.clone(),
    };
    if table.definition.physical_schema().fields().is_empty() {
        return Err(Mistake::new(
            table.places.name,
            format!("table {} has no column of its own", table.definition.name),
        )
        .remedy("declare the columns that the connector reads"));
    }
    check_partition_columns(&table)?;
    check_primary_key(&table)?;
    type_computed_columns(&mut table)?;
    check_watermark(&table)?;
    Ok(table)
}

/// Asks the connector about its options.
pub(crate) fn connector(table: &Table, connectors: &Connectors) -> Result<(), Mistake> {
    let Err(error) = connectors.check(&table.definition) else { return Ok(()) };
    let text = match &error {
        mulgil_connect::error::ConnectError::Definition { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    let places = &table.places;
    // The connector names the option it complains about; its value is the place, else the connector's.
    let named = places.options.iter().find(|(key, _)| *key != "connector" && text.contains(key.as_str()));
    let at = named.map(|(_, at)| *at).or_else(|| places.options.get("connector").copied()).unwrap_or(places.name);
    let column = table.definition.columns.iter().zip(&places.columns).find(|(column, _)| {
        text.starts_with(&format!("column {} ", column.name)) || text.starts_with(&format!("column {}:", column.name))
    });
    let at = column.map_or(at, |(_, at)| *at);
    Err(match text.split_once("; ") {
        Some((message, remedy)) => Mistake::new(at, message).remedy(remedy),
        None => Mistake::new(at, text),
    })
}

fn column_names(definition: &TableDefinition) -> Vec<&str> {
    definition.columns.iter().map(|column| column.name.as_str()).collect()
}

fn check_partition_columns(table: &Table) -> Result<(), Mistake> {
    for (name, at) in table.definition.partitioned_by.iter().zip(&table.places.partitioned_by) {
        match table.definition.columns.iter().find(|column| column.name == *name) {
            None => {
                return Err(Mistake::new(*at, format!("unknown column {name}")).remedy(did_you_mean(
                    name,
                    &column_names(&table.definition),
                    "columns",
                )));
            }
            Some(column) if column.computed.is_some() => {
                return Err(Mistake::new(*at, format!("column {name} is computed and cannot partition the table"))
                    .remedy("partition by a column of the connector"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_primary_key(table: &Table) -> Result<(), Mistake> {
    for name in &table.definition.primary_key {
        if !table.definition.columns.iter().any(|column| column.name == *name) {
            return Err(Mistake::new(table.places.name, format!("unknown column {name} in the primary key"))
                .remedy(did_you_mean(name, &column_names(&table.definition), "columns")));
        }
    }
    Ok(())
}

fn type_computed_columns(table: &mut Table) -> Result<(), Mistake> {
    let catalog = Catalog::default();
    let planner = Planner::new(&catalog, planning_state(), &Unscanned, &StreamOptions::default());
    let source = unread(table.definition.physical_schema());
    let scan = LogicalPlanBuilder::scan(reference_of(&table.definition.name), source, None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| Mistake::from_planner(&error, table.places.name))?;
    for (column, tree) in table.definition.columns.iter_mut().zip(&table.places.computed) {
        let Some(tree) = tree else { continue };
        let at = place_of(tree, table.places.name);
        let (data_type, nullable) = typed(&planner, tree, &scan).map_err(|error| Mistake::from_planner(&error, at))?;
        column.data_type = data_type;
        column.nullable = nullable;
    }
    Ok(())
}

fn place_of(tree: &ast::Expr, fallback: Location) -> Location {
    let at = ast::Spanned::span(tree).start;
    if at.line == 0 { fallback } else { at }
}

/// The type of an expression, once its arguments are coerced.
fn typed(planner: &Planner<'_>, tree: &ast::Expr, scan: &LogicalPlan) -> datafusion::common::Result<(DataType, bool)> {
    let expression = planner.expression(tree, scan)?.alias("computed");
    let plan = LogicalPlanBuilder::from(scan.clone()).project([expression])?.build()?;
    let plan = optimized(plan)?;
    let field = plan.schema().field(0);
    Ok((field.data_type().clone(), field.is_nullable()))
}

fn optimized(plan: LogicalPlan) -> datafusion::common::Result<LogicalPlan> {
    planning_state().optimize(&plan)
}

fn check_watermark(table: &Table) -> Result<(), Mistake> {
    let Some((watermark, (at, tree))) = table.definition.watermark.as_ref().zip(table.places.watermark.as_ref()) else {
        return Ok(());
    };
    let Some(column) = table.definition.columns.iter().find(|column| column.name == watermark.column) else {
        return Err(Mistake::new(*at, format!("unknown column {}", watermark.column)).remedy(did_you_mean(
            &watermark.column,
            &column_names(&table.definition),
            "columns",
        )));
    };
    if !matches!(column.data_type, DataType::Timestamp(..)) {
        return Err(Mistake::new(
            *at,
            format!("the watermark is for {}, which is {} and no timestamp", column.name, column.data_type),
        )
        .remedy(format!("declare {} as TIMESTAMP(3), or compute a timestamp column from it", column.name)));
    }
    let catalog = Catalog::default();
    let planner = Planner::new(&catalog, planning_state(), &Unscanned, &StreamOptions::default());
    let at = place_of(tree, *at);
    let plan = planner.table(table).map_err(|error| Mistake::from_planner(&error, at))?;
    let LogicalPlan::Extension(extension) = &plan else { return Ok(()) };
    let inputs = extension.node.inputs();
    let Some(input) = inputs.first() else { return Ok(()) };
    let (bound, _) = typed(&planner, tree, input).map_err(|error| Mistake::from_planner(&error, at))?;
    if !matches!(bound, DataType::Timestamp(..)) {
        return Err(Mistake::new(at, format!("the watermark's bound is {bound} and no timestamp"))
            .remedy(format!("write for example {0} - INTERVAL '5' SECOND", column.name)));
    }
    Ok(())
}

/// Collects the relations of a query.
#[derive(Default)]
struct Relations(Vec<TableName>);

impl ast::Visitor for Relations {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<()> {
        let nowhere = Location { line: 0, column: 0 };
        let input = match factor {
            ast::TableFactor::Table { name, args: None, .. } => crate::ddl::table_name(name, nowhere).ok(),
            _ => window_call_input(factor).and_then(|name| crate::ddl::table_name(&name, nowhere).ok()),
        };
        self.0.extend(input);
        ControlFlow::Continue(())
    }
}

/// Tables and views that a query names.
pub(crate) fn names_read(query: Option<&QueryText>) -> Vec<TableName> {
    let Some(query) = query else { return Vec::new() };
    let mut relations = Relations::default();
    let _ = ast::Visit::visit(&query.query, &mut relations);
    relations.0.sort();
    relations.0.dedup();
    relations.0
}

/// The options of a view that say nothing about its stream's rows.
const OPTIONS: [&str; 9] = [
    "archive",
    "checkpoint-interval",
    "checkpoint-timeout",
    "export",
    "pane",
    "parallelism",
    "rows-max",
    "session-max",
    "speed-retention",
];

/// Checks a view against the tables and views that are there.
pub(crate) fn view(
    catalog: &Catalog,
    declaration: &ViewDeclaration,
    statement: &Statement,
    file: &Path,
) -> Result<View, Mistake> {
    let option_at = |key: &str| declaration.option_places.get(key).copied().unwrap_or(declaration.name_at);
    let known: Vec<&str> = STREAM_OPTIONS.into_iter().chain(OPTIONS).collect();
    if let Some(key) = declaration.options.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Mistake::new(option_at(key), format!("unknown option '{key}' of a view"))
            .remedy(did_you_mean(key, &known, "options")));
    }
    let mut view = View {
        name: declaration.name.clone(),
        mode: declaration.mode,
        freshness: declaration.freshness,
        partitioned_by: declaration.partitioned_by.as_ref().map(|(column, _)| column.clone()),
        options: declaration.options.clone(),
        stream: StreamOptions::read(&declaration.options, option_at)?,
        checkpoint_interval: length_of_time(declaration, "checkpoint-interval")?,
        checkpoint_timeout: length_of_time(declaration, "checkpoint-timeout")?,
        speed_retention: length_of_time(declaration, "speed-retention")?,
        pane: length_of_time(declaration, "pane")?,
        archive: archive(declaration)?,
        parallelism: parallelism(declaration)?,
        rows_max: rows_max(declaration)?,
        export: export(declaration)?,
        schema: Arc::new(Schema::empty()),
        reads: Vec::new(),
        file: file.to_owned(),
        line: statement.line(),
        text: statement.text.clone(),
        query_text: declaration.query_text.clone(),
        query: declaration.query.clone(),
    };
    let planner = Planner::new(catalog, planning_state(), &Unscanned, &view.stream);
    let plan = planner.query(&view.query, declaration.name_at)?;
    let plan_error = |error| Mistake::from_planner(&error, declaration.name_at);
    let batch = expand(plan.clone()).and_then(optimized).map_err(plan_error)?;
    view.schema = Arc::new(Schema::new(batch.schema().fields().clone()));
    check_column_names(&view, declaration.name_at)?;
    check_partition(&view, declaration)?;
    view.reads = names_read(Some(&view.query))
        .into_iter()
        .filter(|name| catalog.table(name).is_some() || catalog.view(name).is_some())
        .collect();
    if let Some(table) = view.export.as_ref().filter(|table| view.reads.contains(table)) {
        return Err(Mistake::new(option_at("export"), format!("the view reads {table}, and would replace it"))
            .remedy("export into another table"));
    }
    if view.mode == RefreshMode::Kappa && !view.stream.late_rows.is_empty() {
        return Err(Mistake::new(option_at("late-rows"), "a replay would write the late rows of the past again")
            .remedy("leave the option 'late-rows' out, or use REFRESH_MODE = CONTINUOUS"));
    }
    let plan = match view.mode {
        RefreshMode::Lambda => lambda(catalog, &view, plan, &option_at)?,
        _ => plan,
    };
    if view.mode != RefreshMode::Full {
        let late_rows = planner.late_rows(declaration.name_at)?;
        let sink = Some(declaration.name.to_string());
        let planned = crate::stream::plan(plan, sink, view.stream.time_to_live, Some(&late_rows))
            .map_err(|error| stream_mistake(error, declaration.name_at))?;
        if !view.stream.late_rows.is_empty() && planned.side_sinks.is_empty() {
            return Err(Mistake::new(option_at("late-rows"), "nothing in the view drops late rows")
                .remedy("leave the option 'late-rows' out"));
        }
    }
    Ok(view)
}

/// What the speed layer computes.
fn lambda(
    catalog: &Catalog,
    view: &View,
    plan: LogicalPlan,
    option_at: &dyn Fn(&str) -> Location,
) -> Result<LogicalPlan, Mistake> {
    let at = option_at("");
    if !is_unwindowed(&plan) {
        return Layers::of(&plan, at).map(|_| plan);
    }
    if view.stream.time_to_live.is_some() {
        return Err(Mistake::new(
            option_at("state-ttl"),
            "the batch layer forgets no key, so the speed layer must not",
        )
        .remedy("leave the option 'state-ttl' out, or use REFRESH_MODE = CONTINUOUS"));
    }
    states_of(&plan, view, &catalog.functions, at)
}

fn stream_mistake(error: SqlError, at: Location) -> Mistake {
    match error {
        SqlError::NotInStream { construct, .. } => {
            Mistake::new(at, format!("{construct} is not supported in stream mode yet"))
                .remedy("use REFRESH_MODE = FULL")
        }
        SqlError::Execution(error) => Mistake::from_planner(&error, at),
        SqlError::Problem(problem) => {
            Mistake { at, message: problem.message, remedy: problem.remedy, kind: problem.kind }
        }
        other => Mistake::new(at, other.to_string()),
    }
}

fn check_column_names(view: &View, at: Location) -> Result<(), Mistake> {
    let fields = view.schema.fields();
    for (index, field) in fields.iter().enumerate() {
        if fields.iter().take(index).any(|other| other.name() == field.name()) {
            return Err(Mistake::new(at, format!("the view gives two columns named {}", field.name()))
                .remedy("name one of them otherwise, with AS"));
        }
    }
    Ok(())
}

/// A view's parts are told apart by a time.
fn check_partition(view: &View, declaration: &ViewDeclaration) -> Result<(), Mistake> {
    let Some((name, at)) = &declaration.partitioned_by else { return Ok(()) };
    let Ok(field) = view.schema.field_with_name(name) else {
        let known: Vec<&str> = view.schema.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(
            Mistake::new(*at, format!("the view gives no column {name}")).remedy(did_you_mean(name, &known, "columns"))
        );
    };
    match field.data_type() {
        DataType::Date32 | DataType::Timestamp(..) => Ok(()),
        other => Err(Mistake::new(*at, format!("column {name} is {other}, and the parts of a view are by time"))
            .remedy("partition it by a column of type DATE or TIMESTAMP")),
    }
}

fn length_of_time(declaration: &ViewDeclaration, option: &str) -> Result<Option<Duration>, Mistake> {
    let Some(text) = declaration.options.get(option) else { return Ok(None) };
    let interval = duration_of_text(text).and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
    interval.map(|ms| Some(Duration::from_millis(ms))).ok_or_else(|| {
        let at = declaration.option_places.get(option).copied().unwrap_or(declaration.name_at);
        Mistake::new(at, format!("'{text}' is not a duration")).remedy("write for example '10 s'")
    })
}

fn archive(declaration: &ViewDeclaration) -> Result<bool, Mistake> {
    let Some(text) = declaration.options.get("archive") else { return Ok(false) };
    text.parse().map_err(|_| {
        let at = declaration.option_places.get("archive").copied().unwrap_or(declaration.name_at);
        Mistake::new(at, format!("'{text}' is not 'true' or 'false'")).remedy("write 'archive' = 'true'")
    })
}

fn parallelism(declaration: &ViewDeclaration) -> Result<Option<usize>, Mistake> {
    let Some(text) = declaration.options.get("parallelism") else { return Ok(None) };
    text.parse().ok().filter(|count| (1..=KEY_GROUP_COUNT).contains(count)).map(Some).ok_or_else(|| {
        let at = declaration.option_places.get("parallelism").copied().unwrap_or(declaration.name_at);
        Mistake::new(at, format!("'{text}' is not a number of subtasks")).remedy("write a number from 1 to 256")
    })
}

fn rows_max(declaration: &ViewDeclaration) -> Result<usize, Mistake> {
    let Some(text) = declaration.options.get("rows-max") else { return Ok(ROWS_MAX_DEFAULT) };
    text.parse().ok().filter(|rows| *rows > 0).ok_or_else(|| {
        let at = declaration.option_places.get("rows-max").copied().unwrap_or(declaration.name_at);
        Mistake::new(at, format!("'{text}' is not a number of rows")).remedy("write for example '1000000'")
    })
}

/// A stream says by its freshness how often it is exported.
fn export(declaration: &ViewDeclaration) -> Result<Option<TableName>, Mistake> {
    let Some(text) = declaration.options.get("export") else { return Ok(None) };
    let at = declaration.option_places.get("export").copied().unwrap_or(declaration.name_at);
    if text.trim().is_empty() {
        return Err(Mistake::new(at, "'export' names no table").remedy("write for example 'mart.daily'"));
    }
    if declaration.mode != RefreshMode::Full && declaration.freshness.is_none() {
        return Err(Mistake::new(at, "nothing says how often the view is exported")
            .remedy("write FRESHNESS = INTERVAL '5' MINUTE before REFRESH_MODE"));
    }
    Ok(Some(TableName::parse(text)))
}

/// Refuses functions whose value changes while a stream runs.
pub(crate) fn volatile_function(plan: &LogicalPlan) -> Option<String> {
    let mut found = None;
    let _ = plan.clone().transform_down(|plan| {
        for expression in plan.expressions() {
            let _ = expression.transform_down(|part| {
                if let Expr::ScalarFunction(call) = &part
                    && call.func.name() != PROCTIME
                    && call.func.signature().volatility != datafusion::logical_expr::Volatility::Immutable
                {
                    found = Some(call.func.name().to_owned());
                }
                Ok(Transformed::no(part))
            });
        }
        Ok(Transformed::no(plan))
    });
    found
}
