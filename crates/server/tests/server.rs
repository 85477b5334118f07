//! The server over real HTTP: a real listener, a real scheduler on SQLite, a real worker, a real event log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod server {
    mod access;
    mod assets;
    mod backfills;
    mod changes;
    mod exports;
    mod fixture;
    mod hooks;
    mod items;
    mod matrix;
    mod openapi;
    mod project;
    mod prometheus;
    mod reruns;
    mod runs;
    mod sql;
    mod topics;
    mod usage;
    mod view_tasks;
    mod views;
    mod why;
}
