//! The report of an import: one finding a construct, and what share of them came over.

use serde::Serialize;

/// How a construct came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It means the same.
    Imported,
    /// It means nearly the same; the finding says what is different.
    Approximated,
    /// It is not there; the finding says what to do.
    Missing,
}

/// One construct of an imported file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The construct, in the words of the system that it comes from.
    pub construct: String,
    /// How it came over.
    pub outcome: Outcome,
    /// What is different, or what to do; `None` for what means the same.
    pub why: Option<String>,
}

/// How much came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Constructs that mean the same.
    pub imported: usize,
    /// Constructs that mean nearly the same.
    pub approximated: usize,
    /// Constructs that are not there.
    pub missing: usize,
    /// The share of what means the same or nearly, in percent, rounded down: 100 only when nothing is missing.
    pub percent: usize,
}

impl Coverage {
    /// Counts findings. Nothing to import is all of it.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
        let (imported, approximated) = (count(Outcome::Imported), count(Outcome::Approximated));
        let percent = (imported + approximated) * 100 / findings.len().max(1);
        let percent = if findings.is_empty() { 100 } else { percent };
        Self { imported, approximated, missing: count(Outcome::Missing), percent }
    }
}
