//! Refreshing, replaying and exporting views as tasks: by the server itself, since only its process keeps views.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mulgil_connect::definition::TableName;
use mulgil_flow::{DataInterval, Variables};
use mulgil_serving::status::ViewState;
use mulgil_serving::views::{RefreshInterval, ReplayOptions, Views};
use mulgil_worker::log::AttemptLog;
use mulgil_worker::threads::DataThreads;
use mulgil_worker::view::ViewTasks;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// How often a refresh is begun again because the project's files have changed under it.
const TRIES_MAX: usize = 5;

/// How long to wait for news of a build at most.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The views as they are now: the project's files may change at any moment.
type Asked = Arc<dyn Fn() -> Views + Send + Sync>;

/// How tasks do things to these views, asked for anew each time. They are refreshed on `threads`.
pub fn view_tasks(views: impl Fn() -> Views + Send + Sync + 'static, threads: Arc<DataThreads>) -> Arc<dyn ViewTasks> {
    Arc::new(KeptViews::new(views, threads))
}

/// The views that a server keeps. As many are refreshed at once as the machine has cores, each once at a time.
struct KeptViews {
    views: Asked,
    turns: Arc<Semaphore>,
    threads: Arc<DataThreads>,
}

impl KeptViews {
    fn new(views: impl Fn() -> Views + Send + Sync + 'static, threads: Arc<DataThreads>) -> Self {
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        Self { views: Arc::new(views), turns: Arc::new(Semaphore::new(turns)), threads }
    }
}

#[async_trait]
impl ViewTasks for KeptViews {
    async fn refresh(&self, view: &str, variables: &Variables, log: &AttemptLog) -> Result<Value, String> {
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        let name = TableName::parse(view);
        let timezone = &variables.timezone;
        let part = variables.interval.map(|DataInterval { start, end }| RefreshInterval {
            start,
            end,
            timezone: timezone.clone(),
        });
        for _ in 0..TRIES_MAX {
            let (views, name, part) = ((self.views)(), name.clone(), part.clone());
            let refreshed = {
                let views = views.clone();
                let refresh = async move {
                    match &part {
                        Some(part) => views.refresh_part(&name, part).await,
                        None => views.refresh(&name).await,
                    }
                };
                self.threads.run(refresh).await?
            };
            if !(self.views)().are(&views) {
                log.note("the project's files have changed: the view is computed once more");
                continue;
            }
            let status = refreshed.map_err(|error| error.to_string())?;
            log.note(&format!("view {view} has {} rows", status.rows));
            if let Some(export) = status.export {
                log.note(&format!("they are in {} now", export.table));
            }
            return Ok(json!({"rows": status.rows}));
        }
        Err(format!("the project's files changed {TRIES_MAX} times while view {view} was computed"))
    }

    async fn replay(&self, view: &str, log: &AttemptLog) -> Result<Value, String> {
        let (views, name) = ((self.views)(), TableName::parse(view));
        let begun = views.replay(&name, &ReplayOptions::default()).await;
        // What is being built already is waited for: a server that was killed goes on building, and then begins the task again.
        let status = match views.status(&name) {
            Ok(status) if begun.is_ok() || status.building.is_some() => status,
            _ => begun.map_err(|error| error.to_string())?,
        };
        let Some(number) = status.building.map(|build| build.number) else {
            return Ok(json!({"generation": status.generation}));
        };
        log.note(&format!("generation {number} of view {view} is being built beside generation {}", status.generation));
        let mut unfinished = Unfinished { views: Some(Arc::clone(&self.views)), name: name.clone() };
        let built = self.built(&name, number).await;
        unfinished.views = None;
        let generation = built?;
        log.note(&format!("generation {generation} of view {view} answers now"));
        Ok(json!({"generation": generation}))
    }

    async fn export(&self, view: &str, log: &AttemptLog) -> Result<Value, String> {
        let (views, name) = ((self.views)(), TableName::parse(view));
        let exported = self.threads.run(async move { views.export(&name).await }).await?;
        let rows = exported.map_err(|error| error.to_string())?;
        log.note(&format!("view {view} is exported: {rows} rows"));
        Ok(json!({"rows": rows}))
    }
}

impl KeptViews {
    /// Waits until a generation has taken over, or never will.
    async fn built(&self, name: &TableName, number: u64) -> Result<u64, String> {
        loop {
            // Asked for anew: the project's files may have changed, and its views are others then, which go on with the build.
            let views = (self.views)();
            let mut news = views.subscribe();
            let status = views.status(name).map_err(|error| error.to_string())?;
            match status.building.filter(|build| build.number == number) {
                Some(build) if build.state == ViewState::Failed => {
                    return Err(build.error.unwrap_or_else(|| format!("generation {number} has failed")));
                }
                Some(_) => {}
                None if status.generation == number => return Ok(number),
                None => return Err(format!("generation {number} was given up")),
            }
            // News may be missed when there are too many, and others' views tell of theirs: looking costs nothing.
            let _ = tokio::time::timeout(LOOK_AGAIN, news.recv()).await;
        }
    }
}

/// Gives up what is being built when the task that waits for it is stopped, or took too long. A server that shuts down refuses that,
/// and goes on building when it is there again.
struct Unfinished {
    views: Option<Asked>,
    name: TableName,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let (Some(views), Ok(runtime)) = (self.views.take(), Handle::try_current()) {
            let name = self.name.clone();
            runtime.spawn(async move {
                if let Err(error) = views().cancel_replay(&name).await {
                    tracing::debug!(view = %name, %error, "nothing to give up");
                }
            });
        }
    }
}
