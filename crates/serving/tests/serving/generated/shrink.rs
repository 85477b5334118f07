//! Makes a failing case smaller: to the smallest part of its query over the fewest rows that still fails.

use super::case::{Case, Kept, Verdict};
use super::relation::Relation;

impl Case<'_> {
    /// What is left of the query and the rows, and what is wrong with it.
    pub(crate) async fn shrink(&self, relation: &Relation, kept: &Kept) -> (Relation, Kept, String) {
        let (mut relation, mut kept) = (relation.clone(), kept.clone());
        let mut reason = String::new();
        while let Some((part, why)) = self.failing_part(&relation, &kept).await {
            (relation, reason) = (part, why);
        }
        let mut size = kept.values().map(Vec::len).max().unwrap_or(0).div_ceil(2);
        while size > 0 {
            let mut is_smaller = false;
            for table in self.tables {
                let mut at = 0;
                while at < kept[&table.name].len() {
                    let mut fewer = kept.clone();
                    let rows = fewer.get_mut(&table.name).unwrap();
                    rows.drain(at..(at + size).min(rows.len()));
                    if let Verdict::Differs(why) = self.judge(&relation, &fewer).await {
                        (kept, reason, is_smaller) = (fewer, why, true);
                    } else {
                        at += size;
                    }
                }
            }
            if !is_smaller {
                size /= 2;
            }
        }
        (relation, kept, reason)
    }

    async fn failing_part(&self, relation: &Relation, kept: &Kept) -> Option<(Relation, String)> {
        for part in relation.parts() {
            if let Verdict::Differs(why) = self.judge(part, kept).await {
                return Some((part.clone(), why));
            }
        }
        None
    }
}
