//! `mulgil flow why`

use anyhow::Result;
use mulgil_server::client::{Client, ClientError};
use mulgil_server::why::{RunWaits, Why};
use serde_json::json;

use super::{find_run, status};
use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, print_json, remark, write_out};

/// Says in one sentence each why a flow, a run or its tasks do not run.
pub(crate) fn execute(client: &Client, format: Format, name: &str, task: Option<&str>) -> Result<Exit> {
    if task.is_none()
        && let Some(why) = why_flow(client, name)?
    {
        return print_flow(format, name, &why);
    }
    let run = find_run(client, name)?;
    let waits = client.why_run(run.id, task)?;
    if format == Format::Json {
        print_json(&waits)?;
        return Ok(Exit::Done);
    }
    print_run(format, &waits, task)?;
    Ok(Exit::Done)
}

/// `None` where there is no flow of this name: then it is a run's.
fn why_flow(client: &Client, name: &str) -> Result<Option<Why>> {
    match client.why_flow(name) {
        Ok(why) => Ok(Some(why)),
        Err(ClientError::Refused { status: 404, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn print_flow(format: Format, name: &str, why: &Why) -> Result<Exit> {
    match format {
        Format::Table => write_out(&format!("{name}: {}\n", why.sentence))?,
        Format::Csv | Format::Json => print_json(why)?,
    }
    Ok(Exit::Done)
}

fn print_run(format: Format, waits: &RunWaits, task: Option<&str>) -> Result<()> {
    match &waits.why {
        Some(why) => remark(&format!("{} is {}: {}", waits.name, status::word(&waits.status), why.sentence)),
        None => remark(&format!("{} is {}", waits.name, status::word(&waits.status))),
    }
    if waits.tasks.is_empty() {
        remark(&task.map_or("no task of it waits".to_owned(), |task| format!("{task} does not wait")));
        return Ok(());
    }
    let mut listing = Listing::new(["task", "state", "why"]);
    for task in &waits.tasks {
        listing.push(vec![json!(task.task), json!(status::word(&task.status)), json!(task.why.sentence)]);
    }
    listing.print(format)?;
    if waits.left_out > 0 {
        remark(&format!("and {} more tasks; name one to hear of it", waits.left_out));
    }
    Ok(())
}
