//! What is kept no longer: runs that ended long ago, with their tasks, attempts, events and notices.
//!
//! Kept is whatever is not over; the newest run of each flow; the one of its latest scheduled interval, from which the schedule goes on;
//! and runs of a backfill that is under way. A run whose interval ended later than it is kept too, so that the intervals of dropped runs
//! are the old ones: what starts runs for intervals that have none leaves those alone. Dropped is a handful of runs in a transaction, so that nobody waits long.

use jiff::Timestamp;
use mulgil_sched::id::RunId;

use crate::question::{Answers, Read};
use crate::read::ExpiredRun;
use crate::row::{micros, number, text};

/// The runs that are dropped in a transaction, at most.
pub const RUNS_MAX: usize = 250;
/// The runs that are looked for at once, at most.
pub const EXPIRED_MAX: u32 = 10_000;
/// Other rows that are dropped in a transaction, at most, of each kind.
pub(crate) const ROWS_MAX: i64 = 5_000;

/// Runs that ended before a time and need not be kept, the oldest first.
pub(crate) async fn expired(db: &impl Answers, before: Timestamp, limit: u32) -> Read<Vec<ExpiredRun>> {
    // What is kept is asked for once, not for each run.
    let sql = "SELECT r.id, r.flow FROM runs r WHERE r.ended_at_us < $1 \
               AND r.status IN ('succeeded', 'failed', 'cancelled') \
               AND coalesce(r.interval_end_us, r.ended_at_us) < $1 \
               AND r.id NOT IN (SELECT max(id) FROM runs GROUP BY flow) \
               AND (r.trigger <> 'schedule' OR (r.flow, r.interval_start_us) NOT IN \
                    (SELECT flow, max(interval_start_us) FROM runs WHERE trigger = 'schedule' GROUP BY flow)) \
               AND (r.backfill IS NULL OR r.backfill NOT IN (SELECT id FROM backfills WHERE status = 'running')) \
               ORDER BY r.id LIMIT $2";
    let run =
        |row: &_| -> Read<ExpiredRun> { Ok(ExpiredRun { id: RunId(number(row, "id")?), flow: text(row, "flow")? }) };
    db.rows(sql, vec![micros(before).into(), limit.into()]).await?.iter().map(run).collect()
}
