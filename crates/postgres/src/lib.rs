//! Connections to PostgreSQL, for everything here that has one: tables, and the history.
//!
//! [`address::Address`] says where a database is and opens connections that nobody listens to; [`failure`] says what went
//! wrong in words that hold no secret, and whether it may work later with nothing changed here.

pub mod address;
pub mod failure;
mod tls;

pub use address::Address;
pub use tokio_postgres;
