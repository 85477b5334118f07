//! Checkpoints: cuts made durable, in a folder of their own for each pipeline.
//!
//! ```text
//!   <folder>/00000007.state       the rows sealed at cut 7: Arrow IPC streams, one behind the other
//!   <folder>/00000007.checkpoint  the manifest: where sources stand, and which rows of which files are the state
//! ```
//!
//! The state file is written and synced first; the rename of the manifest is the only commit point. A manifest names every
//! byte range it needs, with a checksum each, and is itself checked: what is torn or garbled is seen, and the checkpoint
//! before it is used. A cut seals what has changed, so a manifest also names ranges of older files; files that no kept
//! manifest names are removed. When the changes have grown larger than the state that they change, the next cut seals all.

mod folder;
mod manifest;
mod merge;
mod positions;
mod remote;
mod segment;
mod shape;

pub use self::folder::{CheckpointFolder, Found, Written};
pub use self::manifest::Manifest;
pub use self::positions::{Positions, newest_positions};

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mulgil_connect::error::ConnectError;
use mulgil_connect::object_storage::ObjectFolder;
use mulgil_dataflow::state::StoreError;

use self::remote::Remote;

/// Where a job keeps its checkpoints, and how often it makes one.
#[derive(Clone, Debug)]
pub struct CheckpointOptions {
    /// The folder: one for each pipeline.
    pub folder: PathBuf,
    /// How long from one to the next.
    pub interval: Duration,
    /// How long a cut may drain before it is given up, and tried again later.
    pub timeout: Duration,
    /// How many are kept.
    pub kept: usize,
    /// The folder in object storage where they are in truth: then the local folder is a working copy, which may be lost.
    pub remote: Option<ObjectFolder>,
}

impl CheckpointOptions {
    /// Every ten seconds, of which the last three are kept.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, interval: Duration::from_secs(10), timeout: Duration::from_secs(60), kept: 3, remote: None }
    }

    /// The same for one of several pipelines: in a folder of its name.
    #[must_use]
    pub fn of(&self, pipeline: &str) -> Self {
        let remote = self.remote.as_ref().map(|remote| remote.join(pipeline));
        Self { folder: self.folder.join(pipeline), remote, ..self.clone() }
    }
}

impl CheckpointOptions {
    /// Removes all checkpoints of the pipeline: its next start is its first. Called while no job uses them.
    ///
    /// # Errors
    /// The folder cannot be removed, or object storage cannot be reached.
    pub async fn forget(&self) -> Result<(), CheckpointError> {
        let (folder, remote) = (self.folder.clone(), self.remote.as_ref().map(ObjectFolder::calls));
        let forgotten = tokio::task::spawn_blocking(move || {
            if let Some(remote) = remote {
                Remote(remote).remove_all()?;
            }
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed.during("remove", &folder),
            }
        });
        match forgotten.await {
            Ok(forgotten) => forgotten,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or folder could not be opened, read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// Object storage refused, or could not be reached.
    #[error(transparent)]
    Storage(#[from] ConnectError),
    /// Another process has written the checkpoint that this one was about to write.
    #[error("{url} is there already: another process runs the same pipeline; stop one of them")]
    Taken {
        /// The manifest.
        url: String,
    },
    /// A file is not what was written.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A savepoint cannot be made, or is not there.
    #[error("{0}")]
    Savepoint(String),
    /// It was written by another version of Mulgil, in a way that this one does not know.
    #[error(
        "{}: {reason}; run the version that has written it, or start from the beginning of the sources (a replay)",
        path.display()
    )]
    OtherFormat {
        /// The manifest.
        path: PathBuf,
        /// Its format, and those that are known.
        reason: String,
    },
    /// The rows could not be encoded or decoded.
    #[error("cannot encode state: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// State that was put away beyond memory cannot be read again.
    #[error("cannot read state: {0}")]
    Store(#[from] StoreError),
    /// The query is another than the one whose state was kept.
    #[error("the checkpoint is of another query: {0}; start it from the beginning of its sources instead (a replay)")]
    OtherQuery(String),
}

/// Says during what, and with which file, something has failed.
pub(crate) trait During<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, CheckpointError>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, CheckpointError> {
        self.map_err(|source| CheckpointError::File { action, path: path.to_owned(), source })
    }
}
