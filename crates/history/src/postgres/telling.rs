//! The statements that store what is to be told and what came of it, and each [`Write`] as a row for its statement.

use serde_json::{Value, json};

use crate::event::storable;
use crate::outbox::NoticeStatus;
use crate::row::micros;
use crate::write::Write;

pub(super) const NOTICES: &str = "INSERT INTO notices \
    (key, channel, kind, flow, run, body, status, tries, created_at_us, next_at_us, ended_at_us, error) \
    SELECT key, channel, kind, flow, run, body, status, 0, at_us, next_us, ended_us, error \
    FROM json_to_recordset($1::text::json) AS c (key text, channel text, kind text, flow text, run bigint, body text, \
    status text, at_us bigint, next_us bigint, ended_us bigint, error text) ON CONFLICT (key) DO NOTHING";

pub(super) const STATUS: &str = "UPDATE notices n SET status = c.status, tries = n.tries + 1, next_at_us = c.next_us, \
    ended_at_us = c.ended_us, error = c.error FROM json_to_recordset($1::text::json) \
    AS c (key text, status text, next_us bigint, ended_us bigint, error text) \
    WHERE n.key = c.key AND n.status = 'waiting'";

pub(super) const ALERTS: &str = "INSERT INTO alerts (run, kind, text, at_us) SELECT run, kind, text, at_us \
    FROM json_to_recordset($1::text::json) AS c (run bigint, kind text, text text, at_us bigint) ON CONFLICT DO NOTHING";

pub(super) fn notice(write: &Write) -> Option<Value> {
    let Write::Notice(notice) = write else { return None };
    let (at, waits) = (micros(notice.at), notice.refused.is_none());
    Some(json!({
        "key": storable(&notice.key),
        "channel": storable(&notice.channel),
        "kind": notice.kind,
        "flow": notice.flow,
        "run": notice.run.map(|run| run.0),
        // A text in which what is no text is written out.
        "body": storable(&notice.body.to_string()),
        "status": notice.status().word(),
        "at_us": at,
        "next_us": waits.then_some(at),
        "ended_us": (!waits).then_some(at),
        "error": notice.refused,
    }))
}

/// A notice that has ended stays as it is.
pub(super) fn status(write: &Write) -> Option<(&str, Value)> {
    let Write::NoticeStatus(change) = write else { return None };
    let row = json!({
        "key": storable(&change.key),
        "status": change.to.word(),
        "next_us": change.next_at.map(micros),
        "ended_us": (change.to != NoticeStatus::Waiting).then(|| micros(change.at)),
        "error": change.error.as_deref().map(storable),
    });
    Some((&change.key, row))
}

pub(super) fn alert(write: &Write) -> Option<Value> {
    let Write::Alert(alert) = write else { return None };
    Some(json!({"run": alert.run.0, "kind": alert.kind, "text": storable(&alert.text), "at_us": micros(alert.at)}))
}
