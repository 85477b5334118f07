//! `mulgil log`: topics of the embedded event log, written, read and listed.
//!
//! While the project's server runs it alone writes the log, and the commands go through its API; otherwise they open
//! the log themselves.

mod consume;
mod produce;

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use mulgil_log::{Durability, EventLog, TopicOptions};
use mulgil_server::folder::Folder;
use serde_json::json;

use crate::arguments::{Arguments, Format, LogCommand, ReplayArguments};
use crate::connection::running;
use crate::node::{local, open_log};
use crate::offline::Offline;
use crate::output::{Listing, remark};
use crate::replay::replay;

/// Runs one of the commands.
pub(crate) async fn execute(arguments: &Arguments, command: &LogCommand) -> Result<()> {
    match command.clone() {
        LogCommand::Topics => topics(arguments),
        LogCommand::Create { topic, partitions, keep, keep_bytes, no_sync } => {
            let options = TopicOptions {
                partitions,
                retention_ms: keep.map(|keep| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)),
                retention_bytes: keep_bytes,
                durability: if no_sync { Durability::Os } else { Durability::Fsync },
            };
            create(arguments, &topic, options).await
        }
        LogCommand::Produce { topic, file, raw, partitions } => {
            let lines = produce::Source { file, is_raw: raw };
            produce::execute(arguments, topic, lines, partitions).await
        }
        LogCommand::Consume { topic, offset, since, limit, partition } => {
            consume::execute(arguments, &topic, &consume::Which { offset, since, limit, partition })
        }
        LogCommand::Replay(ask) => replay_query(arguments, &ask).await,
    }
}

async fn create(arguments: &Arguments, topic: &str, options: TopicOptions) -> Result<()> {
    if running(&arguments.project).await?.is_some() {
        bail!("the project's server holds the log: stop it to make a topic with options of its own");
    }
    write_log(arguments)?.create_topic(topic, options)?;
    remark(&format!("{topic} is a topic now"));
    Ok(())
}

fn topics(arguments: &Arguments) -> Result<()> {
    let mut listing = Listing::new(["topic", "partition", "first offset", "next offset", "bytes"]);
    for topic in read_log(arguments)?.topics() {
        for partition in 0..topic.partitions() {
            let offsets = topic.offsets(partition)?;
            let bytes = topic.size_bytes(partition)?;
            listing.push(vec![
                json!(topic.name()),
                json!(partition),
                json!(offsets.start),
                json!(offsets.end),
                json!(bytes),
            ]);
        }
    }
    listing.print(arguments.format)
}

/// The project's log, to read: another process may be writing it.
fn read_log(arguments: &Arguments) -> Result<EventLog> {
    let folder = Folder::read(&arguments.project)?;
    let dir = local(&arguments.project, &folder.project.log, "log")?;
    std::fs::create_dir_all(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
    Ok(EventLog::open_read_only(dir)?)
}

/// The project's log, to write.
fn write_log(arguments: &Arguments) -> Result<EventLog> {
    let folder = Folder::read(&arguments.project)?;
    open_log(&arguments.project, &folder.project.log)
}

async fn replay_query(arguments: &Arguments, ask: &ReplayArguments) -> Result<()> {
    if running(&arguments.project).await?.is_some() {
        bail!(
            "the project's server holds the log: stop it for a replay, or use `mulgil demo`, which replays by itself"
        );
    }
    let log = write_log(arguments)?;
    let offline = Offline::with_log(&arguments.project, Some(log.clone()))?;
    let query =
        std::fs::read_to_string(&ask.query).with_context(|| format!("failed to read {}", ask.query.display()))?;
    let rows = offline.session().query(&query).await?;
    let topic = log.topic_or_create(&ask.topic, TopicOptions::default())?;
    let bar = ProgressBar::new_spinner().with_style(style());
    let records = AtomicU64::new(0);
    let progress = |next_offset: u64, time_ms: i64| {
        records.store(next_offset, Ordering::Relaxed);
        bar.set_position(next_offset);
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        bar.set_message(format!("up to {time}"));
    };
    let began = std::time::Instant::now();
    let appended = replay(&topic, rows.stream, &ask.pace, ask.speed, &progress).await?;
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    if arguments.format == Format::Json {
        return crate::output::print_json(&json!({"appended": appended, "seconds": seconds}));
    }
    remark(&format!("{appended} records appended to {} in {seconds:.1} s", topic.name()));
    Ok(())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {pos} records, {per_sec}, {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
