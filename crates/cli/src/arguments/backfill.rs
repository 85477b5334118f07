//! The arguments of `mulgil flow backfill`.

use clap::{Args, ValueEnum};

use super::name_and_value;

/// `mulgil flow backfill`
#[derive(Clone, Debug, Args)]
pub(crate) struct BackfillArguments {
    /// The flow
    pub(crate) flow: String,
    /// The first date
    #[arg(long)]
    pub(crate) from: jiff::civil::Date,
    /// The last date, included
    #[arg(long)]
    pub(crate) to: jiff::civil::Date,
    /// Which intervals to run
    #[arg(long, value_enum, default_value_t = Which::Missing)]
    pub(crate) only: Which,
    /// How many runs at a time; errors halve it, success brings it back
    #[arg(long, default_value_t = 8)]
    pub(crate) concurrency: u32,
    /// Latest intervals first
    #[arg(long)]
    pub(crate) newest_first: bool,
    /// Pause after so many runs, to be looked at; `mulgil flow resume backfill/7` lets it go on
    #[arg(long, value_name = "N")]
    pub(crate) trial: Option<u32>,
    /// A parameter, as name=value; may be given more than once
    #[arg(long = "param", value_parser = name_and_value)]
    pub(crate) params: Vec<(String, String)>,
    /// Let failed tasks be tried again by themselves, as their flow says
    #[arg(long)]
    pub(crate) retries: bool,
    /// How often what failed runs again at the end, as long as that mends something
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) rounds: u32,
    /// Only show the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also run tasks again that are marked `idempotent: false`
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Return at once instead of following it to its end
    #[arg(long)]
    pub(crate) detach: bool,
}

/// Which intervals of a backfill's range are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// Those that were never run
    Missing,
    /// Those whose run failed
    Failed,
    /// All of them, also those already done
    All,
}
