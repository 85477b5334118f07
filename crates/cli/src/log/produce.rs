//! `mulgil log produce`: JSON lines from a file or standard input become records, each acknowledged when it is on disk.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use mulgil_log::{Record, TopicOptions};
use mulgil_server::client::Client;
use mulgil_server::topics::AppendQuery;

use crate::arguments::Arguments;
use crate::connection::running;
use crate::output::remark;

/// How much goes into one append.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Appends the lines, in order.
pub(crate) async fn execute(
    arguments: &Arguments,
    topic: String,
    file: Option<PathBuf>,
    partitions: u32,
) -> Result<()> {
    let input: Box<dyn Read + Send> = match &file {
        Some(file) => Box::new(File::open(file).with_context(|| format!("failed to open {}", file.display()))?),
        None => Box::new(stdin()),
    };
    let mut lines = Lines { input: BufReader::new(input), line: 0 };
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
    let mut count = 0;
    while let Some(chunk) = lines.next_chunk()? {
        let text = chunk.join("\n");
        count += client.append(topic, &AppendQuery::default(), text.as_bytes())?.records;
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

/// The input's lines, checked to be JSON objects.
struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    line: u64,
}

impl Lines {
    /// The next lines that fit into one append.
    fn next_chunk(&mut self) -> Result<Option<Vec<String>>> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while bytes < CHUNK_BYTES {
            let mut line = String::new();
            self.line += 1;
            if self.input.read_line(&mut line).with_context(|| format!("line {}: no text", self.line))? == 0 {
                break;
            }
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            if let Err(error) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line) {
                bail!("line {}: not a JSON object: {error}; nothing of this line and after it was appended", self.line);
            }
            bytes += line.len();
            chunk.push(line.to_owned());
        }
        Ok(if chunk.is_empty() { None } else { Some(chunk) })
    }
}
