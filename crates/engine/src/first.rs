//! A partition that holds what came before all that the others of its table hold: those wait until it has been read to its end.
//!
//! They wait before they are asked for rows, so that none is idle because of that.

use std::sync::Arc;

use mulgil_dataflow::watermark::InputState;
use tokio::sync::Notify;

use crate::metrics::PartitionMetrics;

/// See the module.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) partition: Arc<PartitionMetrics>,
    /// Told whenever its time has moved.
    pub(crate) moved: Arc<Notify>,
}

impl First {
    /// Waits until all its rows have been taken in. May be dropped while it waits.
    pub(crate) async fn wait_for_end(&self) {
        loop {
            // Made before the look, so that a move between look and wait is not lost.
            let moved = self.moved.notified();
            if self.partition.time.get().state == InputState::Finished {
                return;
            }
            moved.await;
        }
    }
}
