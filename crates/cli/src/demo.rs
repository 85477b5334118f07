//! `mulgil demo`: the flights project, laid out, running, and busy within seconds.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::civil::date;
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_log::{EventLog, TopicOptions};
use mulgil_server::backfills::BackfillAsk;
use mulgil_server::client::Client;
use mulgil_server::folder::Folder;
use mulgil_sql::session::Session;

use crate::arguments::{DemoArguments, Speed};
use crate::connection::token;
use crate::flights;
use crate::node::local;
use crate::output::remark;
use crate::replay::replay;
use crate::server;

const TOPIC: &str = "departures";
const FLOW: &str = "daily_delays";

/// Lays the project out, starts its server, replays the year and backfills its first month.
pub(crate) async fn execute(arguments: &DemoArguments) -> Result<()> {
    let folder = arguments.folder.clone();
    let is_new = tokio::task::spawn_blocking(move || flights::lay_out(&folder)).await??;
    let project = arguments.folder.canonicalize()?;
    let mut node = server::start(&project, &arguments.listen, None).await?;
    say_hello(&project, node.url(), is_new);
    backfill_january(node.url()).await?;
    let log = node.log().clone();
    let busy = async {
        replay_year(&project, &log, arguments.speed).await?;
        remark("the year has been replayed; the server goes on");
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        replayed = busy => replayed?,
        told = server::wait_for_end() => told?,
        error = node.failure() => return Err(error),
    }
    remark("stopping: running tasks get a moment to end");
    node.shutdown().await;
    Ok(())
}

fn say_hello(project: &Path, url: &str, is_new: bool) {
    let what = if is_new { "laid out in" } else { "goes on in" };
    remark(&format!(
        "\n  The flights project {what} {}\n\n  Open  {url}\n\n  Departures of 2013 stream into the view delays_per_hour; January is being backfilled.\n  One day fails: find out why, mend the file, press Re-run. Ctrl-C ends the demo; its state is kept.\n",
        project.display()
    ));
}

/// Begins the month that a new user sees, unless the flow has been run before.
async fn backfill_january(url: &str) -> Result<()> {
    let client = Client::new(url, token().as_deref());
    let ask = BackfillAsk {
        from: date(2013, 1, 1),
        to: date(2013, 1, 31),
        concurrency: None,
        which: Default::default(),
        order: Default::default(),
        params: Default::default(),
        trial: None,
        retries: false,
        rounds: None,
        dry_run: false,
        confirm: false,
    };
    let start = move || -> Result<()> {
        if client.flow(FLOW)?.summary.recent_runs.is_empty() {
            client.start_backfill(FLOW, &ask).context("failed to start the backfill")?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(start).await?
}

/// Replays the year into the topic, in the order in which the aircraft left.
async fn replay_year(project: &Path, log: &EventLog, speed: Speed) -> Result<()> {
    let folder = Folder::read(project)?;
    let connectors = Arc::new(Connectors::new(ConnectorsOptions {
        project_dir: project.to_owned(),
        lake_dir: local(project, &folder.project.lake, "lake")?,
        log: Some(log.clone()),
        object_storage: crate::place::object_storage(),
    }));
    let (catalog, _) = folder.catalog(&connectors);
    let query = tokio::fs::read_to_string(project.join("sql/replay.sql")).await?;
    let rows = Session::new(Arc::new(catalog), connectors).query(&query).await?;
    let topic = log.topic_or_create(TOPIC, TopicOptions::default())?;
    replay(&topic, rows.stream, "departed", speed, &|_, _| {}).await?;
    Ok(())
}
