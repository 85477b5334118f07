//! Hears when the files change that define a project. Who watches before reading misses nothing: so the watch begins before the
//! files are read for the first time, and a folder that is new is watched before its files are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// An editor writes a file in several steps; reading waits until nothing has changed for this long.
const SETTLE: Duration = Duration::from_millis(200);
/// The folders whose files are read; those of calendars may lie anywhere, and are watched only in theirs and at the top.
const FOLDERS: [&str; 5] = ["flows", "sources", "views", "dashboards", "calendars"];

/// A watch over the files of a project.
pub struct FolderWatch {
    dir: PathBuf,
    /// `None` where the system lets nobody watch.
    watcher: Option<RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
}

impl FolderWatch {
    /// Watches a project's folder from now on.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        // One waiting change is as good as many: the queue holds one.
        let (changed, changes) = mpsc::channel(1);
        let watcher = watcher(changed).inspect_err(|error| {
            tracing::warn!(%error, "changed files are read only when asked: POST /api/v1/reload");
        });
        let mut watch = Self { dir: dir.to_owned(), watcher: watcher.ok(), changes };
        watch.follow_folders();
        watch
    }

    /// Waits for a change since the last one. May be dropped while it waits, and has lost nothing.
    pub(crate) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // There is no watcher.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until nothing changes any more.
    pub(crate) async fn settle(&mut self) {
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.changes.recv()).await {}
    }

    /// Watches the project's own folder, and those of its folders that are there: some may have come.
    pub(crate) fn follow_folders(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let folders = FOLDERS.iter().map(|folder| self.dir.join(folder)).filter(|folder| folder.is_dir());
        for folder in std::iter::once(self.dir.clone()).chain(folders) {
            if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, folder = %folder.display(), "changes of this folder go unnoticed");
            }
        }
    }
}

/// Tells of changed definitions. What tasks write elsewhere in the project wakes nobody.
fn watcher(changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_change =
            |event: notify::Event| !event.kind.is_access() && event.paths.iter().any(|path| is_definition(path));
        if event.is_ok_and(is_change) {
            // A full queue means that a change is waiting already.
            let _ = changed.try_send(());
        }
    })
}

/// Whether a path is a file that is read, or a folder of such files.
fn is_definition(path: &Path) -> bool {
    let is_folder = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| FOLDERS.contains(&name));
    let ending = path.extension().and_then(|ending| ending.to_str());
    is_folder || ending.is_some_and(|ending| matches!(ending, "yaml" | "yml" | "py" | "sql" | "txt"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    async fn hears(watch: &mut FolderWatch) {
        tokio::time::timeout(Duration::from_secs(60), watch.changed()).await.expect("a change is heard");
        watch.settle().await;
        watch.follow_folders();
    }

    #[tokio::test]
    async fn a_change_is_heard_since_the_watch_began_and_in_folders_that_came_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = FolderWatch::new(dir.path());
        // Before anybody waits for it.
        std::fs::write(dir.path().join("mulgil.yaml"), "").unwrap();
        hears(&mut watch).await;
        std::fs::create_dir(dir.path().join("flows")).unwrap();
        hears(&mut watch).await;
        std::fs::write(dir.path().join("flows/daily.yaml"), "").unwrap();
        hears(&mut watch).await;
    }

    #[test]
    fn what_tasks_write_wakes_nobody() {
        for (path, is_wanted) in [
            ("p/flows", true),
            ("p/flows/daily.yaml", true),
            ("p/views/totals.sql", true),
            ("p/calendars/closed.txt", true),
            ("p/.mulgil", false),
            ("p/done", false),
            ("p/data/landed.csv", false),
        ] {
            assert_eq!(is_definition(Path::new(path)), is_wanted, "{path}");
        }
    }
}
