//! Runs attempts: takes leases from a dispatcher, does what the task says, reports how it ended.
//!
//! A worker has a number of slots. The dispatcher pushes [`dispatcher::Order`]s into its queue; nothing polls. Every
//! report carries the lease's epoch, so that what a worker says after it has lost its lease is refused.
//!
//! - [`worker::Worker`] takes orders, renews leases, ends what has to stop.
//! - [`data::DataTasks`] is what SQL and transfer tasks need; [`tables::TableTasks`] does it with `sql` and `connect`.
//! - [`crash`] names the points at which tests let the process die.
//! - [`log::AttemptLog`] is where an attempt's output goes, line by line, readable while it runs.
//! - [`remote`] is the dispatcher of a worker on another machine: the server's HTTP port.
//! - [`guard`] ends what a worker ran that was killed.
//! - [`limited`] runs a short program within limits of time and output.
//! - [`secret`] looks secrets up, for tasks and for nobody else.
//! - [`python`] lays out the Python package that this program brings along, and calls interpreters.
//! - [`process`] knows process groups: how to end one, and how to recognise one that outlived its server.

mod attempt;
mod cgroup;
pub mod crash;
pub mod data;
pub mod dispatcher;
mod filling;
mod group;
pub mod guard;
mod host;
mod http;
pub mod limited;
pub mod log;
mod memory;
mod meter;
mod partition;
pub mod process;
pub mod python;
pub mod remote;
mod result;
mod sampler;
pub mod secret;
mod shell;
pub mod tables;
pub mod threads;
mod transfer;
pub mod view;
mod wait;
pub mod worker;
mod writing;
