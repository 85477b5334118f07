//! Wakes a worker thread: whoever has something for it rings; the worker sleeps until then, and costs nothing.
//!
//! The worker *listens* before it looks for work and *waits* when it found none. A ring between the two is kept, so no
//! wake-up is lost; rings while the worker is busy cost one atomic swap.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// One worker thread's bell.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Bell {
    /// Wakes the worker, now or as soon as it waits.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.sleeper.get()
        {
            thread.unpark();
        }
    }

    /// Forgets former rings. The calling thread is the one that will wait.
    pub(crate) fn listen(&self) {
        self.sleeper.get_or_init(std::thread::current);
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// Sleeps until the bell has rung since [`Bell::listen`].
    pub(crate) fn wait(&self) {
        while !self.rung.load(Ordering::Acquire) {
            std::thread::park();
        }
    }

    /// As [`Bell::wait`], but not for longer than this.
    pub(crate) fn wait_for(&self, timeout: Duration) {
        if !self.rung.load(Ordering::Acquire) {
            std::thread::park_timeout(timeout);
        }
    }
}
