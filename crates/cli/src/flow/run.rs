//! `mulgil flow run`

use anyhow::Result;
use jiff::civil::Date;
use mulgil_server::client::Client;
use mulgil_server::flows::StartRun;
use mulgil_server::status::RunStatus;
use serde_json::Value;

use super::{follow, status};
use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{print_json, remark};

/// What the command line asks for. A value that reads as JSON is taken as such (a number, a list); anything else is text.
pub(crate) fn ask(date: Option<Date>, params: &[(String, String)], key: Option<String>) -> StartRun {
    let value = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    let params = params.iter().map(|(name, text)| (name.clone(), value(text))).collect();
    StartRun { date, params, key, ..StartRun::default() }
}

/// Starts one run and follows it to its end.
pub(crate) fn execute(client: &Client, format: Format, flow: &str, ask: &StartRun, detach: bool) -> Result<Exit> {
    let started = client.start_run(flow, ask)?;
    let name = &started.run.name;
    match (&ask.key, started.run.status) {
        _ if started.created => {}
        (Some(key), _) => remark(&format!("{name} was asked for before with the key {key}, or is that run already")),
        (None, RunStatus::Succeeded) => {
            remark(&format!("{name} has succeeded already: `mulgil flow rerun {name} --all` runs it again"));
        }
        (None, status) if status::run_has_ended(status) => {
            remark(&format!("{name} has been run already: `mulgil flow rerun {name}` runs again what did not succeed"));
        }
        (None, _) => remark(&format!("{name} is under way already")),
    }
    if detach {
        print_json(&started.run)?;
        return Ok(Exit::Done);
    }
    follow::run(client, format, started.run.id)
}
