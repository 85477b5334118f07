//! The rules of a task that does something to a view. Whether the view is there shows when it runs, and in the project's problems.

use super::task::Tasks;
use crate::findings::Findings;
use crate::raw::RawTask;
use crate::raw::view::RawView;
use crate::yaml::Key;
use crate::{ViewDeed, ViewTask};

impl Tasks<'_> {
    pub(super) fn view(&self, key: &Key, raw: RawView, findings: &mut Findings) -> ViewTask {
        let deeds = [(ViewDeed::Refresh, raw.refresh), (ViewDeed::Replay, raw.replay), (ViewDeed::Export, raw.export)];
        let mut given = deeds.into_iter().filter_map(|(deed, text)| Some((deed, text?)));
        let (deed, text) = given.next().map_or((ViewDeed::Refresh, None), |(deed, text)| (deed, Some(text)));
        if let Some((_, other)) = given.next() {
            let remedy = "leave one of them out: a task does one thing".to_owned();
            findings.add(other.at, format!("task {} does several things to views", key.text), Some(remedy));
        }
        let view = text.map(|text| {
            let is_name = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
            if !text.value.split('.').all(is_name) {
                let remedy = "write the name of a view, such as delays_per_hour".to_owned();
                findings.add(text.at, format!("{:?} is no view", text.value), Some(remedy));
            }
            text.value
        });
        if view.is_none() && !raw.broken {
            let remedy = "write view: {refresh: NAME}, view: {replay: NAME} or view: {export: NAME}".to_owned();
            findings.add(raw.at, format!("task {} does nothing to a view", key.text), Some(remedy));
        }
        ViewTask { deed, view: view.unwrap_or_default() }
    }
}

/// The server itself does such a task, and no worker: it holds no slot of a pool.
pub(super) fn check_keys(key: &Key, raw: &RawTask, findings: &mut Findings) {
    if raw.view.is_none() {
        return;
    }
    let elsewhere = [
        ("pool", raw.pool.as_ref().map(|raw| raw.at)),
        ("tags", raw.tags.as_ref().map(|raw| raw.0.first().map_or(key.at, |tag| tag.at))),
        ("priority", raw.priority.as_ref().map(|raw| raw.at)),
        ("concurrency", raw.concurrency.as_ref().map(|raw| raw.at)),
    ];
    for (word, at) in elsewhere.into_iter().filter_map(|(word, at)| Some((word, at?))) {
        let remedy = "leave it out: the server itself does it, and a view is refreshed once at a time".to_owned();
        findings.add(at, format!("view task {} takes no {word}", key.text), Some(remedy));
    }
}
