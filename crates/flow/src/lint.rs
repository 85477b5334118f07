//! Advice about a flow that is correct but may hurt.

use crate::{Diagnostic, Flow};

/// What could be better about a flow: warnings, not errors.
#[must_use]
pub fn lint(flow: &Flow) -> Vec<Diagnostic> {
    let _ = flow;
    Vec::new()
}
