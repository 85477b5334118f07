//! The catalog's tables of keys: what names a row of a view is its primary key to a client, with an index of that name.

use std::sync::Arc;

use arrow::datatypes::Schema;
use mulgil_connect::definition::TableName;
use mulgil_sqlport::Caller;

use super::{Catalog, CatalogTable, Relation, catalog_tables, number_of, number_of_schema, quoted};
use crate::cells::{Cell, Column, columns};

/// What sorted indexes are called.
pub(super) const SORTED: i64 = 403;

/// The key of a relation.
pub(in crate::sql_port) struct Key {
    relation: Arc<Relation>,
    /// A relation of the key's columns.
    pub(super) index: Arc<Relation>,
}

impl Key {
    /// The key of a relation that has one.
    pub(super) fn of(relation: &Arc<Relation>) -> Option<Self> {
        let columns = relation.schema.project(&relation.key).ok().filter(|columns| !columns.fields().is_empty())?;
        let TableName { namespace, name } = &relation.name;
        let name = TableName { namespace: namespace.clone(), name: format!("{name}_pkey") };
        let index = Relation { name, definition: None, schema: Arc::new(columns), key: Vec::new() };
        Some(Self { relation: Arc::clone(relation), index: Arc::new(index) })
    }

    /// The number of the constraint.
    pub(super) fn number(&self) -> i64 {
        number_of("pg_constraint", &self.index.written())
    }

    fn columns(&self) -> &Schema {
        &self.index.schema
    }

    /// The names of its columns, as SQL has to write them.
    fn names(&self) -> String {
        self.columns().fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>().join(", ")
    }

    /// The constraint, as SQL.
    pub(in crate::sql_port) fn constraint(&self) -> String {
        format!("PRIMARY KEY ({})", self.names())
    }

    /// The index, as SQL.
    pub(in crate::sql_port) fn definition(&self) -> String {
        let TableName { namespace, name } = &self.relation.name;
        let (namespace, name, index) = (quoted(namespace), quoted(name), quoted(&self.index.name.name));
        format!("CREATE UNIQUE INDEX {index} ON {namespace}.{name} USING btree ({})", self.names())
    }

    /// The name of one of its columns, from 1, as SQL has to write it.
    pub(in crate::sql_port) fn column(&self, place: i64) -> Option<String> {
        let place = usize::try_from(place).ok()?.checked_sub(1)?;
        self.columns().fields().get(place).map(|field| quoted(field.name()))
    }

    /// The places of its columns in the relation, from 1.
    fn places(&self) -> impl Iterator<Item = i64> {
        self.relation.key.iter().filter_map(|place| i64::try_from(*place).ok()?.checked_add(1))
    }

    /// A word for each of its columns, as PostgreSQL writes lists of small numbers.
    fn each(&self, word: impl Fn(i64) -> i64) -> String {
        self.places().map(|place| word(place).to_string()).collect::<Vec<_>>().join(" ")
    }

    fn count(&self) -> Cell {
        (self.relation.key.len() as u64).into()
    }
}

/// A key, or a column of one, to a client.
struct Shown {
    key: Arc<Key>,
    caller: Arc<Caller>,
    /// The column's place in the key, from 1, and its name.
    column: (u64, String),
}

pub(super) const TABLES: &[CatalogTable] = catalog_tables! {
    "pg_catalog" "pg_index" INDEX keys;
    "pg_catalog" "pg_constraint" CONSTRAINT keys;
    "information_schema" "table_constraints" TABLE_CONSTRAINTS keys;
    "information_schema" "key_column_usage" KEY_COLUMN_USAGE parts;
};

const INDEX: &[Column<Shown>] = columns! {
    "indexrelid" Number |of| of.key.index.number().into();
    "indrelid" Number |of| of.key.relation.number().into();
    "indnatts" Number |of| of.key.count();
    "indnkeyatts" Number |of| of.key.count();
    "indisunique" Truth |_| true.into();
    "indnullsnotdistinct" Truth |_| true.into();
    "indisprimary" Truth |_| true.into();
    "indisexclusion" Truth |_| false.into();
    "indimmediate" Truth |_| true.into();
    "indisclustered" Truth |_| false.into();
    "indisvalid" Truth |_| true.into();
    "indcheckxmin" Truth |_| false.into();
    "indisready" Truth |_| true.into();
    "indislive" Truth |_| true.into();
    "indisreplident" Truth |_| false.into();
    "indkey" Vector |of| of.key.each(|place| place).into();
    "indcollation" Vector |of| of.key.each(|_| 0).into();
    "indclass" Vector |of| of.key.each(|_| 0).into();
    "indoption" Vector |of| of.key.each(|_| 0).into();
    "indexprs" Text |_| Cell::Nothing;
    "indpred" Text |_| Cell::Nothing;
};

const CONSTRAINT: &[Column<Shown>] = columns! {
    "oid" Number |of| of.key.number().into();
    "conname" Text |of| (&of.key.index.name.name).into();
    "connamespace" Number |of| number_of_schema(&of.key.relation.name.namespace).into();
    "contype" Text |_| "p".into();
    "condeferrable" Truth |_| false.into();
    "condeferred" Truth |_| false.into();
    "convalidated" Truth |_| true.into();
    "conrelid" Number |of| of.key.relation.number().into();
    "contypid" Number |_| 0_i64.into();
    "conindid" Number |of| of.key.index.number().into();
    "conparentid" Number |_| 0_i64.into();
    "confrelid" Number |_| 0_i64.into();
    "confupdtype" Text |_| " ".into();
    "confdeltype" Text |_| " ".into();
    "confmatchtype" Text |_| " ".into();
    "conislocal" Truth |_| true.into();
    "coninhcount" Number |_| 0_i64.into();
    "connoinherit" Truth |_| true.into();
    "conkey" Numbers |of| of.key.places().collect::<Vec<i64>>().into();
    "confkey" Numbers |_| Cell::Nothing;
    "conbin" Text |_| Cell::Nothing;
};

const TABLE_CONSTRAINTS: &[Column<Shown>] = columns! {
    "constraint_catalog" Text |of| (&of.caller.database).into();
    "constraint_schema" Text |of| (&of.key.relation.name.namespace).into();
    "constraint_name" Text |of| (&of.key.index.name.name).into();
    "table_catalog" Text |of| (&of.caller.database).into();
    "table_schema" Text |of| (&of.key.relation.name.namespace).into();
    "table_name" Text |of| (&of.key.relation.name.name).into();
    "constraint_type" Text |_| "PRIMARY KEY".into();
    "is_deferrable" Text |_| "NO".into();
    "initially_deferred" Text |_| "NO".into();
    "enforced" Text |_| "YES".into();
};

const KEY_COLUMN_USAGE: &[Column<Shown>] = columns! {
    "constraint_catalog" Text |of| (&of.caller.database).into();
    "constraint_schema" Text |of| (&of.key.relation.name.namespace).into();
    "constraint_name" Text |of| (&of.key.index.name.name).into();
    "table_catalog" Text |of| (&of.caller.database).into();
    "table_schema" Text |of| (&of.key.relation.name.namespace).into();
    "table_name" Text |of| (&of.key.relation.name.name).into();
    "column_name" Text |of| (&of.column.1).into();
    "ordinal_position" Number |of| of.column.0.into();
    "position_in_unique_constraint" Number |_| Cell::Nothing;
};

fn keys(catalog: &Catalog) -> Vec<Shown> {
    let shown = |key: &Arc<Key>| Shown {
        key: Arc::clone(key),
        caller: Arc::clone(&catalog.caller),
        column: (0, String::new()),
    };
    catalog.keys.iter().map(shown).collect()
}

fn parts(catalog: &Catalog) -> Vec<Shown> {
    let parts = |shown: Shown| {
        let columns = shown.key.columns().fields().clone();
        let part = |(place, field): (u64, &Arc<arrow::datatypes::Field>)| Shown {
            key: Arc::clone(&shown.key),
            caller: Arc::clone(&shown.caller),
            column: (place, field.name().clone()),
        };
        (1..).zip(&columns).map(part).collect::<Vec<_>>()
    };
    keys(catalog).into_iter().flat_map(parts).collect()
}
