//! From tree to types: what a node must look like to be read as a value, and the finding when it does not.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;
use std::borrow::Cow;

use crate::findings::{Findings, Position};
use crate::yaml::{Data, Key, Node, Scalar, Style};

/// A type that can be read from a node. `None` means that a finding says why not.
pub(crate) trait FromNode: Sized {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self>;
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) at: Position,
}

/// A text, where it stands, and how it is written.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) at: Position,
    pub(crate) style: Style,
}

impl Text {
    /// The place in the file of a place in the text, both as lines and columns from 1.
    pub(crate) fn place(&self, inner: Position) -> Position {
        let first = inner.line <= 1;
        match self.style {
            Style::Folded => self.at,
            Style::Literal => {
                // The block's place is where the first line that is not empty begins.
                let empty_lines = self.value.len() - self.value.trim_start_matches('\n').len();
                let line = (self.at.line + inner.line).saturating_sub(1 + u32::try_from(empty_lines).unwrap_or(0));
                Position { line, column: self.at.column + inner.column - 1 }
            }
            Style::Plain if first => Position { line: self.at.line, column: self.at.column + inner.column - 1 },
            Style::Quoted if first => Position { line: self.at.line, column: self.at.column + inner.column },
            Style::Plain | Style::Quoted => Position { line: self.at.line + inner.line - 1, column: inner.column },
        }
    }
}

/// A map with free keys, in the text's order.
#[derive(Clone, Debug)]
pub(crate) struct Entries<T>(pub(crate) Vec<(Key, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// A list, or its only item.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMany(pub(crate) Vec<Text>);

/// Any value.
#[derive(Clone, Debug)]
pub(crate) struct Anything(pub(crate) Value, pub(crate) Position);

fn expected<T>(node: &Node, what: &str, findings: &mut Findings) -> Option<T> {
    let found = match &node.data {
        Data::Scalar(_) if node.is_null() => "nothing".to_owned(),
        Data::Scalar(scalar) => scalar.text.lines().next().unwrap_or_default().to_owned(),
        Data::List(_) => "a list".to_owned(),
        Data::Map(_) => "a map".to_owned(),
    };
    findings.add(node.at, format!("expected {what}, found {found}"), None);
    None
}

impl Node {
    pub(crate) fn entries(&self, what: &str, findings: &mut Findings) -> Option<&[(Key, Node)]> {
        match &self.data {
            Data::Map(entries) => Some(entries),
            _ => expected(self, what, findings),
        }
    }

    fn parsed<T: std::str::FromStr>(&self, what: &str, findings: &mut Findings) -> Option<Located<T>> {
        match &self.data {
            Data::Scalar(Scalar { text, style: Style::Plain }) => match text.parse() {
                Ok(value) => Some(Located { value, at: self.at }),
                Err(_) => expected(self, what, findings),
            },
            _ => expected(self, what, findings),
        }
    }

    /// The value as JSON has it, by the rules of YAML 1.2's core schema.
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Scalar(_) if self.is_null() => Value::Null,
            Data::Scalar(Scalar { text, style: Style::Plain }) => plain_to_json(text),
            Data::Scalar(scalar) => Value::String(scalar.text.clone()),
            Data::List(items) => items.iter().map(Self::to_json).collect(),
            Data::Map(entries) => {
                Value::Object(entries.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect())
            }
        }
    }
}

fn plain_to_json(text: &str) -> Value {
    let looks_like_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if !looks_like_number => Value::String(text.to_owned()),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(integer), _) => Value::from(integer),
            (_, Ok(number)) if number.is_finite() => Value::from(number),
            _ => Value::String(text.to_owned()),
        },
    }
}

impl FromNode for Text {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match &node.data {
            Data::Scalar(scalar) if !node.is_null() => {
                Some(Self { value: scalar.text.clone(), at: node.at, style: scalar.style })
            }
            _ => expected(node, "a text", findings),
        }
    }
}

impl FromNode for Located<bool> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        node.parsed("true or false", findings)
    }
}

impl FromNode for Located<u32> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        node.parsed("a whole number", findings)
    }
}

impl FromNode for Located<i32> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        node.parsed("a whole number", findings)
    }
}

impl FromNode for Located<f64> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        node.parsed("a number", findings)
    }
}

impl FromNode for Anything {
    fn from_node(node: &Node, _: &mut Findings) -> Option<Self> {
        Some(Self(node.to_json(), node.at))
    }
}

impl FromNode for OneOrMany {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match &node.data {
            Data::List(items) => Some(Self(items.iter().filter_map(|item| Text::from_node(item, findings)).collect())),
            Data::Scalar(_) => Text::from_node(node, findings).map(|text| Self(vec![text])),
            Data::Map(_) => expected(node, "a name or a list of names", findings),
        }
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        match &node.data {
            Data::List(items) => Some(items.iter().filter_map(|item| T::from_node(item, findings)).collect()),
            _ => expected(node, "a list", findings),
        }
    }
}

impl<T: FromNode> FromNode for Entries<T> {
    fn from_node(node: &Node, findings: &mut Findings) -> Option<Self> {
        let entries = node.entries("a map", findings)?;
        let read = |(key, value): &(Key, Node)| Some((key.clone(), T::from_node(value, findings)?));
        Some(Self(entries.iter().filter_map(read).collect()))
    }
}

/// Gives a reading type the schema of the type it stands for.
macro_rules! schema_of {
    ($($(for $generic:ident)? => $type:ty as $shown:ty),* $(,)?) => {$(
        impl $(<$generic: JsonSchema>)? JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                <$shown>::schema_name()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                <$shown>::json_schema(generator)
            }
        }
    )*};
}

schema_of! {
    => Text as String,
    for T => Located<T> as T,
    for T => Entries<T> as std::collections::BTreeMap<String, T>,
    => Anything as Value,
}

impl JsonSchema for crate::raw::RawReceivers {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "RawReceivers".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        one_or_many(generator.subschema_for::<crate::raw::RawReceiver>())
    }
}

impl JsonSchema for crate::raw::RawOccasions {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "RawOccasions".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        one_or_many(generator.subschema_for::<crate::Occasion>())
    }
}

fn one_or_many(one: Schema) -> Schema {
    let many = one.clone();
    schemars::json_schema!({ "anyOf": [one, { "type": "array", "items": many }] })
}

impl JsonSchema for OneOrMany {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
        })
    }
}

/// Defines the raw form of a map with fixed keys: its struct, its reading and its JSON Schema, from one list of keys.
/// Every field is optional here; what must be there is checked by whoever uses it.
macro_rules! raw_map {
    ($(#[$attribute:meta])* $name:ident: $what:literal {
        $($(#[$field_attribute:meta])* $key:literal $field:ident: $type:ty,)*
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_attribute])* #[schemars(rename = $key)] pub(crate) $field: Option<$type>,)*
            /// Where the map begins.
            #[schemars(skip)]
            #[allow(dead_code, reason = "not every kind of map is complained about as a whole")]
            pub(crate) at: crate::findings::Position,
            /// Whether a key is unknown or its value unreadable. Then what seems to be missing may be that.
            #[schemars(skip)]
            #[allow(dead_code, reason = "not every kind of map has keys that must be there")]
            pub(crate) broken: bool,
        }

        impl crate::read::FromNode for $name {
            fn from_node(node: &crate::yaml::Node, findings: &mut crate::findings::Findings) -> Option<Self> {
                let mut raw = Self { at: node.at, ..Self::default() };
                if node.is_null() {
                    return Some(raw);
                }
                for (key, value) in node.entries(concat!("a map with the keys of ", $what), findings)? {
                    match key.text.as_str() {
                        // `key:` with nothing behind it is as good as no key.
                        $($key if value.is_null() => raw.$field = None,
                        $key => {
                            raw.$field = crate::read::FromNode::from_node(value, findings);
                            raw.broken |= raw.$field.is_none();
                        })*
                        other => {
                            findings.unknown(key.at, concat!("key in ", $what, ":"), other, [$($key),*]);
                            raw.broken = true;
                        }
                    }
                }
                Some(raw)
            }
        }
    };
}
pub(crate) use raw_map;
