//! Functions of PostgreSQL in `FROM`: `generate_series(1, 3) AS i` has a row for each of its values, `string_to_array(x, ',') AS s` has
//! one row, and the column is named like the table.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, Visit, Visitor,
};

use super::client_words::{call, called, last_part};

/// Functions that have a row for each value: they give a list of them.
const SERIES: [&str; 1] = ["generate_series"];
/// Functions that have one row.
const VALUES: [&str; 2] = ["string_to_array", "current_schemas"];

/// Writes such a call as an `UNNEST`, whose column is named.
pub(super) fn name_columns(factor: &mut TableFactor) {
    match factor {
        TableFactor::Table { name, alias, args: Some(args), with_ordinality: false, .. } => {
            let function = last_part(name);
            let is_series = SERIES.contains(&function.as_str());
            if !is_series && !VALUES.contains(&function.as_str()) {
                return;
            }
            let mut list = call(&function, std::mem::take(&mut args.args));
            if !is_series {
                list = called("make_array", &mut list);
            }
            *factor = unnest(list, alias.take().unwrap_or_else(|| alias_of(Ident::new(function))));
        }
        TableFactor::UNNEST { alias: Some(alias), array_exprs, with_offset: false, with_ordinality: false, .. }
            if array_exprs.len() == 1 =>
        {
            named(alias);
        }
        _ => {}
    }
}

fn unnest(list: Expr, mut alias: TableAlias) -> TableFactor {
    named(&mut alias);
    TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs: vec![list],
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    }
}

fn alias_of(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

fn named(alias: &mut TableAlias) {
    if alias.columns.is_empty() {
        alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
    }
}

/// `x IN (SELECT y FROM …)` where the subquery reads no table but the list of schemas in the session's settings: whether a list that
/// is made once has it, which may be asked anywhere, also in `ORDER BY`.
pub(super) fn among_settings(expr: &mut Expr, subquery: &mut Query) -> Option<Expr> {
    if !reads_settings_only(subquery) {
        return None;
    }
    let SetExpr::Select(select) = subquery.body.as_mut() else { return None };
    let [SelectItem::UnnamedExpr(value)] = select.projection.as_mut_slice() else { return None };
    *value = called("array_agg", value);
    let list = Expr::Subquery(Box::new(subquery.clone()));
    let taken = std::mem::replace(expr, Expr::value(datafusion::sql::sqlparser::ast::Value::Null));
    let arguments = [list, taken].map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)));
    Some(call("array_has", arguments.into()))
}

fn reads_settings_only(query: &Query) -> bool {
    let mut reads = Reads { settings: false };
    let finds_a_table = query.visit(&mut reads).is_break();
    reads.settings && !finds_a_table
}

/// Looks for tables, and for `current_setting`.
struct Reads {
    settings: bool,
}

impl Visitor for Reads {
    type Break = ();

    fn pre_visit_relation(&mut self, _: &ObjectName) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression {
            self.settings |= last_part(&function.name) == "current_setting";
        }
        ControlFlow::Continue(())
    }
}
