//! Where a project's server answers: a small file in the project, so that the command line finds it without being
//! told.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file, relative to the project's folder.
const FILE: &str = ".mulgil/server.json";

/// Where a server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its address, such as `http://127.0.0.1:7575`.
    pub url: String,
    /// Where clients of PostgreSQL read, such as `127.0.0.1:7432`; nothing where the SQL port is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SocketAddr>,
    /// Its process.
    pub pid: u32,
}

impl Place {
    /// What the project's file says. Nothing where there is none: no server was started, or it was shut down. The file
    /// outlives a server that was killed.
    pub fn read(project_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(file(project_dir)).ok()?).ok()
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, project_dir: &Path) -> io::Result<()> {
        let path = file(project_dir);
        let new = path.with_extension("json.new");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        std::fs::rename(new, path)
    }

    /// Removes the file, if it is still this server's.
    pub(crate) fn remove(&self, project_dir: &Path) {
        if Self::read(project_dir).as_ref() == Some(self)
            && let Err(error) = std::fs::remove_file(file(project_dir))
        {
            tracing::warn!(%error, "the file that says where the server answers could not be removed");
        }
    }
}

fn file(project_dir: &Path) -> PathBuf {
    project_dir.join(FILE)
}
