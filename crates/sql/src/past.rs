//! What a view has been built from: its own statement, and those of the tables and views that it reads. With them it can go
//! on as it was after the project's files have changed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mulgil_connect::definition::TableName;
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, View};
use crate::problem::SqlProblem;
use crate::text::split_statements;

/// A declaration, as it stood in a file of the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastStatement {
    /// The file.
    pub file: PathBuf,
    /// The line on which it began, from 1.
    pub line: u64,
    /// Its text, without the semicolon.
    pub text: String,
}

/// The options of a view that decide what its rows are; others say how it runs.
const OPTIONS_OF_ROWS: [&str; 7] =
    ["allowed-lateness", "early-fire", "early-fire-clock", "pane", "session-max", "state-ttl", "state-ttl-clock"];

impl Catalog {
    /// The statements that a view is made of, each behind those that it needs: its own is the last. None where there is no
    /// such view.
    pub fn statements_of(&self, view: &TableName) -> Vec<PastStatement> {
        self.needed_by(view).into_iter().map(|(_, statement)| statement).collect()
    }

    /// A catalog of nothing but these statements, with the functions of this one.
    ///
    /// # Errors
    /// What is wrong with one of them: a function that it calls is gone, say.
    pub fn past(&self, statements: &[PastStatement]) -> Result<Catalog, SqlProblem> {
        let file = |statement: &PastStatement| {
            // Places in messages stay those of the file.
            let lines_before = usize::try_from(statement.line.saturating_sub(1)).unwrap_or(0);
            (statement.file.clone(), format!("{}{};", "\n".repeat(lines_before), statement.text))
        };
        let files: Vec<(PathBuf, String)> = statements.iter().map(file).collect();
        let empty = Catalog { functions: self.functions.clone(), ..Catalog::default() };
        let (catalog, problems) = empty.filled(&files, None);
        match problems.into_iter().next() {
            None => Ok(catalog),
            Some(problem) => Err(problem),
        }
    }

    /// What decides which rows a view has: the same for two texts that differ in blanks, comments, or in how the view runs.
    pub fn meaning_of(&self, view: &TableName) -> Vec<String> {
        let needed = self.needed_by(view);
        needed.into_iter().map(|(name, statement)| self.meaning(&name, &statement.text)).collect()
    }

    fn meaning(&self, name: &TableName, text: &str) -> String {
        let Some(view) = self.view(name) else { return words(text) };
        let options = view.options.iter().filter(|(name, _)| OPTIONS_OF_ROWS.contains(&name.as_str()));
        let options: String = options.map(|(name, value)| format!(" '{name}' = '{value}'")).collect();
        format!("{}{options} {}", view.name, words(&view.query_text))
    }

    pub(crate) fn needed_by(&self, view: &TableName) -> Vec<(TableName, PastStatement)> {
        let (mut needed, mut seen) = (Vec::new(), BTreeSet::new());
        if let Some(view) = self.view(view) {
            self.add_needed(view, &mut needed, &mut seen);
        }
        needed
    }

    /// Views read each other in no circle, so this ends.
    fn add_needed(&self, view: &View, needed: &mut Vec<(TableName, PastStatement)>, seen: &mut BTreeSet<TableName>) {
        if !seen.insert(view.name.clone()) {
            return;
        }
        for name in view.reads.iter().chain(&view.stream.late_rows) {
            if let Some(read) = self.view(name) {
                self.add_needed(read, needed, seen);
            } else if let Some(table) = self.table(name)
                && seen.insert(name.clone())
            {
                let (file, line, text) = (table.file.clone(), table.line, table.text.clone());
                needed.push((name.clone(), PastStatement { file, line, text }));
            }
        }
        let (file, line, text) = (view.file.clone(), view.line, view.text.clone());
        needed.push((view.name.clone(), PastStatement { file, line, text }));
    }
}

/// A text's words with one blank between, without comments.
fn words(text: &str) -> String {
    let Ok(statements) = split_statements(text) else { return text.to_owned() };
    let words: Vec<String> = statements.into_iter().flatten().map(|token| token.token.to_string()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::path::Path;

    use super::*;

    fn catalog(text: &str) -> Catalog {
        let (catalog, problems) = Catalog::load(&[(PathBuf::from("views/all.sql"), text.to_owned())]);
        assert_eq!(problems, []);
        catalog
    }

    const TABLES: &str = "CREATE TABLE t (a INT, b INT) WITH ('connector' = 'log', 'topic' = 't', 'format' = 'json');
CREATE TABLE unused (a INT) WITH ('connector' = 'log', 'topic' = 'u', 'format' = 'json');
";

    #[test]
    fn a_view_is_made_again_of_its_statements_alone_with_their_places() {
        let text = format!(
            "{TABLES}CREATE MATERIALIZED TABLE inner_view REFRESH_MODE = KAPPA AS SELECT a FROM t;
CREATE MATERIALIZED TABLE outer_view REFRESH_MODE = KAPPA AS SELECT a + 1 AS x FROM inner_view;"
        );
        let catalog = catalog(&text);
        let name = TableName::parse("outer_view");
        let statements = catalog.statements_of(&name);
        let lines: Vec<u64> = statements.iter().map(|statement| statement.line).collect();
        assert_eq!(lines, [1, 3, 4]);
        let past = catalog.past(&statements).unwrap();
        let (now, then) = (catalog.view(&name).unwrap(), past.view(&name).unwrap());
        assert_eq!((&now.text, now.line, &now.schema), (&then.text, then.line, &then.schema));
        assert_eq!(then.file, Path::new("views/all.sql"));
        assert!(past.table(&TableName::parse("unused")).is_none());
        assert_eq!(past.meaning_of(&name), catalog.meaning_of(&name));

        let broken = catalog.past(&statements[1..]).unwrap_err();
        assert_eq!((broken.line, broken.message.as_str()), (3, "unknown table t"));
    }

    #[test]
    fn only_what_decides_about_rows_is_a_change() {
        let view = |options: &str, mode: &str, query: &str| {
            let text =
                format!("{TABLES}CREATE MATERIALIZED TABLE v WITH ({options}) REFRESH_MODE = {mode} AS {query};");
            catalog(&text).meaning_of(&TableName::parse("v"))
        };
        let plain = view("'rows-max' = '5'", "KAPPA", "SELECT a FROM t");
        assert_eq!(plain, view("'parallelism' = '2'", "CONTINUOUS", "SELECT a -- as before\n  FROM  t"));
        assert_ne!(plain, view("'rows-max' = '5'", "KAPPA", "SELECT a FROM t WHERE b > 1"));
        assert_ne!(plain, view("'state-ttl' = '1 d'", "KAPPA", "SELECT a FROM t"));
    }
}
