//! Which guarantee is given to what, and how others are refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;

use super::*;
use crate::error::ConnectError;
use crate::sink::SinkWriter;
use crate::source::{PartitionReader, Position};

/// A source, by whether it can be read again.
struct Reads(bool);

#[async_trait]
impl Source for Reads {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn replays(&self) -> bool {
        self.0
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok(Vec::new())
    }

    async fn open(
        &self,
        _partition: usize,
        _from: Position,
        _projection: &[usize],
        _follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        unreachable!("nobody reads")
    }
}

/// A sink: what it can do, and whether it is forgotten with the process.
struct Writes(Delivery, bool);

#[async_trait]
impl Sink for Writes {
    fn accepts_changes(&self) -> bool {
        true
    }

    fn delivery(&self) -> Delivery {
        self.0
    }

    fn is_forgotten(&self) -> bool {
        self.1
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        unreachable!("nobody writes")
    }
}

const PRINT: Writes = Writes(Delivery::AtLeastOnce, false);
const KAFKA: Writes = Writes(Delivery::ExactlyOnce, false);
const RESULT: Writes = Writes(Delivery::ExactlyOnce, true);

/// By guarantee, `given` or what is said against it; then the strongest.
fn all(replays: &[bool], sink: &Writes, has_checkpoints: bool) -> [String; 5] {
    let sources: Vec<Reads> = replays.iter().map(|replays| Reads(*replays)).collect();
    let sources = sources.iter().map(|source| ("bids", source as &dyn Source)).collect();
    let pipeline = Pipeline { sources, sinks: vec![("results", sink)], has_checkpoints };
    let short = |asked: Option<Guarantee>| match pipeline.give(asked) {
        Ok(given) if asked == Some(given.guarantee) => "given".to_owned(),
        Ok(given) => given.guarantee.to_string(),
        Err(reason) if reason.contains("source bids cannot be read again") => "lost".to_owned(),
        Err(reason) if reason.contains("sink results cannot commit") => "twice".to_owned(),
        Err(reason) if reason.contains("--checkpoints") => "anew".to_owned(),
        Err(reason) => reason,
    };
    let [most, least, exactly, both] = Guarantee::ALL.map(Some).map(short);
    [most, least, exactly, both, short(None)]
}

#[test]
fn what_is_given_follows_from_what_sources_and_sinks_can_do() {
    let cases: [(&[bool], &Writes, bool, [&str; 5]); 9] = [
        (&[true], &KAFKA, true, ["given", "given", "given", "given", "end-to-end exactly-once"]),
        (&[true], &RESULT, true, ["given", "given", "given", "given", "end-to-end exactly-once"]),
        (&[true], &PRINT, true, ["given", "given", "given", "twice", "exactly-once"]),
        (&[true, false], &KAFKA, true, ["given", "lost", "lost", "lost", "at-most-once"]),
        (&[false], &PRINT, true, ["given", "lost", "lost", "lost", "at-most-once"]),
        (&[true], &KAFKA, false, ["anew", "given", "anew", "anew", "at-least-once"]),
        (&[true], &RESULT, false, ["given", "given", "given", "given", "end-to-end exactly-once"]),
        (&[false], &PRINT, false, ["given", "lost", "lost", "lost", "at-most-once"]),
        (&[true, false], &PRINT, false, ["anew", "lost", "lost", "lost", "at-most-once"]),
    ];
    for (replays, sink, has_checkpoints, expected) in cases {
        assert_eq!(all(replays, sink, has_checkpoints), expected, "{replays:?} {has_checkpoints}");
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for guarantee in Guarantee::ALL {
        assert_eq!(guarantee.name().parse(), Ok(guarantee));
        assert_eq!(guarantee.name().replace(' ', "-").to_uppercase().parse(), Ok(guarantee));
    }
    let refused = "sometimes".parse::<Guarantee>().unwrap_err();
    assert!(refused.starts_with("'sometimes' is no guarantee; write 'at-most-once', "), "{refused}");
}

#[test]
fn each_table_is_said_with_what_it_has_to_do_with_it() {
    let (topic, tcp) = (Reads(true), Reads(false));
    let sources: Vec<(&str, &dyn Source)> = vec![("topic", &topic), ("tcp", &tcp)];
    let pipeline = Pipeline { sources, sinks: vec![("print", &PRINT), ("view", &RESULT)], has_checkpoints: true };
    assert_eq!(
        pipeline.give(None).unwrap().to_string(),
        "guarantee: at-most-once\n  \
         source topic: can be read again from any position\n  \
         source tcp: cannot be read again: what comes after the last checkpoint is lost with the process\n  \
         sink print: cannot commit with a checkpoint: it is given rows when their checkpoint stands, and never again\n  \
         sink view: is part of the checkpoint"
    );
}
