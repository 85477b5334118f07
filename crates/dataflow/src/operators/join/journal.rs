//! What has changed in the stored rows of a side since they were sealed for a checkpoint last: so that the next one need
//! not hold all of them again.
//!
//! A row is named by its key and a number that no other row of the key ever has. Rows are stored in the order in which
//! they came, so those that are new since are the last ones, and nothing is done when they come but to number them. Rows
//! that have gone are written down; where more have gone than are there, all that are there are sealed anew instead.

/// So many rows may be gone before it is asked whether more are gone than there.
const GONE_MIN: usize = 65_536;

/// Since a first seal, or a restore.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    /// By row: its number for ever.
    ids: Vec<u64>,
    next_id: u64,
    /// The rows below this one have been sealed.
    sealed_end: usize,
    /// Sealed rows that have gone, by key and number.
    gone: Vec<(u32, u64)>,
    /// Whether it is not known any longer which rows have gone.
    lost_count: bool,
}

impl Journal {
    /// Of rows that have not been sealed yet.
    pub(super) fn new(row_count: usize) -> Self {
        let mut journal = Self { lost_count: true, ..Self::default() };
        journal.added(row_count);
        journal
    }

    /// Rows have been stored behind the others.
    pub(super) fn added(&mut self, row_count: usize) {
        let next = self.next_id + row_count as u64;
        self.ids.extend(self.next_id..next);
        self.next_id = next;
    }

    /// The last rows stored are sealed ones, of these numbers.
    pub(super) fn restored(&mut self, ids: &[u64]) {
        self.ids.truncate(self.ids.len() - ids.len().min(self.ids.len()));
        self.ids.extend_from_slice(ids);
        self.next_id = ids.iter().map(|id| id + 1).max().unwrap_or(0).max(self.next_id);
        self.sealed_end = self.ids.len();
    }

    /// A row has gone, which leaves so many.
    pub(super) fn removed(&mut self, row: u32, key: u32, left_count: usize) {
        if row as usize >= self.sealed_end || self.lost_count {
            return;
        }
        self.gone.extend(self.ids.get(row as usize).map(|id| (key, *id)));
        if self.gone.len() > left_count.max(GONE_MIN) {
            self.lose_count();
        }
    }

    /// From now on it is not known which rows have gone: all that are there will be sealed.
    pub(super) fn lose_count(&mut self) {
        self.lost_count = true;
        self.gone = Vec::new();
    }

    /// The first row that has not been sealed; `None` where all are to be sealed.
    pub(super) fn unsealed(&self) -> Option<u32> {
        (!self.lost_count).then_some(self.sealed_end as u32)
    }

    /// All rows are sealed now; gives those that have gone since the last time.
    pub(super) fn seal(&mut self) -> Vec<(u32, u64)> {
        self.sealed_end = self.ids.len();
        self.lost_count = false;
        std::mem::take(&mut self.gone)
    }

    /// The number of a row.
    pub(super) fn id(&self, row: u32) -> u64 {
        self.ids.get(row as usize).copied().unwrap_or(0)
    }

    /// The same, for rows that are stored anew: none of them yet.
    pub(super) fn emptied(&mut self) -> Self {
        Self { ids: Vec::new(), sealed_end: 0, gone: std::mem::take(&mut self.gone), ..*self }
    }

    /// A row of `from` is the next one here.
    pub(super) fn adopt(&mut self, from: &Self, row: u32) {
        self.ids.push(from.id(row));
        // They come in their order.
        if (row as usize) < from.sealed_end {
            self.sealed_end = self.ids.len();
        }
    }

    /// The keys of rows that have gone, which are still to be said.
    pub(super) fn keys_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        self.gone.iter_mut().map(|(key, _)| key)
    }

    /// The same, to look at.
    pub(super) fn keys(&self) -> impl Iterator<Item = u32> {
        self.gone.iter().map(|(key, _)| *key)
    }

    /// Heap memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.ids.capacity() * size_of::<u64>() + self.gone.capacity() * size_of::<(u32, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_gone_is_said_until_more_has_gone_than_is_there() {
        let mut journal = Journal::new(3);
        assert_eq!((journal.unsealed(), journal.seal()), (None, vec![]));
        journal.added(2);
        // The second of these was never sealed.
        journal.removed(1, 7, 4);
        journal.removed(4, 7, 3);
        assert_eq!((journal.unsealed(), journal.seal()), (Some(3), vec![(7, 1)]));
        journal.added(GONE_MIN);
        journal.seal();
        for row in 0..=GONE_MIN {
            journal.removed(row as u32, 7, GONE_MIN - row);
        }
        assert_eq!(journal.unsealed(), None);
        assert!(journal.size_bytes() < GONE_MIN * 10 * size_of::<u64>());
        assert_eq!((journal.seal(), journal.unsealed()), (vec![], Some(GONE_MIN as u32 + 5)));
    }

    #[test]
    fn numbers_outlive_a_restart_and_new_ones_are_larger() {
        let mut journal = Journal::default();
        journal.added(2);
        journal.restored(&[5, 9]);
        journal.added(1);
        journal.restored(&[3]);
        journal.added(2);
        assert_eq!((0..5).map(|row| journal.id(row)).collect::<Vec<_>>(), [5, 9, 3, 11, 12]);
        assert_eq!(journal.unsealed(), Some(3));
        let mut anew = journal.emptied();
        [1, 2, 4].into_iter().for_each(|row| anew.adopt(&journal, row));
        assert_eq!((anew.unsealed(), anew.id(2)), (Some(2), 12));
    }
}
