//! `mulgil flow versions` and `mulgil flow diff`

use anyhow::Result;
use mulgil_server::client::Client;
use mulgil_server::versions::{DifferenceKind, DifferenceQuery};
use serde_json::json;

use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, print_json, remark, write_out};

/// Hashes are shown by as many digits as tell them apart in practice.
const DIGITS: usize = 12;

/// The definitions that a flow has had.
pub(crate) fn list(client: &Client, format: Format, flow: &str) -> Result<Exit> {
    let mut listing = Listing::new(["version", "first run made", "runs", "now"]);
    for version in client.flow_versions(flow)? {
        let shown = version.version.get(..DIGITS).unwrap_or(&version.version);
        let name = if format == Format::Table { shown } else { &version.version };
        listing.push(vec![json!(name), json!(version.first_run_at), json!(version.runs), json!(version.current)]);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}

/// What is different between two of them.
pub(crate) fn compare(client: &Client, format: Format, flow: &str, from: &str, to: Option<&str>) -> Result<Exit> {
    let query = DifferenceQuery { from: from.to_owned(), to: to.map(str::to_owned) };
    let difference = client.flow_difference(flow, &query)?;
    if format == Format::Json {
        print_json(&difference)?;
        return Ok(Exit::Done);
    }
    if difference.lines.is_empty() {
        remark("the two are the same");
    }
    let mut text = String::new();
    for line in &difference.lines {
        let sign = match line.kind {
            DifferenceKind::Same => " ",
            DifferenceKind::Removed => "-",
            DifferenceKind::Added => "+",
            DifferenceKind::Gap => {
                text.push_str(&format!("  … {} lines\n", line.text));
                continue;
            }
        };
        text.push_str(&format!("{sign} {}\n", line.text));
    }
    write_out(&text)?;
    Ok(Exit::Done)
}
