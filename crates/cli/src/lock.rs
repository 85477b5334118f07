//! One process at a time has a project's folder: a lock that ends with it, however it ends.
//!
//! A server that is killed while it starts a task leaves what it had open, its locks too, to the task's process until that has become another
//! program: a moment, and some on a busy machine. So who finds something taken looks again for a while.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::node::local;

/// For how long one looks again.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

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

/// Tries until it works, fails otherwise, or has been taken for too long.
pub(crate) async fn patiently<T, E>(attempt: impl Fn() -> Result<T, E>, is_taken: impl Fn(&E) -> bool) -> Result<T, E> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_taken(&error) && began.elapsed() < PATIENCE => tokio::time::sleep(LOOK_INTERVAL).await,
            outcome => return outcome,
        }
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
            tokio::time::sleep(LOOK_INTERVAL).await;
            drop(held);
        });
        next.unwrap();
    }
}
