//! `mulgil view drift`: how far the speed layer had been off, window by window.

use anyhow::{Context, Result};
use mulgil_server::client::Client;
use serde_json::json;

use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, print_json, remark};

/// Prints the windows in which it was off, or with `all` every window that batch has spoken of.
pub(super) fn show(client: &Client, format: Format, view: &str, all: bool) -> Result<Exit> {
    let drift = client.drift(view).with_context(|| format!("failed to show the drift of {view}"))?;
    if format == Format::Json {
        print_json(&drift)?;
        return Ok(Exit::Done);
    }
    let (windows, mut off) = (drift.len(), 0);
    let mut listing =
        Listing::new(["window end", "batch rows", "stream rows", "differing", "missing", "surplus", "said by batch"]);
    for window in drift {
        let is_off = window.differing + window.missing + window.surplus > 0;
        off += usize::from(is_off);
        if is_off || all {
            listing.push(vec![
                json!(window.window_end),
                json!(window.batch_rows),
                json!(window.realtime_rows),
                json!(window.differing),
                json!(window.missing),
                json!(window.surplus),
                json!(window.version),
            ]);
        }
    }
    if off > 0 || all {
        listing.print(format)?;
    }
    remark(&format!("the stream was off in {off} of {windows} windows that batch has spoken of"));
    Ok(Exit::Done)
}
