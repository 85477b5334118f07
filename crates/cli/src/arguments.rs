//! The command line: what can be typed, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mulgil_connect::guarantee::Guarantee;

mod again;
mod backfill;
mod log;
mod runs;

use crate::worker::WorkerArguments;
pub(crate) use again::{MarkArguments, RerunArguments};
pub(crate) use backfill::{BackfillArguments, Which};
pub(crate) use log::{LogCommand, ReplayArguments, Speed};
pub(crate) use runs::{LogArguments, RunsArguments};

/// Build and operate data pipelines: flows on a schedule, views kept up to date, one binary.
#[derive(Debug, Parser)]
#[command(name = "mulgil", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Start here:\n  mulgil demo              a real project, live in your browser\n  mulgil init my-project   a new project of your own\n\nExit codes: 0 done, 1 it failed, 2 wrong usage."
)]
pub(crate) struct Arguments {
    /// The project's folder (the one with mulgil.yaml)
    #[arg(long, short = 'p', global = true, env = "MULGIL_PROJECT", default_value = ".")]
    pub(crate) project: PathBuf,
    /// How to print what is found
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed. Data goes to standard output, everything else to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people
    Table,
    /// Comma-separated values with a header line and ISO 8601 times
    Csv,
    /// JSON for programs
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lay out the bundled flights project and show it live in the browser
    #[command(
        after_help = "Example:\n  mulgil demo demo-flights --speed 7200\n\nThe folder is kept: run the command again and it goes on where it was."
    )]
    Demo(DemoArguments),
    /// Make a new project
    Init {
        /// The folder to make
        folder: PathBuf,
        /// Begin with a whole example instead of a small project
        #[arg(long, value_enum)]
        example: Option<Example>,
    },
    /// Run scheduler, worker, views, API and web UI, all in one process
    Server(ServerArguments),
    /// Run one more worker, on this or another machine: it takes tasks from a server
    #[command(
        after_help = "Example:\n  mulgil worker --server https://mulgil.example.com --token-file worker.token --tags gpu --slots 2\n\nWith tags it takes the tasks that ask for some of them (`tags:`), without any those that ask for none."
    )]
    Worker(WorkerArguments),
    /// List the workers, and the tasks that wait for one that is not there
    Workers,
    /// Ends what a worker runs that is killed: the worker starts it
    #[command(hide = true)]
    Guard,
    /// List, run, backfill and repair flows
    #[command(subcommand)]
    Flow(FlowCommand),
    /// List, show and explain views
    #[command(subcommand)]
    View(ViewCommand),
    /// Run SQL: over views, lake tables, topics and files
    #[command(
        after_help = "Examples:\n  mulgil sql -c \"SELECT * FROM delays_per_hour ORDER BY window_start DESC LIMIT 5\"\n  mulgil sql report.sql --format csv\n  mulgil sql window.sql --mode stream"
    )]
    Sql(SqlArguments),
    /// Write, read and list the topics of the embedded event log
    #[command(subcommand)]
    Log(LogCommand),
    /// Make flows of what another workflow manager has, with a report of what came over
    #[command(
        after_help = "Examples:\n  mulgil import crontab /etc/crontab --to flows\n  mulgil import airflow dags/*.py\n  mulgil import digdag workflows/*.dig --format json"
    )]
    Import(ImportArguments),
    /// Show how a query runs: the dataflow graph, or its stages and exchanges
    Explain(ExplainArguments),
}

/// The examples that the program brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Example {
    /// A year of departures from New York: what `mulgil demo` shows
    Flights,
    /// Three days of an access log, and an A/B test over it in two layers, or in one
    AbTest,
}

/// `mulgil demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Where to lay the project out
    #[arg(default_value = "demo-flights")]
    pub(crate) folder: PathBuf,
    /// How many seconds of 2013 pass in one second of replay; `unlimited` for as fast as it goes
    #[arg(long, default_value = "14400")]
    pub(crate) speed: Speed,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:7070")]
    pub(crate) listen: String,
}

/// `mulgil server`
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Where to listen; any address but loopback needs MULGIL_TOKEN
    #[arg(long, default_value = "127.0.0.1:7070")]
    pub(crate) listen: String,
    /// Where clients of PostgreSQL read, or `off` (default: as mulgil.yaml says, else 127.0.0.1:7432 if it is free)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) sql_listen: Option<String>,
}

/// `mulgil import`
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// From what
    #[arg(value_enum)]
    pub(crate) system: System,
    /// Files, or folders with such files
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Where to write the flows (default: nowhere; the report says what would be written)
    #[arg(long)]
    pub(crate) to: Option<PathBuf>,
    /// The Python interpreter that runs files of Airflow and Luigi
    #[arg(long, default_value = "python3")]
    pub(crate) python: String,
}

/// A workflow manager that flows can be imported from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// Crontabs of users (`crontab -l`) and of the system (/etc/crontab, /etc/cron.d)
    Crontab,
    /// Digdag's .dig files
    Digdag,
    /// Oozie's workflow.xml, with the coordinator.xml that starts it
    Oozie,
    /// Files with Airflow's DAGs, run with a stub in the place of Airflow
    Airflow,
    /// Files with Luigi's tasks, run with a stub in the place of Luigi
    Luigi,
}

/// `mulgil flow`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum FlowCommand {
    /// All flows, with schedule, next run and the state of the last runs
    List,
    /// One flow: tasks, parameters, and its next runs
    #[command(
        after_help = "Examples:\n  mulgil flow show daily_delays --next 20\n  mulgil flow show daily_delays --from 2027-03-12 --next 4"
    )]
    Show {
        /// The flow
        flow: String,
        /// How many of the next data intervals to show
        #[arg(long, default_value_t = 5)]
        next: usize,
        /// From which date on (default: now)
        #[arg(long)]
        from: Option<jiff::civil::Date>,
    },
    /// Stop a flow's schedule from firing, or a backfill from beginning further runs; runs under way go on
    Pause {
        /// The flow or backfill (`backfill/7`)
        flow: String,
    },
    /// Let a paused schedule fire again, where what it missed is treated as `catchup` says, or a paused backfill go on
    Resume {
        /// The flow or backfill (`backfill/7`)
        flow: String,
    },
    /// Run a flow once, for one date or now
    #[command(after_help = "Example:\n  mulgil flow run daily_delays --date 2013-07-04")]
    Run {
        /// The flow
        flow: String,
        /// The date whose data interval is run (default: the latest complete one)
        #[arg(long)]
        date: Option<jiff::civil::Date>,
        /// A parameter, as name=value; may be given more than once
        #[arg(long = "param", value_parser = name_and_value)]
        params: Vec<(String, String)>,
        /// A key of your own: asked for again with the same key, it is the same run, also if the answer was lost
        #[arg(long)]
        key: Option<String>,
        /// Return at once instead of following the run to its end
        #[arg(long)]
        detach: bool,
    },
    /// Run a flow for every interval of a range; what is done already is left alone
    #[command(
        after_help = "Examples:\n  mulgil flow backfill daily_delays --from 2013-01-01 --to 2013-12-31\n  mulgil flow backfill daily_delays --from 2013-01-01 --to 2013-12-31 --only failed\n  mulgil flow backfill daily_delays --from 2013-01-01 --to 2013-12-31 --dry-run\n  mulgil flow backfill daily_delays --from 2013-01-01 --to 2013-12-31 --trial 3\n  mulgil flow resume backfill/7\n  mulgil flow rerun backfill/7"
    )]
    Backfill(BackfillArguments),
    /// Run again what failed in a run, and what depends on it, with the same parameters
    #[command(
        after_help = "Examples:\n  mulgil flow rerun daily_delays/2013-01-16\n  mulgil flow rerun daily_delays --failed\n  mulgil flow rerun daily_delays/2013-01-16 --from aggregate\n  mulgil flow rerun daily_delays --since 2013-01-01 --until 2013-01-31 --group load --latest --dry-run"
    )]
    Rerun(RerunArguments),
    /// Say that a task of a run counts as succeeded or failed, whatever it did; what never ran for its failure runs then
    #[command(
        after_help = "Example:\n  mulgil flow mark daily_delays/2013-01-16 land --succeeded --why 'loaded by hand'"
    )]
    Mark(MarkArguments),
    /// The definitions that a flow has had, newest first, by the hash of their content
    Versions {
        /// The flow
        flow: String,
    },
    /// What is different between two definitions of a flow
    #[command(after_help = "Example:\n  mulgil flow diff daily_delays 3f2a91")]
    Diff {
        /// The flow
        flow: String,
        /// The older version, or its first digits
        from: String,
        /// The newer version (default: the flow as it is now)
        to: Option<String>,
    },
    /// List runs, newest first
    Runs(RunsArguments),
    /// Print what the tasks of a run printed
    Log(LogArguments),
    /// Tables × intervals: which are done (#), stale (~), failed (x), under way (>) or missing (.)
    Matrix {
        /// Only this flow
        flow: Option<String>,
        /// How many of the latest intervals
        #[arg(long, default_value_t = 30)]
        count: usize,
        /// Up to this date of the flow's time zone, included
        #[arg(long, requires = "flow")]
        until: Option<jiff::civil::Date>,
    },
    /// Who was told of what, newest first, and what nobody took
    Notices {
        /// Only of this run (`flow/2013-01-16` or its number)
        run: Option<String>,
        /// Only what was given up
        #[arg(long)]
        given_up: bool,
    },
    /// Stop a run or a backfill, with all its processes
    Cancel {
        /// The run (`flow/2013-01-16` or its number) or backfill (`backfill/7`)
        run: String,
    },
    /// Show what the attempts of a run used, and what broke them or held them up
    Usage {
        /// The run (`flow/2013-01-16` or its number), or a flow: then its latest run
        run: String,
        /// Only this task of the run
        task: Option<String>,
    },
    /// Say how many slots each pool should have, by how long tasks waited for one and what their machines did
    Advice {
        /// Only by the tasks of this flow
        flow: Option<String>,
    },
    /// Say in one sentence each why a flow, a run or its tasks are not running
    #[command(
        after_help = "Examples:\n  mulgil flow why daily_delays\n  mulgil flow why daily_delays/2013-01-16\n  mulgil flow why daily_delays/2013-01-16 aggregate"
    )]
    Why {
        /// A flow, or a run (`flow/2013-01-16` or its number)
        name: String,
        /// Only this task of the run
        task: Option<String>,
    },
    /// Run one flow here and now, without a server and without a trace in the project's history
    #[command(
        after_help = "Example:\n  mulgil flow test flows/daily_delays.yaml --date 2013-07-04\n\nWhat the tasks write into tables and files they do write."
    )]
    Test {
        /// The flow's file, or the flow
        file: String,
        /// The date whose data interval is run (default: the latest complete one)
        #[arg(long)]
        date: Option<jiff::civil::Date>,
        /// A parameter, as name=value; may be given more than once
        #[arg(long = "param", value_parser = name_and_value)]
        params: Vec<(String, String)>,
    },
    /// Check flows, tables and views without running anything
    Lint {
        /// Only these files (default: the whole project)
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of flow files, for editors
    Schema,
}

/// `mulgil view`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ViewCommand {
    /// All views, with mode, state and watermark
    List,
    /// One view: definition, watermark, late rows, and what holds time back
    Show {
        /// The view
        view: String,
    },
    /// Print what changes of a view, as it changes: first its rows, then +I, -U, +U and -D
    Subscribe {
        /// The view
        view: String,
        /// Begin without the rows that are there now
        #[arg(long)]
        no_snapshot: bool,
        /// Go on after this cursor: the last one that was printed
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
        /// End after so many cuts
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        cuts: Option<u64>,
    },
    /// Compute a FULL view anew and replace its result; or the batch layer of a LAMBDA view, up to where its archive is complete
    Refresh {
        /// The view
        view: String,
    },
    /// Build a KAPPA view anew from the past of its sources, beside the one that answers, which it then takes over from; a
    /// CONTINUOUS view starts again in its place
    Replay {
        /// The view
        view: String,
        /// Read the sources from this time on, as 2024-01-01T00:00:00Z (default: from the beginning)
        #[arg(long, value_name = "TIME")]
        from: Option<jiff::Timestamp>,
        /// Read at most so many rows a second until it has caught up (default: as fast as it goes)
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        rows_per_second: Option<u64>,
        /// Give up what is being built
        #[arg(long, conflicts_with_all = ["from", "rows_per_second"])]
        cancel: bool,
        /// Do not wait until it has taken over
        #[arg(long)]
        no_wait: bool,
    },
    /// Change how a view is kept up to date, without a gap: its file says so afterwards
    Switch {
        /// The view
        view: String,
        /// The mode
        #[arg(long, value_name = "MODE", ignore_case = true, value_parser = ["FULL", "CONTINUOUS", "LAMBDA", "KAPPA"])]
        to: String,
        /// Do not wait until what is to keep it has taken over
        #[arg(long)]
        no_wait: bool,
    },
    /// How far the speed layer of a LAMBDA view had been off, once batch has spoken
    Drift {
        /// The view
        view: String,
        /// Also the windows in which it was right
        #[arg(long)]
        all: bool,
    },
    /// Let the former generation of a KAPPA view take over again; once more, and it goes forward
    Rollback {
        /// The view
        view: String,
        /// Do not wait until it has taken over
        #[arg(long)]
        no_wait: bool,
    },
    /// Start a view that has failed, or waits to be started again, from its last checkpoint
    Resume {
        /// The view
        view: String,
    },
    /// Keep the state of a view, as it is now, under a name
    Savepoint {
        /// The view
        view: String,
        /// The savepoint's name (default: the time)
        #[arg(long)]
        name: Option<String>,
    },
    /// The savepoints of a view
    Savepoints {
        /// The view
        view: String,
    },
    /// Let a view go on from a savepoint, also after a compatible change of its query
    Restore {
        /// The view
        view: String,
        /// The savepoint's name
        #[arg(long)]
        savepoint: String,
    },
    /// How a view is computed
    Explain {
        /// The view
        view: String,
        /// The stages, subtasks and exchanges instead of the logical graph
        #[arg(long)]
        physical: bool,
        /// Graphviz instead of text
        #[arg(long)]
        dot: bool,
    },
}

/// `mulgil sql`
#[derive(Debug, Args)]
pub(crate) struct SqlArguments {
    /// A file with one or more statements
    #[arg(required_unless_present = "statement", conflicts_with = "statement")]
    pub(crate) file: Option<PathBuf>,
    /// The statements themselves
    #[arg(short = 'c', long = "command")]
    pub(crate) statement: Option<String>,
    /// Which executor computes it: both give the same rows
    #[arg(long, value_enum, default_value_t = Mode::Batch)]
    pub(crate) mode: Mode,
    /// In stream mode: let an INSERT read on for ever instead of up to now
    #[arg(long)]
    pub(crate) follow: bool,
    /// In stream mode: keep checkpoints of each INSERT in this folder (or s3://bucket/folder), and go on from the last one when run
    /// again
    #[arg(long, value_name = "FOLDER")]
    pub(crate) checkpoints: Option<String>,
    /// How long from one checkpoint to the next, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, requires = "checkpoints")]
    pub(crate) checkpoint_interval_ms: u64,
    /// In stream mode: what is promised of the rows of an INSERT: at-most-once, at-least-once, exactly-once or
    /// end-to-end-exactly-once; the strongest that its tables can give where nothing is said
    #[arg(long)]
    pub(crate) guarantee: Option<Guarantee>,
    /// In stream mode: how much memory state may take, for example "256 MB"; the rest goes to local files below .mulgil/state.
    /// Half of the machine's where nothing is said
    #[arg(long, value_name = "SIZE")]
    pub(crate) state_memory: Option<String>,
    /// In stream mode: how many subtasks each stage has; as many as the machine has cores where nothing is said
    #[arg(long)]
    pub(crate) parallelism: Option<usize>,
}

/// Which executor computes a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// DataFusion's, over what is there now
    Batch,
    /// Mulgil's dataflow engine
    Stream,
}

/// `mulgil explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// A file with a query
    pub(crate) file: PathBuf,
    /// The graph of operators (the default)
    #[arg(long, conflicts_with = "physical")]
    pub(crate) logical: bool,
    /// The stages, subtasks and exchanges
    #[arg(long)]
    pub(crate) physical: bool,
    /// Graphviz instead of text
    #[arg(long)]
    pub(crate) dot: bool,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is no parameter: write name=value"))
}
