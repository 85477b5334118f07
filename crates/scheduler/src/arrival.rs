//! Runs that something outside starts: a delivery to a webhook, a file. Each is known by what has come, so that what comes again, also
//! after a restart, is the same run: the history holds a key once.

use std::collections::BTreeMap;

use mulgil_flow::RunKey;
use serde_json::Value;

use super::batch::Now;
use super::error::SchedulerError;
use super::request::{Arrival, FlowSource, Triggered};
use super::state::{RunOrder, Scheduler};

/// Runs that may be open when something outside starts one more. Senders try again, and files wait where they are.
const OPEN_MAX: usize = 10_000;

impl Scheduler {
    /// Makes the run of something that has come, or finds it.
    pub(super) async fn arrived(
        &mut self,
        source: &FlowSource,
        arrival: &Arrival,
        params: &BTreeMap<String, Value>,
        now: Now,
    ) -> Result<Triggered, SchedulerError> {
        let flow = &source.flow;
        let id = arrival.id.clone().unwrap_or_else(|| format!("{}-{}", now.as_microsecond(), self.last_run + 1));
        let key = RunKey::of_arrival(flow, arrival.trigger.word(), &id);
        let existing = self.history.runs_by_key(&flow.name, &[key.text().to_owned()]).await?;
        if let Some(existing) = existing.into_iter().next() {
            return Ok(Triggered { run: existing.id, name: existing.name, created: false });
        }
        if self.paused.contains(&flow.name) {
            return Err(SchedulerError::Paused(flow.name.clone()));
        }
        if self.runs.len() >= OPEN_MAX {
            return Err(SchedulerError::TooMany(OPEN_MAX));
        }
        let params = flow.resolve_params(params)?;
        let name = key.run_id().to_owned();
        let trigger = arrival.trigger;
        let order = RunOrder { interval: None, params, trigger, key: Some(key), backfill: None, retries: true };
        let run = self.create_run(source, order, now)?;
        Ok(Triggered { run, name, created: true })
    }
}
