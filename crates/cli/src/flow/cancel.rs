//! `mulgil flow cancel`

use anyhow::Result;
use mulgil_server::client::Client;

use super::{find_run, follow};
use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::remark;

/// Stops a run (`flow/2013-01-16`, or its number) or a backfill (`backfill/7`), and waits until it has ended.
pub(crate) fn execute(client: &Client, format: Format, run: &str) -> Result<Exit> {
    if let Some(backfill) = run.strip_prefix("backfill/").and_then(|id| id.parse().ok()) {
        client.cancel_backfill(backfill)?;
        // That it ends as cancelled is what was asked for.
        follow::backfill(client, format, backfill)?;
        return Ok(Exit::Done);
    }
    let found = find_run(client, run)?;
    client.cancel_run(found.id)?;
    remark(&format!("{} is being stopped", found.name));
    follow::run(client, format, found.id)?;
    Ok(Exit::Done)
}
