//! `mulgil flow notices`

use anyhow::Result;
use mulgil_server::client::Client;
use mulgil_server::notices::{NoticeStatus, NoticesQuery};
use serde_json::json;

use super::status::word;
use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, print_json};

/// Who was told of what, newest first; if asked, only what nobody took.
pub(crate) fn execute(client: &Client, format: Format, run: Option<&str>, given_up: bool) -> Result<Exit> {
    let run = run.map(|run| super::find_run(client, run)).transpose()?.map(|run| run.id);
    let status = given_up.then_some(NoticeStatus::GivenUp);
    let notices = client.notices(&NoticesQuery { run, status, ..NoticesQuery::default() })?;
    if format == Format::Json {
        print_json(&notices)?;
        return Ok(Exit::Done);
    }
    let mut listing = Listing::new(["at", "event", "channel", "what", "status", "tries", "error"]);
    for notice in notices {
        listing.push(vec![
            json!(notice.created_at),
            json!(notice.kind),
            json!(notice.channel),
            json!(notice.subject),
            json!(word(&notice.status)),
            json!(notice.tries),
            json!(notice.error),
        ]);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}
