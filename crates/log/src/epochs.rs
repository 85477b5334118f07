//! Epochs: all that one writer appends to a topic between two of its checkpoints, over all partitions, as one.
//!
//! ```text
//!   frames marked as an epoch's, behind what is visible ─▶ synced ─▶ the note's rename: committed ─▶ visible
//! ```
//!
//! The note of a topic (`epochs.json`) says of each writer which epoch is in, and up to which offset of each partition the
//! records of epochs count. When the log is opened, frames of an epoch beyond are cut off: so a crash leaves all of an epoch,
//! in every partition, or nothing of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::LogError;
use crate::error::IoContext;
use crate::partition::sync_dir;

const NOTE: &str = "epochs.json";

/// The note of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Epochs {
    /// The last epoch of each writer.
    pub(crate) last: BTreeMap<String, u64>,
    /// Up to where records of epochs count, by partition.
    pub(crate) committed: Vec<u64>,
}

impl Epochs {
    /// The note in a topic's folder; an empty one if there is none.
    pub(crate) fn read(topic: &Path) -> Result<Self, LogError> {
        let path = topic.join(NOTE);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| LogError::Damaged {
                path,
                position: 0,
                reason: error.to_string(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).during("read", &path),
        }
    }

    /// Up to where records of epochs count in a partition.
    pub(crate) fn committed(&self, partition: u32) -> u64 {
        self.committed.get(partition as usize).copied().unwrap_or(0)
    }

    /// Puts the note in place of the one before, which stays on an error.
    pub(crate) fn write(&self, topic: &Path) -> Result<(), LogError> {
        let (part, path) = (topic.join("epochs.json.part"), topic.join(NOTE));
        let text = serde_json::to_vec(self).unwrap_or_default();
        fs::write(&part, text).during("write", &part)?;
        File::open(&part).and_then(|file| file.sync_all()).during("sync", &part)?;
        fs::rename(&part, &path).during("rename", &path)
    }

    /// Makes the note that was put in place last outlive a loss of power.
    pub(crate) fn sync(topic: &Path) -> Result<(), LogError> {
        sync_dir(topic)
    }
}
