//! How a caller's key is stored.

use serde_json::{Value, json};

use crate::row::micros;
use crate::write::Write;

pub(super) const ASKED: &str = "INSERT INTO asked (flow, key, run, request, at_us) \
    SELECT flow, key, run, request, at_us FROM json_to_recordset($1::text::json) \
    AS c (flow text, key text, run bigint, request text, at_us bigint)";

pub(super) fn asked(write: &Write) -> Option<Value> {
    let Write::Asked(asked) = write else { return None };
    Some(json!({
        "flow": asked.flow,
        "key": asked.key,
        "run": asked.run.0,
        "request": asked.request,
        "at_us": micros(asked.at),
    }))
}
