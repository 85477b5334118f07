//! What a changelog adds up to, and how two multisets of rows differ.

use std::collections::BTreeMap;

use mulgil_dataflow::batch::{Batch, RowKind};

use crate::fixture::text_rows;

/// The rows that are left when every change counts once, by its sign.
pub(crate) fn added_up(batches: &[Batch]) -> Result<Vec<Vec<String>>, String> {
    let mut counts: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    for batch in batches {
        for (row, cells) in text_rows(std::slice::from_ref(&batch.rows)).into_iter().enumerate() {
            let kind = batch.kinds.as_ref().map_or(RowKind::Insert as u8, |kinds| kinds.value(row));
            let is_taken_back = kind == RowKind::UpdateBefore as u8 || kind == RowKind::Delete as u8;
            *counts.entry(cells).or_default() += if is_taken_back { -1 } else { 1 };
        }
    }
    let mut rows = Vec::new();
    for (cells, count) in counts {
        let count = usize::try_from(count)
            .map_err(|_| format!("{} is taken back {} times more than it was given", cells.join(" "), -count))?;
        rows.extend(std::iter::repeat_n(cells, count));
    }
    Ok(rows)
}

pub(crate) fn difference(expected: &[Vec<String>], found: &[Vec<String>]) -> String {
    let mut counts: BTreeMap<&Vec<String>, i64> = BTreeMap::new();
    expected.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    found.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    let lines = counts.iter().filter(|(_, count)| **count != 0).take(12);
    let line = |(row, count): (&&Vec<String>, &i64)| {
        let (what, count) = if *count > 0 { ("missing", *count) } else { ("too many", -count) };
        format!("  {what} {count} x {}", row.join(" | "))
    };
    format!(
        "{} rows expected, {} found:\n{}",
        expected.len(),
        found.len(),
        lines.map(line).collect::<Vec<_>>().join("\n")
    )
}
