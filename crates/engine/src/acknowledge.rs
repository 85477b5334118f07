//! Telling sources how far a durable checkpoint has come, so that their own tools show it. Nothing depends on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mulgil_connect::source::{Position, Source};
use tokio::task::JoinHandle;

use crate::cut::Cut;
use crate::view::JobView;

/// See the module.
pub(crate) struct Acknowledging {
    pub(crate) sources: HashMap<String, Arc<dyn Source>>,
    /// What the checkpoint under way covers, by table and partition; and the telling before.
    pub(crate) last: Option<Telling>,
}

/// What there is to tell, and who tells.
pub(crate) struct Telling {
    positions: BTreeMap<String, BTreeMap<usize, Position>>,
    task: Option<JoinHandle<()>>,
}

impl Acknowledging {
    /// Notes where a cut stands. A table that is read twice stands where it is read least.
    pub(crate) fn note(&mut self, cut: &Cut, view: &JobView) {
        let mut positions: BTreeMap<String, BTreeMap<usize, Position>> = BTreeMap::new();
        for partition in &view.partitions {
            let Some(stands) = cut.partition(partition.node, &partition.partition) else { continue };
            let of_table = positions.entry(partition.table.clone()).or_default();
            let least = of_table.entry(partition.index).or_insert(stands.position);
            *least = stands.position.min(*least);
        }
        let task = self.last.take().and_then(|last| last.task);
        self.last = Some(Telling { positions, task });
    }

    /// The checkpoint stands: tells the sources, beside everything else. A source that is slow is told next time.
    pub(crate) fn acknowledge(&mut self) {
        let Some(last) = &mut self.last else { return };
        if last.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let sources = self.sources.clone();
        let positions = std::mem::take(&mut last.positions);
        last.task = Some(tokio::spawn(async move {
            for (table, positions) in positions {
                let Some(source) = sources.get(&table) else { continue };
                let positions: Vec<(usize, Position)> = positions.into_iter().collect();
                if let Err(error) = source.acknowledge(&positions).await {
                    tracing::debug!(%table, %error, "the source was not told how far it is read");
                }
            }
        }));
    }
}

impl Drop for Acknowledging {
    fn drop(&mut self) {
        if let Some(task) = self.last.take().and_then(|last| last.task) {
            task.abort();
        }
    }
}
