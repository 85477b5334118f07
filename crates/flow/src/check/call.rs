//! The rules of a task that runs another flow. Whether that flow is there, and takes these parameters, is asked of the whole project:
//! see [`crate::check_calls`].

use std::collections::BTreeMap;

use super::task::Tasks;
use super::value::check_name;
use crate::findings::{Findings, Position};
use crate::raw::RawTask;
use crate::raw::retries::RawRetries;
use crate::read::{Anything, Entries, Located, Text};
use crate::yaml::Key;
use crate::{CallTask, RerunOn};

impl Tasks<'_> {
    pub(super) fn call(
        &self,
        flow: Text,
        params: Option<Entries<Anything>>,
        rerun_on: Option<Located<RerunOn>>,
        findings: &mut Findings,
    ) -> CallTask {
        check_name(&flow.value, flow.at, "flow", findings);
        let mut given = BTreeMap::new();
        for (name, Anything(value, at)) in params.unwrap_or_default().0 {
            self.check_templates_in(&value, at, findings);
            given.insert(name.text, value);
        }
        CallTask { flow: flow.value, params: given, rerun_on: rerun_on.map_or_else(RerunOn::default, |on| on.value) }
    }
}

/// A task that runs another flow does no work itself: what says how a worker goes about it has no meaning. What only such a task
/// takes has none elsewhere.
pub(super) fn check_keys(key: &Key, raw: &RawTask, findings: &mut Findings) {
    let Some(flow) = &raw.flow else {
        let params = raw.params.as_ref().map(|params| params.0.first().map_or(key.at, |(name, _)| name.at));
        let rerun_on = raw.rerun_on.as_ref().map(|on| on.at);
        for (word, at) in [("params", params), ("rerun_on", rerun_on)] {
            let Some(at) = at else { continue };
            let remedy = "only a task with flow: takes it".to_owned();
            findings.add(at, format!("task {} runs no flow, so it takes no {word}", key.text), Some(remedy));
        }
        return;
    };
    let elsewhere: [(&str, Option<Position>); 6] = [
        ("retries", raw.retries.as_ref().map(RawRetries::at)),
        ("pool", raw.pool.as_ref().map(|raw| raw.at)),
        ("tags", raw.tags.as_ref().map(|raw| raw.0.first().map_or(key.at, |tag| tag.at))),
        ("priority", raw.priority.as_ref().map(|raw| raw.at)),
        ("concurrency", raw.concurrency.as_ref().map(|raw| raw.at)),
        ("idempotent", raw.idempotent.as_ref().map(|raw| raw.at)),
    ];
    for (word, at) in elsewhere.into_iter().filter_map(|(word, at)| Some((word, at?))) {
        let message = format!("task {} runs a flow, and takes no {word}", key.text);
        findings.add(at, message, Some(format!("say it in the tasks of flow {}", flow.value)));
    }
}
