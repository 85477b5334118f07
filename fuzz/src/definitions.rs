//! What people write: statements, flows, project files. The first byte chooses.

use std::path::Path;

use mulgil_flow::{Flow, Project};
use mulgil_sql::statement::parse_statements;

/// Parses the text.
pub fn check(input: &[u8]) {
    let Some((choice, text)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    match choice % 3 {
        0 => drop(parse_statements(Path::new("fuzz.sql"), &text)),
        1 => drop(Flow::parse("fuzz.yaml", &text, &Project::default())),
        _ => drop(Project::parse("mulgil.yaml", &text)),
    }
}
