//! `mulgil flow advice`

use anyhow::Result;
use mulgil_server::client::Client;
use mulgil_server::pools::PoolsQuery;
use serde_json::json;

use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, print_json, remark};

/// How many slots each pool has, how long tasks waited for one, and what would be better.
pub(crate) fn execute(client: &Client, format: Format, flow: Option<String>) -> Result<Exit> {
    let pools = client.pools(&PoolsQuery { flow })?;
    if format == Format::Json {
        print_json(&pools)?;
        return Ok(Exit::Done);
    }
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut listing = Listing::new(["pool", "slots", "used", "waiting", "attempts", "waited", "processors", "better"]);
    for pool in &pools {
        let known = pool.attempts > 0;
        listing.push(vec![
            json!(pool.pool),
            json!(pool.slots),
            json!(pool.used),
            json!(pool.waiting),
            json!(pool.attempts),
            json!(known.then(|| percent(pool.waited_share))),
            json!(known.then(|| percent(pool.cpu_share))),
            json!(pool.better),
        ]);
    }
    listing.print(format)?;
    for pool in pools.iter().filter(|pool| pool.attempts > 0) {
        remark(&pool.sentence);
    }
    Ok(Exit::Done)
}
