//! The catalog's tables of schemas, tables, views and columns. Indexes are relations too, with columns of their own.

use std::sync::Arc;

use mulgil_sqlport::{Caller, WireColumn, wire_column};

use super::keys::SORTED;
use super::{Catalog, CatalogTable, OWNER, Relation, catalog_tables, number_of_schema};
use crate::cells::{Cell, Column, columns};

/// A schema, to a client.
struct Space {
    name: String,
    caller: Arc<Caller>,
}

/// A relation, to a client.
struct Listed {
    relation: Arc<Relation>,
    caller: Arc<Caller>,
    is_index: bool,
}

impl Listed {
    /// The letter for its kind.
    fn kind(&self) -> &'static str {
        match (self.is_index, &self.relation.definition) {
            (true, _) => "i",
            (false, Some(_)) => "v",
            (false, None) => "r",
        }
    }
}

/// A column of a relation, to a client.
struct Part {
    relation: Arc<Relation>,
    caller: Arc<Caller>,
    /// From 1.
    place: i64,
    name: String,
    is_nullable: bool,
    wire: WireColumn,
}

pub(super) const TABLES: &[CatalogTable] = catalog_tables! {
    "pg_catalog" "pg_namespace" NAMESPACE spaces;
    "pg_catalog" "pg_class" CLASS classes;
    "pg_catalog" "pg_attribute" ATTRIBUTE attributes;
    "pg_catalog" "pg_tables" PG_TABLES tables;
    "pg_catalog" "pg_views" PG_VIEWS views;
    "information_schema" "schemata" SCHEMATA spaces;
    "information_schema" "tables" INFORMATION_TABLES listed;
    "information_schema" "views" INFORMATION_VIEWS views;
    "information_schema" "columns" INFORMATION_COLUMNS parts;
};

const NAMESPACE: &[Column<Space>] = columns! {
    "oid" Number |space| number_of_schema(&space.name).into();
    "nspname" Text |space| (&space.name).into();
    "nspowner" Number |_| OWNER.into();
    "nspacl" Texts |_| Cell::Nothing;
};

const SCHEMATA: &[Column<Space>] = columns! {
    "catalog_name" Text |space| (&space.caller.database).into();
    "schema_name" Text |space| (&space.name).into();
    "schema_owner" Text |space| (&space.caller.user).into();
};

const CLASS: &[Column<Listed>] = columns! {
    "oid" Number |of| of.relation.number().into();
    "relname" Text |of| (&of.relation.name.name).into();
    "relnamespace" Number |of| number_of_schema(&of.relation.name.namespace).into();
    "reltype" Number |_| 0_i64.into();
    "reloftype" Number |_| 0_i64.into();
    "relowner" Number |_| OWNER.into();
    "relam" Number |of| (if of.is_index { SORTED } else { 0 }).into();
    "relfilenode" Number |_| 0_i64.into();
    "reltablespace" Number |_| 0_i64.into();
    "relpages" Number |_| 0_i64.into();
    "reltuples" Real |_| (-1.0).into();
    "reltoastrelid" Number |_| 0_i64.into();
    "relhasindex" Truth |of| (!of.relation.key.is_empty()).into();
    "relisshared" Truth |_| false.into();
    "relpersistence" Text |_| "p".into();
    "relkind" Text |of| of.kind().into();
    "relnatts" Number |of| (of.relation.schema.fields().len() as u64).into();
    "relchecks" Number |_| 0_i64.into();
    "relhasrules" Truth |_| false.into();
    "relhastriggers" Truth |_| false.into();
    "relhassubclass" Truth |_| false.into();
    "relrowsecurity" Truth |_| false.into();
    "relforcerowsecurity" Truth |_| false.into();
    "relispopulated" Truth |_| true.into();
    "relreplident" Text |_| "n".into();
    "relispartition" Truth |_| false.into();
    "relacl" Texts |_| Cell::Nothing;
    "reloptions" Texts |_| Cell::Nothing;
    "relpartbound" Text |_| Cell::Nothing;
};

const ATTRIBUTE: &[Column<Part>] = columns! {
    "attrelid" Number |of| of.relation.number().into();
    "attname" Text |of| (&of.name).into();
    "atttypid" Number |of| i64::from(of.wire.oid).into();
    "attlen" Number |of| i64::from(of.wire.size).into();
    "attnum" Number |of| of.place.into();
    "attndims" Number |of| i64::from(of.wire.name.starts_with('_')).into();
    "atttypmod" Number |of| i64::from(of.wire.modifier).into();
    "attnotnull" Truth |of| (!of.is_nullable).into();
    "atthasdef" Truth |_| false.into();
    "atthasmissing" Truth |_| false.into();
    "attidentity" Text |_| "".into();
    "attgenerated" Text |_| "".into();
    "attisdropped" Truth |_| false.into();
    "attislocal" Truth |_| true.into();
    "attinhcount" Number |_| 0_i64.into();
    "attcollation" Number |_| 0_i64.into();
    "attstorage" Text |_| "p".into();
    "attcompression" Text |_| "".into();
    "attstattarget" Number |_| (-1_i64).into();
    "attacl" Texts |_| Cell::Nothing;
    "attoptions" Texts |_| Cell::Nothing;
    "attfdwoptions" Texts |_| Cell::Nothing;
};

const PG_TABLES: &[Column<Listed>] = columns! {
    "schemaname" Text |of| (&of.relation.name.namespace).into();
    "tablename" Text |of| (&of.relation.name.name).into();
    "tableowner" Text |of| (&of.caller.user).into();
    "tablespace" Text |_| Cell::Nothing;
    "hasindexes" Truth |_| false.into();
    "hasrules" Truth |_| false.into();
    "hastriggers" Truth |_| false.into();
    "rowsecurity" Truth |_| false.into();
};

const PG_VIEWS: &[Column<Listed>] = columns! {
    "schemaname" Text |of| (&of.relation.name.namespace).into();
    "viewname" Text |of| (&of.relation.name.name).into();
    "viewowner" Text |of| (&of.caller.user).into();
    "definition" Text |of| of.relation.definition.as_ref().into();
};

const INFORMATION_TABLES: &[Column<Listed>] = columns! {
    "table_catalog" Text |of| (&of.caller.database).into();
    "table_schema" Text |of| (&of.relation.name.namespace).into();
    "table_name" Text |of| (&of.relation.name.name).into();
    "table_type" Text |of| (if of.relation.definition.is_some() { "VIEW" } else { "BASE TABLE" }).into();
    "is_insertable_into" Text |_| "NO".into();
};

const INFORMATION_VIEWS: &[Column<Listed>] = columns! {
    "table_catalog" Text |of| (&of.caller.database).into();
    "table_schema" Text |of| (&of.relation.name.namespace).into();
    "table_name" Text |of| (&of.relation.name.name).into();
    "view_definition" Text |of| of.relation.definition.as_ref().into();
    "is_updatable" Text |_| "NO".into();
};

const INFORMATION_COLUMNS: &[Column<Part>] = columns! {
    "table_catalog" Text |of| (&of.caller.database).into();
    "table_schema" Text |of| (&of.relation.name.namespace).into();
    "table_name" Text |of| (&of.relation.name.name).into();
    "column_name" Text |of| (&of.name).into();
    "ordinal_position" Number |of| of.place.into();
    "column_default" Text |_| Cell::Nothing;
    "is_nullable" Text |of| (if of.is_nullable { "YES" } else { "NO" }).into();
    "data_type" Text |of| (&of.wire.sql_name).into();
    "udt_schema" Text |_| "pg_catalog".into();
    "udt_name" Text |of| (&of.wire.name).into();
    "is_identity" Text |_| "NO".into();
    "is_generated" Text |_| "NEVER".into();
    "is_updatable" Text |_| "NO".into();
};

fn spaces(catalog: &Catalog) -> Vec<Space> {
    let space = |name: &str| Space { name: name.to_owned(), caller: Arc::clone(&catalog.caller) };
    catalog.schemas().map(space).collect()
}

fn listed(catalog: &Catalog) -> Vec<Listed> {
    catalog.relations.iter().map(|relation| shown(catalog, relation, false)).collect()
}

fn shown(catalog: &Catalog, relation: &Arc<Relation>, is_index: bool) -> Listed {
    Listed { relation: Arc::clone(relation), caller: Arc::clone(&catalog.caller), is_index }
}

/// Relations and indexes.
fn classes(catalog: &Catalog) -> Vec<Listed> {
    let indexes = catalog.keys.iter().map(|key| shown(catalog, &key.index, true));
    listed(catalog).into_iter().chain(indexes).collect()
}

fn tables(catalog: &Catalog) -> Vec<Listed> {
    listed(catalog).into_iter().filter(|listed| listed.relation.definition.is_none()).collect()
}

fn views(catalog: &Catalog) -> Vec<Listed> {
    listed(catalog).into_iter().filter(|listed| listed.relation.definition.is_some()).collect()
}

fn parts(catalog: &Catalog) -> Vec<Part> {
    listed(catalog).into_iter().flat_map(parts_of).collect()
}

fn attributes(catalog: &Catalog) -> Vec<Part> {
    classes(catalog).into_iter().flat_map(parts_of).collect()
}

fn parts_of(listed: Listed) -> Vec<Part> {
    let fields = Arc::clone(&listed.relation.schema);
    let part = |(place, field): (i64, &Arc<arrow::datatypes::Field>)| Part {
        relation: Arc::clone(&listed.relation),
        caller: Arc::clone(&listed.caller),
        place,
        name: field.name().clone(),
        is_nullable: field.is_nullable(),
        wire: wire_column(field.data_type()),
    };
    (1..).zip(fields.fields()).map(part).collect()
}
