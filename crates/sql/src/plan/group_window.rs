//! The older spelling of windows: `GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)`, `HOP(ts, slide, size)`, `SESSION(ts, gap)`, with
//! `TUMBLE_START(...)`, `TUMBLE_END(...)` and `TUMBLE_ROWTIME(...)` for the bounds.
//!
//! It is written out as the newer one: the table, with its condition, goes into a window call, and the functions become
//! the call's columns. A session is parted by what else is grouped by.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, OrderByKind, Query, Select,
    SetExpr, Spanned, TableFactor, TableWithJoins, VisitMut, VisitorMut, visit_expressions_mut,
};
use datafusion::sql::sqlparser::tokenizer::Location;

use crate::ddl::last_part;
use crate::problem::Mistake;
use crate::text::{DIALECT, PARTITION_BY};

/// The functions that can stand in `GROUP BY`.
const GROUP_WINDOWS: [&str; 3] = ["tumble", "hop", "session"];

/// A query with its group windows written out.
pub(crate) fn write_out(mut query: Box<Query>) -> Result<Box<Query>, Mistake> {
    match VisitMut::visit(&mut query, &mut WriteOut) {
        ControlFlow::Continue(()) => Ok(query),
        ControlFlow::Break(mistake) => Err(*mistake),
    }
}

struct WriteOut;

impl VisitorMut for WriteOut {
    type Break = Box<Mistake>;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Mistake>> {
        let written = match query.body.as_mut() {
            SetExpr::Select(select) => write_out_select(select),
            _ => Ok(None),
        };
        match written {
            Ok(Some(window)) => {
                if let Some(order) = &mut query.order_by
                    && let OrderByKind::Expressions(expressions) = &mut order.kind
                {
                    let mut has_rowtime = false;
                    return bounds_to_columns(expressions, &window, &mut has_rowtime);
                }
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(mistake) => ControlFlow::Break(Box::new(mistake)),
        }
    }
}

/// A window function in `GROUP BY`.
struct GroupWindow {
    name: String,
    at: Location,
    arguments: Vec<Expr>,
}

fn write_out_select(select: &mut Select) -> Result<Option<GroupWindow>, Mistake> {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return Ok(None) };
    let mut windows = groups.iter().filter_map(group_window);
    let Some(window) = windows.next() else { return Ok(None) };
    if let Some(second) = windows.next() {
        return Err(Mistake::new(second.at, "there are two windows in one GROUP BY")
            .remedy("aggregate by one, and aggregate the result by the other"));
    }
    let keys: Vec<Expr> = groups.iter().filter(|group| group_window(group).is_none()).cloned().collect();
    let call = window_call(select, &window, &keys)?;

    let mut has_rowtime = false;
    let parts = [
        bounds_to_columns(&mut select.projection, &window, &mut has_rowtime),
        bounds_to_columns(&mut select.having, &window, &mut has_rowtime),
    ];
    for part in parts {
        if let ControlFlow::Break(mistake) = part {
            return Err(*mistake);
        }
    }
    let bounds = ["window_start", "window_end"].into_iter().chain(has_rowtime.then_some("window_time"));
    if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
        *groups = keys.into_iter().chain(bounds.map(column)).collect();
    }
    select.selection = None;
    select.from = vec![TableWithJoins { relation: call, joins: Vec::new() }];
    Ok(Some(window))
}

fn column(name: &str) -> Expr {
    Expr::Identifier(Ident::new(name))
}

fn group_window(expression: &Expr) -> Option<GroupWindow> {
    let Expr::Function(function) = expression else { return None };
    let name = last_part(&function.name);
    let arguments = arguments_of(function)?;
    GROUP_WINDOWS.contains(&name.as_str()).then(|| GroupWindow { name, at: expression.span().start, arguments })
}

fn arguments_of(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
        _ => None,
    };
    list.args.iter().map(argument).collect()
}

/// The window call that stands in place of the table.
fn window_call(select: &mut Select, window: &GroupWindow, keys: &[Expr]) -> Result<TableFactor, Mistake> {
    let name = window.name.to_uppercase();
    let [from] = select.from.as_slice() else { return Err(several_tables(window)) };
    let alias = match &from.relation {
        _ if !from.joins.is_empty() => return Err(several_tables(window)),
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            alias.name.clone()
        }
        TableFactor::Table { name, args: None, .. } => Ident::with_quote('"', last_part(name)),
        _ => Ident::new("windowed"),
    };
    let Some((time, intervals)) = window.arguments.split_first() else {
        return Err(Mistake::new(window.at, format!("{name} needs a time")).remedy(usage(window)));
    };
    let text = format!("SELECT * FROM {name}((SELECT * FROM t), DESCRIPTOR(c), {PARTITION_BY}(k)) AS {alias}");
    let mut template = parsed(&text)?;
    let mut relation = relation_of(&mut template).ok_or_else(|| Mistake::new(window.at, "the window is lost"))?;
    if let TableFactor::Table { args: Some(arguments), .. } = &mut relation {
        arguments.args.retain(|argument| window.name == "session" && !keys.is_empty() || !is_partition_by(argument));
        arguments.args.extend(intervals.iter().map(|interval| unnamed(interval.clone())));
        for argument in &mut arguments.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument else { continue };
            match value {
                Expr::Subquery(query) => {
                    if let SetExpr::Select(inner) = query.body.as_mut() {
                        inner.from = std::mem::take(&mut select.from);
                        inner.selection = select.selection.take();
                    }
                }
                Expr::Function(function) if last_part(&function.name) == "descriptor" => {
                    set_arguments(function, vec![time.clone()]);
                }
                Expr::Function(function) if last_part(&function.name) == PARTITION_BY => {
                    set_arguments(function, keys.to_vec());
                }
                _ => {}
            }
        }
    }
    Ok(relation)
}

fn several_tables(window: &GroupWindow) -> Mistake {
    let name = window.name.to_uppercase();
    Mistake::new(window.at, format!("GROUP BY {name} needs one table in FROM"))
        .remedy(format!("put the join into a subquery, or write FROM {name}(TABLE ..., DESCRIPTOR(...), ...)"))
}

fn usage(window: &GroupWindow) -> &'static str {
    match window.name.as_str() {
        "hop" => "write HOP(ts, INTERVAL '5' MINUTE, INTERVAL '1' HOUR): slide, then size",
        "session" => "write SESSION(ts, INTERVAL '10' MINUTE)",
        _ => "write TUMBLE(ts, INTERVAL '1' HOUR)",
    }
}

fn parsed(text: &str) -> Result<Box<Query>, Mistake> {
    let nowhere = Location { line: 0, column: 0 };
    let failed = |error: String| Mistake::new(nowhere, error);
    let mut parser = datafusion::sql::sqlparser::parser::Parser::new(&DIALECT)
        .try_with_sql(text)
        .map_err(|error| failed(error.to_string()))?;
    parser.parse_query().map_err(|error| failed(error.to_string()))
}

fn select_of(query: &mut Query) -> Option<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

fn relation_of(query: &mut Query) -> Option<TableFactor> {
    select_of(query)?.from.first().map(|from| from.relation.clone())
}

fn unnamed(value: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(value))
}

fn is_partition_by(argument: &FunctionArg) -> bool {
    matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(function)))
        if last_part(&function.name) == PARTITION_BY)
}

fn set_arguments(function: &mut Function, arguments: Vec<Expr>) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = arguments.into_iter().map(unnamed).collect();
    }
}

/// Puts the window's columns in place of `TUMBLE_START(...)` and the like.
fn bounds_to_columns(
    parts: &mut impl VisitMut,
    window: &GroupWindow,
    has_rowtime: &mut bool,
) -> ControlFlow<Box<Mistake>> {
    visit_expressions_mut(parts, |expression| {
        let Expr::Function(function) = &*expression else { return ControlFlow::Continue(()) };
        let name = last_part(&function.name);
        let Some(bound) = name.strip_prefix(&window.name).and_then(|rest| rest.strip_prefix('_')) else {
            return ControlFlow::Continue(());
        };
        let bound = match bound {
            "start" => "window_start",
            "end" => "window_end",
            "rowtime" | "proctime" => {
                *has_rowtime = true;
                "window_time"
            }
            _ => return ControlFlow::Continue(()),
        };
        let texts = |arguments: &[Expr]| arguments.iter().map(ToString::to_string).collect::<Vec<String>>();
        if arguments_of(function).is_none_or(|arguments| texts(&arguments) != texts(&window.arguments)) {
            let name = name.to_uppercase();
            let group = window.name.to_uppercase();
            let mistake = Mistake::new(expression.span().start, format!("{name} is of another window than GROUP BY"))
                .remedy(format!("give it the arguments of {group} in GROUP BY"));
            return ControlFlow::Break(Box::new(mistake));
        }
        *expression = column(bound);
        ControlFlow::Continue(())
    })
}
