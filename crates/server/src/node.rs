//! The parts of a running server, shared by every request.

use crate::error::ApiError;

/// The parts of a running server. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Node {}

impl Node {
    /// The answer of routes whose part stands not yet.
    pub(crate) fn not_wired(&self) -> ApiError {
        ApiError::unavailable("this route is not wired yet")
    }
}
