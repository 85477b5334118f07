//! A flow as it stands after every check: names resolved, defaults filled in, tasks in an order in which they can run.

use std::collections::BTreeMap;
use std::fmt;

use jiff::SignedDuration;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::for_each::texts_in;
use crate::{CallTask, CopiedRows, ForEach, HttpTask, Param, Retries, Schedule, Told, Triggers, ViewTask, WaitTask};

/// A DAG of tasks with parameters and maybe a schedule.
#[derive(Clone, Debug, Serialize)]
pub struct Flow {
    /// Its name, unique in the project.
    pub name: String,
    /// What it is for, in the author's words.
    pub description: Option<String>,
    /// The file it was read from, as the caller named it.
    pub file: String,
    /// The hash of everything below and of the name: equal definitions have equal versions.
    pub version: FlowVersion,
    /// The time zone of its schedule, dates and deadline: the schedule's, else the project's.
    #[serde(with = "jiff::fmt::serde::tz::required")]
    pub timezone: TimeZone,
    /// When it runs by itself; `None` runs by hand only.
    pub schedule: Option<Schedule>,
    /// What starts runs of it from outside.
    #[serde(default, skip_serializing_if = "Triggers::is_empty")]
    pub triggers: Triggers,
    /// Its parameters by name.
    pub params: BTreeMap<String, Param>,
    /// How many of its runs may be active at once; `None` is no limit beyond the pools'.
    pub concurrency: Option<u32>,
    /// How long a run may take, from its begin; `None` is for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_timeout: Option<SignedDuration>,
    /// The local time of day by which the run of that day should have ended.
    pub deadline: Option<Time>,
    /// Whom to tell of what.
    #[serde(flatten)]
    pub told: Told,
    /// The tasks; each stands after everything it needs, else in the file's order.
    pub tasks: Vec<Task>,
}

impl Flow {
    /// The task of that name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// A flow of which a worker knows no more than it needs to run some of its tasks.
    #[must_use]
    pub fn bare(name: String, version: FlowVersion, timezone: TimeZone, tasks: Vec<Task>) -> Self {
        Self {
            name,
            description: None,
            file: String::new(),
            version,
            timezone,
            schedule: None,
            triggers: Triggers::default(),
            params: BTreeMap::new(),
            concurrency: None,
            run_timeout: None,
            deadline: None,
            told: Told::default(),
            tasks,
        }
    }

    /// The names of all tasks that need `name`, directly or not, in running order; `name` itself is not among them.
    #[must_use]
    pub fn downstream(&self, name: &str) -> Vec<&str> {
        let mut reached: Vec<&str> = Vec::new();
        // One pass is enough: the tasks stand in running order.
        for task in &self.tasks {
            if task.needs.iter().any(|need| need == name || reached.contains(&need.as_str())) {
                reached.push(&task.name);
            }
        }
        reached
    }
}

/// The hash of a definition: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowVersion(pub String);

impl fmt::Display for FlowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node of a flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Its name, unique in the flow.
    pub name: String,
    /// The tasks that must have ended before it starts, as its rule says.
    pub needs: Vec<String>,
    /// What it makes of how they ended.
    #[serde(default, skip_serializing_if = "TriggerRule::is_default")]
    pub trigger_rule: TriggerRule,
    /// What has to be true for it to run once its needs have ended: an expression. If it is false, it is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Whether it does its work once for each item of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// What it does.
    pub kind: TaskKind,
    /// Whether running it twice leaves the same as running it once. If not, it is never retried by itself.
    pub idempotent: bool,
    /// Automatic retries; the limit is 0 for a task that is not idempotent.
    pub retries: Retries,
    /// How long an attempt may take; `None` is for ever.
    pub timeout: Option<SignedDuration>,
    /// How many bytes of memory its processes may have together; `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The pool whose slot it takes while it runs.
    pub pool: String,
    /// Among the tasks that wait for a slot of the same pool, higher goes first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// How many attempts of it may be live at once, over all runs; `None` is no limit beyond the pool's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The tags that a worker has to have to run it, sorted; without any, workers without tags run it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Environment variables of a shell or python task: templates, rendered with [`crate::Quote::None`].
    pub env: BTreeMap<String, String>,
    /// The line of its name in the file, from 1.
    pub line: u32,
    /// The column of its name in the file, from 1.
    pub column: u32,
    /// Whether the file asks for retries that are not given because the task is not idempotent.
    #[serde(skip)]
    pub(crate) retries_ignored: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(priority: &i32) -> bool {
    *priority == 0
}

/// What a task makes of how the tasks that it needs have ended: Airflow's words, with Airflow's meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    /// It runs when all have succeeded; a skipped one skips it.
    #[default]
    AllSuccess,
    /// It runs when all have ended, however.
    AllDone,
    /// It runs as soon as one has failed; skipped if none does.
    OneFailed,
    /// It runs as soon as one has succeeded.
    OneSuccess,
    /// It runs when all have ended and none has failed; skipped ones are fine.
    NoneFailed,
}

impl TriggerRule {
    /// All rules.
    pub const ALL: [Self; 5] = [Self::AllSuccess, Self::AllDone, Self::OneFailed, Self::OneSuccess, Self::NoneFailed];

    /// The word for it in flow files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AllSuccess => "all_success",
            Self::AllDone => "all_done",
            Self::OneFailed => "one_failed",
            Self::OneSuccess => "one_success",
            Self::NoneFailed => "none_failed",
        }
    }

    /// Whether it is the rule of a task that names none. Left out of what is hashed, so that old versions stay.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TaskKind {
    /// Runs a command with `sh -c`.
    Shell {
        /// A template, rendered with [`crate::Quote::Shell`].
        command: String,
    },
    /// Runs Python in a process of its own.
    Python(PythonTask),
    /// Runs SQL.
    Sql {
        /// The text, or where it is. A template either way, rendered with [`crate::Quote::None`].
        sql: SqlText,
        /// Where the rows of the (last) query go; `None` when the text itself says where.
        target: Option<WriteTarget>,
        /// Which rows of the last query become the task's result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<SqlResult>,
    },
    /// Makes one HTTP request.
    #[serde(skip_deserializing)]
    Http(HttpTask),
    /// Runs another flow.
    Flow(CallTask),
    /// Does something to a view.
    #[serde(skip_deserializing)]
    View(ViewTask),
    /// Waits for something outside.
    #[serde(skip_deserializing)]
    Wait(WaitTask),
    /// Copies rows from one table to another: those of the run's data interval, or all.
    Transfer {
        /// The table to read.
        from: String,
        /// Which of its rows.
        #[serde(default, skip_serializing_if = "CopiedRows::is_default")]
        rows: CopiedRows,
        /// Where the rows go.
        target: WriteTarget,
    },
}

impl TaskKind {
    /// Whether it takes no slot of a pool while it runs: it only waits there, or the server itself does it.
    #[must_use]
    pub fn is_slotless(&self) -> bool {
        matches!(self, Self::Wait(_) | Self::View(_))
    }

    /// Whether a run of another flow does its work, and no worker.
    #[must_use]
    pub fn is_call(&self) -> bool {
        matches!(self, Self::Flow(_))
    }

    /// The word for it in flow files, such as `shell`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Shell { .. } => "shell",
            Self::Python(_) => "python",
            Self::Sql { .. } => "sql",
            Self::Http(_) => "http",
            Self::Flow(_) => "flow",
            Self::View(_) => "view",
            Self::Wait(_) => "wait",
            Self::Transfer { .. } => "transfer",
        }
    }
}

/// Python to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonTask {
    /// What is run.
    pub entry: PythonEntry,
    /// With which arguments.
    pub args: PythonArgs,
    /// In which interpreter.
    pub interpreter: Interpreter,
}

/// What a python task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PythonEntry {
    /// A file, relative to the project's folder.
    Script(String),
    /// A module, as `python -m` runs it.
    Module(String),
    /// A function of a file of the project or of a module.
    Function {
        /// The file or the module.
        from: String,
        /// The function's name.
        name: String,
    },
}

/// The arguments of a python task: JSON values, in which every text is a template, rendered with [`crate::Quote::None`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PythonArgs {
    /// By position.
    List(Vec<serde_json::Value>),
    /// By name; only functions take such.
    Named(BTreeMap<String, serde_json::Value>),
}

impl PythonArgs {
    /// The texts in them, each a template.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::List(items) => items.iter().flat_map(texts_in).collect(),
            Self::Named(named) => named.values().flat_map(texts_in).collect(),
        }
    }
}

/// Which interpreter runs a python task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpreter {
    /// The project's.
    Project,
    /// The one of a virtual environment: its folder, relative to the project's.
    Venv(String),
    /// One that Mulgil keeps, with what a requirements file lists.
    Requirements(String),
}

/// SQL, or the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlText {
    /// A file, relative to the project's folder.
    File(String),
    /// The text itself.
    Inline(String),
}

/// Which rows of a query become a task's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SqlResult {
    /// The first one, as an object; null if there is none.
    Row,
    /// All of them, as a list of objects.
    Rows,
}

/// A table and how rows get into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteTarget {
    /// The table.
    pub table: String,
    /// What happens to the rows that are there already.
    pub write: Write,
}

/// What a write does with the rows that are there already. Every way is atomic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "write")]
pub enum Write {
    /// The rows of one partition are replaced.
    ReplacePartition {
        /// Which partition: values of the partition columns, as templates. Empty: the table's one partition column
        /// holds the run's `ds`.
        partition: BTreeMap<String, String>,
    },
    /// All rows are replaced.
    ReplaceTable,
    /// Each row takes the place of the one of the same key; rows of new keys are added.
    Merge {
        /// The columns of the key. Empty: the table's PRIMARY KEY.
        key: Vec<String>,
    },
    /// The rows are added, once for each run and task: another attempt of the same run does not double them.
    Append,
}
