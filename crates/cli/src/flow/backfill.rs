//! `mulgil flow backfill`

use anyhow::Result;
use mulgil_server::backfills::{BackfillAsk, BackfillPlan, Order, Which};
use mulgil_server::client::Client;
use serde_json::json;

use super::follow;
use crate::arguments::{self, BackfillArguments, Format};
use crate::exit::Exit;
use crate::output::{Listing, print_json, remark};

/// Plans a backfill, says the plan, and follows it to its end.
pub(crate) fn execute(client: &Client, format: Format, arguments: &BackfillArguments) -> Result<Exit> {
    let ask = BackfillAsk {
        from: arguments.from,
        to: arguments.to,
        concurrency: Some(arguments.concurrency),
        which: match arguments.only {
            arguments::Which::Missing => Which::Missing,
            arguments::Which::Failed => Which::Failed,
            arguments::Which::All => Which::All,
        },
        order: if arguments.newest_first { Order::NewestFirst } else { Order::OldestFirst },
        params: arguments.params.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
        trial: arguments.trial,
        retries: arguments.retries,
        rounds: Some(arguments.rounds),
        dry_run: arguments.dry_run,
        confirm: arguments.confirm,
    };
    let answer = client.start_backfill(&arguments.flow, &ask)?;
    say_plan(&answer.plan);
    let Some(backfill) = answer.backfill else {
        return show_plan(format, &answer.plan);
    };
    if arguments.detach {
        print_json(&backfill)?;
        return Ok(Exit::Done);
    }
    follow::backfill(client, format, backfill.id)
}

fn say_plan(plan: &BackfillPlan) {
    remark(&format!(
        "{} intervals: {} to run ({} of them again), {} left alone; {} at a time",
        plan.total, plan.to_run, plan.reruns, plan.skipped, plan.concurrency
    ));
}

fn show_plan(format: Format, plan: &BackfillPlan) -> Result<Exit> {
    if format == Format::Json {
        print_json(plan)?;
        return Ok(Exit::Done);
    }
    let mut listing = Listing::new(["run", "data interval from", "to"]);
    for planned in &plan.sample {
        listing.push(vec![json!(planned.label), json!(planned.interval.start), json!(planned.interval.end)]);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}
