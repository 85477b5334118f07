//! The ledger of a watched folder: the names of its files, in the order in which they were found. A name is in it before the first
//! row of its file is read, and stays in its place, so that a number tells a file over restarts.
//!
//! It lies in the folder, hidden: in a local one as a file of lines, `.mulgil-files`, that grows. Objects cannot grow, so in object storage
//! what is found at once is a page, `.mulgil-files/00000001` and so on, and a page's name can be written once: of two readers of one folder that
//! add to the ledger at the same time, one reads what the other has added, and adds the rest. Pages never change and never go. Five
//! hundred of them are written together once more, as `.mulgil-files/00000500.block`, so that a restart has less to fetch.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::listing::file_error;
use crate::error::ConnectError;
use crate::object_storage::ObjectCalls;

/// The name of the ledger.
pub(super) const LEDGER: &str = ".mulgil-files";
/// So many pages are a block.
const BLOCK_PAGES: usize = 500;
/// How the name of a block ends.
const BLOCK: &str = ".block";

/// What is known of a ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    names: Vec<String>,
    /// How many pages were read, and how many names were in those of whole blocks.
    pages: usize,
    names_in_blocks: usize,
}

/// The part of a listing that is a ledger's: how many pages there are, and which of them end a block.
#[derive(Debug, Default)]
pub(super) struct Pages {
    count: usize,
    blocks: HashSet<usize>,
}

impl Pages {
    /// Takes an object in; whether it is part of a ledger.
    pub(super) fn take(&mut self, name: &str) -> bool {
        let Some(page) = name.strip_prefix(LEDGER).and_then(|rest| rest.strip_prefix('/')) else { return false };
        if let Some(Ok(number)) = page.strip_suffix(BLOCK).map(str::parse) {
            self.blocks.insert(number);
        } else if let Ok(number) = page.parse() {
            self.count = self.count.max(number);
        }
        true
    }
}

impl Ledger {
    /// All names, in order.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Those of `found` that are not in it, in their order, as lines.
    fn missing(&self, found: &[String]) -> String {
        let known: HashSet<&String> = self.names.iter().collect();
        lines(found.iter().filter(|name| !known.contains(name)))
    }

    /// Adds what is new of `found` to the ledger of a local folder.
    pub(super) fn add_local(&mut self, folder: &Path, found: &[String]) -> Result<(), ConnectError> {
        let path = folder.join(LEDGER);
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(file_error("open", &path))?;
        // Two readers of one folder add to it one after the other.
        file.lock().map_err(file_error("lock", &path))?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(file_error("read", &path))?;
        let torn = text.rfind('\n').map_or(0, |end| end + 1);
        if torn < text.len() {
            // A crash has left half a line, whose file nobody has read.
            file.set_len(torn as u64).map_err(file_error("truncate", &path))?;
            text.truncate(torn);
        }
        self.names = names_of(&text);
        let more = self.missing(found);
        if !more.is_empty() {
            append(&mut file, &path, &more)?;
            self.names.extend(names_of(&more));
        }
        Ok(())
    }

    /// Adds what is new of `found` to the ledger of a folder in object storage, whose listing has shown some `pages`.
    pub(super) fn add_remote(
        &mut self,
        calls: &ObjectCalls,
        pages: &Pages,
        found: &[String],
    ) -> Result<(), ConnectError> {
        while self.pages < pages.count && self.read_on(calls, &pages.blocks)? {}
        loop {
            let missing = self.missing(found);
            if missing.is_empty() {
                return Ok(());
            }
            if calls.put_new(&page_name(self.pages + 1), &missing.clone().into())? {
                return self.page_is_read(calls, &missing);
            }
            // Somebody else was faster.
            self.read_on(calls, &pages.blocks)?;
        }
    }

    /// Reads the next page, or block; whether there is one.
    fn read_on(&mut self, calls: &ObjectCalls, blocks: &HashSet<usize>) -> Result<bool, ConnectError> {
        let block = self.pages + BLOCK_PAGES;
        if self.pages.is_multiple_of(BLOCK_PAGES)
            && blocks.contains(&block)
            && let Some(text) = calls.read(&(page_name(block) + BLOCK))?
        {
            self.names.extend(names_of(&String::from_utf8_lossy(&text)));
            (self.pages, self.names_in_blocks) = (block, self.names.len());
            return Ok(true);
        }
        let Some(text) = calls.read(&page_name(self.pages + 1))? else { return Ok(false) };
        self.page_is_read(calls, &String::from_utf8_lossy(&text))?;
        Ok(true)
    }

    /// Takes a page in. Whoever comes to the end of a block writes it, unless it is there.
    fn page_is_read(&mut self, calls: &ObjectCalls, text: &str) -> Result<(), ConnectError> {
        self.names.extend(names_of(text));
        self.pages += 1;
        if self.pages.is_multiple_of(BLOCK_PAGES) {
            let block = lines(self.names.iter().skip(self.names_in_blocks));
            self.names_in_blocks = self.names.len();
            calls.put_new(&(page_name(self.pages) + BLOCK), &block.into())?;
        }
        Ok(())
    }
}

fn page_name(number: usize) -> String {
    format!("{LEDGER}/{number:08}")
}

fn names_of(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn lines<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| serde_json::Value::from(name.as_str()).to_string() + "\n").collect()
}

fn append(ledger: &mut File, path: &Path, lines: &str) -> Result<(), ConnectError> {
    ledger.write_all(lines.as_bytes()).map_err(file_error("write", path))?;
    ledger.sync_data().map_err(file_error("sync", path))
}

#[cfg(test)]
mod tests;
