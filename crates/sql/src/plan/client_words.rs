//! Queries of PostgreSQL's clients over the system tables, in words that the planner knows.
//!
//! Only spelling changes: `x::regclass` becomes a function, `OPERATOR(pg_catalog.~)` and `COLLATE` lose what means nothing here, a
//! function in `FROM` names its column, and a scalar subquery says that it gives one row. A query that asks only of things that there are none of, such as indexes and
//! constraints, is answered without rows and not planned at all.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::calls_in_from::{among_settings, name_columns};
use super::nothing_there::{AlwaysEmpty, has_aggregate, is_of_the_catalog, never_has_rows, shadows, without_rows};
use super::repeated_columns::tell_apart;
use super::vector_words::take_items;
use crate::text::DIALECT;

/// Types whose values are numbers that are written as names: the part of the functions' names that stands for each.
const NAMED: [&str; 4] = ["regclass", "regtype", "regnamespace", "regproc"];

/// Writes a query in our words. `empty` are the tables that never have a row.
pub(crate) fn in_our_words(query: &mut Query, empty: AlwaysEmpty<'_>) {
    // Broken off where a query's own tables have such names: then nothing is known of them.
    let _ = query.visit(&mut Words { empty, sets: 0 });
}

struct Words<'a> {
    empty: AlwaysEmpty<'a>,
    /// Subqueries ahead that stand for a set, and not for one value.
    sets: usize,
}

impl VisitorMut for Words<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if shadows(query, self.empty) {
            return ControlFlow::Break(());
        }
        if let Some(text) = without_rows(query, self.empty)
            && let Some(empty) = parsed(&text)
        {
            *query = empty;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        name_columns(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        tell_apart(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        take_items(expression);
        match expression {
            Expr::Subquery(query) if never_has_rows(query, self.empty) => *expression = null(),
            Expr::Exists { subquery, negated } if never_has_rows(subquery, self.empty) => {
                *expression = Expr::value(ast::Value::Boolean(*negated));
            }
            Expr::Subquery(_) if self.sets > 0 => self.sets -= 1,
            Expr::Subquery(query) => says_one_row(query),
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if matches!(**right, Expr::Subquery(_)) => {
                self.sets += 1
            }
            Expr::BinaryOp { left, op, right } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(plain) = parts.last().and_then(|sign| plain_operator(sign))
                {
                    *op = plain;
                }
                as_number(left);
                as_number(right);
                if *op == BinaryOperator::Eq && is_flag(left) {
                    as_truth(right);
                }
            }
            Expr::InList { expr, list, .. } => {
                as_number(expr);
                list.iter_mut().for_each(as_number);
            }
            Expr::Cast { expr, data_type, .. } if is_number(data_type) => as_number(expr),
            Expr::Function(function) => {
                // `ARRAY(SELECT …)` of no rows is an array without items.
                if let FunctionArguments::Subquery(query) = &function.args
                    && last_part(&function.name) == "array"
                    && never_has_rows(query, self.empty)
                {
                    *expression = call("make_array", Vec::new());
                    return ControlFlow::Continue(());
                }
                if let FunctionArguments::List(list) = &mut function.args {
                    for argument in &mut list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) = argument {
                            as_number(expression);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::InSubquery { expr, subquery, negated: false } => {
                if let Some(asked) = among_settings(expr, subquery) {
                    *expression = asked;
                }
            }
            Expr::Collate { expr, .. } => *expression = std::mem::replace(expr.as_mut(), null()),
            Expr::Cast { expr, data_type, .. } => match named_type(data_type) {
                Some(named) => *expression = called(&format!("{named}_name"), expr),
                None => plain_type(data_type),
            },
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn parsed(text: &str) -> Option<Query> {
    Parser::new(&DIALECT).try_with_sql(text).ok()?.parse_query().ok().map(|query| *query)
}

fn null() -> Expr {
    Expr::value(ast::Value::Null)
}

/// The sign of `OPERATOR(pg_catalog.~)`.
fn plain_operator(sign: &str) -> Option<BinaryOperator> {
    Some(match sign {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

pub(super) fn last_part(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase()).unwrap_or_default()
}

fn named_type(data_type: &DataType) -> Option<&'static str> {
    let name = match data_type {
        DataType::Regclass => "regclass".to_owned(),
        DataType::Custom(name, _) => last_part(name),
        _ => return None,
    };
    NAMED.into_iter().find(|known| *known == name)
}

fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Custom(name, _) => ["oid", "int8", "int4"].contains(&last_part(name).as_str()),
        other => matches!(other, DataType::BigInt(_) | DataType::Int(_) | DataType::Integer(_) | DataType::Int8(_)),
    }
}

/// PostgreSQL's own names of types.
fn plain_type(data_type: &mut DataType) {
    let DataType::Custom(name, _) = data_type else { return };
    *data_type = match last_part(name).as_str() {
        "oid" | "int8" => DataType::BigInt(None),
        "int4" => DataType::Int(None),
        "int2" => DataType::SmallInt(None),
        "bool" => DataType::Boolean,
        "name" | "text" | "char" | "varchar" | "bpchar" => DataType::Varchar(None),
        _ => return,
    };
}

/// Whether it is a column of the catalog that is true or false: `indisprimary` and its like.
fn is_flag(expression: &Expr) -> bool {
    let name = match expression {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    name.is_some_and(|name| {
        ["indis", "relhas", "relis", "attis", "atthas"].iter().any(|kind| name.value.starts_with(kind))
    })
}

/// `'t'` where a truth value is meant.
fn as_truth(expression: &mut Expr) {
    let Expr::Value(value) = expression else { return };
    let truth = match &value.value {
        ast::Value::SingleQuotedString(text) => match text.as_str() {
            "t" | "true" => true,
            "f" | "false" => false,
            _ => return,
        },
        _ => return,
    };
    *expression = Expr::value(ast::Value::Boolean(truth));
}

/// `x::regclass` where its number is meant.
fn as_number(expression: &mut Expr) {
    if let Expr::Cast { kind: CastKind::DoubleColon | CastKind::Cast, expr, data_type, .. } = expression
        && let Some(named) = named_type(data_type)
    {
        *expression = called(&format!("{named}_number"), expr);
    }
}

/// A call of a function with one argument, which is taken.
pub(super) fn called(function: &str, argument: &mut Expr) -> Expr {
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(std::mem::replace(argument, null())));
    call(function, vec![argument])
}

/// A call of a function.
pub(super) fn call(function: &str, args: Vec<FunctionArg>) -> Expr {
    let list = ast::FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(ast::Function {
        name: ObjectName::from(vec![Ident::new(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Makes the one column of a plain scalar subquery a `max`: of one row it is that row's value.
fn says_one_row(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Select { projection, group_by, from, .. } = select.as_mut();
    let is_plain = matches!(group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    if !is_plain || from.is_empty() || !from.iter().all(is_of_the_catalog) {
        return;
    }
    if let [SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. }] =
        projection.as_mut_slice()
        && !has_aggregate(expression)
    {
        *expression = called("max", expression);
    }
}
