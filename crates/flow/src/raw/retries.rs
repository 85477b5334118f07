//! The form of `retries:`.

use crate::read::{Located, OneOrMany, Text, raw_map};

raw_map! {
    /// Automatic retries.
    RawRetries: "retries" {
        /// How many attempts may follow the first.
        #[schemars(required)]
        "limit" limit: Located<u32>,
        /// The pause before the first retry, such as `30s`. Without it, one minute.
        "delay" delay: Text,
        /// By what the pause is multiplied for each further retry, at least 1. Without it, 2.
        "backoff" backoff: Located<f64>,
        /// No pause grows beyond this. Without it, six hours.
        "delay_max" delay_max: Text,
        /// By up to which share each pause is shortened, at random, so that what failed together does not come back together:
        /// 0 to 1. Without it, 0.
        "jitter" jitter: Located<f64>,
        /// The errors after which there is a retry: timeout, out_of_memory, disk_full, connection, open_files,
        /// command_not_found, other, `exit 75`, `exit 64-78`, `http 5xx`. Without it, all.
        "on" on: OneOrMany,
        /// The errors after which there is no retry, whatever `on` says: the same words.
        "never" never: OneOrMany,
    }
}
