//! What view tasks need from whoever keeps the project's views: the server's process, and no worker elsewhere.

use async_trait::async_trait;
use mulgil_flow::Variables;
use serde_json::Value;

use crate::log::AttemptLog;

/// Does things to views.
///
/// # Contract
/// A call may be dropped at any moment; then the view answers as it did before.
#[async_trait]
pub trait ViewTasks: Send + Sync + 'static {
    /// Computes a `FULL` view anew and replaces its result; gives how many rows it has. Of a view that is partitioned by time, only what
    /// lies in the data interval of the run.
    async fn refresh(&self, view: &str, variables: &Variables, log: &AttemptLog) -> Result<Value, String>;

    /// Builds a `KAPPA` view anew beside the one that answers, and waits until it has taken over; gives its number. One that is being
    /// built already is waited for.
    async fn replay(&self, view: &str, log: &AttemptLog) -> Result<Value, String>;

    /// Puts the rows that a view has now in place of those of the table that it is exported to; gives how many there are.
    async fn export(&self, view: &str, log: &AttemptLog) -> Result<Value, String>;
}

/// Where no views are kept.
#[derive(Clone, Copy, Debug)]
pub struct NoViews;

#[async_trait]
impl ViewTasks for NoViews {
    async fn refresh(&self, view: &str, _: &Variables, _: &AttemptLog) -> Result<Value, String> {
        Err(format!("view {view} cannot be refreshed here: only a server keeps views; run the flow there"))
    }

    async fn replay(&self, view: &str, _: &AttemptLog) -> Result<Value, String> {
        Err(format!("view {view} cannot be replayed here: only a server keeps views; run the flow there"))
    }

    async fn export(&self, view: &str, _: &AttemptLog) -> Result<Value, String> {
        Err(format!("view {view} cannot be exported here: only a server keeps views; run the flow there"))
    }
}
