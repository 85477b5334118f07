//! What a query wants of a table that the program fills itself: the conditions that are simple enough to be told to it.
//!
//! They only save work. The query checks them again on every row that comes.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator};

/// The conditions that all rows have to meet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted(Vec<Condition>);

/// A column compared with a value.
#[derive(Clone, Debug, PartialEq)]
struct Condition {
    column: String,
    operator: Operator,
    value: Known,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    /// A number; of a time, its microseconds since the epoch.
    Number(i64),
    Text(String),
}

impl Wanted {
    /// What the filters of a scan say. What is not simple is left out.
    pub(crate) fn of(filters: &[Expr]) -> Self {
        let mut conditions = Vec::new();
        filters.iter().for_each(|filter| gather(filter, &mut conditions));
        Self(conditions)
    }

    /// The number that a column has to have.
    pub fn number(&self, column: &str) -> Option<i64> {
        self.numbers(column, &[Operator::Eq]).next()
    }

    /// The text that a column has to have.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.0.iter().find_map(|condition| match &condition.value {
            Known::Text(text) if condition.column == column && condition.operator == Operator::Eq => {
                Some(text.as_str())
            }
            _ => None,
        })
    }

    /// The least that a column may be, a number or the microseconds of a time; what is less is not wanted.
    pub fn least(&self, column: &str) -> Option<i64> {
        self.numbers(column, &[Operator::Eq, Operator::Gt, Operator::GtEq]).max()
    }

    /// The most that a column may be, likewise.
    pub fn most(&self, column: &str) -> Option<i64> {
        self.numbers(column, &[Operator::Eq, Operator::Lt, Operator::LtEq]).min()
    }

    fn numbers<'a>(&'a self, column: &'a str, operators: &'a [Operator]) -> impl Iterator<Item = i64> + 'a {
        self.0.iter().filter_map(move |condition| match condition.value {
            Known::Number(number) if condition.column == column && operators.contains(&condition.operator) => {
                Some(number)
            }
            _ => None,
        })
    }
}

fn gather(filter: &Expr, conditions: &mut Vec<Condition>) {
    let Expr::BinaryExpr(binary) = filter else { return };
    if binary.op == Operator::And {
        gather(&binary.left, conditions);
        gather(&binary.right, conditions);
        return;
    }
    let (column, operator, value) = match (binary.left.as_ref(), binary.right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, Some(binary.op), value),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, binary.op.swap(), value),
        _ => return,
    };
    if let (Some(operator), Some(value)) = (operator, known(value)) {
        conditions.push(Condition { column: column.name.clone(), operator, value });
    }
}

fn known(value: &ScalarValue) -> Option<Known> {
    match value {
        ScalarValue::Int64(number) => number.map(Known::Number),
        ScalarValue::TimestampMicrosecond(micros, _) => micros.map(Known::Number),
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.clone().map(Known::Text)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn simple_conditions_are_told_and_others_left_out() {
        let time = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        let wanted = Wanted::of(&[
            col("flow").eq(lit("a")).and(lit(7_i64).lt(col("run"))),
            col("at").gt_eq(time(10)),
            col("at").gt(time(12)),
            time(20).gt_eq(col("at")),
            col("status").eq(lit("x")).or(col("status").eq(lit("y"))),
            col("status").not_eq(lit("z")),
            (col("task") + lit(1_i64)).eq(lit(2_i64)),
        ]);
        assert_eq!((wanted.text("flow"), wanted.text("status"), wanted.text("task")), (Some("a"), None, None));
        assert_eq!((wanted.number("run"), wanted.least("run"), wanted.most("run")), (None, Some(7), None));
        assert_eq!((wanted.least("at"), wanted.most("at")), (Some(12), Some(20)));
        assert_eq!((wanted.number("task"), wanted.least("task")), (None, None));
    }

    #[test]
    fn a_number_that_a_column_has_to_have_bounds_it() {
        let wanted = Wanted::of(&[col("run").eq(lit(7_i64))]);
        assert_eq!((wanted.number("run"), wanted.least("run"), wanted.most("run")), (Some(7), Some(7), Some(7)));
    }
}
