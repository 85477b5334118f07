//! The server: HTTP API with its OpenAPI document, server-sent events, the embedded web UI, and the client that the
//! command line uses.

pub mod api;
pub mod attempts;
pub mod backfills;
pub mod error;
pub mod events;
pub mod flows;
pub mod grid;
mod metrics;
mod node;
pub mod project;
pub mod runs;
pub mod sql;
pub mod status;
pub mod topics;
pub mod views;
