//! Connections to a database, and its errors as those of a table.

use std::path::{Path, PathBuf};

use mulgil_postgres::address::ConnectFailure;
use mulgil_postgres::{Address, failure};
use tokio_postgres::Client;

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::Options;
use crate::wait::Waits;

/// What every connection begins with: times without a zone are UTC's, and nothing is written.
const PREAMBLE: &str = "SET TIME ZONE 'UTC'; SET default_transaction_read_only = on";
/// What every connection that writes begins with: a commit is on disk before it is answered, whatever the database is told otherwise.
const WRITING_PREAMBLE: &str = "SET TIME ZONE 'UTC'; SET synchronous_commit = on";

/// How a database is reached.
pub(crate) struct Database {
    table: String,
    address: Address,
    password_file: Option<PathBuf>,
    /// What those who write wait for.
    waits: Waits,
}

impl Database {
    /// The database that a table's options name. Connects to nothing.
    pub(super) fn new(
        table: &TableDefinition,
        options: &Options<'_>,
        project_dir: &Path,
    ) -> Result<Self, ConnectError> {
        let url = options.required("url", "postgresql://user@localhost:5432/database")?;
        let roots = options.optional("ssl.root-cert").map(|path| project_dir.join(path));
        let mut address = Address::new(url, roots).map_err(|reason| options.refusal(reason))?;
        if let Some(user) = options.optional("username") {
            address.user(user);
        }
        if let Some(password) = options.optional("password") {
            address.password(password);
        }
        let password_file = options.optional("password-file").map(|path| project_dir.join(path));
        Ok(Self { table: table.name.to_string(), address, password_file, waits: Waits::default() })
    }

    /// Host, port and database, for people.
    pub(super) fn place(&self) -> &str {
        self.address.place()
    }

    /// Where to see what is waited for.
    pub(super) fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Waits for an answer as long as it takes.
    pub(super) async fn patiently<T>(&self, answer: impl Future<Output = T>) -> T {
        self.waits.patiently(self.place(), answer).await
    }

    /// A new connection, to read. It is closed when the client is dropped.
    pub(super) async fn connect(&self) -> Result<Client, ConnectError> {
        self.connection(PREAMBLE).await
    }

    /// A new connection, to write.
    pub(super) async fn connect_for_writing(&self) -> Result<Client, ConnectError> {
        self.connection(WRITING_PREAMBLE).await
    }

    async fn connection(&self, preamble: &str) -> Result<Client, ConnectError> {
        let mut address = self.address.clone();
        if let Some(path) = &self.password_file {
            let failed = |source| ConnectError::File { action: "read", path: path.clone(), source };
            let password = tokio::fs::read_to_string(path).await.map_err(failed)?;
            address.password(password.trim_end_matches(['\r', '\n']));
        }
        address.connect(preamble).await.map_err(|failure| match failure {
            ConnectFailure::Said(error) => self.failed("connect to", &error),
            ConnectFailure::Certificates(reason) => self.refusal(reason),
        })
    }

    /// What the server or the connection said.
    pub(super) fn failed(&self, action: &str, error: &tokio_postgres::Error) -> ConnectError {
        let reason = format!("{action} {}: {}", self.place(), failure::words(error));
        if failure::passes(error) {
            return ConnectError::Away { table: self.table.clone(), reason, retry_after: None };
        }
        self.refusal(reason)
    }

    /// An error about the table.
    pub(super) fn refusal(&self, reason: impl Into<String>) -> ConnectError {
        ConnectError::Postgres { table: self.table.clone(), reason: reason.into() }
    }
}
