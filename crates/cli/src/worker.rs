//! `mulgil worker`: one more worker, on this or another machine, until a signal ends it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use mulgil_flow::Project;
use mulgil_sched::demand::Offer;
use mulgil_server::folder::{Folder, PROJECT_FILE};
use mulgil_server::place::Place;
use mulgil_worker::guard;
use mulgil_worker::remote::link::{Link, LinkOptions};
use mulgil_worker::tables::TableTasks;
use mulgil_worker::view::NoViews;
use mulgil_worker::worker::{self, WorkerOptions};

use crate::connection::token;
use crate::node::{own_program, secrets_of};
use crate::offline::Offline;
use crate::output::remark;
use crate::server::wait_for_end;

/// How long running attempts get to end by themselves when the worker is told to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// `mulgil worker`
#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    /// The server, such as https://mulgil.example.com; several that share a history: separated by commas (default: the one that runs
    /// in the project's folder)
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(crate) server: Vec<String>,
    /// A file with the server's token, or the one for workers (default: MULGIL_TOKEN)
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Its name, for people (default: this machine's)
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Its tags, separated by commas: it takes tasks that ask for some of them and for no other
    #[arg(long, value_delimiter = ',')]
    pub(crate) tags: Vec<String>,
    /// Take tasks without tags too, although it has tags
    #[arg(long)]
    pub(crate) untagged: bool,
    /// How many tasks it runs at once (default: as many as the machine has cores)
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<u16>,
}

/// Runs a worker in a folder.
pub(crate) async fn execute(folder: &Path, arguments: &WorkerArguments) -> Result<()> {
    let folder = folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))?;
    let name = arguments.name.clone().unwrap_or_else(machine);
    let instance = format!("{:x}", jiff::Timestamp::now().as_microsecond());
    let logs_dir = folder.join(".mulgil/workers").join(format!("{name}-{instance}"));
    let link = Link::new(LinkOptions {
        servers: servers(&folder, &arguments.server)?,
        token: token_of(arguments)?,
        name: name.clone(),
        instance,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        logs_dir: logs_dir.clone(),
    });
    let link = link.map_err(anyhow::Error::msg)?;
    let options = options(&folder, logs_dir.clone(), name.clone(), arguments)?;
    let slots = options.slots;
    let mut worker = tokio::select! {
        worker = worker::start(link.clone(), options) => worker?,
        told = wait_for_end() => return told,
    };
    remark(&format!("{name} takes up to {slots} tasks at once"));
    let ended = tokio::select! {
        told = wait_for_end() => Ok(told?),
        () = worker.ended() => Err(anyhow::anyhow!("the server wants no more of this worker")),
    };
    if ended.is_ok() {
        remark("stopping: running tasks get a moment to end");
        link.leave().await;
        worker.shutdown(PATIENCE).await;
    }
    // What is left in it are logs that the server did not take.
    clear(&logs_dir);
    ended
}

fn options(folder: &Path, logs_dir: PathBuf, name: String, arguments: &WorkerArguments) -> Result<WorkerOptions> {
    let has_project = folder.join(PROJECT_FILE).is_file();
    let project = if has_project { Folder::read(folder)?.project } else { Arc::new(Project::default()) };
    let offline = Offline::open(folder)?;
    let (dir, first) = (folder.to_owned(), Arc::clone(&offline.catalog));
    // The files as they are when a task begins.
    let catalog = move || match Offline::open(&dir) {
        Ok(offline) => offline.catalog,
        Err(error) => {
            tracing::warn!(%error, "the project's files cannot be read: its tables are those of before");
            Arc::clone(&first)
        }
    };
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(WorkerOptions {
        name,
        slots: arguments.slots.map_or_else(cores, usize::from),
        offer: Offer {
            tags: arguments.tags.iter().cloned().collect(),
            untagged: arguments.untagged || arguments.tags.is_empty(),
            project: has_project,
            own: false,
            any: false,
        },
        guard: Some(crate::node::guard()?),
        project_dir: folder.to_owned(),
        logs_dir,
        data: Arc::new(TableTasks::new(Arc::clone(&offline.connectors), catalog)),
        views: Arc::new(NoViews),
        python: project.python.clone(),
        secrets: secrets_of(&project, folder),
        environment: own_program()?,
    })
}

fn servers(folder: &Path, said: &[String]) -> Result<Vec<String>> {
    if said.is_empty() {
        let place = Place::read(folder).context("which server? Say --server URL: none runs in this folder")?;
        return Ok(vec![place.url]);
    }
    for url in said {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            bail!("--server {url} is no URL of a server: write one like https://mulgil.example.com");
        }
    }
    Ok(said.to_vec())
}

fn token_of(arguments: &WorkerArguments) -> Result<Option<String>> {
    let Some(path) = &arguments.token_file else { return Ok(token()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(Some(text.trim().to_owned()))
}

fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String =
        name.trim().chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    if name.is_empty() { "worker".to_owned() } else { name }
}

/// Removes a folder's empty folders, and itself if nothing is left.
fn clear(folder: &Path) {
    let inner = std::fs::read_dir(folder).into_iter().flatten().flatten();
    inner.map(|entry| entry.path()).filter(|path| path.is_dir()).for_each(|path| clear(&path));
    // An error says that something is in it.
    let _ = std::fs::remove_dir(folder);
}

/// `mulgil guard`: hears from a worker what it runs, and ends that when the worker is gone.
pub(crate) async fn keep_watch() -> Result<()> {
    let left = tokio::task::spawn_blocking(|| guard::keep_watch(std::io::stdin().lock())).await??;
    guard::kill(left).await;
    Ok(())
}
