//! A disk that is full: in a child process whose files may not grow beyond a limit, so that the operating system itself
//! refuses, after having written a part.

use std::process::Command;

use mulgil_log::LogError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

const DIR: &str = "MULGIL_LOG_TEST_DIR";

fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

#[test]
#[ignore = "runs in the child process only"]
fn child() {
    for (name, durability) in [("os", Durability::Os), ("fsync", Durability::Fsync)] {
        let dir = std::path::PathBuf::from(std::env::var(DIR).unwrap()).join(name);
        let log = EventLog::open(&dir, LogOptions::default()).unwrap();
        let topic = log.create_topic("t", options(durability)).unwrap();
        let segment = dir.join("t/0/00000000000000000000.log");
        topic.append_blocking(0, &records(0..10)).unwrap();
        let size = topic.size_bytes(0).unwrap();
        let mut watch = topic.watch(0).unwrap();
        watch.mark_unchanged();

        // There is room for a part of the next append.
        limit_files(Some(size + 300));
        for _ in 0..3 {
            let error = topic.append_blocking(0, &records(10..50)).unwrap_err();
            assert!(matches!(error, LogError::Io { action: "write", .. }), "{error}");
            assert!(error.to_string().contains("00000000000000000000.log: File too large"), "{error}");
            assert_eq!(std::fs::metadata(&segment).unwrap().len(), size, "nothing half-written remains");
            assert_intact(&all(&topic), 10);
            assert!(!watch.has_changed().unwrap());
        }
        // What still fits is taken, and when there is room again, the log goes on.
        topic.append_blocking(0, &records(10..11)).unwrap();
        limit_files(None);
        assert_eq!(topic.append_blocking(0, &records(11..50)).unwrap(), 11..50);
        assert_intact(&all(&topic), 50);
        drop((log, topic));
        let log = EventLog::open(&dir, LogOptions::default()).unwrap();
        assert_intact(&all(&log.topic("t").unwrap()), 50);
    }
}

#[test]
fn a_full_disk_refuses_appends_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // The signal that comes with the refusal is ignored, as a server would; a child inherits that.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "full_disk::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let heard = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && heard.contains("1 passed"), "{heard}");
}
