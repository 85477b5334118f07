//! What is asked about plans: runs to come, backfills, tables.

use super::{Answer, Client, query, segment};
use crate::coming::ComingQuery;
use crate::flows::NextRun;

impl Client {
    /// When a flow's schedule fires.
    pub fn next_runs(&self, flow: &str, ask: &ComingQuery) -> Answer<Vec<NextRun>> {
        self.get(&format!("/flows/{}/next{}", segment(flow), query(ask)))
    }
}
