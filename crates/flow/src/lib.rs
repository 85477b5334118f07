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
mod call;
mod calls;
mod canonical;
mod check;
mod clock;
mod cron;
mod dashboard;
mod deadline;
mod definition;
mod diagnostic;
pub mod difference;
mod fault;
mod findings;
mod for_each;
mod http;
mod interval;
mod json;
mod limits;
mod lineage;
mod lint;
mod notify;
mod params;
mod project;
mod raw;
mod read;
mod retries;
mod run_key;
pub mod schedule;
mod schema;
mod secret;
mod sql_port;
pub mod template;
mod transfer;
mod trigger;
mod view;
mod wait;
pub mod yaml;

pub use calendar::Calendar;
pub use call::{CallTask, RerunOn};
pub use calls::check_calls;
pub use canonical::canonical_lines;
pub use check::blamed;
pub use cron::{Cron, CronError};
pub use dashboard::{Dashboard, Panel};
pub use definition::{
    Flow, FlowVersion, Interpreter, PythonArgs, PythonEntry, PythonTask, SqlResult, SqlText, Task, TaskKind,
    TriggerRule, Write, WriteTarget,
};
pub use diagnostic::Diagnostic;
pub use fault::{ErrorKind, Fault, FaultPattern, NoSuchFault};
pub use findings::Position;
pub use for_each::{ForEach, Grouping, Items, packed};
pub use http::{HttpBody, HttpResult, HttpTask, StatusRange};
pub use interval::DataInterval;
pub use json::Lines;
pub use limits::Limits;
pub use lineage::{Lineage, LineageEvent, LineageRun};
pub use lint::{lint, lint_sizes};
pub use notify::{Channel, ChannelKind, Mail, MailTls, Notification, Occasion, Told};
pub use params::{Param, ParamError, ParamType, Params};
pub use project::{Project, Retention};
pub use retries::Retries;
pub use run_key::RunKey;
pub use schedule::{Catchup, Dst, Fire, Grain, Overlap, Rule, Schedule};
pub use schema::{json_schema, project_json_schema};
pub use secret::{SecretSource, Secrets};
pub use sql_port::{SqlListen, SqlPortSettings};
pub use template::{Quote, ResultsRead, TemplateError, Variables, holds, render, results_read, secrets_read};
pub use transfer::CopiedRows;
pub use trigger::{FileTrigger, Triggers, Webhook};
pub use view::{ViewDeed, ViewTask};
pub use wait::{OnTimeout, WaitFor, WaitTask};
