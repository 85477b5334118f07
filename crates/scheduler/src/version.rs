//! Definitions as they were when runs were made from them.

use std::sync::Arc;

use mulgil_flow::Flow;
use mulgil_history::HistoryError;
use mulgil_sched::graph::Graph;

use super::state::{Scheduler, Version};

impl Scheduler {
    /// A flow with its graph, remembered under its hash.
    pub(super) fn version_of(&mut self, flow: &Arc<Flow>) -> Result<Version, String> {
        let hash = flow.version.to_string();
        if let Some(version) = self.versions.get(&hash) {
            return Ok(version.clone());
        }
        let graph = Graph::of_flow(flow).map_err(|error| format!("flow {}: {error}", flow.name))?;
        let version = Version { flow: flow.clone(), graph: Arc::new(graph) };
        self.versions.insert(hash, version.clone());
        Ok(version)
    }

    /// The definition with this hash; from the history, if no current flow has it. The inner error says why it cannot
    /// be read any more.
    pub(super) async fn version(&mut self, flow: &str, hash: &str) -> Result<Result<Version, String>, HistoryError> {
        if let Some(version) = self.versions.get(hash) {
            return Ok(Ok(version.clone()));
        }
        let Some(stored) = self.history.flow_version(hash).await? else {
            return Ok(Err(format!("its version {hash} is not in the history")));
        };
        let parsed = Flow::parse(&format!("flows/{flow}.yaml"), &stored.definition, &self.options.project);
        Ok(match parsed {
            Ok(flow) => {
                let version = self.version_of(&Arc::new(flow));
                if let Ok(version) = &version {
                    // The project's settings may have changed, and with them the hash of the same text.
                    self.versions.insert(hash.to_owned(), version.clone());
                }
                version
            }
            Err(problems) => Err(problems.first().map_or_else(String::new, ToString::to_string)),
        })
    }
}
