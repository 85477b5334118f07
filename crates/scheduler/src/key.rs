//! Keys of callers: whoever does not know whether a run was made, since the answer was lost, asks again with the same key and is told.
//! The history holds them, so that they are known after a restart and on every server.

use mulgil_history::asked::Asked;
use mulgil_history::write::Write;
use mulgil_sched::id::RunId;
use xxhash_rust::xxh3::xxh3_128;

use super::batch::Now;
use super::error::SchedulerError;
use super::request::{TriggerRequest, Triggered};
use super::state::Scheduler;

/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 255;

impl Scheduler {
    /// The run that was asked for before with this request's key.
    pub(super) async fn asked_before(&mut self, request: &TriggerRequest) -> Result<Option<Triggered>, SchedulerError> {
        let Some(key) = &request.key else { return Ok(None) };
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX || key.chars().any(char::is_control) {
            return Err(SchedulerError::Key);
        }
        let Some(asked) = self.history.asked(&request.flow, key).await? else { return Ok(None) };
        if asked.request != hash_of(request) {
            return Err(SchedulerError::KeyUsed { key: key.clone(), run: asked.run });
        }
        let name = match self.runs.get(&asked.run) {
            Some(open) => open.name.clone(),
            None => {
                let ended = self.history.run(asked.run).await?.ok_or(SchedulerError::UnknownRun(asked.run))?;
                ended.run.name
            }
        };
        Ok(Some(Triggered { run: asked.run, name, created: false }))
    }

    /// Puts down which run a key stands for, in the batch that makes the run.
    pub(super) fn keep_key(&mut self, request: &TriggerRequest, run: RunId, now: Now) {
        if let Some(key) = request.key.clone() {
            let asked = Asked { flow: request.flow.clone(), key, run, request: hash_of(request), at: now };
            self.batch.record(Write::Asked(asked), None);
        }
    }
}

/// What was asked for, but for the key.
fn hash_of(request: &TriggerRequest) -> String {
    let text = serde_json::to_string(&TriggerRequest { key: None, ..request.clone() }).unwrap_or_default();
    format!("{:032x}", xxh3_128(text.as_bytes()))
}
