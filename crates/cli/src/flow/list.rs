//! `mulgil flow list`

use anyhow::Result;
use mulgil_server::client::Client;
use serde_json::json;

use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, print_json};

/// All flows; the broken ones with what is wrong.
pub(crate) fn execute(client: &Client, format: Format) -> Result<Exit> {
    let flows = client.flows()?;
    if format == Format::Json {
        print_json(&flows)?;
        return Ok(Exit::Done);
    }
    let mut listing = Listing::new([
        "flow",
        "schedule",
        "time zone",
        "next run",
        "succeeded",
        "failed",
        "running",
        "queued",
        "state",
    ]);
    for flow in flows {
        let state = match (flow.problems.first(), flow.paused) {
            (Some(problem), _) => {
                format!("broken: {}:{}: {}", problem.file, problem.line.unwrap_or(1), problem.message)
            }
            (None, true) => "paused".to_owned(),
            (None, false) => "active".to_owned(),
        };
        listing.push(vec![
            json!(flow.name),
            json!(flow.schedule.unwrap_or_else(|| "none".to_owned())),
            json!(flow.timezone),
            json!(flow.next_fire),
            json!(flow.counts.succeeded),
            json!(flow.counts.failed),
            json!(flow.counts.running),
            json!(flow.counts.queued),
            json!(state),
        ]);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}
