//! The difference between two rankings of one partition, as a changelog.

use std::cmp::Ordering;

use crate::batch::RowKind;
use crate::operators::row_store::{Entry, Place, RowStore};

/// A row that comes or goes.
pub(super) struct Change {
    pub(super) group: usize,
    pub(super) place: Place,
    pub(super) rank: u64,
    pub(super) kind: RowKind,
}

/// Rank by rank: who stands at a rank is replaced by who stands there now.
pub(super) fn changed_ranks(
    store: &RowStore,
    group: usize,
    before: &[Entry],
    after: &[Entry],
    changes: &mut Vec<Change>,
) {
    for index in 0..before.len().max(after.len()) {
        let rank = index as u64 + 1;
        match (before.get(index), after.get(index)) {
            (Some(old), Some(new)) => {
                if store.compare(old, new) != Ordering::Equal {
                    changes.push(Change { group, place: old.place, rank, kind: RowKind::UpdateBefore });
                    changes.push(Change { group, place: new.place, rank, kind: RowKind::UpdateAfter });
                }
            }
            (Some(old), None) => changes.push(Change { group, place: old.place, rank, kind: RowKind::Delete }),
            (None, Some(new)) => changes.push(Change { group, place: new.place, rank, kind: RowKind::Insert }),
            (None, None) => {}
        }
    }
}

/// Row by row: who is ranked no longer, who is ranked now, and who has another rank. Both sides are in order, each with
/// its ranks.
pub(super) fn changed_rows(
    store: &RowStore,
    group: usize,
    before: (&[Entry], &[u64]),
    after: (&[Entry], &[u64]),
    changes: &mut Vec<Change>,
) {
    let mut old = before.0.iter().zip(before.1).peekable();
    let mut new = after.0.iter().zip(after.1).peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((old, _)), Some((new, _))) => store.compare(old, new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        let gone = old.next_if(|_| order != Ordering::Greater);
        let come = new.next_if(|_| order != Ordering::Less);
        match (gone, come) {
            (Some((_, old_rank)), Some((_, new_rank))) if old_rank == new_rank => {}
            (Some((old, old_rank)), Some((new, new_rank))) => {
                changes.push(Change { group, place: old.place, rank: *old_rank, kind: RowKind::UpdateBefore });
                changes.push(Change { group, place: new.place, rank: *new_rank, kind: RowKind::UpdateAfter });
            }
            (Some((old, rank)), None) => {
                changes.push(Change { group, place: old.place, rank: *rank, kind: RowKind::Delete })
            }
            (None, Some((new, rank))) => {
                changes.push(Change { group, place: new.place, rank: *rank, kind: RowKind::Insert })
            }
            (None, None) => {}
        }
    }
}
