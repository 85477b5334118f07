//! Ending an attempt ends everything that it has started, whatever it did to get away.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::super::Control;
use super::bench::House;
use crate::dispatcher::Outcome;
use crate::process::{is_alive, kill_left_over, mark_of};

/// A grandchild with a session of its own and no parent: what a daemon does. It writes its number and sleeps.
const DAEMON: &str = "import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1] + '.new', 'w').write(str(os.getpid()))
        os.rename(sys.argv[1] + '.new', sys.argv[1])
        for fd in (0, 1, 2):
            os.close(fd)
        time.sleep(1000)
    os._exit(0)
os.wait()
";
const PATIENCE: Duration = Duration::from_secs(30);

async fn number_in(file: &std::path::Path) -> i32 {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text.parse().unwrap();
        }
        assert!(Instant::now() < until, "the grandchild has not begun");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_grandchild_that_left_the_group_and_the_session_is_ended_with_the_attempt() {
    let house = House::new("{}");
    std::fs::write(house.path().join("daemon.py"), DAEMON).unwrap();
    let (tell, told) = watch::channel(Control::Run);
    let file = house.path().join("number");
    let cancel = async {
        let number = number_in(&file).await;
        let mark = mark_of(number).unwrap();
        assert!(is_alive(mark));
        tell.send_replace(Control::Cancel);
        mark
    };
    let (ended, grandchild) =
        tokio::join!(house.run_until("{shell: python3 daemon.py number; sleep 1000}", told), cancel);
    assert_eq!(ended.outcome, Outcome::Cancelled);
    assert!(!is_alive(grandchild), "the grandchild lives on");
}

#[tokio::test]
async fn a_grandchild_whose_worker_died_is_found_by_its_mark_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("daemon.py"), DAEMON).unwrap();
    // As the gate does it. The shell itself is gone before anybody looks, as after `kill -9` of the worker.
    let gate = "MULGIL_PROCESS=$$.$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f20); export MULGIL_PROCESS; echo $MULGIL_PROCESS; python3 daemon.py number";
    let mut shell = tokio::process::Command::new("/bin/sh");
    let output = shell.args(["-c", gate]).current_dir(folder.path()).process_group(0).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (pid, start) = text.trim().split_once('.').unwrap();
    let mark = crate::process::ProcessMark { pid: pid.parse().unwrap(), start_ticks: start.parse().unwrap() };
    let grandchild = mark_of(number_in(&folder.path().join("number")).await).unwrap();
    assert!(is_alive(grandchild));
    let stranger = crate::process::ProcessMark { start_ticks: mark.start_ticks + 1, ..mark };
    assert!(!kill_left_over(stranger, 0).await, "another attempt's are left alone");
    assert!(is_alive(grandchild));
    assert!(kill_left_over(mark, 0).await);
    assert!(!is_alive(grandchild), "the grandchild lives on");
}
