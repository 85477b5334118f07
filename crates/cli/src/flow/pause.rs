//! `mulgil flow pause` and `mulgil flow resume`

use anyhow::Result;
use mulgil_server::client::Client;

use crate::exit::Exit;
use crate::output::remark;

/// Stops a schedule from firing, or lets it fire again.
pub(crate) fn execute(client: &Client, flow: &str, paused: bool) -> Result<Exit> {
    if paused {
        client.pause_flow(flow)?;
        remark(&format!("the schedule of {flow} is paused; mulgil flow resume {flow} lets it fire again"));
    } else {
        client.resume_flow(flow)?;
        remark(&format!("the schedule of {flow} fires again"));
    }
    Ok(Exit::Done)
}
