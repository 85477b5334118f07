//! What starts a run beside the schedule and those who ask for one: files that arrive, and a webhook.
//!
//! Each arrival, and each delivery of a webhook, is a run of its own, whatever its parameters are: the arrival is what the run is
//! identified by (see [`crate::RunKey::of_arrival`]).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{Flow, ParamError, Params};

/// What starts runs of a flow from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Triggers {
    /// New files, each of which starts a run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileTrigger>,
    /// An address that starts a run whenever a signed request comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

impl Triggers {
    /// Whether nothing from outside starts runs. Left out of what is hashed, so that old versions stay.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.webhook.is_none()
    }
}

/// Files that start runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileTrigger {
    /// Which: a pattern, relative to the project's folder.
    pub pattern: String,
    /// The parameter that gets the file's path.
    pub param: String,
}

impl FileTrigger {
    /// The parameter that gets the path where the file says nothing.
    pub const PARAM: &'static str = "file";
}

/// An address that starts runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Webhook {
    /// The secret with which requests are signed, by its name in the project.
    pub secret: String,
    /// Where in the body parameters are that do not stand under their own name at the top: `repository.full_name`.
    pub params: BTreeMap<String, String>,
}

impl Webhook {
    /// The parameters of the run that a body asks for. What the body has beside them is nobody's business here.
    ///
    /// # Errors
    /// A value does not fit its parameter, or one without default is not there.
    pub fn params_of(&self, flow: &Flow, body: &Value) -> Result<Params, ParamError> {
        let found = flow.params.keys().filter_map(|name| {
            let path = self.params.get(name).unwrap_or(name);
            let value = value_at(body, path).filter(|value| !value.is_null())?;
            Some((name.clone(), value.clone()))
        });
        flow.resolve_params(&found.collect())
    }
}

/// The value at a path of names, and of numbers in lists.
fn value_at<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(body, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        value => value.get(part),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use serde_json::json;

    use super::*;
    use crate::Project;

    #[test]
    fn parameters_are_found_in_the_body_and_keep_their_types() {
        let project = Project::parse("mulgil.yaml", "secrets: {S: env:S}").unwrap();
        let text = "flow: f\nparams:\n  repo: {type: string}\n  n: {default: 1, min: 0}\n  first: {default: none}\n\
                    triggers: [{webhook: {secret: S, params: {repo: repository.full_name, first: commits.0.id}}}]\n\
                    tasks: {a: {shell: x}}";
        let flow = Flow::parse("f.yaml", text, &project).unwrap();
        let webhook = flow.triggers.webhook.clone().unwrap();
        let of = |body: Value| webhook.params_of(&flow, &body).map_err(|error| error.to_string());
        let repository = json!({"full_name": "a/b"});
        let full = json!({"repository": repository, "commits": [{"id": "c0"}], "n": "7", "else": {"x": [1]}});
        assert_eq!(
            of(full).unwrap(),
            [("first", json!("c0")), ("n", json!(7)), ("repo", json!("a/b"))].map(named).into()
        );
        let little = json!({"repository": repository, "commits": [], "n": null, "repo": "not this one"});
        assert_eq!(
            of(little).unwrap(),
            [("first", json!("none")), ("n", json!(1)), ("repo", json!("a/b"))].map(named).into()
        );
        let wrong = [
            (json!({}), "flow f needs a value for its parameter repo"),
            (json!([]), "flow f needs a value for its parameter repo"),
            (json!({"repository": repository, "n": -1}), "parameter n of flow f has to be at least 0, and -1 is not"),
            (
                json!({"repository": {"full_name": {"x": 1}}}),
                "parameter repo of flow f takes a value of type string, not {\"x\":1}",
            ),
        ];
        for (body, expected) in wrong {
            assert_eq!(of(body).unwrap_err(), expected);
        }
    }

    fn named((name, value): (&str, Value)) -> (String, Value) {
        (name.to_owned(), value)
    }
}
