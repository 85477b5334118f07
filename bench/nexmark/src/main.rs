//! `mulgil-nexmark`: makes the events, checks the answers, measures the speed.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use mulgil_nexmark::check::Check;
use mulgil_nexmark::event::Generator;
use mulgil_nexmark::files::Files;
use mulgil_nexmark::query::{Query, queries};
use mulgil_nexmark::speed::{Run, Speed, run};

/// Nexmark on Mulgil.
#[derive(Parser)]
#[command(name = "mulgil-nexmark")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the events as Parquet files.
    Generate(Events),
    /// Answer each query as a stream and in batch, and compare the final rows.
    Check {
        /// Queries, such as q5; all where none is named.
        queries: Vec<String>,
        /// How many events.
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// Worker threads of the stream.
        #[arg(long, default_value_t = 2)]
        parallelism: usize,
        /// The folder for the files.
        #[arg(long, default_value = "target/nexmark/check")]
        dir: PathBuf,
    },
    /// Measure each query as a stream: events per second and peak memory.
    Run {
        /// Queries, such as q5; all where none is named.
        queries: Vec<String>,
        #[command(flatten)]
        events: Events,
        /// Worker threads.
        #[arg(long, default_value_t = 2)]
        parallelism: usize,
        /// Runs of each query; the median counts.
        #[arg(long, default_value_t = 3)]
        repeat: usize,
        /// Where the figures go.
        #[arg(long, default_value = "target/nexmark/mulgil.json")]
        json: PathBuf,
    },
    /// Run one query once in this process, and say what it took.
    #[command(hide = true)]
    One {
        /// The query.
        query: String,
        /// The folder of the files.
        #[arg(long)]
        dir: PathBuf,
        /// Worker threads.
        #[arg(long)]
        parallelism: usize,
    },
}

#[derive(Args)]
struct Events {
    /// How many events.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Events in a second of event time.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Files of each table.
    #[arg(long, default_value_t = 2)]
    partitions: u64,
    /// Other seeds, other events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder for the files.
    #[arg(long, default_value = "target/nexmark/speed")]
    dir: PathBuf,
}

impl Events {
    fn write(&self) -> Result<()> {
        let generator = Generator { seed: self.seed, events_per_second: self.rate };
        let (dir, events, partitions) = (self.dir.clone(), self.events, self.partitions);
        Files { dir, events, partitions, generator }.write()
    }
}

fn main() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Arguments::parse().command {
        Command::Generate(events) => events.write().map(|()| ExitCode::SUCCESS),
        Command::Check { queries: names, events, parallelism, dir } => {
            // A millisecond an event: no two rows have the same time, so that rankings have one answer.
            let generator = Generator { events_per_second: 1_000, ..Generator::default() };
            Files { dir: dir.clone(), events, partitions: 2, generator }.write()?;
            runtime.block_on(check(&asked(&names)?, &Check { dir, parallelism }))
        }
        Command::Run { queries: names, events, parallelism, repeat, json } => {
            events.write()?;
            let speed = Speed { dir: events.dir.clone(), parallelism, repeat };
            measure(&asked(&names)?, &speed, events.events, &json)
        }
        Command::One { query, dir, parallelism } => {
            let query = asked(&[query])?.into_iter().next().context("no query")?;
            let run = runtime.block_on(run(&dir, &query, parallelism))?;
            say(&serde_json::to_string(&run)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn asked(names: &[String]) -> Result<Vec<Query>> {
    queries(names).context("queries are named q0 to q22, and tumble")
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

/// Compares all; the exit code says whether all are equal.
async fn check(queries: &[Query], check: &Check) -> Result<ExitCode> {
    let mut failed = 0;
    for query in queries {
        let begin = Instant::now();
        let answer = check.query(query).await;
        let seconds = begin.elapsed().as_secs_f64();
        match answer {
            Ok(rows) => say(&format!("{:4} same in both modes: {rows} rows ({seconds:.1} s)", query.name))?,
            Err(error) => {
                failed += 1;
                say(&format!("{:4} FAILED: {error:#}", query.name))?;
            }
        }
    }
    say(&format!(
        "{} of {} queries give the same rows as a stream and in batch",
        queries.len() - failed,
        queries.len()
    ))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures all, prints a line for each and writes them down.
fn measure(queries: &[Query], speed: &Speed, events: u64, json: &PathBuf) -> Result<ExitCode> {
    let mut figures = serde_json::Map::new();
    let mut is_complete = true;
    say("query   seconds   M events/s   peak MiB   CPU s      rows in     rows out")?;
    for query in queries {
        let figure = match speed.query(query.name) {
            Ok(runs) => {
                let Some(median) = runs.get(runs.len() / 2) else { continue };
                let Run { seconds, rows_in, rows_out, peak_mib, cpu_seconds } = median;
                let rate = events as f64 / seconds / 1e6;
                let name = query.name;
                say(&format!(
                    "{name:5} {seconds:9.3} {rate:12.2} {peak_mib:10} {cpu_seconds:7.2} {rows_in:12} {rows_out:12}"
                ))?;
                serde_json::json!({ "events_per_s": (rate * 1e6).round(), "median": median, "runs": runs })
            }
            Err(error) => {
                is_complete = false;
                say(&format!("{:5} FAILED: {error:#}", query.name))?;
                serde_json::json!({ "error": format!("{error:#}") })
            }
        };
        figures.insert(query.name.to_owned(), figure);
    }
    let figures = serde_json::json!({ "events": events, "parallelism": speed.parallelism, "queries": figures });
    std::fs::write(json, serde_json::to_string_pretty(&figures)?)
        .with_context(|| format!("failed to write {}", json.display()))?;
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
