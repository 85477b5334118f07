//! The tables that the SQL port has beside the project's: Mulgil's own, and what clients of PostgreSQL ask about them all.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::StreamExt;
use mulgil_connect::definition::TableName;
use mulgil_sql::catalog::Table;
use mulgil_sql::system::{SystemRows, SystemTables};
use mulgil_sql::wanted::Wanted;
use mulgil_sqlport::Caller;

use super::catalog::{Catalog, Relation, is_always_empty, schema};
use crate::own_tables::OwnTables;
use crate::reload::Loaded;

/// The tables of one session.
pub(super) struct Tables {
    loaded: Arc<Loaded>,
    caller: Arc<Caller>,
    own: OwnTables,
    /// Made when somebody asks for it: most queries do not.
    catalog: OnceLock<Catalog>,
}

impl Tables {
    pub(super) fn new(loaded: Arc<Loaded>, caller: Arc<Caller>, own: OwnTables) -> Self {
        Self { loaded, caller, own, catalog: OnceLock::new() }
    }

    /// All that there is to read, as the client sees it.
    pub(super) fn catalog(&self) -> &Catalog {
        self.catalog.get_or_init(|| {
            let views = self.loaded.catalog.views().map(|view| {
                let schema = self.loaded.views.schema(&view.name).unwrap_or_else(|_| Arc::clone(&view.schema));
                // Its place is known by the columns that answer now: a swap may have changed them.
                let key = self.loaded.views.key(&view.name).unwrap_or_default();
                let key = if key.iter().all(|place| *place < schema.fields().len()) { key } else { Vec::new() };
                Relation { name: view.name.clone(), definition: Some(view.query_text.clone()), schema, key }
            });
            let tables = self.loaded.catalog.tables().map(|table| Relation {
                name: table.definition.name.clone(),
                definition: None,
                schema: columns_of(table),
                key: Vec::new(),
            });
            let own = OwnTables::all();
            let own = own.map(|(name, schema)| Relation { name, definition: None, schema, key: Vec::new() });
            Catalog::new(tables.chain(views).chain(own).map(Arc::new).collect(), Arc::clone(&self.caller))
        })
    }
}

/// All columns of a table, computed ones included.
fn columns_of(table: &Table) -> SchemaRef {
    let columns = table.definition.columns.iter();
    let fields = columns.map(|column| Field::new(&column.name, column.data_type.clone(), column.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl SystemTables for Tables {
    fn schema(&self, table: &TableName) -> Option<SchemaRef> {
        self.own.schema(table).or_else(|| schema(table))
    }

    fn is_always_empty(&self, table: &TableName) -> bool {
        is_always_empty(table)
    }

    fn rows(&self, table: &TableName, wanted: &Wanted) -> SystemRows {
        if self.own.schema(table).is_some() {
            return self.own.rows(table, wanted);
        }
        futures::stream::iter([self.catalog().rows(table)]).boxed()
    }
}
