//! The JSON Schema of flow files, for editors.

/// The JSON Schema of a flow file (draft 2020-12).
#[must_use]
pub fn json_schema() -> serde_json::Value {
    serde_json::Value::Null
}
