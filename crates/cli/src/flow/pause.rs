//! `mulgil flow pause` and `mulgil flow resume`

use anyhow::Result;
use mulgil_server::client::Client;

use super::follow;
use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::remark;

/// Stops a schedule from firing or a backfill (`backfill/7`) from beginning further runs, or lets them go on.
pub(crate) fn execute(client: &Client, format: Format, name: &str, paused: bool) -> Result<Exit> {
    if let Some(backfill) = name.strip_prefix("backfill/").and_then(|id| id.parse().ok()) {
        client.pause_backfill(backfill, paused)?;
        if !paused {
            return follow::backfill(client, format, backfill);
        }
        remark(&format!("no further run of {name} begins; mulgil flow resume {name} lets it go on"));
    } else if paused {
        client.pause_flow(name)?;
        remark(&format!("the schedule of {name} is paused; mulgil flow resume {name} lets it fire again"));
    } else {
        client.resume_flow(name)?;
        remark(&format!("the schedule of {name} fires again"));
    }
    Ok(Exit::Done)
}
