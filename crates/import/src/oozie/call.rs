//! Sub-workflows: here a task that runs another flow.

use serde_json::{Map, Value, json};

use super::Reader;
use super::action::template;
use super::xml::Element;
use crate::draft::name_of;

impl Reader {
    pub(super) fn sub_workflow(&mut self, name: &str, node: &Element, kind: &Element, needs: &[String]) -> String {
        let what = format!("sub-workflow action {name}");
        let path = kind.text_of("app-path").unwrap_or_default().trim().trim_end_matches("/workflow.xml");
        let folder = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if folder.is_empty() || folder.contains("${") {
            let why = "which workflow it is shows when it runs: write flow: with a name";
            return self.draft.stand_in(name, needs, kind.line, &what, why);
        }
        let mut params = Map::new();
        for property in kind.child("configuration").into_iter().flat_map(|all| all.all("property")) {
            let (Some(key), Some(value)) = (property.text_of("name"), property.text_of("value")) else { continue };
            match self.pieces(value) {
                Ok(pieces) => drop(params.insert(key.trim().to_owned(), Value::String(template(&pieces)))),
                Err(what) => {
                    let why = format!("{what} has no counterpart");
                    self.draft.missing(property.line, format!("property {}", key.trim()), why);
                }
            }
        }
        let flow = name_of(folder);
        let mut why =
            format!("flow {flow}, by the name of its folder: write the one of its workflow-app, if that is another");
        if kind.child("propagate-configuration").is_some() {
            why.push_str("; of the configuration only what stands here is handed on");
        }
        self.draft.approximated(kind.line, what, why);
        if node.attribute("retry-max").is_some() {
            self.draft.approximated(node.line, "retry-max", "the tasks of the other flow have their own retries");
        }
        self.error_way(name, node);
        self.draft.task(name, needs, json!({"flow": flow, "params": params}))
    }
}
