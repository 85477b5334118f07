//! The statements that drop old rows, and each [`Write`] as rows for them.

use serde_json::{Value, json};

use crate::retention::ROWS_MAX;
use crate::row::micros;
use crate::write::Write;

/// The rows are found by their indices, also in tables of which the database knows nothing yet: it would read those as a whole for a few
/// runs, again and again.
const BY_INDEX: &str = "SELECT length(set_config('enable_seqscan', 'off', true))::bigint WHERE $1::text IS NOT NULL";

/// From what points at a run to the run itself.
pub(super) const OF_RUNS: [&str; 9] = [
    BY_INDEX,
    "DELETE FROM events WHERE run = ANY (ARRAY(SELECT run FROM json_to_recordset($1::text::json) AS c (run bigint)))",
    "DELETE FROM notices WHERE status <> 'waiting' \
     AND run = ANY (ARRAY(SELECT run FROM json_to_recordset($1::text::json) AS c (run bigint)))",
    "DELETE FROM alerts WHERE run = ANY (ARRAY(SELECT run FROM json_to_recordset($1::text::json) AS c (run bigint)))",
    "DELETE FROM table_writes WHERE run = ANY (ARRAY(SELECT run FROM json_to_recordset($1::text::json) AS c (run bigint)))",
    "DELETE FROM asked WHERE run = ANY (ARRAY(SELECT run FROM json_to_recordset($1::text::json) AS c (run bigint)))",
    "DELETE FROM attempts WHERE run = ANY (ARRAY(SELECT run FROM json_to_recordset($1::text::json) AS c (run bigint)))",
    "DELETE FROM tasks WHERE run = ANY (ARRAY(SELECT run FROM json_to_recordset($1::text::json) AS c (run bigint)))",
    "DELETE FROM runs WHERE id = ANY (ARRAY(SELECT run FROM json_to_recordset($1::text::json) AS c (run bigint)))",
];

/// What belongs to no run any more, and notices that have ended.
pub(super) const REST: [&str; 5] = [
    BY_INDEX,
    "DELETE FROM events WHERE seq IN (SELECT e.seq FROM events e, json_to_recordset($1::text::json) \
     AS c (before_us bigint) WHERE e.run IS NULL AND e.at_us < c.before_us LIMIT 5000)",
    "DELETE FROM backfills WHERE id IN (SELECT b.id FROM backfills b, json_to_recordset($1::text::json) \
     AS c (before_us bigint) WHERE b.ended_at_us < c.before_us \
     AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.backfill = b.id) LIMIT 5000)",
    "DELETE FROM flow_versions WHERE hash IN (SELECT v.hash FROM flow_versions v, json_to_recordset($1::text::json) \
     AS c (before_us bigint) WHERE v.at_us < c.before_us \
     AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.version = v.hash) LIMIT 5000)",
    "DELETE FROM notices WHERE seq IN (SELECT n.seq FROM notices n, json_to_recordset($1::text::json) \
     AS c (notices_us bigint) WHERE n.status <> 'waiting' AND n.ended_at_us < c.notices_us LIMIT 5000)",
];

// The statements say it in words.
const _: () = assert!(ROWS_MAX == 5_000);

pub(super) fn runs(writes: &[Write]) -> Vec<Value> {
    let runs = writes.iter().filter_map(|write| match write {
        Write::Drop { runs } => Some(runs.iter().map(|run| json!({"run": run.0}))),
        _ => None,
    });
    runs.flatten().collect()
}

pub(super) fn rest(write: &Write) -> Option<Value> {
    let Write::DropRest { runs, notices } = write else { return None };
    Some(json!({"before_us": micros(*runs), "notices_us": micros(*notices)}))
}
