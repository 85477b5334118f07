//! The parts of a running server, shared by every request.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use mulgil_connect::connectors::Connectors;
use mulgil_flow::{Flow, Project};
use mulgil_history::History;
use mulgil_log::EventLog;
use mulgil_worker::remote::desk::Desk;
use mulgil_worker::secret::SecretStore;
use mulgil_worker::threads::DataThreads;
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::hooks::Deliveries;
use crate::hub::Hub;
use crate::reload::{Loaded, Reloader};
use crate::scheduler::SchedulerHandle;

/// The parts of a running server. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Node(Arc<NodeParts>);

/// What a node is made of.
pub(crate) struct NodeParts {
    /// The project's folder.
    pub(crate) dir: PathBuf,
    /// When the server started.
    pub(crate) started_at: Timestamp,
    /// The same, on a clock that never jumps.
    pub(crate) started: Instant,
    /// Commands go here.
    pub(crate) scheduler: SchedulerHandle,
    /// Workers on other machines.
    pub(crate) desk: Desk<SchedulerHandle>,
    /// Everything durable about flows.
    pub(crate) history: Arc<dyn History>,
    /// The project's secrets, as places.
    pub(crate) secrets: SecretStore,
    /// What came to webhooks.
    pub(crate) deliveries: Deliveries,
    /// The event log.
    pub(crate) log: EventLog,
    /// Opens tables.
    pub(crate) connectors: Arc<Connectors>,
    /// The project's files.
    pub(crate) reloader: Reloader,
    /// Where views are refreshed.
    pub(crate) refreshing: Arc<DataThreads>,
    /// What changes.
    pub(crate) hub: Hub,
    /// Streams end when this is cancelled: a shutdown waits for every answer.
    pub(crate) stopping: CancellationToken,
}

impl Deref for Node {
    type Target = NodeParts;

    fn deref(&self) -> &NodeParts {
        &self.0
    }
}

impl Node {
    /// A node of these parts.
    pub(crate) fn new(parts: NodeParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The project's files as they were last read.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        self.reloader.loaded()
    }

    /// Whether there is such a flow, whole or broken.
    pub(crate) fn knows_flow(&self, flow: &str) -> bool {
        let folder = &self.loaded().folder;
        let whole = folder.flows.iter().any(|source| source.flow.name == flow);
        whole || folder.broken_flows().iter().any(|broken| broken.name == flow)
    }

    /// The tasks of a flow as it is now, in running order.
    pub(crate) fn task_names(&self, flow: &str) -> Vec<String> {
        let loaded = self.loaded();
        let source = loaded.folder.flows.iter().find(|source| source.flow.name == flow);
        source.map_or_else(Vec::new, |source| source.flow.tasks.iter().map(|task| task.name.clone()).collect())
    }

    /// Tells this start of the server from every other.
    pub(crate) fn server_id(&self) -> String {
        format!("{:x}", self.started_at.as_nanosecond())
    }

    /// The definition that a run was made from: the flow as it is now, or as it was then.
    pub(crate) async fn definition(&self, flow: &str, version: &str) -> Result<Option<Arc<Flow>>, ApiError> {
        let loaded = self.loaded();
        if let Some(source) = loaded.folder.flows.iter().find(|source| source.flow.name == flow)
            && source.flow.version.0 == version
        {
            return Ok(Some(source.flow.clone()));
        }
        let Some(stored) = self.history.flow_version(version).await? else { return Ok(None) };
        Ok(parse_again(&stored.definition, &loaded.folder.project).map(Arc::new))
    }
}

fn parse_again(text: &str, project: &Project) -> Option<Flow> {
    Flow::parse("history", text, project).ok()
}
