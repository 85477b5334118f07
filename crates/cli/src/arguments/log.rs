//! The arguments of `mulgil log`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `mulgil log`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// All topics, with partitions and offsets
    Topics,
    /// Make a topic, with partitions and retention
    #[command(after_help = "Example:\n  mulgil log create clicks --partitions 4 --keep 7d --keep-bytes 10000000000")]
    Create {
        /// The topic
        topic: String,
        /// How many partitions it gets, for ever
        #[arg(long, default_value_t = 1)]
        partitions: u32,
        /// Records older than this are removed, for example 7d or 12h (default: kept for ever)
        #[arg(long)]
        keep: Option<jiff::SignedDuration>,
        /// The oldest records of a partition larger than this are removed
        #[arg(long)]
        keep_bytes: Option<u64>,
        /// Acknowledge when the operating system has a record, without waiting for the disk: faster, and lost when the power goes
        #[arg(long)]
        no_sync: bool,
    },
    /// Append JSON lines from standard input or a file to a topic
    #[command(after_help = "Example:\n  echo '{\"origin\": \"JFK\"}' | mulgil log produce departures")]
    Produce {
        /// The topic; made if it is new
        topic: String,
        /// A file of JSON lines (default: standard input)
        #[arg(long)]
        file: Option<PathBuf>,
        /// Each line is a record as it is, in place of a JSON object: for tables of the format raw
        #[arg(long)]
        raw: bool,
        /// How many partitions a new topic gets
        #[arg(long, default_value_t = 1)]
        partitions: u32,
    },
    /// Print the records of a topic, from an offset or a time
    Consume {
        /// The topic
        topic: String,
        /// From this offset
        #[arg(long, conflicts_with = "since")]
        offset: Option<u64>,
        /// From this time on, for example 2013-01-01T00:00:00Z
        #[arg(long)]
        since: Option<jiff::Timestamp>,
        /// At most so many records a partition
        #[arg(long)]
        limit: Option<u64>,
        /// Only this partition
        #[arg(long)]
        partition: Option<u32>,
    },
    /// Append a query's rows to a topic, at the pace of one of its time columns
    #[command(
        after_help = "Example:\n  mulgil log replay departures --query sql/replay.sql --pace departed --speed 3600\n\nA replay that was stopped goes on behind the last record that it wrote."
    )]
    Replay(ReplayArguments),
}

/// `mulgil log replay`
#[derive(Clone, Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The topic; made if it is new
    pub(crate) topic: String,
    /// A file with the SELECT whose rows are the events, in order
    #[arg(long)]
    pub(crate) query: PathBuf,
    /// The time column that paces the replay; it is not part of the events
    #[arg(long)]
    pub(crate) pace: String,
    /// How many seconds pass in one second; `unlimited` for as fast as it goes
    #[arg(long, default_value = "3600")]
    pub(crate) speed: Speed,
}

/// How fast a replay runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    /// As fast as it goes.
    Unlimited,
    /// So many seconds of event time in one second.
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let times: f64 = text
            .trim_end_matches('x')
            .parse()
            .map_err(|_| format!("`{text}` is no speed: give a number such as 3600, or `unlimited`"))?;
        if times.is_finite() && times > 0.0 { Ok(Self::Times(times)) } else { Err("a speed is above zero".to_owned()) }
    }
}
