//! A project's tables and views without a server: for queries, explanations and replays that need no history.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_log::{EventLog, LogError, LogOptions};
use mulgil_server::folder::{Folder, PROJECT_FILE};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::Session;

use crate::node::{local, secrets_of, with_secrets};
use crate::output::remark;

/// What is declared in a project, and the connectors behind it.
pub(crate) struct Offline {
    /// The tables and views.
    pub(crate) catalog: Arc<Catalog>,
    /// What opens them.
    pub(crate) connectors: Arc<Connectors>,
}

impl Offline {
    /// Reads the project in `dir`. Outside a project there is nothing declared, and files can still be read. What is
    /// broken is remarked, and the rest can be used.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        Self::with_log(dir, None)
    }

    /// The same for statements that write topics: this process takes the event log, unless another has it.
    pub(crate) fn open_to_write(dir: &Path) -> Result<Self> {
        if !dir.join(PROJECT_FILE).is_file() {
            return Self::open(dir);
        }
        match EventLog::open(local(dir, &Folder::read(dir)?.project.log, "log")?, LogOptions::default()) {
            Ok(log) => Self::with_log(dir, Some(log)),
            Err(LogError::Locked { .. }) => Self::open(dir),
            Err(error) => Err(error.into()),
        }
    }

    /// The same, over an event log that is open already.
    pub(crate) fn with_log(dir: &Path, log: Option<EventLog>) -> Result<Self> {
        if !dir.join(PROJECT_FILE).is_file() {
            let options = ConnectorsOptions {
                project_dir: dir.to_owned(),
                lake_dir: dir.join(".mulgil/lake"),
                log,
                object_storage: crate::place::object_storage(),
            };
            return Ok(Self { catalog: Arc::default(), connectors: Arc::new(Connectors::new(options)) });
        }
        let folder = Folder::read(dir)?;
        let log = match log {
            Some(log) => Some(log),
            None => read_only_log(&dir.join(&folder.project.log))?,
        };
        let lake_dir = local(dir, &folder.project.lake, "lake")?;
        let connectors = Connectors::new(ConnectorsOptions {
            project_dir: dir.to_owned(),
            lake_dir,
            log,
            object_storage: crate::place::object_storage(),
        });
        let connectors = Arc::new(with_secrets(connectors, secrets_of(&folder.project, dir)));
        let (catalog, problems) = folder.catalog(&connectors);
        for problem in problems {
            remark(&format!("{}:{}: {}", problem.file, problem.line.unwrap_or(1), problem.message));
        }
        Ok(Self { catalog: Arc::new(catalog), connectors })
    }

    /// A session over them.
    pub(crate) fn session(&self) -> Session {
        Session::new(Arc::clone(&self.catalog), Arc::clone(&self.connectors))
    }
}

/// The log may be another process's: reading disturbs nobody.
fn read_only_log(dir: &Path) -> Result<Option<EventLog>> {
    Ok(if dir.is_dir() { Some(EventLog::open_read_only(dir)?) } else { None })
}
