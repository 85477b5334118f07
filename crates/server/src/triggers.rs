//! What starts runs of a flow from outside, as people see it.

use mulgil_flow::Flow;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::hooks;

/// Something that starts runs of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowTrigger {
    /// What it is: `file` or `webhook`.
    pub kind: String,
    /// The pattern of the files, or the webhook's path on this server.
    pub place: String,
    /// The parameters that are taken from it, each with where it is: the file's path, or a place in the body.
    pub params: Vec<TakenParam>,
}

/// A parameter that is taken from what comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TakenParam {
    /// The parameter.
    pub name: String,
    /// Where it is taken from.
    pub from: String,
}

/// Those of a flow.
pub(crate) fn triggers_of(flow: &Flow) -> Vec<FlowTrigger> {
    let taken = |name: &str, from: &str| TakenParam { name: name.to_owned(), from: from.to_owned() };
    let files = flow.triggers.files.iter().map(|file| FlowTrigger {
        kind: "file".to_owned(),
        place: file.pattern.clone(),
        params: vec![taken(&file.param, "path")],
    });
    let webhook = flow.triggers.webhook.iter().map(|webhook| FlowTrigger {
        kind: "webhook".to_owned(),
        place: format!("{}{}", hooks::PREFIX, flow.name),
        params: flow
            .params
            .keys()
            .map(|name| taken(name, webhook.params.get(name).map_or(name, String::as_str)))
            .collect(),
    });
    files.chain(webhook).collect()
}
