//! Cron expressions.

use serde::Serialize;

/// A cron expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cron {
    text: String,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    message: String,
}
