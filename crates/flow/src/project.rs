//! The project file, `mulgil.yaml`: where things are, and what may run at once. An empty file is a project.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::{Calendar, Channel, Lineage, SecretSource, SqlPortSettings};

/// A project as its `mulgil.yaml` says it, defaults filled in.
#[derive(Clone, Debug, Serialize)]
pub struct Project {
    /// Its name; `None` when the file gives none: then the folder's name serves.
    pub name: Option<String>,
    /// The time zone of flows and views that name none.
    #[serde(with = "jiff::fmt::serde::tz::required")]
    pub timezone: TimeZone,
    /// Where the lake is: a folder relative to the project's, or a URL.
    pub lake: String,
    /// Where the event log is: a folder relative to the project's.
    pub log: String,
    /// Where the history is: an SQLite file relative to the project's folder, or a URL.
    pub history: String,
    /// Where views keep their checkpoints: a folder relative to the project's, or a URL.
    pub checkpoints: String,
    /// How much memory the state of all views may take together, as a text: half of the machine's where nothing is said.
    pub state_memory: Option<String>,
    /// The SQL port.
    pub sql: SqlPortSettings,
    /// The Python interpreter of scripted flows and python tasks: a command, or a path, which is relative to the project's
    /// folder.
    pub python: String,
    /// Where people reach the server, for links in what is told; `None` is where it listens.
    pub url: Option<String>,
    /// How long history and logs are kept.
    pub retention: Retention,
    /// Who hears of the lineage of data.
    pub lineage: Option<Lineage>,
    /// Who is told of what, by name.
    pub notify: BTreeMap<String, Channel>,
    /// The pools and their numbers of slots. The pool [`Project::DEFAULT_POOL`] is always there.
    pub pools: BTreeMap<String, u32>,
    /// Where each secret is, by name.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Calendars by name. Those that name a file are whole only after [`Project::read_calendars`].
    pub calendars: BTreeMap<String, Arc<Calendar>>,
    /// Connections by name: URLs as written. Who wires resolves what they refer to; they never go into logs.
    #[serde(skip)]
    pub connections: BTreeMap<String, String>,
}

/// How long things are kept after their end; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// Runs, with their tasks, attempts and events. The last run of each flow is always kept.
    pub runs: Option<SignedDuration>,
    /// Logs of attempts.
    pub logs: Option<SignedDuration>,
    /// Notices of the outbox.
    pub notices: Option<SignedDuration>,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: i64| Some(SignedDuration::from_hours(24 * days));
        Self { runs: days(400), logs: days(90), notices: days(30) }
    }
}

impl Project {
    /// The pool of tasks that name none.
    pub const DEFAULT_POOL: &'static str = "default";
    /// The slots of the default pool when the file says nothing.
    pub const DEFAULT_POOL_SLOTS: u32 = 8;
}

impl Default for Project {
    fn default() -> Self {
        Self {
            name: None,
            timezone: TimeZone::UTC,
            lake: ".mulgil/lake".to_owned(),
            log: ".mulgil/log".to_owned(),
            history: ".mulgil/history.db".to_owned(),
            checkpoints: ".mulgil/checkpoints".to_owned(),
            state_memory: None,
            sql: SqlPortSettings::default(),
            python: "python3".to_owned(),
            url: None,
            retention: Retention::default(),
            lineage: None,
            notify: BTreeMap::new(),
            pools: BTreeMap::from([(Self::DEFAULT_POOL.to_owned(), Self::DEFAULT_POOL_SLOTS)]),
            secrets: BTreeMap::new(),
            calendars: BTreeMap::new(),
            connections: BTreeMap::new(),
        }
    }
}
