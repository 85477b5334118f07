//! Files and URLs in the place of tables: `SELECT * FROM 'landing/*.csv.gz'`, without any project.
//!
//! Each becomes a table of files, whose columns are read off its beginning; what a URL answers, and standard input, are put
//! into files first.

mod columns;
mod fetch;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use mulgil_connect::connectors::Connectors;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::statement::parse_statements;

use self::fetch::Fetched;

/// The text of a query over files, and the tables that they have become.
pub(crate) struct RawFiles {
    /// The text, in which tables stand for the files.
    pub(crate) text: String,
    declarations: Vec<String>,
    /// Files that are gone when the query is done.
    _fetched: Vec<Fetched>,
}

impl RawFiles {
    /// Finds and fetches the files that a text reads; `None` where it reads none.
    pub(crate) async fn of(text: &str) -> Result<Option<Self>> {
        let named = named(text);
        if named.is_empty() {
            return Ok(None);
        }
        let mut tables: BTreeMap<String, String> = BTreeMap::new();
        let (mut declarations, mut held) = (Vec::new(), Vec::new());
        for (_, place) in &named {
            if tables.contains_key(place) {
                continue;
            }
            let table = format!("mulgil_file_{}", tables.len() + 1);
            let fetched = Fetched::of(place).await.with_context(|| format!("failed to read '{place}'"))?;
            let declared = columns::declaration(&table, &fetched);
            declarations.push(declared.with_context(|| format!("failed to tell the columns of '{place}'"))?);
            held.push(fetched);
            tables.insert(place.clone(), table);
        }
        let mut rewritten = text.to_owned();
        for (at, place) in named.into_iter().rev() {
            if let Some(table) = tables.get(&place) {
                // As long as it was, where it can be: places in messages stay where they are.
                rewritten.replace_range(at.clone(), &format!("{table:<width$}", width = at.len()));
            }
        }
        Ok(Some(Self { text: rewritten, declarations, _fetched: held }))
    }

    /// Adds the tables to those that are declared.
    pub(crate) fn declare(&self, catalog: &mut Catalog, connectors: &Connectors) -> Result<()> {
        let file = Path::new("query");
        for declaration in &self.declarations {
            let (statements, problems) = parse_statements(file, declaration);
            if let Some(problem) = problems.into_iter().next() {
                return Err(problem.into());
            }
            for statement in &statements {
                catalog.declare(statement, file, connectors)?;
            }
        }
        Ok(())
    }
}

/// The strings behind `FROM` and `JOIN` that name files, and where they stand, quotes included.
fn named(text: &str) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    let mut words = ["", ""];
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = token_length(rest);
        let token = rest.get(..length).unwrap_or(rest);
        let is_relation = ["from", "join"].iter().any(|word| words[1].eq_ignore_ascii_case(word));
        if token.starts_with('\'') {
            let inner = token.trim_start_matches('\'').trim_end_matches('\'').replace("''", "'");
            if is_relation && !words[0].eq_ignore_ascii_case("metadata") && is_place(&inner) {
                found.push((at..at + length, inner));
            }
        }
        let is_nothing = token.trim().is_empty() || token.starts_with("--") || token.starts_with("/*");
        if !is_nothing {
            words = [words[1], token];
        }
        at += length;
    }
    found
}

/// How long the token is with which a text begins: a string, a quoted name, a comment, a word, blanks or one sign.
fn token_length(rest: &str) -> usize {
    let until = |end: &str, from: usize| {
        rest.get(from..).and_then(|inner| inner.find(end)).map_or(rest.len(), |found| from + found + end.len())
    };
    let while_all = |is_part: fn(char) -> bool| rest.find(|sign: char| !is_part(sign)).unwrap_or(rest.len());
    match rest.chars().next() {
        // Two quotes within a string are two strings side by side: they are read as one below.
        Some('\'') => {
            let mut length = until("'", 1);
            while rest.get(length..).is_some_and(|more| more.starts_with('\'')) {
                length = until("'", length + 1);
            }
            length
        }
        Some('"') => until("\"", 1),
        Some('`') => until("`", 1),
        Some('-') if rest.starts_with("--") => until("\n", 2),
        Some('/') if rest.starts_with("/*") => until("*/", 2),
        Some(sign) if sign.is_whitespace() => while_all(char::is_whitespace),
        Some(sign) if sign.is_alphanumeric() || sign == '_' => while_all(|sign| sign.is_alphanumeric() || sign == '_'),
        Some(sign) => sign.len_utf8(),
        None => 0,
    }
}

/// Whether a string names a file, a URL or standard input.
fn is_place(place: &str) -> bool {
    place == "-" || is_url(place) || Kind::of(place).is_some()
}

fn is_url(place: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| place.starts_with(scheme))
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Csv,
    /// Columns divided by tabs.
    Tsv,
    Json,
    Parquet,
}

impl Kind {
    /// By the ending of the name.
    fn of(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        // `*.csv*` is a pattern of packed files and others.
        let name = name.trim_end_matches('*');
        let plain = [".gz", ".zst", ".zstd"].iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(name);
        let kinds = [
            (".csv", Self::Csv),
            (".tsv", Self::Tsv),
            (".json", Self::Json),
            (".jsonl", Self::Json),
            (".ndjson", Self::Json),
            (".parquet", Self::Parquet),
        ];
        kinds.into_iter().find(|(ending, _)| plain.ends_with(ending)).map(|(_, kind)| kind)
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn files_are_found_behind_from_and_join_alone() {
        let text = "SELECT 'a.csv', \"from 'b.csv'\", extract(day FROM '2024-01-01') -- FROM 'c.csv'\n\
                    FROM 'it''s/d.csv.gz' AS d JOIN /* here */ '-' ON 1 = 1 join 'http://h/x?y=1' USING (a) WHERE x = 'e.parquet'";
        let places: Vec<String> = named(text).into_iter().map(|(_, place)| place).collect();
        assert_eq!(places, ["it's/d.csv.gz", "-", "http://h/x?y=1"]);
        for broken in ["SELECT FROM 'x.csv", "SELECT FROM '", "FROM \"", "/*", "--", "", "FROM '물.csv'' "] {
            named(broken);
        }
        assert_eq!(named("CREATE TABLE t (a INT METADATA FROM 'a.json')"), []);
    }

    #[test]
    fn endings_say_what_a_file_holds() {
        for (name, kind) in [
            ("a.CSV", Some(Kind::Csv)),
            ("b.tsv.zst", Some(Kind::Tsv)),
            ("c/*.ndjson.gz", Some(Kind::Json)),
            ("c/*.csv*", Some(Kind::Csv)),
            ("d.parquet", Some(Kind::Parquet)),
            ("2024-01-01", None),
            ("e.gz", None),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }
}
