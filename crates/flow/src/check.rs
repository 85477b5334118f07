//! From the raw form to the checked definition: every rule that a flow must keep, each with its place.

mod calendar;
mod flow;
mod for_each;
mod http;
mod param;
mod project;
mod python;
mod schedule;
mod tags;
mod task;
mod value;
