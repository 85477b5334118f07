//! PostgreSQL's small vectors in queries of its clients: `indkey` and its like are texts such as `1 2` here, and count from 0. Where a
//! query takes their items, functions of the session do.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Subscript, Value,
};

use super::client_words::{call, called, last_part};

/// Columns that are such vectors; the last is the name that PostgreSQL's JDBC driver gives to one.
const VECTORS: [&str; 5] = ["indkey", "indoption", "indclass", "indcollation", "i_indoption"];
/// Functions that take lists.
const OF_LISTS: [&str; 5] = ["unnest", "array_position", "array_length", "array_lower", "array_upper"];

fn is_vector(expression: &Expr) -> bool {
    let name = match expression {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::Nested(inner) => return is_vector(inner),
        _ => None,
    };
    name.is_some_and(|name| VECTORS.contains(&name.value.to_lowercase().as_str()))
}

fn as_list(expression: &mut Expr) {
    if is_vector(expression) {
        *expression = called("vector_items", expression);
    }
}

/// Takes items as our functions do; and a field of what is in parentheses, which is written there only for such items.
pub(super) fn take_items(expression: &mut Expr) {
    match expression {
        Expr::CompoundFieldAccess { root, access_chain } => {
            let (function, of, what) = match (root.as_ref(), access_chain.as_slice()) {
                (root, [AccessExpr::Subscript(Subscript::Index { index })]) if is_vector(root) => {
                    ("vector_item", root.clone(), index.clone())
                }
                (Expr::Identifier(table), [AccessExpr::Dot(Expr::Identifier(column)), subscript]) => {
                    let column = Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
                    let AccessExpr::Subscript(Subscript::Index { index }) = subscript else { return };
                    if !is_vector(&column) {
                        return;
                    }
                    ("vector_item", column, index.clone())
                }
                (Expr::Nested(_), [AccessExpr::Dot(Expr::Identifier(field))]) => {
                    let field = Expr::value(Value::SingleQuotedString(field.value.clone()));
                    ("get_field", root.as_ref().clone(), field)
                }
                _ => return,
            };
            let arguments = [of, what].map(|of| FunctionArg::Unnamed(FunctionArgExpr::Expr(of)));
            *expression = call(function, arguments.into());
        }
        Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => as_list(right),
        Expr::Function(function) => {
            let name = last_part(&function.name);
            let FunctionArguments::List(list) = &mut function.args else { return };
            let mut arguments = list.args.iter_mut().filter_map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(of)) => Some(of),
                _ => None,
            });
            if OF_LISTS.contains(&name.as_str()) {
                arguments.for_each(as_list);
            } else if name == "_pg_expandarray"
                && let Some(vector) = arguments.next()
            {
                *expression = called("unnest", &mut called("vector_places", vector));
            }
        }
        _ => {}
    }
}
