//! Server-sent events as iterators: lines come in, events come out.

use std::io::{BufRead, BufReader, Read};

use serde::de::DeserializeOwned;

use super::ClientError;
use crate::attempts::LogChunk;
use crate::changes::ViewStep;
use crate::events::Event;

/// What changes, event by event.
pub struct EventStream(ServerSent);

/// A log, piece by piece, until its attempt is over.
pub struct LogStream(ServerSent);

/// The changes of a view, step by step.
pub struct StepStream(ServerSent);

/// One event as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sent {
    name: String,
    data: String,
}

struct ServerSent {
    lines: BufReader<Box<dyn Read + Send>>,
    url: String,
}

impl EventStream {
    pub(super) fn new(reader: Box<dyn Read + Send>, url: &str) -> Self {
        Self(ServerSent::new(reader, url))
    }
}

impl Iterator for EventStream {
    type Item = Result<Event, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let sent = match self.0.next()? {
            Ok(sent) => sent,
            Err(error) => return Some(Err(error)),
        };
        Some(self.0.parse(&sent))
    }
}

impl LogStream {
    pub(super) fn new(reader: Box<dyn Read + Send>, url: &str) -> Self {
        Self(ServerSent::new(reader, url))
    }
}

impl Iterator for LogStream {
    type Item = Result<LogChunk, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.next()? {
            Ok(sent) if sent.name == "end" => None,
            Ok(sent) => Some(self.0.parse(&sent)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl StepStream {
    pub(super) fn new(reader: Box<dyn Read + Send>, url: &str) -> Self {
        Self(ServerSent::new(reader, url))
    }
}

impl Iterator for StepStream {
    type Item = Result<ViewStep, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let sent = match self.0.next()? {
            Ok(sent) => sent,
            Err(error) => return Some(Err(error)),
        };
        Some(self.0.parse(&sent))
    }
}

impl ServerSent {
    fn new(reader: Box<dyn Read + Send>, url: &str) -> Self {
        Self { lines: BufReader::new(reader), url: url.to_owned() }
    }

    fn parse<T: DeserializeOwned>(&self, sent: &Sent) -> Result<T, ClientError> {
        serde_json::from_str(&sent.data)
            .map_err(|error| ClientError::Protocol { url: self.url.clone(), reason: error.to_string() })
    }

    /// The next event that has data; comments keep the connection alive and say nothing.
    fn next(&mut self) -> Option<Result<Sent, ClientError>> {
        let mut sent = Sent::default();
        loop {
            let mut line = String::new();
            match self.lines.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    return Some(Err(ClientError::Unreachable { url: self.url.clone(), reason: error.to_string() }));
                }
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                if !sent.data.is_empty() {
                    return Some(Ok(sent));
                }
                sent = Sent::default();
            } else if let Some(name) = line.strip_prefix("event:") {
                sent.name = name.trim_start().to_owned();
            } else if let Some(data) = line.strip_prefix("data:") {
                if !sent.data.is_empty() {
                    sent.data.push('\n');
                }
                sent.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn events_are_read_over_comments_and_several_lines() {
        let text = ": hello\n\nevent: log\nid: 3\ndata: {\"a\":\ndata: 1}\n\n: beat\n\nevent: end\ndata: {}\n\n";
        let mut stream = ServerSent::new(Box::new(text.as_bytes()), "");
        let first = stream.next().unwrap().unwrap();
        assert_eq!((first.name.as_str(), first.data.as_str()), ("log", "{\"a\":\n1}"));
        assert_eq!(stream.next().unwrap().unwrap().name, "end");
        assert!(stream.next().is_none());
    }
}
