//! The postman with everything real: a history in SQLite, receivers on sockets, a mail server with TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod delivery;
mod mail;
mod mail_server;
mod office;
mod receiver;
