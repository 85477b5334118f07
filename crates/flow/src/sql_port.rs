//! The SQL port as `mulgil.yaml` says it: where clients of PostgreSQL are listened to, and what their queries may take.

use std::net::SocketAddr;

use jiff::SignedDuration;
use serde::Serialize;

/// Where the SQL port listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum SqlListen {
    /// Where nothing is said: at the usual address, if nobody listens there.
    #[default]
    Usual,
    /// At this address, or the server does not start.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

/// The SQL port's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SqlPortSettings {
    /// Where it listens.
    pub listen: SqlListen,
    /// How many clients may be connected at once; the port's own default where nothing is said.
    pub connections: Option<u32>,
    /// The longest that a statement may take; as long as it needs where nothing is said.
    pub timeout: Option<SignedDuration>,
    /// The certificate with which connections are encrypted, and its key: PEM files relative to the project's folder.
    pub tls: Option<(String, String)>,
    /// How much memory one query may take, as a text; the session's default where nothing is said.
    pub memory: Option<String>,
}

impl SqlListen {
    /// The usual port: PostgreSQL's number in Mulgil's thousand.
    pub const USUAL_PORT: u16 = 7_432;

    /// Reads `off`, or an address such as `127.0.0.1:7432`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "off" { Some(Self::Off) } else { text.parse().ok().map(Self::At) }
    }
}
