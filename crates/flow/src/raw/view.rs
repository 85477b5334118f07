//! The form of `view:`.

use crate::read::{Text, raw_map};

raw_map! {
    /// What is done to which view.
    RawView: "the view task" {
        /// A FULL view, which is computed anew in batch; its result is replaced as a whole.
        "refresh" refresh: Text,
        /// A KAPPA view, which is built anew from its sources' past beside the one that answers, and then takes over.
        "replay" replay: Text,
        /// A view with the option `export`, whose rows replace those of that table.
        "export" export: Text,
    }
}
