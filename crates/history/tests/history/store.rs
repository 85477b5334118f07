//! Places for histories: a file in a folder of its own, a database of its own in the cluster of this test program.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mulgil_history::History;
use mulgil_history::postgres::PostgresHistory;
use mulgil_history::postgres::leading::{Leader, Standing};
use mulgil_history::sqlite::SqliteHistory;
use mulgil_postgres::Address;
use tempfile::TempDir;

use crate::cluster::Cluster;

/// Longer than any test.
pub(crate) const LIFE: Duration = Duration::from_secs(600);

/// Where a history is.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(String),
}

/// An open history.
pub(crate) enum Store {
    Sqlite(SqliteHistory),
    Postgres(Box<PostgresHistory>),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(database())
    }

    pub(crate) async fn open(&self) -> Store {
        match self {
            Self::Sqlite(folder) => {
                Store::Sqlite(SqliteHistory::open(&folder.path().join("history.db")).await.unwrap())
            }
            Self::Postgres(url) => Store::Postgres(Box::new(leading(url).await)),
        }
    }
}

impl Store {
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(history) => history.close().await.unwrap(),
            Self::Postgres(history) => history.give_back().await.unwrap(),
        }
    }
}

impl Deref for Store {
    type Target = dyn History;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Sqlite(history) => history,
            Self::Postgres(history) => history.as_ref(),
        }
    }
}

/// The URL of a new, empty database.
pub(crate) fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("history_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let cluster = Cluster::shared();
    cluster.run(&format!("CREATE DATABASE {name}"));
    cluster.url().replace("/postgres", &format!("/{name}"))
}

/// A server of this name that opens the history at a URL.
pub(crate) async fn open(url: &str) -> PostgresHistory {
    PostgresHistory::open(Address::new(url, None).unwrap()).await.unwrap()
}

/// The same, leading.
pub(crate) async fn leading(url: &str) -> PostgresHistory {
    let history = open(url).await;
    let standing = history.campaign(&server("one"), LIFE).await.unwrap();
    assert!(matches!(standing, Standing::Leads(_)), "{standing:?}");
    history
}

/// A server.
pub(crate) fn server(name: &str) -> Leader {
    let (name, url) = (name.to_owned(), format!("http://{name}:7070"));
    Leader { name, url, machine: "here".to_owned(), pid: 7, start_ticks: 9 }
}
