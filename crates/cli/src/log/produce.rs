//! `mulgil log produce`: lines from a file or standard input become records, each acknowledged when it is on disk.
//!
//! Lines of a pipe are appended as they come, not only when enough of them have come together: what writes them may go on for ever.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use mulgil_log::{Record, TopicOptions};
use mulgil_server::client::Client;

use crate::arguments::Arguments;
use crate::connection::running;
use crate::output::remark;

/// How much goes into one append, at most; also how much of a file is read at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Where the lines come from, and what they are.
pub(super) struct Source {
    /// A file; else standard input.
    pub(super) file: Option<PathBuf>,
    /// Whether each line is a record as it is, in place of a JSON object.
    pub(super) is_raw: bool,
}

/// Appends the lines, in order.
pub(super) async fn execute(arguments: &Arguments, topic: String, source: Source, partitions: u32) -> Result<()> {
    let Source { file, is_raw } = source;
    let input: Box<dyn Read + Send> = match &file {
        Some(file) => Box::new(File::open(file).with_context(|| format!("failed to open {}", file.display()))?),
        None => Box::new(stdin()),
    };
    let mut lines = Lines { input: BufReader::with_capacity(CHUNK_BYTES, input), is_raw, line: 0 };
    let client = running(&arguments.project).await?;
    let log = if client.is_none() { Some(super::write_log(arguments)?) } else { None };
    let name = topic.clone();
    let count = tokio::task::spawn_blocking(move || match (client, log) {
        (Some(client), _) => through_server(&client, &topic, &mut lines),
        (None, Some(log)) => {
            let topic = log.topic_or_create(&topic, TopicOptions { partitions, ..TopicOptions::default() })?;
            through_log(&topic, &mut lines)
        }
        (None, None) => bail!("neither a server nor a log"),
    })
    .await??;
    remark(&format!("{count} records appended to {name}"));
    Ok(())
}

fn through_server(client: &Client, topic: &str, lines: &mut Lines) -> Result<u64> {
    let content_type = if lines.is_raw { "text/plain" } else { "application/x-ndjson" };
    let mut count = 0;
    while let Some(chunk) = lines.next_chunk()? {
        let text = chunk.join("\n");
        count += client.append_body(topic, (content_type, text.as_bytes()), None)?.records;
    }
    Ok(count)
}

fn through_log(topic: &mulgil_log::Topic, lines: &mut Lines) -> Result<u64> {
    let (mut count, mut partition) = (0, 0);
    while let Some(chunk) = lines.next_chunk()? {
        let now = jiff::Timestamp::now().as_millisecond();
        let records: Vec<Record> =
            chunk.into_iter().map(|line| Record { timestamp_ms: now, key: None, value: line.into() }).collect();
        topic.append_blocking(partition, &records)?;
        count += records.len() as u64;
        partition = (partition + 1) % topic.partitions();
    }
    Ok(count)
}

/// The input's lines, checked to be JSON objects unless they are raw.
struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    is_raw: bool,
    line: u64,
}

impl Lines {
    /// The next lines that fit into one append: those that have come, and one at least; none at the end.
    fn next_chunk(&mut self) -> Result<Option<Vec<String>>> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while bytes < CHUNK_BYTES && (chunk.is_empty() || self.input.buffer().contains(&b'\n')) {
            let mut line = String::new();
            self.line += 1;
            if self.input.read_line(&mut line).with_context(|| format!("line {}: no text", self.line))? == 0 {
                break;
            }
            let line = if self.is_raw { line.trim_end_matches(['\r', '\n']) } else { line.trim() };
            if line.trim().is_empty() {
                continue;
            }
            if !self.is_raw
                && let Err(error) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line)
            {
                bail!("line {}: not a JSON object: {error}; nothing of this line and after it was appended", self.line);
            }
            bytes += line.len();
            chunk.push(line.to_owned());
        }
        Ok(if chunk.is_empty() { None } else { Some(chunk) })
    }
}
