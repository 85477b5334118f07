//! The catalog's tables of the server itself: its one database, its one role, its settings and types.

use std::sync::Arc;

use mulgil_sqlport::{Caller, WireColumn, wire_types};

use super::keys::SORTED;
use super::{Catalog, CatalogTable, OWNER, catalog_tables, number_of_schema};
use crate::cells::{Cell, Column, columns};

/// A type: as it goes over the wire, its items' type, its array's type; 0 for none.
type WireType = (WireColumn, u32, u32);

pub(super) const TABLES: &[CatalogTable] = catalog_tables! {
    "pg_catalog" "pg_database" DATABASE caller;
    "pg_catalog" "pg_roles" ROLES caller;
    "pg_catalog" "pg_user" USER caller;
    "pg_catalog" "pg_settings" SETTINGS settings;
    "pg_catalog" "pg_am" AM access_methods;
    "pg_catalog" "pg_tablespace" TABLESPACE caller;
    "pg_catalog" "pg_type" TYPE types;
};

const DATABASE: &[Column<Arc<Caller>>] = columns! {
    "oid" Number |_| 1_i64.into();
    "datname" Text |caller| (&caller.database).into();
    "datdba" Number |_| OWNER.into();
    "encoding" Number |_| 6_i64.into();
    "datlocprovider" Text |_| "c".into();
    "datistemplate" Truth |_| false.into();
    "datallowconn" Truth |_| true.into();
    "datconnlimit" Number |_| (-1_i64).into();
    "dattablespace" Number |_| 1_663_i64.into();
    "datcollate" Text |_| "C.UTF-8".into();
    "datctype" Text |_| "C.UTF-8".into();
    "daticulocale" Text |_| Cell::Nothing;
    "daticurules" Text |_| Cell::Nothing;
    "datacl" Texts |_| Cell::Nothing;
};

const ROLES: &[Column<Arc<Caller>>] = columns! {
    "oid" Number |_| OWNER.into();
    "rolname" Text |caller| (&caller.user).into();
    "rolsuper" Truth |_| false.into();
    "rolinherit" Truth |_| true.into();
    "rolcreaterole" Truth |_| false.into();
    "rolcreatedb" Truth |_| false.into();
    "rolcanlogin" Truth |_| true.into();
    "rolreplication" Truth |_| false.into();
    "rolconnlimit" Number |_| (-1_i64).into();
    "rolvaliduntil" Moment |_| Cell::Nothing;
    "rolbypassrls" Truth |_| false.into();
    "rolconfig" Texts |_| Cell::Nothing;
};

const USER: &[Column<Arc<Caller>>] = columns! {
    "usename" Text |caller| (&caller.user).into();
    "usesysid" Number |_| OWNER.into();
    "usecreatedb" Truth |_| false.into();
    "usesuper" Truth |_| false.into();
};

const TABLESPACE: &[Column<Arc<Caller>>] = columns! {
    "oid" Number |_| 1_663_i64.into();
    "spcname" Text |_| "pg_default".into();
    "spcowner" Number |_| OWNER.into();
    "spcacl" Texts |_| Cell::Nothing;
    "spcoptions" Texts |_| Cell::Nothing;
};

const SETTINGS: &[Column<(String, String)>] = columns! {
    "name" Text |setting| (&setting.0).into();
    "setting" Text |setting| (&setting.1).into();
    "unit" Text |_| Cell::Nothing;
    "category" Text |_| "Session".into();
    "short_desc" Text |_| "".into();
    "context" Text |_| "user".into();
    "vartype" Text |_| "string".into();
    "source" Text |_| "session".into();
};

const AM: &[Column<()>] = columns! {
    "oid" Number |_| SORTED.into();
    "amname" Text |_| "btree".into();
    "amtype" Text |_| "i".into();
};

const TYPE: &[Column<WireType>] = columns! {
    "oid" Number |of| i64::from(of.0.oid).into();
    "typname" Text |of| (&of.0.name).into();
    "typnamespace" Number |_| number_of_schema("pg_catalog").into();
    "typowner" Number |_| OWNER.into();
    "typlen" Number |of| i64::from(of.0.size).into();
    "typtype" Text |_| "b".into();
    "typcategory" Text |of| category(of).into();
    "typisdefined" Truth |_| true.into();
    "typdelim" Text |_| ",".into();
    "typrelid" Number |_| 0_i64.into();
    "typelem" Number |of| of.1.into();
    "typarray" Number |of| of.2.into();
    "typinput" Text |of| (of.1 != 0).then_some("array_in").into();
    "typnotnull" Truth |_| false.into();
    "typbasetype" Number |_| 0_i64.into();
    "typtypmod" Number |_| (-1_i64).into();
    "typndims" Number |_| 0_i64.into();
    "typcollation" Number |_| 0_i64.into();
    "typdefault" Text |_| Cell::Nothing;
    "typacl" Texts |_| Cell::Nothing;
};

/// The letter for types of a kind, as PostgreSQL has them.
fn category(of: &WireType) -> &'static str {
    match of.0.name.as_str() {
        _ if of.1 != 0 => "A",
        "bool" => "B",
        "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" | "oid" => "N",
        "text" | "varchar" | "bpchar" | "name" => "S",
        "date" | "time" | "timestamp" | "timestamptz" => "D",
        "interval" => "T",
        _ => "U",
    }
}

fn caller(catalog: &Catalog) -> Vec<Arc<Caller>> {
    vec![Arc::clone(&catalog.caller)]
}

fn settings(catalog: &Catalog) -> Vec<(String, String)> {
    catalog.caller.settings.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Indexes of keys are looked into as sorted ones are.
fn access_methods(_: &Catalog) -> Vec<()> {
    vec![()]
}

fn types(_: &Catalog) -> Vec<WireType> {
    wire_types()
}
