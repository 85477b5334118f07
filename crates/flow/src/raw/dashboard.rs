//! The form of a dashboard's file.

use crate::read::{Text, raw_map};

raw_map! {
    /// A page of panels, each a query over views.
    RawDashboard: "the dashboard" {
        /// The dashboard's name, unique in the project.
        #[schemars(required)]
        "dashboard" dashboard: Text,
        /// The page's heading. Without it, the name.
        "title" title: Text,
        /// What the page tells.
        "description" description: Text,
        /// The panels, from top to bottom.
        #[schemars(required)]
        "panels" panels: Vec<RawPanel>,
    }
}

raw_map! {
    /// A panel: drawn as lines where its rows have a time, as a table otherwise.
    RawPanel: "the panel" {
        /// Its heading.
        #[schemars(required)]
        "title" title: Text,
        /// The view that it follows: the query is asked again when that changes, and what its batch layer has spoken of is marked.
        #[schemars(required)]
        "view" view: Text,
        /// The query.
        #[schemars(required)]
        "sql" sql: Text,
    }
}
