//! Threads of their own for work over tables, so that a long query does not hold up the scheduler and the worker's reports.

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// The threads; `None` if they could not be had: then the work runs among the caller's own.
pub struct DataThreads(Option<Runtime>);

impl DataThreads {
    /// As many as the machine has cores.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let runtime = Builder::new_multi_thread().thread_name(name).enable_all().build();
        Self(runtime.inspect_err(|error| tracing::warn!(%error, "no threads of their own for data tasks")).ok())
    }

    /// Does the work in a task of its own, which ends when the caller stops waiting.
    ///
    /// # Errors
    /// The work broke down.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
        let mut task = JoinSet::new();
        match &self.0 {
            Some(runtime) => task.spawn_on(work, runtime.handle()),
            None => task.spawn(work),
        };
        match task.join_next().await {
            Some(Ok(result)) => Ok(result),
            Some(Err(error)) => Err(format!("the task's work broke down: {error}")),
            None => Err("the task's work was never begun".to_owned()),
        }
    }
}

impl Drop for DataThreads {
    fn drop(&mut self) {
        // An ordinary drop would wait for the threads, which async code must not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
