//! Tells subscribers which views have changed, each view at most once an interval.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use mulgil_connect::definition::TableName;
use tokio::sync::Notify;

use super::Shared;
use crate::status::{ViewChange, ViewState};

/// What makes news when it differs.
type Face = (u64, ViewState, Option<i64>, u64, u64, Option<(u64, ViewState, u64)>);

/// Waits for changes and tells them, until the views are gone.
pub(super) async fn tell(views: Weak<Shared>, changed: Arc<Notify>) {
    let mut told: HashMap<TableName, Face> = HashMap::new();
    loop {
        changed.notified().await;
        let Some(shared) = views.upgrade() else { return };
        for (name, slot) in &shared.slots {
            let status = slot.status();
            let building = status.building.map(|build| (build.number, build.state, build.rows_in));
            let attempts = status.checkpoints.map_or(0, |checkpoints| checkpoints.completed + checkpoints.failed);
            let face = (status.version, status.state, status.watermark_ms, status.rows_in, attempts, building);
            if told.get(name) != Some(&face) {
                told.insert(name.clone(), face);
                // Nobody may be listening; that is no loss.
                let _ = shared.news.send(ViewChange { name: name.to_string(), version: status.version });
            }
        }
        if shared.closing.load(Ordering::Acquire) {
            return;
        }
        let interval = shared.options.news_interval;
        drop(shared);
        // What changes meanwhile is told together, after the interval.
        tokio::time::sleep(interval).await;
    }
}
