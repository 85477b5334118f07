//! Sources and sinks: one module a system, behind the traits of [`source`] (streams and bounded reads), [`sink`]
//! (streams) and [`writer`] (batch).
//!
//! A connector knows its system and Arrow; it knows no scheduler and no operator. [`definition::TableDefinition`] is
//! what a `CREATE TABLE` says; [`connectors::Connectors`] turns one into something that can be read or written.

pub mod connectors;
pub mod definition;
pub mod error;
pub mod sink;
pub mod source;
pub mod writer;
