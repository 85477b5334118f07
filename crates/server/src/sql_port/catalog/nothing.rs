//! The catalog's tables of things that Mulgil has none of: they never have a row, but clients join them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use mulgil_connect::definition::TableName;

/// Schema, name and columns. A column with `#` is a number, one with `?` a truth value, any other a text.
const TABLES: [(&str, &str, &str); 28] = [
    ("pg_catalog", "pg_attrdef", "oid# adrelid# adnum# adbin"),
    ("pg_catalog", "pg_auth_members", "oid# roleid# member# grantor# admin_option?"),
    ("pg_catalog", "pg_cast", "oid# castsource# casttarget# castfunc# castcontext castmethod"),
    ("pg_catalog", "pg_collation", "oid# collname collnamespace# collcollate collctype"),
    ("pg_catalog", "pg_depend", "classid# objid# objsubid# refclassid# refobjid# refobjsubid# deptype"),
    ("pg_catalog", "pg_description", "objoid# classoid# objsubid# description"),
    ("pg_catalog", "pg_enum", "oid# enumtypid# enumsortorder# enumlabel"),
    ("pg_catalog", "pg_event_trigger", "oid# evtname evtevent evtowner#"),
    ("pg_catalog", "pg_extension", "oid# extname extowner# extnamespace# extversion"),
    ("pg_catalog", "pg_foreign_table", "ftrelid# ftserver#"),
    ("pg_catalog", "pg_inherits", "inhrelid# inhparent# inhseqno# inhdetachpending?"),
    ("pg_catalog", "pg_matviews", "schemaname matviewname matviewowner definition"),
    ("pg_catalog", "pg_partitioned_table", "partrelid# partstrat partnatts#"),
    ("pg_catalog", "pg_policy", "oid# polname polrelid# polcmd polpermissive?"),
    ("pg_catalog", "pg_proc", "oid# proname pronamespace# proowner# prokind prorettype# pronargs#"),
    ("pg_catalog", "pg_publication", "oid# pubname pubowner# puballtables?"),
    ("pg_catalog", "pg_publication_namespace", "oid# pnpubid# pnnspid#"),
    ("pg_catalog", "pg_publication_rel", "oid# prpubid# prrelid#"),
    ("pg_catalog", "pg_range", "rngtypid# rngsubtype#"),
    ("pg_catalog", "pg_rewrite", "oid# rulename ev_class# ev_type ev_enabled"),
    ("pg_catalog", "pg_sequence", "seqrelid# seqtypid# seqstart# seqincrement#"),
    ("pg_catalog", "pg_shdescription", "objoid# classoid# description"),
    ("pg_catalog", "pg_statistic_ext", "oid# stxrelid# stxname stxnamespace#"),
    ("pg_catalog", "pg_trigger", "oid# tgrelid# tgname tgenabled tgisinternal? tgconstraint#"),
    (
        "information_schema",
        "referential_constraints",
        "constraint_catalog constraint_schema constraint_name unique_constraint_schema unique_constraint_name",
    ),
    ("information_schema", "routines", "routine_catalog routine_schema routine_name routine_type data_type"),
    ("information_schema", "sequences", "sequence_catalog sequence_schema sequence_name data_type"),
    (
        "information_schema",
        "triggers",
        "trigger_catalog trigger_schema trigger_name event_object_schema event_object_table",
    ),
];

fn columns(table: &TableName) -> Option<&'static str> {
    let (_, _, columns) =
        TABLES.iter().find(|(namespace, name, _)| *namespace == table.namespace && *name == table.name)?;
    Some(columns)
}

/// Whether it is one of them.
pub(super) fn is_one(table: &TableName) -> bool {
    columns(table).is_some()
}

/// The columns of one of them.
pub(super) fn schema(table: &TableName) -> Option<SchemaRef> {
    let field = |column: &str| {
        let data_type = match column.chars().last() {
            Some('#') => DataType::Int64,
            Some('?') => DataType::Boolean,
            _ => DataType::Utf8,
        };
        Field::new(column.trim_end_matches(['#', '?']), data_type, true)
    };
    Some(Arc::new(Schema::new(columns(table)?.split(' ').map(field).collect::<Vec<_>>())))
}
