//! What `mulgil flow rerun` and `mulgil flow mark` take.

use clap::Args;

/// `mulgil flow rerun`
#[derive(Clone, Debug, Args)]
pub(crate) struct RerunArguments {
    /// Runs (`flow/2013-01-16` or their numbers), or with --failed, --since or --until a flow
    #[arg(required = true)]
    pub(crate) runs: Vec<String>,
    /// All failed runs of the flow
    #[arg(long)]
    pub(crate) failed: bool,
    /// All runs of the flow whose data interval starts on this date or later
    #[arg(long)]
    pub(crate) since: Option<jiff::civil::Date>,
    /// All runs of the flow whose data interval starts on this date or earlier
    #[arg(long)]
    pub(crate) until: Option<jiff::civil::Date>,
    /// From this task on, with everything downstream, whether it failed or not
    #[arg(long, conflicts_with_all = ["group", "all"])]
    pub(crate) from: Option<String>,
    /// The tasks of this group, with everything downstream, whether they failed or not
    #[arg(long, conflicts_with = "all")]
    pub(crate) group: Option<String>,
    /// Every task, whether it failed or not
    #[arg(long)]
    pub(crate) all: bool,
    /// Follow the flow as it is now, instead of as it was when the run was made
    #[arg(long)]
    pub(crate) latest: bool,
    /// Only show what would run
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also run tasks that are marked `idempotent: false`
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Return at once instead of following the runs to their end
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `mulgil flow mark`
#[derive(Clone, Debug, Args)]
pub(crate) struct MarkArguments {
    /// The run (`flow/2013-01-16` or its number)
    pub(crate) run: String,
    /// The task
    pub(crate) task: String,
    /// It counts as succeeded
    #[arg(long, required_unless_present = "failed", conflicts_with = "failed")]
    pub(crate) succeeded: bool,
    /// It counts as failed
    #[arg(long)]
    pub(crate) failed: bool,
    /// Why: kept with your name in the run's history
    #[arg(long, default_value = "")]
    pub(crate) why: String,
    /// Only show what would run
    #[arg(long)]
    pub(crate) dry_run: bool,
}
