//! Definitions of flows: YAML text (or the JSON that a script gave) in, a checked [`Flow`] or located [`Diagnostic`]s out.
//!
//! This crate decides and does nothing else. It reads no clock, opens no file, spawns no task and knows no tokio: who
//! calls it brings the text of the files and the time. Time zones come from the database that is built into the
//! program, so that the same flow means the same everywhere.
//!
//! - [`Project`] is `mulgil.yaml`; [`Flow`] is a file of `flows/`, with its [`Task`]s in an order in which they can run.
//! - [`Schedule`] says when runs are due and which [`DataInterval`] each is about (see [`schedule`]).
//! - [`RunKey`] is the identity of a run: the same flow with the same parameters for the same interval.
//! - [`template`] renders `{{ ds }}` and its kin; [`backfill`] plans runs for past intervals; [`lint()`] gives advice.

pub mod backfill;
mod calendar;
mod canonical;
mod check;
mod clock;
mod cron;
mod definition;
mod diagnostic;
pub mod difference;
mod findings;
mod for_each;
mod http;
mod interval;
mod json;
mod limits;
mod lint;
mod params;
mod project;
mod raw;
mod read;
mod run_key;
pub mod schedule;
mod schema;
mod secret;
pub mod template;
mod wait;
pub mod yaml;

pub use calendar::Calendar;
pub use canonical::canonical_lines;
pub use cron::{Cron, CronError};
pub use definition::{
    Flow, FlowVersion, Interpreter, Notification, PythonArgs, PythonEntry, PythonTask, Retries, SqlResult, SqlText,
    Task, TaskKind, TriggerRule, Write, WriteTarget,
};
pub use diagnostic::Diagnostic;
pub use findings::Position;
pub use for_each::{ForEach, Grouping, Items, packed};
pub use http::{HttpBody, HttpResult, HttpTask, StatusRange};
pub use interval::DataInterval;
pub use json::Lines;
pub use limits::Limits;
pub use lint::{lint, lint_sizes};
pub use params::{Param, ParamError, ParamType, Params};
pub use project::Project;
pub use run_key::RunKey;
pub use schedule::{Catchup, Fire, Grain, Overlap, Rule, Schedule};
pub use schema::{json_schema, project_json_schema};
pub use secret::{SecretSource, Secrets};
pub use template::{Quote, ResultsRead, TemplateError, Variables, holds, render, results_read, secrets_read};
pub use wait::{OnTimeout, WaitFor, WaitTask};
