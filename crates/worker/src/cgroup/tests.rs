//! Control groups of version 2 in a tree of plain files, with a kernel that has its rules: who may move whom, and what it refuses.
//! (The kernels of most machines that build this have version 1, which `attempt/tests/memory.rs` meets as it is.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::{fs, io, process};

use tempfile::TempDir;

use super::{OwnGroup, V2, WORKER};

/// Where the tests' worker is.
const OWN: &str = "system.slice/mulgil.service";

/// A tree whose group `OWN` has the worker in it, as systemd leaves it: `controllers` are what the group may give on.
fn tree(controllers: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let own = root.path().join(OWN);
    fs::create_dir_all(&own).unwrap();
    let files = [
        ("cgroup.controllers", controllers),
        ("cgroup.subtree_control", ""),
        ("memory.events", "low 0\nhigh 0\nmax 9\noom 9\noom_kill 9\noom_group_kill 0\n"),
        ("memory.events.local", "low 0\nhigh 0\nmax 5\noom 3\noom_kill 0\noom_group_kill 0\n"),
        ("memory.max", "max\n"),
    ];
    files.iter().for_each(|(file, text)| fs::write(own.join(file), text).unwrap());
    fs::write(own.join("cgroup.procs"), process::id().to_string()).unwrap();
    root
}

/// The group of somebody to whom it was not delegated: its files are another's.
fn not_delegated(root: &Path) {
    for file in ["cgroup.procs", "cgroup.subtree_control"] {
        let file = root.join(OWN).join(file);
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(file, permissions).unwrap();
    }
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// What the kernel does when somebody writes to a file below `OWN`.
fn kernel(file: &Path, text: &str) -> io::Result<()> {
    let group = file.parent().unwrap();
    let own = group.ancestors().find(|folder| folder.ends_with(OWN)).unwrap();
    let is_anothers = |file: &str| fs::metadata(own.join(file)).is_ok_and(|file| file.permissions().readonly());
    match file.file_name().unwrap().to_str().unwrap() {
        // Whoever moves a process must be allowed to write where it comes from, too.
        "cgroup.procs" if is_anothers("cgroup.procs") => Err(ErrorKind::PermissionDenied.into()),
        // A group that gives controllers on has no processes of its own.
        "cgroup.procs" if group == own && !lines(&own.join("cgroup.subtree_control")).is_empty() => {
            Err(ErrorKind::ResourceBusy.into())
        }
        "cgroup.procs" => {
            let others = fs::read_dir(own)?.flatten().map(|entry| entry.path());
            for procs in others.chain([own.to_owned()]).map(|group| group.join("cgroup.procs")) {
                let left: Vec<String> = lines(&procs).into_iter().filter(|pid| pid != text).collect();
                // A file of the kernel's does not keep its group from being removed; one of these would.
                let _ = if left.is_empty() { fs::remove_file(&procs) } else { fs::write(&procs, left.join("\n")) };
            }
            let all: Vec<String> = lines(file).into_iter().chain([text.to_owned()]).collect();
            fs::write(file, all.join("\n"))
        }
        "cgroup.subtree_control" if is_anothers("cgroup.subtree_control") => Err(ErrorKind::PermissionDenied.into()),
        "cgroup.subtree_control" if !lines(&group.join("cgroup.controllers")).contains(&"memory".to_owned()) => {
            Err(ErrorKind::NotFound.into())
        }
        "cgroup.subtree_control" if !lines(&group.join("cgroup.procs")).is_empty() => {
            Err(ErrorKind::ResourceBusy.into())
        }
        "cgroup.subtree_control" => fs::write(file, text.trim_start_matches('+')),
        // A group has files of memory when the one above it gives memory on, and no file is made by writing.
        _ if !lines(&group.parent().unwrap().join("cgroup.subtree_control")).contains(&"memory".to_owned()) => {
            Err(Error::new(ErrorKind::PermissionDenied, "no such file of the kernel's"))
        }
        _ => fs::write(file, text),
    }
}

fn found(root: &TempDir) -> OwnGroup {
    OwnGroup::find(&format!("0::/{OWN}\n"), root.path(), kernel).unwrap()
}

#[test]
fn a_worker_moves_out_of_its_delegated_group_and_gives_attempts_their_memory() {
    let root = tree("cpu memory pids");
    let own = found(&root);
    assert_eq!(
        (own.oom_kills(), own.limit_bytes()),
        (3, None),
        "what groups below have met at their limits is not its own"
    );
    for (epoch, pid) in [(7, 70), (8, 80)] {
        let group = own.limit(epoch, 100_000_000, pid).unwrap();
        let says = |file: &str| fs::read_to_string(group.folder.join(file)).unwrap();
        assert_eq!((says("memory.max"), says("cgroup.procs")), ("100000000".to_owned(), pid.to_string()));
        assert_eq!((says("memory.oom.group"), says("memory.swap.max")), ("1".to_owned(), "0".to_owned()));
        assert!(!group.has_killed());
        fs::write(group.folder.join(V2.events), "low 0\noom 1\noom_kill 1\noom_group_kill 1\n").unwrap();
        fs::write(group.folder.join(V2.peak), "99999744\n").unwrap();
        assert!(group.has_killed());
        assert_eq!(group.peak_bytes(), Some(99_999_744));
    }
    let service = root.path().join(OWN);
    assert_eq!(lines(&service.join(WORKER).join("cgroup.procs")), [process::id().to_string()]);
    assert_eq!(lines(&service.join("cgroup.subtree_control")), ["memory"]);
    assert!(lines(&service.join("cgroup.procs")).is_empty());
}

#[test]
fn where_the_group_is_anothers_there_is_no_limit_and_nothing_has_moved() {
    let root = tree("cpu memory pids");
    not_delegated(root.path());
    assert_eq!(found(&root).limit(7, 100_000_000, 70).unwrap_err().kind(), ErrorKind::PermissionDenied);
    as_it_was(&root, &[process::id().to_string()]);
}

#[test]
fn where_memory_is_not_given_on_from_above_there_is_no_limit_and_the_worker_goes_back() {
    let root = tree("cpu pids");
    assert_eq!(found(&root).limit(7, 100_000_000, 70).unwrap_err().kind(), ErrorKind::NotFound);
    as_it_was(&root, &[process::id().to_string()]);
}

#[test]
fn where_others_are_in_the_group_there_is_no_limit_and_the_worker_goes_back() {
    let root = tree("cpu memory pids");
    let (other, me) = ("1".to_owned(), process::id().to_string());
    fs::write(root.path().join(OWN).join("cgroup.procs"), format!("{other}\n{me}")).unwrap();
    assert_eq!(found(&root).limit(7, 100_000_000, 70).unwrap_err().kind(), ErrorKind::ResourceBusy);
    as_it_was(&root, &[other, me]);
}

fn as_it_was(root: &TempDir, pids: &[String]) {
    let own = root.path().join(OWN);
    assert_eq!(lines(&own.join("cgroup.procs")), pids);
    let folders = fs::read_dir(own).unwrap().flatten().filter(|entry| entry.path().is_dir());
    assert_eq!(folders.count(), 0, "no group is left behind");
}

#[test]
fn the_group_is_found_in_every_way_in_which_systems_lay_the_tree_out() {
    let root = tempfile::tempdir().unwrap();
    let make = |folder: &str, file: &str| {
        fs::create_dir_all(root.path().join(folder)).unwrap();
        fs::write(root.path().join(folder).join(file), "").unwrap();
    };
    let own = format!("4:memory:/{OWN}\n2:cpu,cpuacct:/\n0::/{OWN}\n");
    let find = |own: &str| {
        let found = OwnGroup::find(own, root.path(), kernel)?;
        Some((found.folder.strip_prefix(root.path()).unwrap().to_str().unwrap().to_owned(), found.files.limit))
    };
    let is = |folder: &str, limit| Some((folder.to_owned(), limit));
    // The root of the tree on the machine itself counts nothing.
    fs::write(root.path().join("cgroup.controllers"), "memory").unwrap();
    assert_eq!(find("0::/\n"), None);
    make(OWN, "memory.events");
    assert_eq!(find(&own), is(OWN, "memory.max"));
    // In a container `/proc` names the host's path, and its own group is mounted as the root.
    make("", "memory.events");
    assert_eq!(find("0::/docker/4711\n"), is("", "memory.max"));
    // Both versions at once: memory is counted by the first.
    make(&format!("memory/{OWN}"), "memory.oom_control");
    assert_eq!(find(&own), is(&format!("memory/{OWN}"), "memory.limit_in_bytes"));
    assert_eq!(find(""), None, "no such system");
}
