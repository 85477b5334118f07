//! The tables of the hand-written lists of queries: three of one shape, with random rows.

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use mulgil_engine::deterministic::Random;

use crate::modes::{Rows, declaration};

const VIEWS: [&str; 4] = ["events", "l", "r", "m"];

/// How rows arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// In any order.
    Random,
    /// No row is later than the table's watermark.
    InTime,
}

/// The statements that declare the views and their tables.
pub(crate) fn tables() -> String {
    let columns = "k VARCHAR, n BIGINT, v BIGINT, d DOUBLE, ts TIMESTAMP(3)";
    let mut tables: String = VIEWS.iter().map(|view| declaration(view, columns)).collect();
    // The last row of each key: a versioned table.
    tables.push_str(
        "CREATE MATERIALIZED TABLE r_last REFRESH_MODE = CONTINUOUS AS SELECT ts, v AS rv, k AS rk, number FROM
           (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS number FROM r) WHERE number = 1;",
    );
    tables
}

/// Rows for every view: few of those of joins, for they multiply.
pub(crate) fn random_rows(arrival: Arrival, random: &mut Random) -> Rows {
    let base_ms = [-100_000, 0, 1_356_998_400_000, -2_208_988_800_000][random.below(4)];
    let count_max = |view: &str| if view == "events" { 120 } else { 60 };
    VIEWS.map(|view| (view.to_owned(), random_batch(base_ms, count_max(view), arrival, random))).into()
}

fn signed(random: &mut Random, bound: usize) -> i64 {
    i64::try_from(random.below(bound)).unwrap()
}

/// Event times go up on the whole, from before 1970, in grains so that some are equal.
fn random_batch(base_ms: i64, count_max: usize, arrival: Arrival, random: &mut Random) -> RecordBatch {
    let grain_ms = [1, 1_000][random.below(2)];
    let (mut keys, mut groups, mut values, mut doubles, mut times) = (vec![], vec![], vec![], vec![], vec![]);
    for at in 0..random.below(count_max) {
        let disorder_ms = match arrival {
            Arrival::Random => [0, 5_000, 50_000, 100_000][random.below(4)],
            Arrival::InTime => 19_000,
        };
        let ms = 1_000 * i64::try_from(at).unwrap() - signed(random, disorder_ms + 1);
        keys.push((random.below(8) > 0).then(|| format!("k{}", random.below(5))));
        groups.push((random.below(8) > 0).then(|| signed(random, 6)));
        values.push((random.below(8) > 0).then(|| signed(random, 2_000) - 1_000));
        // Halves add up exactly, in any order.
        doubles.push((random.below(8) > 0).then(|| (signed(random, 2_000) - 1_000) as f64 / 2.0));
        times.push((random.below(20) > 0).then_some(base_ms + ms.div_euclid(grain_ms) * grain_ms));
    }
    RecordBatch::try_from_iter_with_nullable([
        ("k", Arc::new(StringArray::from(keys)) as _, true),
        ("n", Arc::new(Int64Array::from(groups)) as _, true),
        ("v", Arc::new(Int64Array::from(values)) as _, true),
        ("d", Arc::new(Float64Array::from(doubles)) as _, true),
        ("ts", Arc::new(TimestampMillisecondArray::from(times)) as _, true),
    ])
    .unwrap()
}
