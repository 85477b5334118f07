//! Keys that callers give with what they ask for: whoever asks again with the same key, because the answer was lost, is told of the
//! same run. Stored in the transaction that makes the run.

use jiff::Timestamp;
use mulgil_sched::id::RunId;

use crate::question::{Answers, Columns, Read};
use crate::row::{number, text, time};

/// A run was asked for with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of which flow. The key is unique within it.
    pub flow: String,
    /// The key.
    pub key: String,
    /// The run.
    pub run: RunId,
    /// A hash of what was asked for: another request with the same key is a mistake of the caller's.
    pub request: String,
    /// When.
    pub at: Timestamp,
}

fn row(row: &impl Columns) -> Read<Asked> {
    Ok(Asked {
        flow: text(row, "flow")?,
        key: text(row, "key")?,
        run: RunId(number(row, "run")?),
        request: text(row, "request")?,
        at: time(row, "at_us")?,
    })
}

/// What was asked for with a key.
pub(crate) async fn asked(db: &impl Answers, flow: &str, key: &str) -> Read<Option<Asked>> {
    let rows = db.rows("SELECT * FROM asked WHERE flow = $1 AND key = $2", vec![flow.into(), key.into()]).await?;
    rows.first().map(row).transpose()
}
