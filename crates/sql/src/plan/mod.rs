//! From a query's syntax tree to DataFusion's logical plan with our nodes in it.
//!
//! The plan is the same for batch and stream. Batch takes our nodes out again ([`expand`]); stream turns them into
//! operators ([`crate::stream`]).

pub(crate) mod above_totals;
mod as_of;
mod calls_in_from;
mod client_words;
mod context;
pub(crate) mod count_windows;
mod distinct_on;
pub(crate) mod expand;
mod functions;
mod group_window;
mod keep_last;
pub(crate) mod late_input;
pub(crate) mod late_rows;
mod lateral;
mod membership;
mod nothing_there;
pub(crate) mod pane_states;
pub(crate) mod processing_time;
mod repeated_columns;
pub(crate) mod session_islands;
pub(crate) mod stamp;
mod state;
mod table_call;
pub(crate) mod temporal;
pub(crate) mod ties;
mod vector_words;
pub(crate) mod watermark;
pub(crate) mod window;
mod window_call;
mod window_ends;

pub(crate) use context::{Planner, Scans, Unscanned, has_changes, lookup_options, reference_of, table_name_of, unread};
pub(crate) use state::{StateOptions, planning_state, session_state};
pub(crate) use window_call::window_call_input;
