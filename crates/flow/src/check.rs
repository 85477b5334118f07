//! From the raw form to the checked definition: every rule that a flow must keep, each with its place.

mod flow;
mod for_each;
mod project;
mod python;
mod task;
mod value;
