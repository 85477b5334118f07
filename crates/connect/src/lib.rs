//! Sources and sinks: one module a system, behind the traits of [`source`] and [`sink`].
//!
//! A connector knows its system and Arrow; it knows no scheduler and no operator. [`definition::TableDefinition`] is
//! what a `CREATE TABLE` says.

pub mod definition;
pub mod error;
pub mod sink;
pub mod source;
