//! Where the rows of one query come from: the tables opened for it, one snapshot of each view, and the system tables.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use mulgil_connect::definition::{TableDefinition, TableName};

use crate::catalog::View;
use crate::plan::Scans;
use crate::session::ViewSnapshots;
use crate::system::System;

/// The tables that were opened for one query; and one snapshot of each view, however often the query names it.
pub(crate) struct OpenedScans {
    pub(crate) tables: HashMap<TableName, Arc<dyn TableSource>>,
    snapshots: Option<Arc<dyn ViewSnapshots>>,
    system: Option<Arc<System>>,
    taken: Mutex<HashMap<TableName, Option<Arc<dyn TableSource>>>>,
}

impl OpenedScans {
    pub(crate) fn new(snapshots: Option<Arc<dyn ViewSnapshots>>, system: Option<Arc<System>>) -> Self {
        Self { tables: HashMap::new(), snapshots, system, taken: Mutex::new(HashMap::new()) }
    }
}

impl Scans for OpenedScans {
    fn table(&self, definition: &TableDefinition) -> Option<Arc<dyn TableSource>> {
        self.tables.get(&definition.name).cloned()
    }

    fn view(&self, view: &View) -> Option<Arc<dyn TableSource>> {
        let snapshots = self.snapshots.as_ref()?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.entry(view.name.clone()).or_insert_with(|| snapshots.snapshot(&view.name).map(provider_as_source)).clone()
    }

    fn is_always_empty(&self, name: &TableName) -> bool {
        self.system.as_ref().is_some_and(|system| system.is_always_empty(name))
    }

    fn system(&self, name: &TableName) -> Option<Arc<dyn TableSource>> {
        self.system.as_ref()?.table(name).map(provider_as_source)
    }
}
