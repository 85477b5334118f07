//! `mulgil flow usage`

use anyhow::Result;
use mulgil_sched::diagnosis::bytes;
use mulgil_server::client::Client;
use mulgil_server::usage::Usage;
use serde_json::{Value, json};

use super::{find_run_to_read, status, task_of};
use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, print_json, remark};

/// Heights of one character, for a chart in a line of text.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What each attempt of a run used, and what broke it or held it up.
pub(crate) fn execute(client: &Client, format: Format, run: &str, task: Option<&str>) -> Result<Exit> {
    let run = client.run(find_run_to_read(client, run)?.id)?;
    let asked = match task {
        Some(task) => std::slice::from_ref(task_of(&run, task)?),
        None => &run.tasks,
    };
    let attempts = asked.iter().flat_map(|task| task.attempts.iter().map(move |attempt| (&task.name, attempt)));
    if format == Format::Json {
        let rows: Vec<Value> = attempts
            .map(|(task, attempt)| {
                json!({"task": task, "attempt": attempt.number, "status": attempt.status, "usage": attempt.usage})
            })
            .collect();
        print_json(&rows)?;
        return Ok(Exit::Done);
    }
    let columns = ["task", "attempt", "state", "took", "cpu", "memory", "disk", "processors in use", "what held it up"];
    let mut listing = Listing::new(columns);
    let mut shared = None;
    for (task, attempt) in attempts {
        let mut row = vec![json!(task), json!(attempt.number), json!(status::word(&attempt.status))];
        row.extend(figures(attempt.usage.as_ref()).map(Value::from));
        listing.push(row);
        shared = attempt.usage.as_ref().map(|usage| usage.machine).or(shared);
    }
    listing.print(format)?;
    if let Some(machine) = shared {
        remark(&format!(
            "the machine during the last of them: {:.0} % of {} processors, {} of {} memory free at the least, {} received and {} sent over the network",
            machine.cpu_share * 100.0,
            machine.cores,
            bytes(machine.memory_available_min_bytes),
            bytes(machine.memory_bytes),
            bytes(machine.received_bytes),
            bytes(machine.sent_bytes),
        ));
    }
    Ok(Exit::Done)
}

fn figures(usage: Option<&Usage>) -> [String; 6] {
    let Some(usage) = usage else { return Default::default() };
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
    // cpu, memory, read, written: its own, or those of the process that did its work.
    let own = usage.tree.map(|tree| [tree.cpu_ms, tree.memory_peak_bytes, tree.read_bytes, tree.written_bytes]);
    let host = usage.host.map(|host| [host.cpu_ms, host.memory_grown_bytes, host.read_bytes, host.written_bytes]);
    let shared = usage.host.map_or_else(String::new, |host| match host.others {
        0 => " (server)".to_owned(),
        others => format!(" (server, {others} beside it)"),
    });
    let figure = |say: &dyn Fn([u64; 4]) -> String| own.or(host).map_or_else(|| "–".to_owned(), say);
    let finding =
        usage.finding.as_ref().map_or_else(String::new, |found| format!("{}; {}", found.sentence, found.remedy));
    [
        seconds(usage.wall_ms),
        figure(&|[cpu, ..]| format!("{}{shared}", seconds(cpu))),
        figure(&|[_, memory, ..]| bytes(memory)),
        figure(&|[_, _, read, written]| format!("{} read, {} written", bytes(read), bytes(written))),
        chart(usage),
        finding,
    ]
}

/// Processors in use over the time of the attempt.
fn chart(usage: &Usage) -> String {
    let most = usage.samples.iter().map(|sample| sample.cores).fold(1.0, f64::max);
    let bar = |cores: f64| BARS.get(((cores / most) * 7.0).round() as usize).copied().unwrap_or(' ');
    usage.samples.iter().map(|sample| bar(sample.cores)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use mulgil_sched::usage::{Sample, Usage};

    use super::chart;

    #[test]
    fn a_chart_is_as_high_as_what_was_used() {
        let sample = |cores| Sample { cores, ..Sample::default() };
        let usage = Usage { samples: [0.0, 1.0, 2.0].map(sample).to_vec(), ..Usage::default() };
        assert_eq!(chart(&usage.into()), "▁▅█");
    }
}
