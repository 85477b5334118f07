//! The life cycle of runs, tasks and attempts, as pure values: given what is and what has happened, what is next.
//!
//! [`life::next_status`] is the one transition function; [`step::step`] walks a run's graph with it and says what has
//! to be stored and done; [`admission::Admission`] decides which ready task may take a slot, and which queued run may
//! begin; [`why`] says for what the others wait. Nothing here reads a clock, opens a file or spawns a task: the caller brings the time and carries the
//! actions out.

pub mod admission;
pub mod advice;
mod again;
pub mod demand;
pub mod diagnosis;
pub mod fan;
pub mod graph;
pub mod id;
pub mod life;
pub mod pace;
pub mod rerun;
pub mod rule;
pub mod run;
pub mod status;
pub mod step;
pub mod usage;
pub mod usual;
pub mod why;
