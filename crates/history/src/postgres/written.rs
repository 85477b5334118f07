//! How the writes of tables are stored: the latest of each interval.

use serde_json::{Value, json};

use crate::event::storable;
use crate::row::micros;
use crate::write::Write;

pub(super) const WRITES: &str = "INSERT INTO table_writes (table_name, start_us, end_us, flow, run, task, at_us) \
    SELECT table_name, start_us, end_us, flow, run, task, at_us FROM json_to_recordset($1::text::json) \
    AS c (table_name text, start_us bigint, end_us bigint, flow text, run bigint, task text, at_us bigint) \
    ON CONFLICT (table_name, start_us, end_us) DO UPDATE SET flow = excluded.flow, run = excluded.run, \
    task = excluded.task, at_us = excluded.at_us";

/// Its key is what it replaces.
pub(super) fn write(write: &Write) -> Option<((String, i64, i64), Value)> {
    let Write::Table(write) = write else { return None };
    let (table, start, end) = (storable(&write.table), micros(write.start), micros(write.end));
    let row = json!({
        "table_name": table,
        "start_us": start,
        "end_us": end,
        "flow": write.flow,
        "run": write.run.0,
        "task": write.task,
        "at_us": micros(write.at),
    });
    Some(((table, start, end), row))
}
