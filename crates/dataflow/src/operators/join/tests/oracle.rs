//! The join of two lists of rows, by trying every pair; and a condition.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::lt;
use arrow::datatypes::{DataType, TimestampMillisecondType};

use super::super::{JoinKind, Side};
use crate::expression::{EvaluationError, Expression};

/// `k` and `v`; `t` is `k` as text.
pub(in super::super) type Row = (Option<i64>, Option<i64>);
pub(in super::super) type Rows = Vec<Row>;

pub(in super::super) const KINDS: [JoinKind; 10] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::LeftSemi,
    JoinKind::RightSemi,
    JoinKind::LeftAnti,
    JoinKind::RightAnti,
    JoinKind::LeftMark,
    JoinKind::RightMark,
];

fn cells(row: Option<Row>) -> Vec<String> {
    let text = |cell: Option<i64>| cell.map_or("null".to_owned(), |cell| cell.to_string());
    let (k, v) = row.unwrap_or((None, None));
    vec![text(v), text(k)]
}

/// The rows of a join, and how often each occurs.
pub(in super::super) fn naive(
    kind: JoinKind,
    rows: &[Rows; 2],
    keys: &[usize],
    with_condition: bool,
    nulls_match: bool,
) -> BTreeMap<Vec<String>, i64> {
    naive_where(kind, rows, |l: &Row, r: &Row| {
        let same = keys.is_empty() || (l.0 == r.0 && (l.0.is_some() || nulls_match));
        same && (!with_condition || (l.1.is_some() && l.1 < r.1))
    })
}

/// The same, of rows that match as `matches` says.
pub(in super::super) fn naive_where(
    kind: JoinKind,
    [left, right]: &[Rows; 2],
    matches: impl Fn(&Row, &Row) -> bool,
) -> BTreeMap<Vec<String>, i64> {
    let mut result = Vec::new();
    for l in left {
        let partners: Vec<&Row> = right.iter().filter(|r| matches(l, r)).collect();
        if kind.gives_pairs() {
            result.extend(partners.iter().map(|r| [cells(Some(*l)), cells(Some(**r))].concat()));
        }
        alone(kind, Side::Left, *l, !partners.is_empty(), &mut result);
    }
    for r in right {
        let has_partner = left.iter().any(|l| matches(l, r));
        alone(kind, Side::Right, *r, has_partner, &mut result);
    }
    let mut counts = BTreeMap::new();
    for row in result {
        *counts.entry(row).or_insert(0) += 1;
    }
    counts
}

fn alone(kind: JoinKind, side: Side, row: Row, has_partner: bool, result: &mut Vec<Vec<String>>) {
    let when = kind.alone(side);
    if !(if has_partner { when.matched } else { when.unmatched }) {
        return;
    }
    result.push(match (kind, side) {
        (JoinKind::Left | JoinKind::Full, Side::Left) => [cells(Some(row)), cells(None)].concat(),
        (JoinKind::Right | JoinKind::Full, Side::Right) => [cells(None), cells(Some(row))].concat(),
        _ if kind.gives_mark() => [cells(Some(row)), vec![has_partner.to_string()]].concat(),
        _ => cells(Some(row)),
    });
}

/// The first column is less than the second.
#[derive(Debug)]
pub(in super::super) struct Less;

impl fmt::Display for Less {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lv < rv")
    }
}

impl Expression for Less {
    fn data_type(&self) -> DataType {
        DataType::Boolean
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        Ok(Arc::new(lt(rows.column(0), rows.column(1)).unwrap()))
    }
}

/// The second column is near the first.
#[derive(Debug)]
pub(in super::super) struct Within {
    pub(in super::super) before_ms: i64,
    pub(in super::super) after_ms: i64,
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rv BETWEEN lv - {} AND lv + {}", self.before_ms, self.after_ms)
    }
}

impl Expression for Within {
    fn data_type(&self) -> DataType {
        DataType::Boolean
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let (left, right) = (rows.column(0), rows.column(1));
        assert_eq!(left.len(), right.len());
        let times = |column: &ArrayRef| column.as_primitive::<TimestampMillisecondType>().clone();
        let near = |(l, r): (Option<i64>, Option<i64>)| {
            l.zip(r).map(|(l, r)| l - self.before_ms <= r && r <= l + self.after_ms)
        };
        Ok(Arc::new(times(left).iter().zip(times(right).iter()).map(near).collect::<BooleanArray>()))
    }
}
