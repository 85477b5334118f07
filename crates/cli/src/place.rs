//! Where checkpoints lie: a local folder, or a folder in object storage with a local working copy.

use std::path::{Path, PathBuf};

use anyhow::Result;
use mulgil_connect::object_storage::{ObjectFolder, ObjectStorageOptions};

/// Checkpoints of pipelines, each in a folder of its own.
pub(crate) struct CheckpointPlace {
    /// The local folder.
    pub(crate) folder: PathBuf,
    /// The folder in object storage, which is the one that counts where there is one.
    pub(crate) remote: Option<ObjectFolder>,
}

impl CheckpointPlace {
    /// What a setting means: an `s3://` URL, or a path relative to `dir`.
    ///
    /// # Errors
    /// The URL names no bucket.
    pub(crate) fn new(dir: &Path, place: &str) -> Result<Self> {
        if ObjectFolder::is_url(place) {
            let remote = ObjectFolder::open(place, &object_storage())?;
            return Ok(Self { folder: dir.join(".mulgil/working/checkpoints"), remote: Some(remote) });
        }
        Ok(Self { folder: dir.join(place), remote: None })
    }
}

/// How object storage is reached: the variables of Amazon's own tools.
pub(crate) fn object_storage() -> ObjectStorageOptions {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    ObjectStorageOptions {
        endpoint: variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL")),
        region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
        access_key_id: variable("AWS_ACCESS_KEY_ID"),
        secret_access_key: variable("AWS_SECRET_ACCESS_KEY"),
        session_token: variable("AWS_SESSION_TOKEN"),
    }
}
