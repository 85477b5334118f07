//! The server over real HTTP, and the documents that are made from it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod server {
    mod openapi;
}
