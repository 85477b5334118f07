//! The SQL port: clients of PostgreSQL (`psql`, JDBC, ODBC, psycopg, dashboards) read what Mulgil has.
//!
//! The crate speaks the protocol and knows nothing of what answers: a [`service::QueryService`] plans a statement's text
//! and runs it with parameters, and its rows come as Arrow batches. Messages and their order are the library `pgwire`'s;
//! what is decided here: what a client may say beside queries ([`command`](mod@command)), what its settings mean
//! ([`settings`](mod@settings)), how values look on the wire ([`encode`](mod@encode), [`parameter`](mod@parameter)), and
//! that rows stream: a slow client holds its own query back, and nothing gathers.

mod aside;
mod command;
mod connection;
mod copy;
mod cursor;
mod encode;
mod extended;
mod failure;
mod front;
mod numeric;
mod parameter;
pub mod port;
mod query_threads;
mod rows;
mod scram;
pub mod service;
mod session;
mod settings;
mod simple;
mod startup;
mod statements;
mod tls;
mod types;

pub use port::{Listening, PortError, PortOptions, SqlPort};
pub use service::{Answer, Caller, Prepared, QueryError, QueryService, Shortcut};
pub use settings::POSTGRES_VERSION;
pub use tls::TlsFiles;
pub use types::{WireColumn, small_vector, type_name, wire_column, wire_types};
