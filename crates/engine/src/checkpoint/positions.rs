//! Where the one table that a pipeline copies stood at its newest checkpoint: another pipeline can go on from there.

use std::path::Path;

use super::{CheckpointError, Manifest};
use crate::cut::PartitionStart;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    /// The number of the checkpoint: sinks have its rows as this epoch.
    pub epoch: u64,
    /// Whether the checkpoint has rows for its sinks, so that there is such an epoch.
    pub has_rows: bool,
    /// The partitions of its source.
    pub partitions: Vec<PartitionStart>,
}

/// Where the source of the pipeline of a folder stood at its newest checkpoint; `None` before the first.
///
/// # Errors
/// The folder cannot be read.
pub fn newest_positions(folder: &Path) -> Result<Option<Positions>, CheckpointError> {
    let Some(manifest) = Manifest::newest_of(folder)? else { return Ok(None) };
    let partitions = manifest.partitions.iter().map(|known| PartitionStart {
        partition: known.partition.clone(),
        position: known.position,
        time: known.time(),
    });
    Ok(Some(Positions {
        epoch: manifest.number,
        has_rows: manifest.staged.values().any(|staged| !staged.is_empty()),
        partitions: partitions.collect(),
    }))
}
