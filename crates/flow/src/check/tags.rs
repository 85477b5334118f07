//! Tags: what a worker has to have to run a task.

use super::value::check_name;
use crate::findings::Findings;
use crate::read::OneOrMany;

/// Each tag once, sorted: their order means nothing.
pub(super) fn tags(raw: OneOrMany, findings: &mut Findings) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in raw.0 {
        check_name(&tag.value, tag.at, "tag", findings);
        tags.push(tag.value);
    }
    tags.sort();
    tags.dedup();
    tags
}
