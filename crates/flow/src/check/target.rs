//! The rules of what a task writes, and how.

use std::collections::{BTreeMap, BTreeSet};

use super::flow::check_template;
use super::task::Tasks;
use crate::findings::{Findings, Position};
use crate::raw::{RawWrite, WriteWord};
use crate::read::{Entries, Located, OneOrMany, Text};
use crate::transfer::RowsWord;
use crate::yaml::Key;
use crate::{CopiedRows, Quote, Write, WriteTarget};

/// What a task says about how it writes.
pub(super) struct RawWriting {
    pub(super) write: Option<RawWrite>,
    pub(super) partition: Option<Entries<Text>>,
    pub(super) key: Option<OneOrMany>,
}

impl RawWriting {
    /// Where the first of it stands.
    fn at(&self) -> Option<Position> {
        let partition = self.partition.as_ref().and_then(|partition| partition.0.first());
        let key = self.key.as_ref().and_then(|key| key.0.first());
        let write = self.write.as_ref().map(|write| write.at);
        write.or(partition.map(|(column, _)| column.at)).or(key.map(|column| column.at))
    }
}

impl Tasks<'_> {
    /// Where the rows go; checks that nothing is said about writing when nothing is written.
    pub(super) fn target(
        &self,
        task: &Key,
        table: Option<Text>,
        how: RawWriting,
        findings: &mut Findings,
    ) -> Option<WriteTarget> {
        let Some(table) = table else {
            if let Some(at) = how.at() {
                let message = format!("task {} writes to no table, so it cannot say how", task.text);
                findings.add(at, message, Some("add to: TABLE to an sql task, or leave this out".to_owned()));
            }
            return None;
        };
        let word = how.write.map_or(WriteWord::ReplacePartition, |write| write.value);
        let partition = self.partition(word, how.partition.unwrap_or_default(), findings);
        let key = merge_key(word, how.key.map_or(Vec::new(), |key| key.0), findings);
        let write = match word {
            WriteWord::ReplacePartition => Write::ReplacePartition { partition },
            WriteWord::ReplaceTable => Write::ReplaceTable,
            WriteWord::Merge => Write::Merge { key },
            WriteWord::Append => Write::Append,
        };
        Some(WriteTarget { table: table.value, write })
    }

    fn partition(&self, word: WriteWord, raw: Entries<Text>, findings: &mut Findings) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        for (column, value) in raw.0 {
            if word != WriteWord::ReplacePartition {
                let remedy = "leave it out, or write: replace_partition".to_owned();
                findings.add(column.at, "a partition is given, but none is replaced", Some(remedy));
            }
            check_template(&value, self.names, self.params, Quote::None, findings);
            values.insert(column.text, value.value);
        }
        values
    }
}

/// Which rows a transfer copies.
pub(super) fn copied(rows: Option<Located<RowsWord>>, by: Option<Text>, findings: &mut Findings) -> CopiedRows {
    match (rows.map(|rows| rows.value), by) {
        (Some(RowsWord::All), Some(by)) => {
            let remedy = "leave out by, or rows: all".to_owned();
            findings.add(by.at, "all rows are copied, whatever their interval", Some(remedy));
            CopiedRows::All
        }
        (Some(RowsWord::All), None) => CopiedRows::All,
        (_, Some(by)) => CopiedRows::IntervalBy(by.value),
        (_, None) => CopiedRows::Interval,
    }
}

/// The columns by which rows are merged.
fn merge_key(word: WriteWord, raw: Vec<Text>, findings: &mut Findings) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for column in &raw {
        if word != WriteWord::Merge {
            let remedy = "leave it out, or write: merge".to_owned();
            findings.add(column.at, "a key is given, but nothing is merged by it", Some(remedy));
        }
        if !seen.insert(&column.value) {
            findings.add(column.at, format!("key column {} stands there twice", column.value), None);
        }
    }
    raw.iter().map(|column| column.value.clone()).collect()
}
