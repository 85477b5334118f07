//! The server: HTTP API with its OpenAPI document, server-sent events, the embedded web UI, and the client that the
//! command line uses.

mod access;
pub mod api;
mod append_body;
mod assets;
pub mod attempts;
pub mod backfills;
pub mod client;
pub mod coming;
pub mod error;
pub mod events;
mod extract;
pub mod flows;
pub mod folder;
pub mod forward;
pub mod grid;
mod hub;
pub mod items;
mod log_file;
pub mod matrix;
mod metrics;
mod node;
mod outside;
pub mod place;
pub mod progress;
pub mod project;
pub mod recovery;
mod reload;
pub mod reruns;
mod rows;
pub mod runs;
pub mod scheduler;
mod scripted;
pub mod server;
pub mod sql;
pub mod status;
pub mod topics;
pub mod usage;
pub mod versions;
pub mod views;
pub mod why;
pub mod workers;

pub use access::AccessError;
