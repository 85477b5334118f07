//! What clients of PostgreSQL ask about tables and columns: the catalog tables, made when they are read.
//!
//! Numbers of tables are made of their names, so that they stay the same from start to start.

mod keys;
mod nothing;
mod relations;
mod server;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use mulgil_connect::definition::TableName;
use mulgil_sql::system::System;
use mulgil_sqlport::Caller;

pub(super) use self::keys::Key;

/// Numbers below are PostgreSQL's own.
const FIRST_OWN: i64 = 16_384;
/// The one role.
const OWNER: i64 = 10;
/// The second schema of tables that are about tables.
const INFORMATION: &str = "information_schema";

/// A table or view that there is to read.
pub(super) struct Relation {
    pub(super) name: TableName,
    /// The text that a view is made of.
    pub(super) definition: Option<String>,
    pub(super) schema: SchemaRef,
    /// The columns that together name a row, by their places; none where there is no key.
    pub(super) key: Vec<usize>,
}

impl Relation {
    /// Whether its name is enough to find it, without its schema's.
    pub(super) fn is_visible(&self) -> bool {
        self.name.namespace == TableName::DEFAULT_NAMESPACE
    }

    /// Its number.
    pub(super) fn number(&self) -> i64 {
        number_of(&self.name.namespace, &self.name.name)
    }

    /// Its name as `regclass` writes it.
    pub(super) fn written(&self) -> String {
        if self.is_visible() {
            quoted(&self.name.name)
        } else {
            format!("{}.{}", quoted(&self.name.namespace), quoted(&self.name.name))
        }
    }
}

/// A name as SQL has to write it.
pub(super) fn quoted(name: &str) -> String {
    let is_plain = |at: usize, c: char| c == '_' || c.is_ascii_lowercase() || (at > 0 && c.is_ascii_digit());
    if !name.is_empty() && name.chars().enumerate().all(|(at, c)| is_plain(at, c)) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The catalog as one client sees it.
pub(super) struct Catalog {
    relations: Vec<Arc<Relation>>,
    /// The keys of relations, as indexes that stand beside them.
    keys: Vec<Arc<Key>>,
    caller: Arc<Caller>,
}

/// A table of the catalog.
struct CatalogTable {
    namespace: &'static str,
    name: &'static str,
    schema: fn() -> SchemaRef,
    rows: fn(&Catalog) -> Result<RecordBatch, String>,
}

/// Lines `schema name COLUMNS subjects;` as an array of [`CatalogTable`].
macro_rules! catalog_tables {
    ($($namespace:literal $name:literal $columns:ident $subjects:expr;)+) => {
        &[$($crate::sql_port::catalog::CatalogTable {
            namespace: $namespace,
            name: $name,
            schema: || $crate::cells::schema($columns),
            rows: |catalog| $crate::cells::batch($columns, &$subjects(catalog)),
        }),+]
    };
}

use catalog_tables;

fn find(table: &TableName) -> Option<&'static CatalogTable> {
    let mut all = relations::TABLES.iter().chain(keys::TABLES).chain(server::TABLES);
    all.find(|known| known.namespace == table.namespace && known.name == table.name)
}

/// The columns of a catalog table.
pub(super) fn schema(table: &TableName) -> Option<SchemaRef> {
    find(table).map(|table| (table.schema)()).or_else(|| nothing::schema(table))
}

/// Whether a table of the catalog has no rows, whatever the project has.
pub(super) fn is_always_empty(table: &TableName) -> bool {
    nothing::is_one(table)
}

fn number_of(schema: &str, name: &str) -> i64 {
    // FNV-1a, 32 bits.
    let bytes = schema.bytes().chain([b'.']).chain(name.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    FIRST_OWN + i64::from(hash >> 2)
}

/// The number of a schema.
pub(super) fn number_of_schema(name: &str) -> i64 {
    match name {
        System::PG_CATALOG => 11,
        TableName::DEFAULT_NAMESPACE => 2_200,
        other => number_of("", other),
    }
}

impl Catalog {
    /// The catalog of these relations, for a client.
    pub(super) fn new(relations: Vec<Arc<Relation>>, caller: Arc<Caller>) -> Self {
        let keys = relations.iter().filter_map(Key::of).map(Arc::new).collect();
        Self { relations, keys, caller }
    }

    /// The relations that there are to read, and the indexes of their keys.
    fn all(&self) -> impl Iterator<Item = &Relation> {
        let relations = self.relations.iter().map(Arc::as_ref);
        relations.chain(self.keys.iter().map(|key| key.index.as_ref()))
    }

    /// The relation with this number.
    pub(super) fn relation(&self, number: i64) -> Option<&Relation> {
        self.all().find(|relation| relation.number() == number)
    }

    /// The key whose index or whose constraint has this number.
    pub(super) fn key(&self, number: i64) -> Option<&Key> {
        let mut keys = self.keys.iter().map(Arc::as_ref);
        keys.find(|key| key.index.number() == number || key.number() == number)
    }

    /// The relation that a text names, as `regclass` reads it: with its schema or without, quoted where it has to be.
    pub(super) fn named(&self, text: &str) -> Option<&Relation> {
        let name = parts_of(text)?;
        self.all().find(|relation| relation.name == name)
    }

    /// The number of the relation that a text names; the catalog's own tables have one too.
    pub(super) fn number_named(&self, text: &str) -> Option<i64> {
        if let Some(relation) = self.named(text) {
            return Some(relation.number());
        }
        let mut name = parts_of(text)?;
        if name.namespace == TableName::DEFAULT_NAMESPACE {
            System::PG_CATALOG.clone_into(&mut name.namespace);
        }
        schema(&name).map(|_| number_of(&name.namespace, &name.name))
    }

    /// The rows of a catalog table.
    pub(super) fn rows(&self, table: &TableName) -> Result<RecordBatch, String> {
        match find(table) {
            Some(table) => (table.rows)(self),
            None => Ok(RecordBatch::new_empty(schema(table).ok_or("there is no such table")?)),
        }
    }

    /// The schemas that there are.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &str> {
        let own: BTreeSet<&str> = self.relations.iter().map(|relation| relation.name.namespace.as_str()).collect();
        let known = [INFORMATION, System::PG_CATALOG, TableName::DEFAULT_NAMESPACE];
        known.into_iter().chain(own.into_iter().filter(move |name| !known.contains(name)))
    }
}

/// `a.b`, `b`, `"A".b`.
fn parts_of(text: &str) -> Option<TableName> {
    let mut parts = identifiers(text)?.into_iter().rev();
    let name = parts.next()?;
    let namespace = parts.next().unwrap_or_else(|| TableName::DEFAULT_NAMESPACE.to_owned());
    parts.next().is_none().then_some(TableName { namespace, name })
}

/// The parts of a name: what is not quoted is in lower case.
pub(super) fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = text.trim().chars().peekable();
    while let Some(letter) = letters.next() {
        let part = parts.last_mut()?;
        match letter {
            '"' if is_quoted && letters.next_if_eq(&'"').is_some() => part.push('"'),
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(String::new()),
            letter if is_quoted => part.push(letter),
            letter => part.extend(letter.to_lowercase()),
        }
    }
    Some(parts).filter(|parts| !is_quoted && !parts.iter().any(String::is_empty))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn names_are_read_as_postgres_reads_them() {
        let cases = [
            ("cities", Some("public.cities")),
            ("Mulgil.Runs", Some("mulgil.runs")),
            ("\"A b\".\"c\"\"d\"", Some("A b.c\"d")),
            ("a.b.c", None),
            ("\"a", None),
            ("a.", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let name = parts_of(text).map(|name| format!("{}.{}", name.namespace, name.name));
            assert_eq!(name.as_deref(), expected, "{text}");
        }
        assert_eq!((quoted("a_1").as_str(), quoted("A b").as_str()), ("a_1", "\"A b\""));
    }
}
