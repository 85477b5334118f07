//! From the raw form to the checked definition: every rule that a flow must keep, each with its place.

pub use self::project::blamed;

mod calendar;
mod call;
mod flow;
mod for_each;
mod http;
mod notify;
mod param;
mod project;
mod python;
mod retries;
mod schedule;
mod tags;
mod target;
mod task;
mod trigger;
mod value;
mod view;
