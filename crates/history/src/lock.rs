//! Waiting for a lock that ends with the process that holds it, however that ends.
//!
//! A process that is being started holds what its parent had open, locks too, until it has become another program: a moment, and some on a busy
//! machine. So a lock may be taken for a while although who took it has let it go, or was killed.

use std::time::Duration;

use tokio::time::Instant;

/// For how long one looks again.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Tries until it works, fails otherwise, or has been taken for too long.
///
/// # Errors
/// The last attempt's.
pub async fn patiently<T, E>(attempt: impl Fn() -> Result<T, E>, is_taken: impl Fn(&E) -> bool) -> Result<T, E> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_taken(&error) && began.elapsed() < PATIENCE => tokio::time::sleep(LOOK_INTERVAL).await,
            outcome => return outcome,
        }
    }
}
