//! The threads on which statements are planned and run, apart from those that serve connections.
//!
//! Rows are made in tasks, which stop where nobody waits for them. A plan is made in one go, and a long statement's may take long: it is
//! made on a thread of its own, which is left behind when its client gives it up, so that no other statement waits for its end.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::service::QueryError;

/// Plans that are made at once, those among them that nobody waits for any more. Who comes then waits for a place.
pub(crate) const PLANS_MAX: usize = 32;

/// Threads for statements.
#[derive(Clone, Debug)]
pub(crate) struct QueryThreads {
    running: Handle,
    places: Arc<Semaphore>,
}

impl QueryThreads {
    /// On the threads of a runtime.
    pub(crate) fn of(running: Handle) -> Self {
        Self { running, places: Arc::new(Semaphore::new(PLANS_MAX)) }
    }

    /// Runs a task.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.running.spawn(task)
    }

    /// Makes a plan. Where its caller gives it up, it goes on no further than to where it would wait.
    pub(crate) async fn plan<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|error| broke_off(&error))?;
        let (_waiting, given_up) = oneshot::channel::<()>();
        let running = self.running.clone();
        let planning = self.running.spawn_blocking(move || {
            let _place = place;
            running.block_on(async {
                tokio::select! {
                    biased;
                    _ = given_up => None,
                    plan = work => Some(plan),
                }
            })
        });
        let plan = planning.await.map_err(|error| broke_off(&error))?;
        plan.unwrap_or_else(|| Err(QueryError::new(QueryError::INTERNAL, "the plan was given up")))
    }
}

/// What a statement is told whose work has panicked.
pub(crate) fn broke_off(error: &dyn std::error::Error) -> QueryError {
    QueryError::new(QueryError::INTERNAL, format!("the query broke off: {error}"))
}
