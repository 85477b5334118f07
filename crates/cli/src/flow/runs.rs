//! `mulgil flow runs`

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use mulgil_server::client::Client;
use mulgil_server::runs::{RunSummary, RunsQuery};
use serde_json::json;

use super::status;
use crate::arguments::{Format, RunsArguments};
use crate::exit::Exit;
use crate::output::{Listing, print_json, remark};

/// The latest runs, newest first.
pub(crate) fn execute(client: &Client, format: Format, asked: &RunsArguments) -> Result<Exit> {
    if let Some(flow) = &asked.flow {
        // A name that is not there is a mistake, not a flow without runs.
        client.flow(flow)?;
    }
    let query =
        RunsQuery { flow: asked.flow.clone(), status: asked.status, limit: Some(asked.count), ..RunsQuery::default() };
    let page = client.runs(&query)?;
    if format == Format::Json {
        print_json(&page.runs)?;
        return Ok(Exit::Done);
    }
    let mut listing = Listing::new(["number", "run", "state", "by", "began", "took"]);
    for run in &page.runs {
        listing.push(vec![
            json!(run.id),
            json!(run.name),
            json!(status::word(&run.status)),
            json!(status::word(&run.origin)),
            json!(run.started_at),
            json!(took(run)),
        ]);
    }
    listing.print(format)?;
    if page.next_before.is_some() {
        remark(&format!("the latest {}; --count shows more", page.runs.len()));
    }
    Ok(Exit::Done)
}

/// How long a run took, or has taken so far.
fn took(run: &RunSummary) -> Option<String> {
    let took = run.ended_at.unwrap_or_else(Timestamp::now).duration_since(run.started_at?);
    Some(format!("{:#}", took.max(SignedDuration::ZERO).round(jiff::Unit::Millisecond).ok()?))
}
