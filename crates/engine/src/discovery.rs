//! Looking for partitions that have come since a job was started. It then ends with a checkpoint behind which nothing is under
//! way, and whoever runs it starts it again: with all the partitions that there are, the new ones from their beginning.

use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::error::ConnectError;
use mulgil_connect::source::Source;
use tokio::sync::mpsc;

use crate::error::JobError;

/// Asks for the partitions of a table every `interval`, until there are some that are not among `known`.
pub(crate) async fn look_for_partitions(
    table: String,
    source: Arc<dyn Source>,
    (interval, known): (Duration, Vec<String>),
    found: mpsc::Sender<JobError>,
) {
    loop {
        tokio::time::sleep(interval).await;
        match partitions(&source).await {
            Ok(now) => {
                let new: Vec<String> = now.into_iter().filter(|partition| !known.contains(partition)).collect();
                if !new.is_empty() {
                    tracing::info!(%table, partitions = new.join(", "), "new partitions: the job is started again with them");
                    // The job may have ended, and then it finds them by itself.
                    let _ = found.send(JobError::NewPartitions { table, partitions: new.join(", ") }).await;
                    return;
                }
            }
            Err(error) => tracing::debug!(%table, %error, "not asked for new partitions; later"),
        }
    }
}

async fn partitions(source: &Arc<dyn Source>) -> Result<Vec<String>, ConnectError> {
    match source.renewed() {
        Some(renewed) => renewed.partitions().await,
        None => source.partitions().await,
    }
}
