//! The form of flow and project files: every key, in the words that an editor shows. Nothing here is checked yet.

pub(crate) mod http;

use self::http::{RawHttp, RawWait};
use crate::findings::Findings;
use crate::read::{Anything, Entries, FromNode, Located, OneOrMany, Text, raw_map};
use crate::yaml::{Data, Node};
use crate::{Overlap, ParamType, TriggerRule};

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
        /// Parameters: `name: default`, or a map with type, default and description. Templates use them as `params.name`.
        "params" params: Entries<RawParam>,
        /// Automatic retries of all tasks that do not say otherwise.
        "retries" retries: RawRetries,
        /// How long an attempt of a task may take, such as `30s`, `10m` or `2h`, if the task does not say otherwise.
        "timeout" timeout: Text,
        /// The pool of all tasks that name none.
        "pool" pool: Text,
        /// The tags of all tasks that say none: only workers with all of them take such a task.
        "tags" tags: OneOrMany,
        /// How many runs of this flow may be active at once.
        "concurrency" concurrency: Located<u32>,
        /// The local time of day by which the run should have ended, such as `07:30`.
        "deadline" deadline: Text,
        /// Whom to tell when a run fails.
        "on_failure" on_failure: Vec<RawNotification>,
        /// The tasks by name.
        #[schemars(required)]
        "tasks" tasks: Entries<RawTask>,
    }
}

raw_map! {
    /// When a flow runs: `cron` or `every`.
    RawSchedule: "the schedule" {
        /// A cron expression of five fields (minute, hour, day of month, month, day of week), or @hourly, @daily,
        /// @weekly, @monthly, @yearly.
        "cron" cron: Text,
        /// A constant time between runs, such as `15m`.
        "every" every: Text,
        /// An IANA time zone, such as Europe/Berlin. Without it, the project's.
        "timezone" timezone: Text,
        /// A date or time; no data interval starts before it.
        "start" start: Text,
        /// A date or time; no data interval ends after it.
        "end" end: Text,
        /// What happens to runs that were missed while no server ran: none, latest (the default), all, or how many of
        /// the latest.
        "catchup" catchup: RawCatchup,
        /// A calendar of mulgil.yaml: the schedule rests on the days that it takes away.
        "calendar" calendar: Text,
        /// What happens to a run that is due while one that was scheduled before has not ended: queue (it waits), skip (it
        /// is left out) or cancel (the older one is stopped). Without it, both run, as far as `concurrency` lets them.
        "overlap" overlap: Located<Overlap>,
        /// Tables that a run waits for: it begins as soon as all of them have been written for its whole interval by tasks of
        /// this project, and not by the clock. `cron` or `every` then only says where intervals begin and end.
        "on" on: OneOrMany,
    }
}

raw_map! {
    /// Automatic retries.
    RawRetries: "retries" {
        /// How many attempts may follow the first.
        #[schemars(required)]
        "limit" limit: Located<u32>,
        /// The pause before the first retry, such as `30s`. Without it, one minute.
        "delay" delay: Text,
        /// By what the pause is multiplied for each further retry, at least 1. Without it, 2.
        "backoff" backoff: Located<f64>,
    }
}

raw_map! {
    /// A task: exactly one of shell, python, sql, transfer, http or wait.
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
        /// Whether running the task twice leaves the same as running it once. If not, it is never retried by itself.
        "idempotent" idempotent: Located<bool>,
        /// Automatic retries. Without it, the flow's.
        "retries" retries: RawRetries,
        /// How long an attempt may take. Without it, as the flow says.
        "timeout" timeout: Text,
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
    /// What a task goes over, and how.
    RawForEachInFull: "for_each" {
        /// The list, or a template that gives one.
        #[schemars(required)]
        "items" items: RawItems,
        /// More items than this are an error. Without it, 10000.
        "max_items" max_items: Located<u32>,
        /// How many items may be under way at once. Without it, as many as the pool has slots.
        "max_parallel" max_parallel: Located<u32>,
        /// How many items one task does, one after the other: a number, or auto, which is as many as take about two minutes.
        "group" group: RawGrouping,
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
        /// The table to write.
        #[schemars(required)]
        "to" to: Text,
    }
}

raw_map! {
    /// One way to tell somebody.
    RawNotification: "on_failure" {
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
        /// The Python interpreter that reads scripted flows and runs python tasks that name none: a command, or a path.
        "python" python: Text,
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

/// Items: a list, or a template that gives one.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawItems {
    /// A list.
    List(Located<Vec<serde_json::Value>>),
    /// A template that gives one.
    Template(Text),
}

impl FromNode for RawItems {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match (&node.data, node.to_json()) {
            (Data::List(_), serde_json::Value::Array(value)) => Some(Self::List(Located { value, at: node.at })),
            _ => FromNode::from_node(node, findings).map(Self::Template),
        }
    }
}

/// How many items one task does: a number, or `auto`.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawGrouping {
    /// So many.
    Of(Located<u32>),
    /// In a word.
    Word(GroupingWord),
}

/// How many items one task does, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupingWord {
    /// By how long they took lately.
    Auto,
}

impl FromNode for RawGrouping {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let text = Text::from_node(node, findings)?;
        match text.value.parse() {
            Ok(value) => Some(Self::Of(Located { value, at: node.at })),
            Err(_) => {
                word(node, "group", &[("auto", GroupingWord::Auto)], findings).map(|found| Self::Word(found.value))
            }
        }
    }
}

/// What a task goes over: the items, or a map.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawForEach {
    /// The items.
    Items(RawItems),
    /// With limits.
    InFull(Box<RawForEachInFull>),
}

impl FromNode for RawForEach {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match node.data {
            Data::Map(_) => FromNode::from_node(node, findings).map(|raw| Self::InFull(Box::new(raw))),
            _ => FromNode::from_node(node, findings).map(Self::Items),
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
    /// The rows are added.
    Append,
}

/// [`WriteWord`] and where it stands.
pub(crate) type RawWrite = Located<WriteWord>;

impl FromNode for RawWrite {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let words = [
            ("replace_partition", WriteWord::ReplacePartition),
            ("replace_table", WriteWord::ReplaceTable),
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

impl FromNode for Located<Overlap> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        word(node, "overlap", &Overlap::ALL.map(|overlap| (overlap.word(), overlap)), findings)
    }
}

fn word<T: Copy>(node: &Node, what: &str, words: &[(&str, T)], findings: &mut Findings) -> Option<Located<T>> {
    let text = Text::from_node(node, findings)?;
    match words.iter().find(|(word, _)| *word == text.value) {
        Some((_, value)) => Some(Located { value: *value, at: node.at }),
        None => {
            findings.unknown(node.at, what, &text.value, words.iter().map(|(word, _)| *word));
            None
        }
    }
}

/// `none`, `latest`, `all`, or a number.
#[derive(Clone, Debug, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum RawCatchup {
    /// How many of the latest.
    AtMost(u32),
    /// In a word.
    Word(CatchupWord),
}

/// What happens to missed runs, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CatchupWord {
    /// They are dropped.
    None,
    /// The latest runs.
    Latest,
    /// All run.
    All,
}

impl FromNode for RawCatchup {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let text = Text::from_node(node, findings)?;
        if let Ok(number) = text.value.parse() {
            return Some(Self::AtMost(number));
        }
        let words = [("none", CatchupWord::None), ("latest", CatchupWord::Latest), ("all", CatchupWord::All)];
        word(node, "catchup", &words, findings).map(|found| Self::Word(found.value))
    }
}
