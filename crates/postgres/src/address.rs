//! Where a database is, and how it is spoken to.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::failure;
use crate::tls::Tls;

/// How long a server may take to answer that it is there, where the URL does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The system notices after so long that whoever is at the other end is gone.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// What is sent is acknowledged within so long, or the connection is given up.
const ACKNOWLEDGE_MAX: Duration = Duration::from_secs(30);

/// Where a database is.
#[derive(Clone)]
pub struct Address {
    config: Config,
    tls: Tls,
    place: String,
}

/// Why a connection could not be had.
#[derive(Debug)]
pub enum ConnectFailure {
    /// The server or the network said so.
    Said(Error),
    /// The certificates that are to be believed cannot be read.
    Certificates(String),
}

impl ConnectFailure {
    /// It, in one line without secrets.
    pub fn words(&self) -> String {
        match self {
            Self::Said(error) => failure::words(error),
            Self::Certificates(reason) => reason.clone(),
        }
    }

    /// Whether it may work later, with nothing changed here.
    pub fn passes(&self) -> bool {
        match self {
            Self::Said(error) => failure::passes(error),
            Self::Certificates(_) => false,
        }
    }
}

impl Address {
    /// Reads a URL (`postgresql://user@host:5432/database`). `roots` is a file with the certificates that are believed, where it
    /// is not those of the system. Connects to nothing.
    ///
    /// # Errors
    /// A sentence that repeats no part of the URL, since a password may stand in it.
    pub fn new(url: &str, roots: Option<PathBuf>) -> Result<Self, String> {
        let wrong = || "'url' cannot be read; write postgresql://user@host:5432/database".to_owned();
        let (url, tls) = Tls::of(url, roots)?;
        let mut config: Config = url.parse().map_err(|_| wrong())?;
        tls.check(config.get_ssl_mode())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong());
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.application_name("mulgil").keepalives_idle(KEEPALIVE_IDLE).tcp_user_timeout(ACKNOWLEDGE_MAX);
        let place = place_of(&config);
        Ok(Self { config, tls, place })
    }

    /// The same, as this user.
    pub fn user(&mut self, user: &str) {
        self.config.user(user);
        self.place = place_of(&self.config);
    }

    /// The same, with this password.
    pub fn password(&mut self, password: &str) {
        self.config.password(password);
    }

    /// Host, port and database, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A new connection that begins with these statements. It is closed when the client is dropped.
    ///
    /// # Errors
    /// The server is away or refuses, or the certificates cannot be read.
    pub async fn connect(&self, preamble: &str) -> Result<Client, ConnectFailure> {
        let config = &self.config;
        let is_local = config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_)));
        // Ends with the client; whoever waits for an answer hears of its error.
        let client = if config.get_ssl_mode() == SslMode::Disable || (is_local && config.get_hostaddrs().is_empty()) {
            let (client, connection) = config.connect(NoTls).await.map_err(ConnectFailure::Said)?;
            tokio::spawn(async move { drop(connection.await) });
            client
        } else {
            let tls = self.tls.connector().map_err(ConnectFailure::Certificates)?;
            let (client, connection) = config.connect(tls).await.map_err(ConnectFailure::Said)?;
            tokio::spawn(async move { drop(connection.await) });
            client
        };
        client.batch_execute(preamble).await.map_err(ConnectFailure::Said)?;
        Ok(client)
    }
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
