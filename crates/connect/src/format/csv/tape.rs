//! A text that remembers what was read of it lately, so that a record can be shown as it stands there.

use std::io::{self, Read};

/// More is not remembered of what is passed over.
const PASSED_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub(super) struct Tape<R> {
    text: R,
    kept: Vec<u8>,
    /// Where in the text `kept` begins.
    first: u64,
}

impl<R> Tape<R> {
    pub(super) fn new(text: R) -> Self {
        Self { text, kept: Vec::new(), first: 0 }
    }

    /// What stands there from `from` up to `to`, if it has not been forgotten.
    pub(super) fn between(&self, from: u64, to: u64) -> Option<&[u8]> {
        let index = |at: u64| usize::try_from(at.checked_sub(self.first)?).ok();
        self.kept.get(index(from)?..index(to)?)
    }

    /// What is before `to` is not asked for again.
    pub(super) fn forget(&mut self, to: u64) {
        let passed = usize::try_from(to.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.kept.len());
        self.kept.drain(..passed);
        self.first += passed as u64;
    }

    /// Likewise, while there is much of it: forgetting moves what is left.
    pub(super) fn pass(&mut self, to: u64) {
        if self.kept.len() > PASSED_BYTES_MAX {
            self.forget(to);
        }
    }
}

impl<R: Read> Read for Tape<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        self.kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
