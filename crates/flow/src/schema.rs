//! The JSON Schema of flow files, for editors: made from the same list of keys that reads them.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::raw::{RawFlow, RawProject};

/// The JSON Schema of a flow file (draft 2020-12).
#[must_use]
pub fn json_schema() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawFlow>().to_value()
}

/// The JSON Schema of `mulgil.yaml` (draft 2020-12).
#[must_use]
pub fn project_json_schema() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawProject>().to_value()
}
