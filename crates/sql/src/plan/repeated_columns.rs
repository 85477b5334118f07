//! Columns of a `SELECT` that are written twice, such as `NULL, NULL`: PostgreSQL lets them have one name, and a plan does not.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{Expr, Ident, Select, SelectItem};

/// Gives each column that stands there again a name of its own: that of its last part, and how often it has been there.
pub(super) fn tell_apart(select: &mut Select) {
    let mut taken: BTreeSet<String> = select.projection.iter().map(written).collect();
    let mut seen = BTreeSet::new();
    for item in &mut select.projection {
        if seen.insert(written(item)) {
            continue;
        }
        let SelectItem::UnnamedExpr(expression) = item else { continue };
        let name = last_part(expression);
        let free = (2..).map(|number| format!("{name}_{number}")).find(|name| !taken.contains(&name.to_lowercase()));
        let Some(name) = free else { continue };
        taken.insert(name.to_lowercase());
        let expr = expression.clone();
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
    }
}

/// What a column is recognised by.
fn written(item: &SelectItem) -> String {
    match item {
        SelectItem::UnnamedExpr(expression) => expression.to_string(),
        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
        other => other.to_string(),
    }
    .to_lowercase()
}

fn last_part(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.clone()).unwrap_or_default(),
        other => other.to_string(),
    }
}
