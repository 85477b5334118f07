//! `mulgil workers`: who works, and which tasks wait for a worker that is not there.

use anyhow::{Context, Result};
use mulgil_server::workers::Workers;
use serde_json::json;

use crate::arguments::{Arguments, Format};
use crate::connection::running;
use crate::output::{Listing, print_json, remark};

/// Lists them.
pub(crate) async fn execute(arguments: &Arguments) -> Result<()> {
    let client =
        running(&arguments.project).await?.context("no server runs for this project, so there is no worker")?;
    let workers = tokio::task::spawn_blocking(move || client.workers()).await??;
    print(&workers, arguments.format)
}

fn print(found: &Workers, format: Format) -> Result<()> {
    if format == Format::Json {
        return print_json(found);
    }
    let mut listing =
        Listing::new(["worker", "tags", "takes tasks without tags", "running", "slots", "last heartbeat"]);
    for worker in &found.workers {
        let name = if worker.own { format!("{} (the server's own)", worker.name) } else { worker.name.clone() };
        listing.push(vec![
            json!(name),
            json!(worker.tags.join(", ")),
            json!(if worker.untagged { "yes" } else { "no" }),
            json!(worker.running),
            json!(worker.slots),
            json!(worker.heartbeat_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ]);
    }
    listing.print(format)?;
    for unmet in &found.unmet {
        let tasks = if unmet.tasks == 1 { "1 task waits".to_owned() } else { format!("{} tasks wait", unmet.tasks) };
        remark(&format!(
            "{tasks} for {}: none has joined (such as {} of run {} of {})",
            unmet.waits_for, unmet.task, unmet.run, unmet.flow
        ));
    }
    Ok(())
}
