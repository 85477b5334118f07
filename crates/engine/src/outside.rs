//! What the tables of a job say of themselves while it starts and runs: what they wait for, and which of their rows could not
//! be decoded.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use mulgil_connect::bad_rows::BadRowSample;
use mulgil_connect::sink::Sink;
use mulgil_connect::source::Source;
use mulgil_connect::wait::Waits;

use crate::status::{BadRowStatus, WaitStatus};

/// Where to look. It can be made before the job is started, and outlives it.
#[derive(Clone, Default)]
pub struct Outside {
    /// By table: whether it is a source, and what it waits for.
    waits: Vec<(String, bool, Waits)>,
    bad_rows: Vec<(String, BadRowSample)>,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("waits", &self.waits()).field("bad_rows", &self.bad_rows()).finish()
    }
}

impl Outside {
    /// Looks at these tables.
    pub fn of(sources: &HashMap<String, Arc<dyn Source>>, sinks: &HashMap<String, Arc<dyn Sink>>) -> Self {
        let read = sources.iter().filter_map(|(table, source)| Some((table.clone(), true, source.waits()?)));
        let written = sinks.iter().filter_map(|(table, sink)| Some((table.clone(), false, sink.waits()?)));
        let bad_rows = sources.iter().filter_map(|(table, source)| Some((table.clone(), source.bad_rows()?)));
        let mut outside = Self { waits: read.chain(written).collect(), bad_rows: bad_rows.collect() };
        outside.waits.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        outside.bad_rows.sort_by(|a, b| a.0.cmp(&b.0));
        outside
    }

    /// What is waited for, by table.
    pub fn waits(&self) -> Vec<WaitStatus> {
        let wait = |(table, is_source, waits): &(String, bool, Waits)| {
            Some(WaitStatus::of(table, *is_source, waits.longest()?))
        };
        self.waits.iter().filter_map(wait).collect()
    }

    /// The last few bad rows of each source, the latest last.
    pub fn bad_rows(&self) -> Vec<BadRowStatus> {
        let rows = |(table, sample): &(String, BadRowSample)| {
            sample.rows().into_iter().map(|row| BadRowStatus::of(table, row)).collect::<Vec<_>>()
        };
        self.bad_rows.iter().flat_map(rows).collect()
    }
}
