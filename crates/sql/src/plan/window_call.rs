//! Window table functions in `FROM`: `TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR [, offset])`, `HOP`, `CUMULATE`,
//! `SESSION`, `COUNT_TUMBLE`, `COUNT_HOP`, with or without `TABLE(...)` around it, arguments by place or by name.

use std::fmt::Debug;

use datafusion::common::{Column, DataFusionError, Result};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr as LogicalExpr, Extension, LogicalPlan};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Spanned, TableAlias, TableFactor, Value,
};
use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_dataflow::graph::Window;
use mulgil_dataflow::trigger::Trigger;
use std::sync::Arc;

use super::count_windows;
use super::expand::tumbling_start;
use super::late_rows::LateTable;
use super::window::{CallWindow, WindowAssignNode, WindowPolicy};
use crate::ddl::{fold, last_part};
use crate::duration::duration_of_interval;
use crate::problem::{Mistake, did_you_mean};
use crate::text::{PARTITION_BY, WINDOW_FUNCTIONS};

/// Plans window calls; everything else is left to DataFusion.
#[derive(Debug)]
pub(crate) struct WindowCallPlanner {
    /// When the windows of the view that is planned give results.
    pub(crate) trigger: Trigger,
    /// No session of that view goes across a multiple of this length.
    pub(crate) session_max_ms: Option<i64>,
    /// The tables to one of which rows go that are too late for them.
    pub(crate) late_tables: Vec<Arc<LateTable>>,
}

impl RelationPlanner for WindowCallPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let at = relation.span().start;
        let Some((call, alias)) = window_call(&relation, at) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let arguments = call.arguments().map_err(wrap)?;
        let input = context.plan(arguments.input.clone())?;
        let time = time_column(&arguments.time, &input, arguments.time_at).map_err(wrap)?;
        let mut keys = Vec::with_capacity(arguments.keys.len());
        for key in &arguments.keys {
            keys.push(context.sql_to_expr(key.clone(), input.schema())?);
        }
        if let Some((slide, size)) = call.row_counts(&arguments).map_err(wrap)? {
            let plan = count_windows::plan(input, time, keys, slide, size)?;
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))));
        }
        let mut window = call.window(&arguments, keys).map_err(wrap)?;
        if let (CallWindow::Session { keys, max_ms, .. }, Some(bound_ms)) = (&mut window, self.session_max_ms) {
            // As if the piece of time were one more key.
            keys.push(tumbling_start(LogicalExpr::Column(time.clone()), bound_ms));
            *max_ms = Some(bound_ms);
        }
        let is_concerned =
            input.schema().maybe_index_of_column(&time).is_some_and(|time| LateTable::concerns(&input, time));
        let late_rows = if is_concerned && !self.late_tables.is_empty() {
            Some(LateTable::choose(&self.late_tables, input.schema(), call.at).map_err(wrap)?)
        } else {
            None
        };
        let node = WindowAssignNode::new(input, time, window, WindowPolicy { trigger: self.trigger, late_rows })?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

fn wrap(mistake: Mistake) -> DataFusionError {
    DataFusionError::External(Box::new(mistake))
}

/// A call of a window function, as the parser gives it.
struct Call {
    name: String,
    at: Location,
    given: Vec<FunctionArg>,
}

/// The arguments that every window function has, and the intervals behind them.
struct Arguments {
    input: TableFactor,
    time: Expr,
    time_at: Location,
    /// `PARTITION BY`.
    keys: Vec<Expr>,
    /// Name (lower case, empty by place) and value.
    intervals: Vec<(String, Expr)>,
}

fn is_window_function(name: &ObjectName) -> bool {
    name.0.len() == 1 && WINDOW_FUNCTIONS.contains(&last_part(name).as_str())
}

fn window_call(relation: &TableFactor, at: Location) -> Option<(Call, Option<TableAlias>)> {
    match relation {
        TableFactor::Table { name, alias, args: Some(args), .. } if is_window_function(name) => {
            Some((Call { name: last_part(name), at, given: args.args.clone() }, alias.clone()))
        }
        TableFactor::TableFunction { expr: Expr::Function(function), alias } if is_window_function(&function.name) => {
            let FunctionArguments::List(list) = &function.args else { return None };
            Some((Call { name: last_part(&function.name), at, given: list.args.clone() }, alias.clone()))
        }
        _ => None,
    }
}

/// The name of the table that a window call reads, where it is one and reads a named table.
pub(crate) fn window_call_input(relation: &TableFactor) -> Option<ObjectName> {
    let (call, _) = window_call(relation, Location { line: 0, column: 0 })?;
    match call.arguments().ok()?.input {
        TableFactor::Table { name, .. } => Some(name),
        _ => None,
    }
}

impl Call {
    fn usage(&self) -> &'static str {
        match self.name.as_str() {
            "hop" => {
                "write HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '1' HOUR [, offset]): slide, then size"
            }
            "cumulate" => {
                "write CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY [, offset]): step, then size"
            }
            "count_tumble" => "write COUNT_TUMBLE(TABLE t PARTITION BY k, DESCRIPTOR(ts), 100)",
            "count_hop" => "write COUNT_HOP(TABLE t PARTITION BY k, DESCRIPTOR(ts), 10, 100): slide, then size",
            "session" => "write SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' MINUTE)",
            _ => "write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR [, INTERVAL '15' MINUTE])",
        }
    }

    fn wrong(&self, at: Location, message: impl Into<String>) -> Mistake {
        Mistake::new(if at.line == 0 { self.at } else { at }, message).remedy(self.usage())
    }

    /// Sorts what was given into the arguments.
    fn arguments(&self) -> Result<Arguments, Mistake> {
        let (mut input, mut time) = (None, None);
        let (mut keys, mut intervals) = (Vec::new(), Vec::new());
        for argument in &self.given {
            let (name, value) = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (String::new(), value),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                    (name.value.to_lowercase(), value)
                }
                FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), .. } => {
                    (name.value.to_lowercase(), value)
                }
                other => {
                    return Err(self.wrong(self.at, format!("{other} is no argument of {}", self.name.to_uppercase())));
                }
            };
            let by_place = name.is_empty();
            if let Some(given) = partition_keys(value) {
                keys = given;
            } else if name == "data" || (by_place && input.is_none()) {
                input = Some(self.input(value)?);
            } else if name == "timecol" || (by_place && time.is_none()) {
                let column = self.descriptor(value)?;
                let at = column.span().start;
                time = Some((column, at));
            } else {
                intervals.push((name, value.clone()));
            }
        }
        let input = input.ok_or_else(|| self.wrong(self.at, format!("{} needs a table", self.name.to_uppercase())))?;
        let (time, time_at) =
            time.ok_or_else(|| self.wrong(self.at, format!("{} needs a DESCRIPTOR", self.name.to_uppercase())))?;
        Ok(Arguments { input, time, time_at, keys, intervals })
    }

    /// `t`, `namespace.t` or `(SELECT ...)` as something that can stand in `FROM`.
    fn input(&self, value: &Expr) -> Result<TableFactor, Mistake> {
        let names = match value {
            Expr::Identifier(name) => vec![name.clone()],
            Expr::CompoundIdentifier(names) => names.clone(),
            Expr::Subquery(query) => {
                return Ok(TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None });
            }
            other => return Err(self.wrong(value.span().start, format!("{other} is not a table"))),
        };
        Ok(TableFactor::Table {
            name: ObjectName::from(names),
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        })
    }

    fn descriptor(&self, value: &Expr) -> Result<Expr, Mistake> {
        let at = value.span().start;
        if let Expr::Function(function) = value
            && last_part(&function.name) == "descriptor"
            && let FunctionArguments::List(list) = &function.args
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] = list.args.as_slice()
        {
            return Ok(column.clone());
        }
        Err(self.wrong(at, format!("{value} is not a DESCRIPTOR of one column")))
    }

    /// What the function calls its intervals, in the order in which they are given by place.
    fn interval_names(&self) -> &'static [&'static str] {
        match self.name.as_str() {
            "tumble" => &["size", "offset"],
            "hop" => &["slide", "size", "offset"],
            "session" => &["gap"],
            _ => &["step", "size", "offset"],
        }
    }

    /// The intervals in milliseconds, and where they stand, in the order of [`Call::interval_names`].
    fn intervals(&self, arguments: &Arguments) -> Result<Vec<Option<(i64, Location)>>, Mistake> {
        self.placed(arguments, self.interval_names(), duration_of_interval, "an interval of a fixed length")
    }

    /// The slide and the size of count windows, in rows; `None` for windows of time.
    fn row_counts(&self, arguments: &Arguments) -> Result<Option<(i64, i64)>, Mistake> {
        let names: &[&str] = match self.name.as_str() {
            "count_tumble" => &["size"],
            "count_hop" => &["slide", "size"],
            _ => return Ok(None),
        };
        let counts = self.placed(arguments, names, number_of_rows, "a number of rows")?;
        let counts: Vec<i64> = counts.into_iter().flatten().map(|(count, _)| count).collect();
        Ok(counts.first().copied().zip(counts.last().copied()))
    }

    /// The arguments behind the time, as numbers, and where they stand, in the order of `names`.
    fn placed(
        &self,
        arguments: &Arguments,
        names: &[&str],
        read: fn(&Expr) -> Option<i64>,
        what: &str,
    ) -> Result<Vec<Option<(i64, Location)>>, Mistake> {
        let mut found = vec![None; names.len()];
        for (name, value) in &arguments.intervals {
            let at = value.span().start;
            let number = read(value).ok_or_else(|| self.wrong(at, format!("{value} is not {what}")))?;
            let by_place = found.iter().position(Option::is_none);
            let index = if name.is_empty() { by_place } else { names.iter().position(|known| known == name) };
            match index.and_then(|index| found.get_mut(index)) {
                Some(free @ None) => *free = Some((number, at)),
                _ => return Err(self.wrong(at, format!("{value} is one argument too many"))),
            }
        }
        for (name, interval) in names.iter().zip(&found) {
            match interval {
                None if *name != "offset" => return Err(self.wrong(self.at, format!("the window's {name} is missing"))),
                Some((number, at)) if *name != "offset" && *number <= 0 => {
                    return Err(self.wrong(*at, format!("the window's {name} must be longer than nothing")));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn window(&self, arguments: &Arguments, keys: Vec<LogicalExpr>) -> Result<CallWindow, Mistake> {
        if let Some(key) = arguments.keys.first().filter(|_| self.name != "session") {
            return Err(self.wrong(key.span().start, format!("{} takes no PARTITION BY", self.name.to_uppercase())));
        }
        let intervals = self.intervals(arguments)?;
        let ms = |index: usize| intervals.get(index).copied().flatten().map_or(0, |(ms, _)| ms);
        let window = match self.name.as_str() {
            "tumble" => Window::Tumbling { size_ms: ms(0), offset_ms: ms(1) },
            "session" => return Ok(CallWindow::Session { gap_ms: ms(0), keys, max_ms: None }),
            "hop" => Window::Hopping { slide_ms: ms(0), size_ms: ms(1), offset_ms: ms(2) },
            _ => Window::Cumulating { step_ms: ms(0), size_ms: ms(1), offset_ms: ms(2) },
        };
        let at = intervals.get(1).copied().flatten().map_or(self.at, |(_, at)| at);
        window.check().map_err(|reason| self.wrong(at, reason))?;
        Ok(CallWindow::Aligned(window))
    }
}

fn number_of_rows(argument: &Expr) -> Option<i64> {
    match argument {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.to_string().parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The keys, where an argument is `PARTITION_BY(...)`.
fn partition_keys(argument: &Expr) -> Option<Vec<Expr>> {
    let Expr::Function(function) = argument else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    if last_part(&function.name) != PARTITION_BY {
        return None;
    }
    let mut keys = Vec::new();
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Tuple(several))) => keys.extend(several.iter().cloned()),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Nested(one))) => keys.push(one.as_ref().clone()),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(one)) => keys.push(one.clone()),
            _ => return None,
        }
    }
    Some(keys)
}

/// The input's column that `DESCRIPTOR(...)` names, if it is a timestamp.
fn time_column(named: &Expr, input: &LogicalPlan, at: Location) -> Result<Column, Mistake> {
    let name = match named {
        Expr::Identifier(name) => fold(name),
        Expr::CompoundIdentifier(names) => names.last().map(fold).unwrap_or_default(),
        other => return Err(Mistake::new(at, format!("{other} is not a column")).remedy("write DESCRIPTOR(column)")),
    };
    let schema = input.schema();
    let Some((qualifier, field)) = schema.iter().find(|(_, field)| *field.name() == name) else {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(Mistake::new(at, format!("unknown column {name}")).remedy(did_you_mean(&name, &names, "columns")));
    };
    if !matches!(field.data_type(), arrow::datatypes::DataType::Timestamp(..)) {
        return Err(Mistake::new(at, format!("column {name} is {}, windows need a timestamp", field.data_type()))
            .remedy("declare the column as TIMESTAMP(3), or add a computed column"));
    }
    Ok(Column::new(qualifier.cloned(), name))
}
