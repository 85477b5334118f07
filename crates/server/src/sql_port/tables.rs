//! The tables that the SQL port has beside the project's.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::StreamExt;
use mulgil_connect::definition::TableName;
use mulgil_sql::catalog::Table;
use mulgil_sql::system::{SystemRows, SystemTables};
use mulgil_sqlport::Caller;

use super::catalog::{Catalog, Relation, schema};
use crate::reload::Loaded;

/// The tables of one session.
pub(super) struct Tables {
    pub(super) loaded: Arc<Loaded>,
    pub(super) caller: Arc<Caller>,
}

impl Tables {
    fn catalog(&self) -> Catalog {
        let views = self.loaded.catalog.views().map(|view| {
            let schema = self.loaded.views.schema(&view.name).unwrap_or_else(|_| Arc::clone(&view.schema));
            Relation { name: view.name.clone(), is_view: true, schema }
        });
        let tables = self.loaded.catalog.tables().map(|table| Relation {
            name: table.definition.name.clone(),
            is_view: false,
            schema: columns_of(table),
        });
        Catalog { relations: tables.chain(views).collect(), caller: Arc::clone(&self.caller) }
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
        schema(table)
    }

    fn rows(&self, table: &TableName) -> SystemRows {
        futures::stream::iter([self.catalog().rows(table)]).boxed()
    }
}
