//! Asking why something does not run.

use super::{Answer, Client, query, segment};
use crate::why::{RunWaits, Why, WhyQuery};

impl Client {
    /// Why a run, or one task of it, is not running.
    ///
    /// # Errors
    /// As all of them.
    pub fn why_run(&self, run: i64, task: Option<&str>) -> Answer<RunWaits> {
        self.get(&format!("/runs/{run}/why{}", query(&WhyQuery { task: task.map(str::to_owned) })))
    }

    /// Why a flow makes no new run just now.
    ///
    /// # Errors
    /// As all of them.
    pub fn why_flow(&self, flow: &str) -> Answer<Why> {
        self.get(&format!("/flows/{}/why", segment(flow)))
    }
}
