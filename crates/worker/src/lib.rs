//! Runs attempts: takes leases from a dispatcher, does what the task says, reports how it ended.
//!
//! A worker has a number of slots. The dispatcher pushes [`dispatcher::Order`]s into its queue; nothing polls. Every
//! report carries the lease's epoch, so that what a worker says after it has lost its lease is refused.

pub mod dispatcher;
