//! When a task was at work whose work is done by others: by its items, or by a run of another flow.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use mulgil_history::read::RunDetail;
use mulgil_sched::id::TaskIndex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A pause of up to this is not told.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(1);

/// A stretch of time in which a task was at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stretch {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended. Absent: it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// The stretches of each task whose items or called run did something, oldest first, none of them touching another.
pub(crate) fn of_others(found: &RunDetail) -> HashMap<TaskIndex, Vec<Stretch>> {
    let item_of = |row: &mulgil_history::read::TaskRow| Some((row.index, row.item_of?));
    let item_of: HashMap<TaskIndex, TaskIndex> = found.tasks.iter().filter_map(item_of).collect();
    let items = found.attempts.iter().filter_map(|attempt| {
        let task = item_of.get(&attempt.task_index)?;
        Some((*task, Stretch { started_at: attempt.started_at?, ended_at: attempt.ended_at }))
    });
    let calls = found.children.iter().filter_map(|child| {
        let task = item_of.get(&child.task).unwrap_or(&child.task);
        Some((*task, Stretch { started_at: child.started_at?, ended_at: child.ended_at }))
    });
    let mut all: HashMap<TaskIndex, Vec<Stretch>> = HashMap::new();
    for (task, stretch) in items.chain(calls) {
        all.entry(task).or_default().push(stretch);
    }
    all.values_mut().for_each(join);
    all
}

/// Makes one stretch of those that overlap, or nearly touch.
fn join(stretches: &mut Vec<Stretch>) {
    stretches.sort_unstable_by_key(|stretch| stretch.started_at);
    stretches.dedup_by(|next, before| {
        let goes_on = before.ended_at.is_none_or(|end| next.started_at.duration_since(end) <= PAUSE_MAX);
        if goes_on {
            before.ended_at = before.ended_at.zip(next.ended_at).map(|(one, other)| one.max(other));
        }
        goes_on
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_or_nearly_touches_is_one_stretch() {
        let at = |second: i64| Timestamp::constant(second, 0);
        let joined = |spans: &[(i64, Option<i64>)]| {
            let stretch = |(start, end): &(i64, Option<i64>)| Stretch { started_at: at(*start), ended_at: end.map(at) };
            let mut stretches: Vec<Stretch> = spans.iter().map(stretch).collect();
            join(&mut stretches);
            let seconds = |time: Timestamp| time.as_second();
            let span = |stretch: Stretch| (seconds(stretch.started_at), stretch.ended_at.map(seconds));
            stretches.into_iter().map(span).collect::<Vec<_>>()
        };
        assert_eq!(joined(&[]), []);
        assert_eq!(joined(&[(5, Some(6)), (0, Some(9)), (7, Some(8))]), [(0, Some(9))], "one holds the others");
        assert_eq!(joined(&[(0, Some(9)), (69, Some(70))]), [(0, Some(70))], "a minute is no pause");
        assert_eq!(joined(&[(0, Some(9)), (70, Some(71))]), [(0, Some(9)), (70, Some(71))]);
        assert_eq!(joined(&[(0, Some(9)), (5, None), (400, Some(401))]), [(0, None)], "it goes on");
    }
}
