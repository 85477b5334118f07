//! The flows of a world: a few small graphs, some with a schedule, limits, retries, tasks that must not run twice.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use mulgil_flow::{Flow, Project};

use super::again;
use super::random::Random;
use crate::FlowSource;

/// When a world begins.
pub(super) const BEGINNING: &str = "2026-01-01T00:00:00Z";
/// Slots of each schedule: half an hour each.
pub(super) const SLOTS: usize = 6;

const PROJECT: &str = "pools: {default: 3, narrow: 1}
\
    notify: {ops: {webhook: http://ops}, all: {webhook: http://all, on: [failure, success, retry, deadline, slow]}}";

/// The project of every world. It is asked for at every commit, so it is read once.
pub(super) fn project() -> &'static Arc<Project> {
    static READ: LazyLock<Arc<Project>> = LazyLock::new(|| Arc::new(Project::parse("mulgil.yaml", PROJECT).unwrap()));
    &READ
}

/// The texts of a world's flows. Each has a marker, `MARK`, which another version replaces.
pub(super) fn texts(random: &mut Random) -> Vec<String> {
    let count = random.between(2, 4);
    (0..count).map(|number| text(number, number > 0 && number == count - 1, random)).collect()
}

/// The first flow writes a table; the last may wait for it.
fn text(number: i64, last: bool, random: &mut Random) -> String {
    let mut text = format!("flow: f{number}\ndescription: MARK\nparams: {{n: 0}}\n");
    if random.chance(60) {
        let overlap = ["", ", overlap: queue", ", overlap: skip", ", overlap: cancel"][random.below(4) as usize];
        let span = format!("start: '{BEGINNING}', end: '2026-01-01T03:00:00Z'");
        let on = if last && random.chance(60) { ", on: made" } else { "" };
        writeln!(text, "schedule: {{every: 30m, {span}, catchup: all{overlap}{on}}}").unwrap();
    }
    if random.chance(40) {
        writeln!(text, "concurrency: {}", random.between(1, 2)).unwrap();
    }
    if random.chance(30) {
        writeln!(text, "run_timeout: {}s", random.between(60, 900)).unwrap();
    }
    if random.chance(60) {
        writeln!(text, "deadline: 0{}:{:02}", random.below(5), random.below(60)).unwrap();
    }
    if random.chance(30) {
        text.push_str("on_failure: [ops]\non_success: []\n");
    }
    text.push_str("tasks:\n");
    for task in 0..random.between(1, 6) {
        let needs: Vec<String> = (0..task).filter(|_| random.chance(35)).map(|need| format!("t{need}")).collect();
        let calls = number > 0 && random.chance(20);
        let waits = !calls && random.chance(20);
        let views = !calls && !waits && (number, task) != (0, 0) && random.chance(10);
        let does = match (number, task) {
            (0, 0) => "sql: SELECT 1, to: made, write: replace_table".to_owned(),
            _ if calls => call(number, random),
            _ if waits => "wait: {file: x, on_timeout: skip}".to_owned(),
            _ if views => ["view: {refresh: v}", "view: {replay: v}"][random.below(2) as usize].to_owned(),
            _ => "shell: 'true'".to_owned(),
        };
        write!(text, "  t{task}: {{{does}, needs: [{}]", needs.join(", ")).unwrap();
        if calls {
            // What it calls says the rest.
        } else if random.chance(25) {
            text.push_str(", idempotent: false");
        } else if random.chance(50) {
            write!(text, ", {}", again::retries(random)).unwrap();
        }
        if random.chance(30) {
            write!(text, ", timeout: {}s", random.between(20, 300)).unwrap();
        }
        if !calls && !views && random.chance(30) {
            text.push_str(", pool: narrow");
        }
        // A task that waits, calls or does something to a view holds no slot, so it takes no limit.
        if !calls && !views && random.chance(30) && (!waits || (number, task) == (0, 0)) {
            write!(text, ", concurrency: {}", random.between(1, 2)).unwrap();
        }
        if random.chance(30) {
            let priority = if calls || views { String::new() } else { format!(", priority: {}", random.below(3)) };
            write!(text, ", group: g{priority}").unwrap();
        }
        if random.chance(30) {
            let items = match needs.first() {
                Some(need) if random.chance(60) => format!("'{{{{ results.{need} }}}}'"),
                _ => format!("{:?}", (0..random.between(0, 4)).collect::<Vec<_>>()),
            };
            let limit =
                if random.chance(50) { format!(", max_parallel: {}", random.between(1, 2)) } else { String::new() };
            let items = if random.chance(30) { "sql: SELECT 1".to_owned() } else { format!("items: {items}") };
            write!(text, ", for_each: {{{items}{limit}}}").unwrap();
        }
        text.push_str("}\n");
    }
    text
}

/// Calls one of the flows before: the very run that its schedule makes, one for each run that calls, or one among a few.
fn call(number: i64, random: &mut Random) -> String {
    let called = random.below(number as u64);
    let params = match random.below(3) {
        0 => String::new(),
        1 => ", params: {n: '{{ params.n }}'}".to_owned(),
        _ => format!(", params: {{n: {}}}", random.between(100, 103)),
    };
    let rerun_on = ["", ", rerun_on: none", ", rerun_on: all"][random.below(3) as usize];
    format!("flow: f{called}{params}{rerun_on}")
}

/// A text as the scheduler takes it, in one of its versions: tasks come and go.
pub(super) fn source(text: &str, version: u64) -> FlowSource {
    let mut text = text.replace("MARK", &format!("version {version}"));
    for (every, task) in [(2, "now_and_then: {shell: 'true'}"), (3, "after: {shell: 'true', needs: [t0], group: g}")] {
        if version % every == 1 {
            writeln!(text, "  {task}").unwrap();
        }
    }
    let flow = Flow::parse("flows/simulated.yaml", &text, project());
    let flow = flow.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    FlowSource { flow: Arc::new(flow), text }
}
