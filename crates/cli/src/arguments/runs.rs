//! What `mulgil flow runs` and `mulgil flow log` take.

use clap::Args;
use mulgil_server::status::RunStatus;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;

/// `mulgil flow runs`
#[derive(Clone, Debug, Args)]
pub(crate) struct RunsArguments {
    /// Only of this flow
    pub(crate) flow: Option<String>,
    /// Only those that stand so: queued, running, cancelling, succeeded, failed or cancelled
    #[arg(long, value_parser = run_status)]
    pub(crate) status: Option<RunStatus>,
    /// How many, at most 1,000
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) count: u32,
}

/// `mulgil flow log`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mulgil flow log daily_delays/2013-01-16\n  mulgil flow log daily_delays/2013-01-16 land --attempt 1"
)]
pub(crate) struct LogArguments {
    /// The run (`flow/2013-01-16` or its number), or a flow: then its latest run
    pub(crate) run: String,
    /// Only this task of the run, or this item of a task (`load[3]`)
    pub(crate) task: Option<String>,
    /// This attempt of the task (default: the last)
    #[arg(long, requires = "task")]
    pub(crate) attempt: Option<u32>,
    /// Go on printing until the attempt has ended
    #[arg(long, requires = "task")]
    pub(crate) follow: bool,
}

/// Reads a status as the API writes it.
fn run_status(word: &str) -> Result<RunStatus, Error> {
    RunStatus::deserialize(word.into_deserializer())
}
