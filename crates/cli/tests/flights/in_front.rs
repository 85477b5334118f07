//! Who stands in front where all want a processor, in the real program: those who answer people, and people's tasks, before the threads that
//! keep views up to date.

use std::path::Path;

use crate::kappa;

/// How nice a thread or process is, by its file in `/proc`: `pid (name) state` and then the 16th field.
fn niceness(stat: &Path) -> i32 {
    let text = std::fs::read_to_string(stat).expect("a thread");
    let after_name = text.rsplit_once(')').expect("a name").1;
    after_name.split_whitespace().nth(16).expect("fields").parse().expect("a number")
}

/// How nice each thread of a process is whose name begins so.
fn of_threads(process: u32, prefix: &str) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let threads = threads.map(|thread| thread.expect("a thread").path());
    let named = threads.filter(|thread| {
        // One may have ended meanwhile.
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.starts_with(prefix))
    });
    named.map(|thread| niceness(&thread.join("stat"))).collect()
}

#[test]
fn streams_stand_behind_those_who_answer_and_behind_tasks() {
    let project = kappa::lay_out();
    kappa::declare(&project, kappa::RIGHT);
    project.write("flows/nice.yaml", "flow: nice\ntasks:\n  say:\n    shell: cat /proc/self/stat > stat\n");
    kappa::produce(&project, &mut 0, 100);
    let server = kappa::serve(&project, |command| command);
    kappa::until_it_answers(&project, (100, true));
    project.succeed(&["flow", "run", "nice"]);

    let own = niceness(Path::new("/proc/self/stat"));
    let behind = (own + 10).min(19);
    let expected = [
        ("totals-", behind, "the workers of the view's job"),
        ("mulgil-stream", behind, "its readers and writers"),
        ("mulgil-sql", own, "the connections of the SQL port"),
        ("mulgil-query", own, "queries"),
        ("tokio-", own, "the scheduler and the pages"),
    ];
    for (prefix, niceness, who) in expected {
        let found = of_threads(server.0.id(), prefix);
        assert!(!found.is_empty() && found.iter().all(|found| *found == niceness), "{who}: {found:?}, not {niceness}");
    }
    assert_eq!(niceness(&project.path("stat")), own, "a task's process");
}
