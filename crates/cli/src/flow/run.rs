//! `mulgil flow run`

use anyhow::Result;
use jiff::civil::Date;
use mulgil_server::client::Client;
use mulgil_server::flows::StartRun;
use serde_json::Value;

use super::follow;
use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{print_json, remark};

/// Starts one run and follows it to its end.
pub(crate) fn execute(
    client: &Client,
    format: Format,
    flow: &str,
    date: Option<Date>,
    params: &[(String, String)],
    detach: bool,
) -> Result<Exit> {
    // A value that reads as JSON is taken as such (a number, a list); anything else is text.
    let params = params
        .iter()
        .map(|(name, value)| {
            (name.clone(), serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone())))
        })
        .collect();
    let started = client.start_run(flow, &StartRun { date, params, ..StartRun::default() })?;
    if !started.created {
        remark(&format!(
            "{} has been run already: `mulgil flow rerun {}` runs it again",
            started.run.name, started.run.name
        ));
    }
    if detach {
        print_json(&started.run)?;
        return Ok(Exit::Done);
    }
    follow::run(client, format, started.run.id)
}
