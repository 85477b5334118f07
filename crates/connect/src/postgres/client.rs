//! Connections to a database, and its errors in words that hold no secret.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};

use super::tls::Tls;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::Options;

/// How long a server may take to answer that it is there, where the URL does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What every connection begins with: times without a zone are UTC's, and nothing is written.
const PREAMBLE: &str = "SET TIME ZONE 'UTC'; SET default_transaction_read_only = on";
/// What every connection that writes begins with: a commit is on disk before it is answered, whatever the database is told otherwise.
const WRITING_PREAMBLE: &str = "SET TIME ZONE 'UTC'; SET synchronous_commit = on";
/// The system notices after so long that whoever is at the other end is gone.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// How a database is reached.
pub(crate) struct Database {
    table: String,
    config: Config,
    tls: Tls,
    password_file: Option<PathBuf>,
    /// Host, port and database, for people.
    place: String,
}

impl Database {
    /// The database that a table's options name. Connects to nothing.
    pub(super) fn new(
        table: &TableDefinition,
        options: &Options<'_>,
        project_dir: &Path,
    ) -> Result<Self, ConnectError> {
        let url = options.required("url", "postgresql://user@localhost:5432/database")?;
        // What the parser says may repeat a part of the URL, and with it the password.
        let wrong = || options.refusal("'url' cannot be read; write postgresql://user@host:5432/database");
        let roots = options.optional("ssl.root-cert").map(|path| project_dir.join(path));
        let (url, tls) = Tls::of(url, roots).map_err(|reason| options.refusal(reason))?;
        let mut config: Config = url.parse().map_err(|_| wrong())?;
        tls.check(config.get_ssl_mode()).map_err(|reason| options.refusal(reason))?;
        if let Some(user) = options.optional("username") {
            config.user(user);
        }
        if let Some(password) = options.optional("password") {
            config.password(password);
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong());
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.application_name("mulgil").keepalives_idle(KEEPALIVE_IDLE);
        let password_file = options.optional("password-file").map(|path| project_dir.join(path));
        let place = place_of(&config);
        Ok(Self { table: table.name.to_string(), config, tls, password_file, place })
    }

    /// Host, port and database, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
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
        let mut config = self.config.clone();
        if let Some(path) = &self.password_file {
            let failed = |source| ConnectError::File { action: "read", path: path.clone(), source };
            let password = tokio::fs::read_to_string(path).await.map_err(failed)?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        let failed = |error: tokio_postgres::Error| self.failed("connect to", &error);
        let is_local = config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_)));
        // Ends with the client; whoever waits for an answer hears of its error.
        let client = if config.get_ssl_mode() == SslMode::Disable || (is_local && config.get_hostaddrs().is_empty()) {
            let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
            tokio::spawn(async move { drop(connection.await) });
            client
        } else {
            let tls = self.tls.connector().map_err(|reason| self.refusal(reason))?;
            let (client, connection) = config.connect(tls).await.map_err(failed)?;
            tokio::spawn(async move { drop(connection.await) });
            client
        };
        client.batch_execute(preamble).await.map_err(|error| self.failed("connect to", &error))?;
        Ok(client)
    }

    /// What the server or the connection said.
    pub(super) fn failed(&self, action: &str, error: &tokio_postgres::Error) -> ConnectError {
        let mut words = match error.as_db_error() {
            Some(said) => {
                // Where in what was sent it is wrong, and with which value.
                let more = [said.detail(), said.where_().and_then(|place| place.lines().next())];
                let more = more.into_iter().flatten().map(|more| format!("; {more}"));
                more.fold(said.message().to_owned(), |words, more| words + &more)
            }
            None => error.to_string(),
        };
        let mut cause = std::error::Error::source(error).filter(|_| error.as_db_error().is_none());
        while let Some(next) = cause {
            words.push_str(": ");
            words.push_str(&next.to_string());
            cause = next.source();
        }
        let reason = format!("{action} {}: {words}", self.place);
        if passes(error) {
            return ConnectError::Away { table: self.table.clone(), reason, retry_after: None };
        }
        self.refusal(reason)
    }

    /// An error about the table.
    pub(super) fn refusal(&self, reason: impl Into<String>) -> ConnectError {
        ConnectError::Postgres { table: self.table.clone(), reason: reason.into() }
    }
}

/// Whether it may work later, with nothing changed here: the server is away, starts, stops, is full, or has undone one of two that
/// waited for each other.
fn passes(error: &tokio_postgres::Error) -> bool {
    /// Classes of states: connections, transactions undone, resources, operators who intervene, the system below.
    const CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
    /// A statement cancelled by its time limit would be cancelled again; a transaction may only read while a standby takes over.
    const CANCELED: &str = "57014";
    const ALSO: [&str; 2] = ["25006", "55P03"];
    if let Some(code) = error.code() {
        let code = code.code();
        return code != CANCELED && (CLASSES.iter().any(|class| code.starts_with(class)) || ALSO.contains(&code));
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(next) = cause {
        // A certificate that is not believed is invalid data to the TLS library.
        if let Some(error) = next.downcast_ref::<std::io::Error>() {
            return error.kind() != std::io::ErrorKind::InvalidData;
        }
        cause = next.source();
    }
    error.is_closed() || error.to_string().starts_with("timeout")
}

fn place_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map_or_else(String::new, ToString::to_string),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or(config.get_user()).unwrap_or("the user's database");
    format!("{host}:{port}/{database}")
}
