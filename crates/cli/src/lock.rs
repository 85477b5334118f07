//! One process at a time has a project's folder: a lock that ends with it, however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result, bail};
use mulgil_history::lock::patiently;

use crate::node::local;

/// Takes the project's folder: two servers of one project would each hold leases, so the second is refused.
pub(crate) async fn take(project_dir: &Path) -> Result<File> {
    let path = local(project_dir, ".mulgil/lock", "lock")?;
    let file = File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
    match patiently(|| file.try_lock(), |error| matches!(error, TryLockError::WouldBlock)).await {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another Mulgil runs this project: stop it, or speak to it; it holds {}", path.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("failed to lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_folder_is_had_by_one_and_by_the_next_when_that_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let held = take(folder.path()).await.unwrap();
        let refused = take(folder.path()).await.unwrap_err().to_string();
        assert!(refused.starts_with("another Mulgil runs this project"), "{refused}");
        // Whoever looks while it ends has it then.
        let (next, ()) = tokio::join!(take(folder.path()), async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            drop(held);
        });
        next.unwrap();
    }
}
