//! Sources and sinks: one module a system, behind the traits of [`source`] (streams and bounded reads), [`sink`]
//! (streams) and [`writer`] (batch).
//!
//! A connector knows its system and Arrow; it knows no scheduler and no operator. [`definition::TableDefinition`] is
//! what a `CREATE TABLE` says; [`connectors::Connectors`] turns one into something that can be read or written.

mod archived;
pub mod bad_rows;
mod conform;
mod connector;
pub mod connectors;
mod datagen;
pub mod definition;
pub mod error;
mod filesystem;
pub mod fold;
mod format;
pub mod guarantee;
mod http;
mod influx;
mod kafka;
mod key;
pub mod lake;
pub mod lookup;
pub mod object_storage;
mod options;
mod partition;
mod postgres;
mod print;
mod provider;
pub mod secret;
pub mod sink;
mod socket;
pub mod source;
mod stdin;
pub mod time;
mod topic;
pub mod transaction;
mod upserts;
pub mod wait;
pub mod writer;
