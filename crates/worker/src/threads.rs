//! Threads of their own for work over tables, so that a long query does not hold up the scheduler and the worker's reports. Where all want a
//! processor, they stand behind the threads that answer people: a look-up comes to its turn at once, and data loses the moment that it takes.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

/// How much nicer these threads are (`nice(2)`) than the others of this process: of a processor that both want all the time they get a tenth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// The threads, which are started when they are first needed.
pub struct DataThreads {
    name: &'static str,
    /// The niceness at which they run.
    #[cfg(target_os = "linux")]
    place: Result<i32, rustix::io::Errno>,
    /// `None` inside if they could not be had: then the work runs among the caller's own.
    runtime: OnceLock<Option<Runtime>>,
}

impl DataThreads {
    /// As many as the machine has cores, behind the thread that calls this.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            // A thread is born where the one stands that starts it, and that may be one of these: so each is told its place, not a distance.
            #[cfg(target_os = "linux")]
            place: rustix::process::getpriority_process(None).map(|niceness| niceness + NICENESS),
            runtime: OnceLock::new(),
        }
    }

    /// Where tasks are spawned on these threads, and threads that they start stand where they stand; `None` if there are none.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        self.runtime.get_or_init(|| self.start()).as_ref().map(|runtime| runtime.handle().clone())
    }

    fn start(&self) -> Option<Runtime> {
        let mut threads = Builder::new_multi_thread();
        #[cfg(target_os = "linux")]
        stand_at(self.place, &mut threads);
        let runtime = threads.thread_name(self.name).enable_all().build();
        runtime.inspect_err(|error| tracing::warn!(%error, "no threads of their own for data tasks")).ok()
    }

    /// Does the work in a task of its own, which ends when the caller stops waiting.
    ///
    /// # Errors
    /// The work broke down.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
        let mut task = JoinSet::new();
        match self.handle() {
            Some(threads) => task.spawn_on(work, &threads),
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
        if let Some(runtime) = self.runtime.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

/// Lets the threads, and those that they start, stand behind the one that asked for them. Elsewhere than on Linux a process has one place for
/// all its threads.
#[cfg(target_os = "linux")]
fn stand_at(place: Result<i32, rustix::io::Errno>, threads: &mut Builder) {
    threads.on_thread_start(move || {
        if let Err(error) = place.and_then(|niceness| rustix::process::setpriority_process(None, niceness)) {
            tracing::debug!(%error, "a thread for data stands where the others do");
        }
    });
}
