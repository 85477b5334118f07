//! Looking up rows of a table while a stream runs: by key, or all of them at once; and the options that say how. Their
//! names are Flink's.
//!
//! Every table can be looked up as a whole: it is read to its end and held in memory, and read again when it has changed.
//! Some systems can be asked for the rows of a few keys: that is the [`Lookup`] of a [`crate::source::Source`].

use std::borrow::Cow;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::{Options, refusal};

const CACHE: &str = "lookup.cache";
const MAX_ROWS: &str = "lookup.partial-cache.max-rows";
const EXPIRE_AFTER_WRITE: &str = "lookup.partial-cache.expire-after-write";
const CACHE_MISSING_KEY: &str = "lookup.partial-cache.cache-missing-key";
const RELOAD_INTERVAL: &str = "lookup.full-cache.periodic-reload.interval";
const MAX_RETRIES: &str = "lookup.max-retries";
const CAPACITY: &str = "lookup.async.buffer-capacity";
const OPTIONS: [&str; 7] =
    [CACHE, MAX_ROWS, EXPIRE_AFTER_WRITE, CACHE_MISSING_KEY, RELOAD_INTERVAL, MAX_RETRIES, CAPACITY];

/// The connectors whose tables can be asked for the rows of a few keys.
const KEYED_CONNECTORS: [&str; 1] = ["postgres"];
/// How often a table that is held as a whole is looked at for changes, where nothing is said.
const RELOAD_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
const MAX_RETRIES_DEFAULT: u32 = 3;
const CAPACITY_DEFAULT: usize = 32_768;
const MAX_ROWS_DEFAULT: usize = 100_000;

/// Finds rows by key.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// The rows whose key is one of `wanted`, which has a column for each key column, in any order. More rows than those
    /// do no harm.
    ///
    /// # Errors
    /// The system is gone or refuses; to ask again is worth trying.
    async fn find(&self, wanted: &RecordBatch) -> Result<RecordBatch, ConnectError>;
}

/// What is kept of a table that is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupCache {
    /// Nothing: the system is asked for every batch of rows.
    None,
    /// The rows of keys that were asked for.
    Partial {
        /// The most rows held by a subtask; a key without rows counts as one.
        rows_max: usize,
        /// How long a key's rows are held.
        expire_after_write: Option<Duration>,
        /// Whether it is remembered that a key has no rows.
        keeps_missing: bool,
    },
    /// The whole table.
    Full {
        /// How often it is looked at for changes while tables are followed.
        reload_interval: Duration,
    },
}

/// How a table is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupOptions {
    /// What is kept.
    pub cache: LookupCache,
    /// How often a question that failed is asked again.
    pub retries_max: u32,
    /// How many rows of a subtask may wait for answers.
    pub capacity: usize,
}

impl LookupOptions {
    /// What a table's definition says.
    ///
    /// # Errors
    /// An option is wrong, or asks for what the connector cannot do.
    pub fn of(table: &TableDefinition) -> Result<Self, ConnectError> {
        let mut own = table.clone();
        own.options.retain(|name, _| OPTIONS.contains(&name.as_str()));
        let options = Options::new(&own, &OPTIONS)?;
        let connector = table.options.get("connector").map_or("", String::as_str);
        let is_keyed = KEYED_CONNECTORS.contains(&connector);
        let default = if is_keyed { "NONE" } else { "FULL" };
        let cache = options.optional(CACHE).unwrap_or(default).to_ascii_uppercase();
        let belongs = |name: &str, to: &str| match options.optional(name) {
            Some(_) if cache != to => Err(refusal(table, format!("'{name}' needs '{CACHE}' = '{to}'"))),
            _ => Ok(()),
        };
        for name in [MAX_ROWS, EXPIRE_AFTER_WRITE, CACHE_MISSING_KEY] {
            belongs(name, "PARTIAL")?;
        }
        belongs(RELOAD_INTERVAL, "FULL")?;
        if cache != "FULL" && !is_keyed {
            let reason = format!(
                "'{CACHE}' = '{cache}': a table of connector '{connector}' cannot be asked for single keys; write \
                 '{CACHE}' = 'FULL', or leave it out"
            );
            return Err(refusal(table, reason));
        }
        let cache = match cache.as_str() {
            "NONE" => LookupCache::None,
            "PARTIAL" => LookupCache::Partial {
                rows_max: options.number(MAX_ROWS)?.unwrap_or(MAX_ROWS_DEFAULT),
                expire_after_write: options.duration(EXPIRE_AFTER_WRITE)?,
                keeps_missing: options.boolean(CACHE_MISSING_KEY, true)?,
            },
            "FULL" => LookupCache::Full {
                reload_interval: options.duration(RELOAD_INTERVAL)?.unwrap_or(RELOAD_INTERVAL_DEFAULT),
            },
            other => {
                return Err(refusal(
                    table,
                    format!("'{CACHE}' = '{other}' is not known; allowed: NONE, PARTIAL, FULL"),
                ));
            }
        };
        Ok(Self {
            cache,
            retries_max: options.number(MAX_RETRIES)?.unwrap_or(MAX_RETRIES_DEFAULT),
            capacity: options.number(CAPACITY)?.unwrap_or(CAPACITY_DEFAULT).max(1),
        })
    }

    /// Takes the options out of a table's definition: the rest is its connector's.
    pub(crate) fn split(table: Cow<'_, TableDefinition>) -> Result<(Self, Cow<'_, TableDefinition>), ConnectError> {
        let own = Self::of(&table)?;
        if !table.options.keys().any(|name| OPTIONS.contains(&name.as_str())) {
            return Ok((own, table));
        }
        let mut rest = table.into_owned();
        rest.options.retain(|name, _| !OPTIONS.contains(&name.as_str()));
        Ok((own, Cow::Owned(rest)))
    }
}
