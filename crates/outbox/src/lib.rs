//! Delivers what the history's outbox holds: notices of runs to webhooks, Slack-compatible webhooks and mail.
//!
//! ```text
//!  scheduler ── one transaction ──▶ history: transition + notice
//!                                       │ due
//!       postman (one loop) ◀────────────┘      one delivery at a time for each channel, channels side by side
//!          │ delivered | again later | given up
//!          └──▶ scheduler ── stores it
//! ```
//!
//! **What "once" means.** A notice is *written* once: its key is unique, and it is stored in the transaction of the transition that it
//! tells of. It is *delivered* at least once: when the server dies, or the network fails, between the receiver's taking it and
//! the note that it was taken, it is sent again. Every delivery of it carries the same key (`Idempotency-Key`, for mail the
//! `Message-ID`), by which a receiver can tell.

mod backoff;
mod channel;
mod letter;
mod mail;
mod postman;
mod secret;
mod smtp;

pub use postman::{Ledger, LedgerClosed, OutboxOptions, Postman, start};
pub use secret::Environment;
