//! What a `CREATE TABLE` statement says about a table, checked and typed, before any system is touched.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::format::debezium;
use crate::lake;

/// A table's name: `departures` or `raw.departures`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The part before the dot; `public` when there is none.
    pub namespace: String,
    /// The part after the dot.
    pub name: String,
}

impl TableName {
    /// The namespace of names without a dot.
    pub const DEFAULT_NAMESPACE: &'static str = "public";

    /// Reads `name` or `namespace.name`.
    pub fn parse(text: &str) -> Self {
        match text.split_once('.') {
            Some((namespace, name)) => Self { namespace: namespace.to_owned(), name: name.to_owned() },
            None => Self { namespace: Self::DEFAULT_NAMESPACE.to_owned(), name: text.to_owned() },
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace == Self::DEFAULT_NAMESPACE {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}.{}", self.namespace, self.name)
        }
    }
}

/// A table as its `CREATE TABLE` says it.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDefinition {
    /// Its name.
    pub name: TableName,
    /// Its columns, in order, computed ones included.
    pub columns: Vec<ColumnDefinition>,
    /// `WATERMARK FOR column AS expression`.
    pub watermark: Option<WatermarkDefinition>,
    /// `PARTITIONED BY (...)`: names of physical columns.
    pub partitioned_by: Vec<String>,
    /// `PRIMARY KEY (...) NOT ENFORCED`: by these columns a row is told from others. Empty where none is declared.
    pub primary_key: Vec<String>,
    /// `WITH (...)`, in Flink's spelling where Flink has the option. `connector` is always there.
    pub options: BTreeMap<String, String>,
}

impl TableDefinition {
    /// The columns that the outside system holds, computed ones left out: what connectors read and write.
    pub fn physical_schema(&self) -> SchemaRef {
        let physical = self.columns.iter().filter(|column| column.computed.is_none());
        let fields = physical.map(|column| Field::new(&column.name, column.data_type.clone(), column.nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Whether what is read of it is a changelog: rows are also taken back.
    pub fn has_changes(&self) -> bool {
        let format = self.options.get("value.format").or_else(|| self.options.get("format"));
        format.is_some_and(|format| format == debezium::NAME) || lake::has_changes(self)
    }

    /// The columns that an `INSERT` writes: the physical ones without those that can only be read.
    pub fn writable_schema(&self) -> SchemaRef {
        let is_virtual =
            |column: &ColumnDefinition| column.metadata.as_ref().is_some_and(|metadata| metadata.is_virtual);
        let written = self.columns.iter().filter(|column| column.computed.is_none() && !is_virtual(column));
        let fields = written.map(|column| Field::new(&column.name, column.data_type.clone(), column.nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type. For a computed column, the type of its expression once planned, else `Null`.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// `name AS expression`: computed from the physical columns by `sql`, unknown to connectors.
    pub computed: Option<String>,
    /// `name TYPE METADATA FROM 'key'`: not a part of the row but what its system says about it.
    pub metadata: Option<MetadataDefinition>,
}

/// `METADATA [FROM 'key'] [VIRTUAL]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataDefinition {
    /// What is asked for, in Flink's words: `timestamp`, `offset`. The column's name, unless `FROM` says another.
    pub key: String,
    /// Whether the column can only be read: it is no column of an `INSERT`.
    pub is_virtual: bool,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug, PartialEq)]
pub struct WatermarkDefinition {
    /// The event-time column.
    pub column: String,
    /// The bound, as SQL text, for example `ts - INTERVAL '2' HOUR`.
    pub expression: String,
}
