//! The form of flow and project files: every key, in the words that an editor shows. Nothing here is checked yet.

pub(crate) mod dashboard;
pub(crate) mod for_each;
pub(crate) mod http;
mod notify;
pub(crate) mod retries;
mod schedule;
mod trigger;
pub(crate) mod view;

use self::for_each::RawForEach;
use self::http::{RawHttp, RawWait};
pub(crate) use self::notify::{RawChannel, RawLineage, RawMail, RawOccasions, RawReceiver, RawReceivers, RawRetention};
use self::retries::RawRetries;
pub(crate) use self::schedule::{CatchupWord, RawCatchup, RawSchedule};
pub(crate) use self::trigger::{RawTrigger, RawWebhook};
use self::view::RawView;
use crate::findings::Findings;
use crate::read::{Anything, Entries, FromNode, Located, OneOrMany, Text, raw_map};
use crate::transfer::RowsWord;
use crate::yaml::{Data, Node};
use crate::{ParamType, RerunOn, TriggerRule};

raw_map! {
    /// A flow: tasks that need each other, with parameters and maybe a schedule.
    RawFlow: "the flow" {
        /// The flow's name, unique in the project.
        #[schemars(required)]
        "flow" flow: Text,
        /// What the flow is for.
        "description" description: Text,
        /// When the flow runs by itself. Without it, it runs by hand.
        "schedule" schedule: RawSchedule,
        /// What starts runs from outside: files that arrive, a webhook. Not together with a schedule.
        "triggers" triggers: Vec<RawTrigger>,
        /// Parameters: `name: default`, or a map with type, default and description. Templates use them as `params.name`.
        "params" params: Entries<RawParam>,
        /// Automatic retries of all tasks that do not say otherwise.
        "retries" retries: RawRetries,
        /// How long an attempt of a task may take, such as `30s`, `10m` or `2h`, if the task does not say otherwise.
        "timeout" timeout: Text,
        /// How long a run may take from its begin, such as `4h`: then what runs is ended, and the run has failed.
        "run_timeout" run_timeout: Text,
        /// The pool of all tasks that name none.
        "pool" pool: Text,
        /// The tags of all tasks that say none: only workers with all of them take such a task.
        "tags" tags: OneOrMany,
        /// How many runs of this flow may be active at once.
        "concurrency" concurrency: Located<u32>,
        /// The local time of day by which the run should have ended, such as `07:30`: the first one after the run is due.
        "deadline" deadline: Text,
        /// Whom to tell when a run fails: channels of the project, or `{webhook: URL}`. Without it, the project's channels that want to hear of it; `[]` is nobody.
        "on_failure" on_failure: RawReceivers,
        /// Whom to tell when a run succeeds.
        "on_success" on_success: RawReceivers,
        /// Whom to tell when a task is tried again, once for each start of a run.
        "on_retry" on_retry: RawReceivers,
        /// Whom to tell when a run has not ended by its deadline.
        "on_deadline" on_deadline: RawReceivers,
        /// Whom to tell when a run takes longer than usual.
        "on_slow" on_slow: RawReceivers,
        /// The tasks by name.
        #[schemars(required)]
        "tasks" tasks: Entries<RawTask>,
    }
}

raw_map! {
    /// A task: exactly one of shell, python, sql, transfer, http, flow, view or wait.
    RawTask: "the task" {
        /// The tasks that must have ended before this one starts; how they must have ended says `trigger_rule`.
        "needs" needs: OneOrMany,
        /// What the task makes of how its needs have ended. Without it, all_success.
        "trigger_rule" trigger_rule: Located<TriggerRule>,
        /// A condition, such as `results.check.rows > 0`, told when the task would begin. If it is false, the task is
        /// skipped.
        "when" when: Text,
        /// Does the task once for each item of a list: the list, or a template that gives one, such as `{{ results.files }}`.
        /// The task's templates use the item as `item`.
        "for_each" for_each: RawForEach,
        /// A command for `sh -c`. Template values are quoted: write them outside quotes.
        "shell" shell: Text,
        /// A Python script, module or function, run in an interpreter of its own; a text is the path of a script.
        "python" python: RawPython,
        /// A .sql file, relative to the project's folder, or the SQL text itself.
        "sql" sql: Text,
        /// Copies the rows of the run's data interval from one table to another.
        "transfer" transfer: RawTransfer,
        /// One HTTP request.
        "http" http: RawHttp,
        /// Runs another flow of the project, for the same data interval; it holds no slot of a pool meanwhile.
        "flow" flow: Text,
        /// The parameters of the run of `flow`; texts may be templates.
        "params" params: Entries<Anything>,
        /// What becomes of a run of `flow` that has ended already. Without it, failed: one that has succeeded is taken as done, of any
        /// other what failed runs again. none: it stays as it is. all: all of it runs again.
        "rerun_on" rerun_on: Located<RerunOn>,
        /// Does something to a view of the project; the server itself does it, so it holds no slot of a pool.
        "view" view: RawView,
        /// Waits for something outside, and holds no slot of a pool meanwhile. `timeout` says for how long.
        "wait" wait: RawWait,
        /// The table that gets the rows of `sql`.
        "to" to: Text,
        /// What becomes the task's result. Of the last query of `sql`: row (the first one) or rows (a list); of the answer to
        /// `http`: json or body (a text).
        "result" result: Located<ResultWord>,
        /// What a write does with the rows that are there already. Without it, replace_partition.
        "write" write: RawWrite,
        /// The partition that is replaced: column and value, which may be a template. Without it, the one of `{{ ds }}`.
        "partition" partition: Entries<Text>,
        /// The columns by which `write: merge` tells rows apart. Without it, the table's PRIMARY KEY.
        "key" key: OneOrMany,
        /// Whether running the task twice leaves the same as running it once. If not, it is never retried by itself.
        "idempotent" idempotent: Located<bool>,
        /// Automatic retries. Without it, the flow's.
        "retries" retries: RawRetries,
        /// How long an attempt may take. Without it, as the flow says.
        "timeout" timeout: Text,
        /// How much memory the processes of a shell or python task may have together, such as `2 GB`: beyond it they are ended.
        "memory" memory: Text,
        /// The pool whose slot the task takes. Without it, the flow's.
        "pool" pool: Text,
        /// Among tasks that wait for a slot of the same pool, higher goes first. Without it, 0.
        "priority" priority: Located<i32>,
        /// How many attempts of the task may run at once, over all runs of the flow. Without it, as many as the pool has slots.
        "concurrency" concurrency: Located<u32>,
        /// The group that the task is in. `needs` may name a group, and a group is re-run as a unit.
        "group" group: Text,
        /// Which workers may take the task: those that have all of these tags. Without it, the flow's; an empty list is none.
        "tags" tags: OneOrMany,
        /// Environment variables of a shell or python task; the values may be templates.
        "env" env: Entries<Text>,
    }
}

raw_map! {
    /// Python to run: exactly one of script, module or function.
    RawPythonInFull: "the python task" {
        /// A .py file, relative to the project's folder.
        "script" script: Text,
        /// A module that is run as `python -m` does it.
        "module" module: Text,
        /// A function: `jobs/score.py:score`, or `package.module:score`.
        "function" function: Text,
        /// A list of arguments; for a function also a map of them by name. Texts may be templates.
        "args" args: Anything,
        /// The virtual environment to run in: its folder, relative to the project's.
        "venv" venv: Text,
        /// A requirements file: Mulgil keeps a virtual environment with exactly what it lists.
        "requirements" requirements: Text,
    }
}

raw_map! {
    /// From which table to which.
    RawTransfer: "the transfer" {
        /// The table to read.
        #[schemars(required)]
        "from" from: Text,
        /// The column that says to which interval a row belongs. Without it, the table's event time (WATERMARK FOR), or its one
        /// partition column of type DATE.
        "by" by: Text,
        /// Which rows are copied. Without it, interval: those of the run's data interval.
        "rows" rows: Located<RowsWord>,
        /// The table to write.
        #[schemars(required)]
        "to" to: Text,
    }
}

raw_map! {
    /// One way to tell somebody.
    RawNotification: "a notification" {
        /// A URL that gets an HTTP POST.
        #[schemars(required)]
        "webhook" webhook: Text,
    }
}

raw_map! {
    /// A parameter in full.
    RawParamInFull: "the parameter" {
        /// The type of its values. Without it, the default's.
        "type" param_type: Located<ParamType>,
        /// Its value when none is given.
        "default" default: Anything,
        /// The only values that are allowed.
        "choices" choices: Vec<Anything>,
        /// The smallest number, or the first date, that is allowed.
        "min" min: Anything,
        /// The largest number, or the last date, that is allowed.
        "max" max: Anything,
        /// A regular expression that a text has to match as a whole.
        "pattern" pattern: Text,
        /// What it is for.
        "description" description: Text,
    }
}

raw_map! {
    /// A project: where things are, and what may run at once.
    RawProject: "the project" {
        /// The project's name. Without it, the folder's.
        "name" name: Text,
        /// The time zone of everything that names none. Without it, UTC.
        "timezone" timezone: Text,
        /// Where the lake is.
        "lake" lake: Text,
        /// Where the event log is.
        "log" log: Text,
        /// Where the history is.
        "history" history: Text,
        /// Where views keep their checkpoints: a folder, or `s3://bucket/folder`.
        "checkpoints" checkpoints: Text,
        /// How much memory the state of all views may take together, for example `4 GB`; the rest goes to local files.
        "state_memory" state_memory: Text,
        /// The SQL port, at which clients of PostgreSQL read.
        "sql" sql: RawSqlPort,
        /// The Python interpreter that reads scripted flows and runs python tasks that name none: a command, or a path.
        "python" python: Text,
        /// Where people reach the server, such as `https://mulgil.example.org`: links in what is told begin with it. Without it, where the server listens.
        "url" url: Text,
        /// How long what is over is kept.
        "retention" retention: RawRetention,
        /// Who hears of the lineage of data: events of OpenLineage.
        "lineage" lineage: RawLineage,
        /// Who is told of what: channels by name.
        "notify" notify: Entries<RawChannel>,
        /// Pools and how many tasks may run in each at once.
        "pools" pools: Entries<Located<u32>>,
        /// Secrets by name: `env:NAME` (an environment variable) or `file:PATH`. Tasks use them as `secrets.NAME`.
        "secrets" secrets: Entries<Text>,
        /// Calendars by name: the days on which schedules that name them rest.
        "calendars" calendars: Entries<RawCalendar>,
        /// Connections by name: URLs.
        "connections" connections: Entries<Text>,
    }
}

raw_map! {
    /// The SQL port.
    RawSqlPort: "the SQL port" {
        /// Where it listens, such as `127.0.0.1:7432`, or `off`. Without it, at that address if nobody listens there.
        "listen" listen: Text,
        /// A PEM file with the certificate that encrypts connections, relative to the project's folder. With it, clients of other
        /// machines have to encrypt.
        "certificate" certificate: Text,
        /// The PEM file with the certificate's key.
        "key" key: Text,
        /// How many clients may be connected at once. Without it, 100.
        "connections" connections: Located<u32>,
        /// The longest that a statement may take, such as `10m`. Without it, as long as it needs.
        "timeout" timeout: Text,
        /// How much memory one query may take, for example `256 MB`; what does not fit goes to temporary files. Without it, 512 MB.
        "memory" memory: Text,
    }
}

raw_map! {
    /// A calendar: days on which schedules rest.
    RawCalendar: "the calendar" {
        /// The days of the week that count, as cron writes them, such as MON-FRI. Without it, all.
        "weekdays" weekdays: Text,
        /// Dates on which nothing fires, such as 2026-12-25.
        "skip" skip: OneOrMany,
        /// Dates that count although their day of the week does not: working Saturdays.
        "also" also: OneOrMany,
        /// A file with more dates on which nothing fires, relative to the project's folder: one a line, # begins a comment.
        "file" file: Text,
    }
}

/// A parameter: its default, or a map.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawParam {
    /// With type, default and description.
    InFull(Box<RawParamInFull>),
    /// The default alone.
    Default(Anything),
}

impl FromNode for RawParam {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match node.data {
            Data::Map(_) => FromNode::from_node(node, findings).map(|raw| Self::InFull(Box::new(raw))),
            _ => FromNode::from_node(node, findings).map(Self::Default),
        }
    }
}

/// Python to run: a script's path, or a map.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawPython {
    /// A script's path.
    Script(Text),
    /// What to run, with which arguments, in which environment.
    InFull(Box<RawPythonInFull>),
}

impl FromNode for RawPython {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match node.data {
            Data::Map(_) => FromNode::from_node(node, findings).map(|raw| Self::InFull(Box::new(raw))),
            _ => FromNode::from_node(node, findings).map(Self::Script),
        }
    }
}

/// What a write does with the rows that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WriteWord {
    /// The rows of one partition are replaced.
    ReplacePartition,
    /// All rows are replaced.
    ReplaceTable,
    /// Each row takes the place of the one of the same key.
    Merge,
    /// The rows are added, once for each run.
    Append,
}

/// [`WriteWord`] and where it stands.
pub(crate) type RawWrite = Located<WriteWord>;

impl FromNode for Located<RowsWord> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        word(node, "choice of rows", &[("interval", RowsWord::Interval), ("all", RowsWord::All)], findings)
    }
}

impl FromNode for RawWrite {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let words = [
            ("replace_partition", WriteWord::ReplacePartition),
            ("replace_table", WriteWord::ReplaceTable),
            ("merge", WriteWord::Merge),
            ("append", WriteWord::Append),
        ];
        word(node, "way to write", &words, findings)
    }
}

impl FromNode for Located<ParamType> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let words = ParamType::ALL.map(|param_type| (param_type.word(), param_type));
        word(node, "type", &words, findings)
    }
}

impl FromNode for Located<TriggerRule> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        word(node, "trigger rule", &TriggerRule::ALL.map(|rule| (rule.word(), rule)), findings)
    }
}

/// What becomes the task's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResultWord {
    /// The first row of a query.
    Row,
    /// The rows of a query.
    Rows,
    /// An answer, read as JSON.
    Json,
    /// An answer, as a text.
    Body,
}

impl FromNode for Located<ResultWord> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let words = [
            ("row", ResultWord::Row),
            ("rows", ResultWord::Rows),
            ("json", ResultWord::Json),
            ("body", ResultWord::Body),
        ];
        word(node, "result", &words, findings)
    }
}

impl FromNode for Located<RerunOn> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        word(node, "rerun_on", &RerunOn::ALL.map(|on| (on.word(), on)), findings)
    }
}

pub(crate) fn word<T: Copy>(
    node: &Node,
    what: &str,
    words: &[(&str, T)],
    findings: &mut Findings,
) -> Option<Located<T>> {
    let text = Text::from_node(node, findings)?;
    match words.iter().find(|(word, _)| *word == text.value) {
        Some((_, value)) => Some(Located { value: *value, at: node.at }),
        None => {
            findings.unknown(node.at, what, &text.value, words.iter().map(|(word, _)| *word));
            None
        }
    }
}
