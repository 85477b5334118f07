//! What is asked about plans: runs to come, backfills, tables.

use super::{Answer, Client, query, segment};
use crate::backfills::{Backfill, BackfillRerun};
use crate::coming::ComingQuery;
use crate::flows::NextRun;
use crate::matrix::{FlowMatrix, MatrixQuery};
use crate::pools::{PoolInfo, PoolsQuery};

impl Client {
    /// When a flow's schedule fires.
    pub fn next_runs(&self, flow: &str, ask: &ComingQuery) -> Answer<Vec<NextRun>> {
        self.get(&format!("/flows/{}/next{}", segment(flow), query(ask)))
    }

    /// Lets no further run of a backfill begin, or lets them begin again.
    pub fn pause_backfill(&self, backfill: i64, paused: bool) -> Answer<Backfill> {
        let what = if paused { "pause" } else { "resume" };
        self.post(&format!("/backfills/{backfill}/{what}"), &())
    }

    /// Runs again what failed in a backfill.
    pub fn rerun_backfill(&self, backfill: i64, ask: &BackfillRerun) -> Answer<Backfill> {
        self.post(&format!("/backfills/{backfill}/rerun"), ask)
    }

    /// The pools, and what their latest attempts say of how many slots they should have.
    pub fn pools(&self, ask: &PoolsQuery) -> Answer<Vec<PoolInfo>> {
        self.get(&format!("/pools{}", query(ask)))
    }

    /// Tables × intervals.
    pub fn matrix(&self, ask: &MatrixQuery) -> Answer<Vec<FlowMatrix>> {
        self.get(&format!("/matrix{}", query(ask)))
    }
}
