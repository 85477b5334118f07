//! What clients of PostgreSQL ask about tables and columns: the few catalog tables with rows, made when they are read.
//!
//! Numbers of tables are made of their names, so that they stay the same from start to start.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use mulgil_connect::definition::TableName;
use mulgil_sqlport::{Caller, WireColumn, wire_column, wire_types};

/// Numbers below are PostgreSQL's own.
const FIRST_OWN: i64 = 16_384;
const OWNER: i64 = 10;

/// A value of a catalog table.
#[derive(Clone, Debug)]
enum Cell {
    Number(i64),
    Text(String),
    Truth(bool),
    Nothing,
}

fn text(value: impl Into<String>) -> Cell {
    Cell::Text(value.into())
}

/// The types of columns: a number, a text, a truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    N,
    T,
    B,
}

use Kind::{B, N, T};

type Columns = &'static [(&'static str, Kind)];

const TABLES: [((&str, &str), Columns); 12] = [
    (("pg_catalog", "pg_namespace"), &[("oid", N), ("nspname", T), ("nspowner", N)]),
    (
        ("pg_catalog", "pg_class"),
        &[
            ("oid", N),
            ("relname", T),
            ("relnamespace", N),
            ("reltype", N),
            ("relowner", N),
            ("relam", N),
            ("reltuples", N),
            ("relhasindex", B),
            ("relpersistence", T),
            ("relkind", T),
            ("relnatts", N),
            ("relchecks", N),
            ("relhasrules", B),
            ("relhastriggers", B),
            ("relrowsecurity", B),
            ("relispartition", B),
            ("relreplident", T),
        ],
    ),
    (
        ("pg_catalog", "pg_attribute"),
        &[
            ("attrelid", N),
            ("attname", T),
            ("atttypid", N),
            ("attlen", N),
            ("attnum", N),
            ("atttypmod", N),
            ("attnotnull", B),
            ("atthasdef", B),
            ("attisdropped", B),
            ("attidentity", T),
            ("attgenerated", T),
        ],
    ),
    (
        ("pg_catalog", "pg_type"),
        &[
            ("oid", N),
            ("typname", T),
            ("typnamespace", N),
            ("typowner", N),
            ("typlen", N),
            ("typtype", T),
            ("typcategory", T),
            ("typrelid", N),
            ("typelem", N),
            ("typarray", N),
            ("typnotnull", B),
            ("typbasetype", N),
            ("typtypmod", N),
            ("typdelim", T),
        ],
    ),
    (
        ("pg_catalog", "pg_database"),
        &[("oid", N), ("datname", T), ("datdba", N), ("encoding", N), ("datistemplate", B), ("datallowconn", B)],
    ),
    (("pg_catalog", "pg_roles"), &[("oid", N), ("rolname", T), ("rolsuper", B), ("rolcanlogin", B)]),
    (("pg_catalog", "pg_settings"), &[("name", T), ("setting", T), ("category", T), ("short_desc", T)]),
    (("pg_catalog", "pg_am"), &[("oid", N), ("amname", T)]),
    (("pg_catalog", "pg_description"), &[("objoid", N), ("classoid", N), ("objsubid", N), ("description", T)]),
    (("information_schema", "schemata"), &[("catalog_name", T), ("schema_name", T), ("schema_owner", T)]),
    (
        ("information_schema", "tables"),
        &[("table_catalog", T), ("table_schema", T), ("table_name", T), ("table_type", T)],
    ),
    (
        ("information_schema", "columns"),
        &[
            ("table_catalog", T),
            ("table_schema", T),
            ("table_name", T),
            ("column_name", T),
            ("ordinal_position", N),
            ("column_default", T),
            ("is_nullable", T),
            ("data_type", T),
            ("udt_name", T),
        ],
    ),
];

/// A table or view of the project.
pub(super) struct Relation {
    pub(super) name: TableName,
    pub(super) is_view: bool,
    pub(super) schema: SchemaRef,
}

/// The catalog as one client sees it.
pub(super) struct Catalog {
    pub(super) relations: Vec<Relation>,
    pub(super) caller: Arc<Caller>,
}

fn number_of(schema: &str, name: &str) -> i64 {
    // FNV-1a, 32 bits.
    let bytes = schema.bytes().chain([b'.']).chain(name.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    FIRST_OWN + i64::from(hash >> 2)
}

fn number_of_schema(name: &str) -> i64 {
    match name {
        "pg_catalog" => 11,
        "public" => 2_200,
        other => number_of("", other),
    }
}

/// The columns of a catalog table.
pub(super) fn schema(table: &TableName) -> Option<SchemaRef> {
    let (_, columns) = TABLES.iter().find(|((schema, name), _)| *schema == table.namespace && *name == table.name)?;
    let field = |(name, kind): &(&str, Kind)| {
        let data_type = match kind {
            N => DataType::Int64,
            T => DataType::Utf8,
            B => DataType::Boolean,
        };
        Field::new(*name, data_type, true)
    };
    Some(Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())))
}

impl Catalog {
    /// The rows of a catalog table.
    pub(super) fn rows(&self, table: &TableName) -> Result<RecordBatch, String> {
        let schema = schema(table).ok_or("there is no such table")?;
        let rows: Vec<Vec<Cell>> = match table.name.as_str() {
            "pg_namespace" => self.schemas().map(|name| self.namespace(name)).collect(),
            "pg_class" => self.relations.iter().map(class).collect(),
            "pg_attribute" => self.relations.iter().flat_map(attributes).collect(),
            "pg_type" => types(),
            "pg_database" => vec![vec![
                Cell::Number(1),
                text(&self.caller.database),
                Cell::Number(OWNER),
                Cell::Number(6),
                Cell::Truth(false),
                Cell::Truth(true),
            ]],
            "pg_roles" => {
                vec![vec![Cell::Number(OWNER), text(&self.caller.user), Cell::Truth(false), Cell::Truth(true)]]
            }
            "pg_settings" => {
                let setting =
                    |(name, value): (&String, &String)| vec![text(name), text(value), text("Session"), text("")];
                self.caller.settings.iter().map(setting).collect()
            }
            "schemata" => self
                .schemas()
                .map(|name| vec![text(&self.caller.database), text(name), text(&self.caller.user)])
                .collect(),
            "tables" => self.relations.iter().map(|relation| self.table(relation)).collect(),
            "columns" => self.relations.iter().flat_map(|relation| self.columns(relation)).collect(),
            _ => Vec::new(),
        };
        let arrays = schema.fields().iter().enumerate().map(|(at, field)| column(&rows, at, field.data_type()));
        RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).map_err(|error| error.to_string())
    }

    fn schemas(&self) -> impl Iterator<Item = &str> {
        let own: std::collections::BTreeSet<&str> =
            self.relations.iter().map(|relation| relation.name.namespace.as_str()).collect();
        let known = ["information_schema", "pg_catalog", TableName::DEFAULT_NAMESPACE];
        known.into_iter().chain(own.into_iter().filter(move |name| !known.contains(name)))
    }

    fn namespace(&self, name: &str) -> Vec<Cell> {
        vec![Cell::Number(number_of_schema(name)), text(name), Cell::Number(OWNER)]
    }

    fn table(&self, relation: &Relation) -> Vec<Cell> {
        let kind = if relation.is_view { "VIEW" } else { "BASE TABLE" };
        vec![text(&self.caller.database), text(&relation.name.namespace), text(&relation.name.name), text(kind)]
    }

    fn columns(&self, relation: &Relation) -> Vec<Vec<Cell>> {
        let column = |(at, field): (usize, &Arc<Field>)| {
            let wire = wire_column(field.data_type());
            let mut row = self.table(relation);
            row.truncate(3);
            let nullable = if field.is_nullable() { "YES" } else { "NO" };
            row.extend([
                text(field.name()),
                place(at),
                Cell::Nothing,
                text(nullable),
                text(wire.sql_name),
                text(wire.name),
            ]);
            row
        };
        relation.schema.fields().iter().enumerate().map(column).collect()
    }
}

fn place(at: usize) -> Cell {
    Cell::Number(i64::try_from(at).unwrap_or(i64::MAX).saturating_add(1))
}

fn class(relation: &Relation) -> Vec<Cell> {
    let TableName { namespace, name } = &relation.name;
    let kind = if relation.is_view { "v" } else { "r" };
    let count = i64::try_from(relation.schema.fields().len()).unwrap_or(i64::MAX);
    vec![
        Cell::Number(number_of(namespace, name)),
        text(name),
        Cell::Number(number_of_schema(namespace)),
        Cell::Number(0),
        Cell::Number(OWNER),
        Cell::Number(0),
        Cell::Number(-1),
        Cell::Truth(false),
        text("p"),
        text(kind),
        Cell::Number(count),
        Cell::Number(0),
        Cell::Truth(false),
        Cell::Truth(false),
        Cell::Truth(false),
        Cell::Truth(false),
        text("n"),
    ]
}

fn attributes(relation: &Relation) -> Vec<Vec<Cell>> {
    let table = number_of(&relation.name.namespace, &relation.name.name);
    let attribute = |(at, field): (usize, &Arc<Field>)| {
        let wire = wire_column(field.data_type());
        vec![
            Cell::Number(table),
            text(field.name()),
            Cell::Number(i64::from(wire.oid)),
            Cell::Number(i64::from(wire.size)),
            place(at),
            Cell::Number(i64::from(wire.modifier)),
            Cell::Truth(!field.is_nullable()),
            Cell::Truth(false),
            Cell::Truth(false),
            text(""),
            text(""),
        ]
    };
    relation.schema.fields().iter().enumerate().map(attribute).collect()
}

fn types() -> Vec<Vec<Cell>> {
    let row = |(wire, item, array): (WireColumn, u32, u32)| {
        let category = if item == 0 { "U" } else { "A" };
        vec![
            Cell::Number(i64::from(wire.oid)),
            text(wire.name),
            Cell::Number(11),
            Cell::Number(OWNER),
            Cell::Number(i64::from(wire.size)),
            text("b"),
            text(category),
            Cell::Number(0),
            Cell::Number(i64::from(item)),
            Cell::Number(i64::from(array)),
            Cell::Truth(false),
            Cell::Number(0),
            Cell::Number(-1),
            text(","),
        ]
    };
    wire_types().into_iter().map(row).collect()
}

fn column(rows: &[Vec<Cell>], at: usize, data_type: &DataType) -> ArrayRef {
    let cells = rows.iter().map(|row| row.get(at).unwrap_or(&Cell::Nothing));
    match data_type {
        DataType::Int64 => Arc::new(
            cells.map(|cell| if let Cell::Number(value) = cell { Some(*value) } else { None }).collect::<Int64Array>(),
        ),
        DataType::Boolean => Arc::new(
            cells.map(|cell| if let Cell::Truth(value) = cell { Some(*value) } else { None }).collect::<BooleanArray>(),
        ),
        _ => Arc::new(
            cells
                .map(|cell| if let Cell::Text(value) = cell { Some(value.as_str()) } else { None })
                .collect::<StringArray>(),
        ),
    }
}
