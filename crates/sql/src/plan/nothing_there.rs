//! Queries that can have no rows, because they join tables that never have one: the catalog's tables of indexes, constraints and the like.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Join, JoinOperator, ObjectName, Query, Select,
    SelectItem, SetExpr, SetOperator, TableFactor, TableWithJoins, Value, Visit, Visitor, visit_expressions,
};
use mulgil_connect::definition::TableName;

use super::client_words::last_part;
use crate::system::System;

/// Says which tables never have a row.
pub(super) type AlwaysEmpty<'a> = &'a dyn Fn(&TableName) -> bool;

const AGGREGATES: [&str; 11] =
    ["count", "sum", "min", "max", "avg", "array_agg", "string_agg", "bool_and", "bool_or", "json_agg", "jsonb_agg"];

/// A table's name as the catalog has it.
fn name_of(name: &ObjectName) -> Option<TableName> {
    let parts: Vec<String> =
        name.0.iter().filter_map(|part| part.as_ident()).map(|part| part.value.to_lowercase()).collect();
    match parts.as_slice() {
        [name] => Some(TableName { namespace: System::PG_CATALOG.to_owned(), name: name.clone() }),
        [namespace, name] => Some(TableName { namespace: namespace.clone(), name: name.clone() }),
        _ => None,
    }
}

/// Whether a query calls a table of its own by a name of theirs.
pub(super) fn shadows(query: &Query, empty: AlwaysEmpty<'_>) -> bool {
    let tables = query.with.iter().flat_map(|with| &with.cte_tables);
    tables
        .map(|table| ObjectName::from(vec![table.alias.name.clone()]))
        .any(|name| name_of(&name).is_some_and(|name| empty(&name)))
}

/// Whether only PostgreSQL's own catalog is read.
pub(super) fn is_of_the_catalog(table: &TableWithJoins) -> bool {
    let is = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: None, .. } => {
            name_of(name).is_some_and(|name| name.namespace == System::PG_CATALOG && name.name.starts_with("pg_"))
        }
        _ => false,
    };
    is(&table.relation) && table.joins.iter().all(|join| is(&join.relation))
}

/// Whether an expression counts or sums rows; then no rows give one. What its subqueries count is theirs.
pub(super) fn has_aggregate(expression: &Expr) -> bool {
    expression.visit(&mut Aggregates { queries: 0 }).is_break()
}

/// Looks for aggregates outside of subqueries.
struct Aggregates {
    queries: usize,
}

impl Visitor for Aggregates {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expression else { return ControlFlow::Continue(()) };
        let name = function.name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_lowercase());
        let counts = name.is_some_and(|name| AGGREGATES.contains(&name.as_str()));
        if counts && function.over.is_none() && self.queries == 0 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// Whether a query has no rows whatever else there is.
pub(super) fn never_has_rows(query: &Query, empty: AlwaysEmpty<'_>) -> bool {
    query.with.is_none() && body_never(&query.body, empty)
}

fn body_never(body: &SetExpr, empty: AlwaysEmpty<'_>) -> bool {
    match body {
        SetExpr::Select(select) => select_never(select, empty),
        SetExpr::Query(query) => never_has_rows(query, empty),
        SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => {
            body_never(left, empty) && body_never(right, empty)
        }
        _ => false,
    }
}

fn select_never(select: &Select, empty: AlwaysEmpty<'_>) -> bool {
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let aggregates = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
            has_aggregate(expression)
        }
        _ => false,
    };
    let gives_a_row_of_nothing = !is_grouped && (select.having.is_some() || select.projection.iter().any(aggregates));
    !gives_a_row_of_nothing
        && (select.from.iter().any(|from| from_never(from, empty)) || asks_for_other_constraints(select))
}

/// Whether a query reads `pg_constraint` for another kind than the one that there is: primary keys.
fn asks_for_other_constraints(select: &Select) -> bool {
    let is_read = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: None, .. } => {
            name_of(name).is_some_and(|name| name.namespace == System::PG_CATALOG && name.name == "pg_constraint")
        }
        _ => false,
    };
    let mut from = select.from.iter();
    from.any(|from| is_read(&from.relation) || from.joins.iter().any(|join| is_inner(join) && is_read(&join.relation)))
        && select.selection.as_ref().is_some_and(wants_no_key)
}

/// Whether a condition holds only for constraints that are no primary keys: `contype = 'f'` is a part of it.
fn wants_no_key(condition: &Expr) -> bool {
    match condition {
        Expr::Nested(inner) => wants_no_key(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => wants_no_key(left) || wants_no_key(right),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let kind = match left.as_ref() {
                Expr::Identifier(name) => Some(name),
                Expr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            let is_kind = kind.is_some_and(|name| name.value.eq_ignore_ascii_case("contype"));
            is_kind
                && matches!(right.as_ref(), Expr::Value(value) if matches!(&value.value, Value::SingleQuotedString(kind) if kind != "p"))
        }
        _ => false,
    }
}

fn is_inner(join: &Join) -> bool {
    matches!(join.join_operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_))
}

fn from_never(from: &TableWithJoins, empty: AlwaysEmpty<'_>) -> bool {
    from.joins.iter().fold(factor_never(&from.relation, empty), |never, join| {
        let joined = || factor_never(&join.relation, empty);
        match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => never || joined(),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => joined(),
            JoinOperator::FullOuter(_) => never && joined(),
            _ => never,
        }
    })
}

fn factor_never(factor: &TableFactor, empty: AlwaysEmpty<'_>) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => name_of(name).is_some_and(|name| empty(&name)),
        TableFactor::Table { name, args: Some(args), .. } if last_part(name) == "unnest" => {
            matches!(args.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] if is_always_null(list))
        }
        TableFactor::Derived { subquery, .. } => never_has_rows(subquery, empty),
        TableFactor::NestedJoin { table_with_joins, .. } => from_never(table_with_joins, empty),
        _ => false,
    }
}

/// Whether it is a column of the catalog in which nothing is ever said: options of tables.
fn is_always_null(list: &Expr) -> bool {
    matches!(list, Expr::CompoundIdentifier(parts) if parts.last().is_some_and(|name| name.value == "reloptions"))
}

/// A query that has no rows, as one that is easy to plan: with the same columns, as texts, and the same parameters. `None` where
/// it may have rows, or its columns are not written in it.
pub(super) fn without_rows(query: &Query, empty: AlwaysEmpty<'_>) -> Option<String> {
    if !never_has_rows(query, empty) {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for item in columns(&query.body)? {
        let name = column_name(item)?;
        let taken = |name: &String| names.contains(name);
        let free = (2..).map(|number| format!("{name}_{number}"));
        let name = std::iter::once(name.clone()).chain(free).find(|name| !taken(name))?;
        names.push(name);
    }
    let columns: Vec<String> =
        names.iter().map(|name| format!("CAST(NULL AS VARCHAR) AS \"{}\"", name.replace('"', "\"\""))).collect();
    let conditions: String = parameters(query).iter().map(|name| format!(" AND {name} IS NULL")).collect();
    Some(format!("SELECT {} WHERE false{conditions}", columns.join(", ")))
}

fn columns(body: &SetExpr) -> Option<&[SelectItem]> {
    match body {
        SetExpr::Select(select) => Some(&select.projection),
        SetExpr::Query(query) => columns(&query.body),
        SetExpr::SetOperation { left, .. } => columns(left),
        _ => None,
    }
}

fn column_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => {
            Some(if alias.quote_style.is_some() { alias.value.clone() } else { alias.value.to_lowercase() })
        }
        SelectItem::UnnamedExpr(expression) => Some(expression_name(expression)),
        _ => None,
    }
}

/// The name that PostgreSQL gives a column that has none.
fn expression_name(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(name) => name.value.to_lowercase(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|name| name.value.to_lowercase()).unwrap_or_default(),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => expression_name(expr),
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(|part| part.as_ident());
            name.map(|name| name.value.to_lowercase()).unwrap_or_default()
        }
        Expr::Case { .. } => "case".to_owned(),
        _ => "?column?".to_owned(),
    }
}

/// The parameters of a query, each once.
fn parameters(query: &Query) -> Vec<String> {
    let mut found = Vec::new();
    let _ = visit_expressions(query, |expression| {
        if let Expr::Value(value) = expression
            && let Value::Placeholder(name) = &value.value
            && !found.contains(name)
        {
            found.push(name.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::text::DIALECT;

    fn rewritten(text: &str) -> Option<String> {
        let query = Parser::new(&DIALECT).try_with_sql(text).unwrap().parse_query().unwrap();
        without_rows(&query, &|name| name.namespace == "pg_catalog" && name.name == "pg_index")
    }

    #[test]
    fn what_joins_a_table_without_rows_has_none() {
        let cases = [
            ("SELECT indexrelid FROM pg_index", "SELECT CAST(NULL AS VARCHAR) AS \"indexrelid\" WHERE false"),
            (
                "SELECT c.relname AS \"Name\", 1, 2 FROM pg_class c JOIN pg_catalog.pg_index i ON i.x = c.oid WHERE c.a = $1 ORDER BY 1",
                "SELECT CAST(NULL AS VARCHAR) AS \"Name\", CAST(NULL AS VARCHAR) AS \"?column?\", \
                 CAST(NULL AS VARCHAR) AS \"?column?_2\" WHERE false AND $1 IS NULL",
            ),
            (
                "SELECT x, NULL, NULL FROM pg_index UNION SELECT x, (SELECT string_agg(a, ',') FROM t), 1 FROM pg_index",
                "SELECT CAST(NULL AS VARCHAR) AS \"x\", CAST(NULL AS VARCHAR) AS \"?column?\", \
                 CAST(NULL AS VARCHAR) AS \"?column?_2\" WHERE false",
            ),
            (
                "SELECT r.a FROM (SELECT (f(i.keys)).n AS a FROM pg_class, pg_index i) r, pg_class",
                "SELECT CAST(NULL AS VARCHAR) AS \"a\" WHERE false",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(rewritten(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_may_have_rows_is_left_alone() {
        let cases = [
            "SELECT count(*) FROM pg_index",
            "SELECT * FROM pg_index",
            "SELECT c.oid FROM pg_class c LEFT JOIN pg_index i ON i.x = c.oid",
            "SELECT i.x FROM pg_index i RIGHT JOIN pg_class c ON i.x = c.oid",
            "SELECT x FROM pg_index UNION SELECT oid FROM pg_class",
            "SELECT x FROM mine.pg_index",
            "WITH pg_index AS (SELECT 1 AS x) SELECT x FROM pg_index",
        ];
        for text in cases {
            assert_eq!(rewritten(text), None, "{text}");
        }
    }
}
