//! A worker on another machine: the dispatcher's contract over the server's HTTP port.
//!
//! The worker calls, the server never does: one port outwards is enough. A *poll* that the server holds open brings orders and renews
//! the leases; an order is given again until the next poll says that it came. Reports are made again until they are answered. A
//! lease that could not be renewed in time, by the worker's own steady clock, from before it asked, is lost: the worker ends what
//! runs for it before the server may give it to another.

pub mod desk;
mod hold;
pub mod link;
mod ship;
pub mod wire;
