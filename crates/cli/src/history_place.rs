//! Where the history is: a file of this project, or a PostgreSQL database that several servers share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mulgil_history::postgres::PostgresHistory;
use mulgil_history::postgres::leading::Leader;
use mulgil_history::sqlite::SqliteHistory;
use mulgil_history::{History, HistoryError};
use mulgil_postgres::Address;
use mulgil_server::forward::{Standing, Where};
use mulgil_worker::process::{ProcessMark, is_alive, mark_of};

use crate::node::local;

/// How long the lease of the server that leads lives, where `MULGIL_LEADER_LEASE` does not say.
const LEASE: Duration = Duration::from_secs(15);
/// Between tries to reach the database at the start.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// An open history.
#[derive(Clone)]
pub(crate) enum HistoryPlace {
    /// One file, one server.
    File(Arc<SqliteHistory>),
    /// One database, of whose servers one leads.
    Shared(Shared),
}

/// A history that servers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) history: Arc<PostgresHistory>,
    /// This server's name, unique among all that ever were.
    name: String,
    /// How long the lease lives.
    pub(crate) life: Duration,
}

impl HistoryPlace {
    /// Opens what the project says. A database that is away is waited for.
    pub(crate) async fn open(project_dir: &Path, place: &str) -> Result<Self> {
        if !is_postgres(place) {
            let path = local(project_dir, place, "history")?;
            return Ok(Self::File(Arc::new(SqliteHistory::open(&path).await?)));
        }
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let roots = variable("PGSSLROOTCERT").map(PathBuf::from);
        let mut address = Address::new(place, roots).map_err(|reason| {
            anyhow::anyhow!("mulgil.yaml: history: {}", reason.replace("'url' cannot", "it cannot"))
        })?;
        if let Some(password) = variable("PGPASSWORD") {
            address.password(&password);
        }
        let life = match variable("MULGIL_LEADER_LEASE") {
            Some(seconds) => seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            None => Some(LEASE),
        };
        let life = life.context("MULGIL_LEADER_LEASE is no number of seconds")?;
        let history = loop {
            match PostgresHistory::open(address.clone()).await {
                Ok(history) => break history,
                Err(error) if error.is_passing() => {
                    tracing::warn!(%error, "the history cannot be opened now; trying again");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Self::Shared(Shared { history: Arc::new(history), name: own_name(), life }))
    }

    /// The store.
    pub(crate) fn store(&self) -> Arc<dyn History> {
        match self {
            Self::File(history) => Arc::clone(history) as Arc<dyn History>,
            Self::Shared(shared) => Arc::clone(&shared.history) as Arc<dyn History>,
        }
    }

    /// Where decisions are made.
    pub(crate) fn standing(&self) -> Standing {
        match self {
            Self::File(_) => Standing::default(),
            Self::Shared(shared) => {
                let (history, name) = (Arc::clone(&shared.history), shared.name.clone());
                Standing::new(move || match history.leader() {
                    Some(leader) if leader.name == name => Where::Here,
                    leader => Where::There(leader.map(|leader| leader.url)),
                })
            }
        }
    }

    /// The name of this server's worker.
    pub(crate) fn worker_name(&self) -> String {
        match self {
            Self::File(_) => format!("local-{}", std::process::id()),
            Self::Shared(shared) => shared.name.clone(),
        }
    }
}

impl Shared {
    /// This server, which answers at `url`.
    pub(crate) fn candidate(&self, url: &str) -> Result<Leader, HistoryError> {
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let start_ticks = mark_of(pid).map(|mark| mark.start_ticks).unwrap_or_default();
        // Listening everywhere is no address to be called at.
        let url = url.replace("//0.0.0.0:", &format!("//{}:", host())).replace("//[::]:", &format!("//{}:", host()));
        Ok(Leader { name: self.name.clone(), url, machine: machine(), pid, start_ticks })
    }
}

/// Whether a server does nothing any more: it was on this machine, and its process is gone, or is this one (whose work was ended before
/// it asked to lead again).
pub(crate) fn is_gone(leader: &Leader) -> bool {
    let lives = is_alive(ProcessMark { pid: leader.pid, start_ticks: leader.start_ticks });
    let is_this = i32::try_from(std::process::id()).is_ok_and(|pid| pid == leader.pid);
    leader.machine == machine() && (is_this || !lives)
}

/// Whether a history is in PostgreSQL.
fn is_postgres(place: &str) -> bool {
    place.starts_with("postgres://") || place.starts_with("postgresql://")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn host() -> String {
    read("/proc/sys/kernel/hostname")
}

fn own_name() -> String {
    let started = jiff::Timestamp::now().as_millisecond();
    format!("{}-{}-{:x}", host(), std::process::id(), started)
}

/// Tells this machine, since it was started, and within it this container, from every other: process numbers mean something only here.
fn machine() -> String {
    let container = std::fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
    format!("{} {container}", read("/proc/sys/kernel/random/boot_id"))
}
