//! Memory limits that the kernel keeps: a control group for each attempt that has one, below the worker's own.
//!
//! That takes a worker who may make such groups: root, or one to whom its part of the tree was delegated (`Delegate=yes` of systemd).
//! In version 2 a group that has processes of its own cannot give memory to groups below it, so the worker first moves into one
//! of its own. Where anything of that is refused there are no groups, and limits are kept in another way (see [`crate::memory`]).

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{fs, io};

/// How the files of a version are called.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    peak: &'static str,
    events: &'static str,
}

const V2: Files = Files { limit: "memory.max", peak: "memory.peak", events: "memory.events" };
const V1: Files =
    Files { limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes", events: "memory.oom_control" };

/// What names of groups of attempts begin with.
const PREFIX: &str = "mulgil-lease-";
/// The group into which a worker moves in version 2.
const WORKER: &str = "mulgil-worker";

/// Writes to a file of the tree, which is a request to the kernel; tests have one of their own.
type Ask = fn(&Path, &str) -> io::Result<()>;

/// The control group of this process.
#[derive(Debug)]
pub(crate) struct OwnGroup {
    folder: PathBuf,
    files: &'static Files,
    ask: Ask,
}

impl OwnGroup {
    /// Found once; `None` where the system has none that counts memory.
    pub(crate) fn of_this_process() -> Option<&'static Self> {
        static FOUND: OnceLock<Option<OwnGroup>> = OnceLock::new();
        let find = || {
            let own = fs::read_to_string("/proc/self/cgroup").ok()?;
            Self::find(&own, Path::new("/sys/fs/cgroup"), |file, text| fs::write(file, text))
        };
        FOUND.get_or_init(find).as_ref()
    }

    /// The group that `/proc/self/cgroup` names, in the tree that is mounted at `root`.
    fn find(own: &str, root: &Path, ask: Ask) -> Option<Self> {
        let path_of = |line: &str| line.splitn(3, ':').nth(2).map(|path| path.trim_start_matches('/').to_owned());
        let v1 = own
            .lines()
            .find(|line| line.split(':').nth(1).is_some_and(|kinds| kinds.split(',').any(|kind| kind == "memory")));
        let v2 = own.lines().find(|line| line.starts_with("0::"));
        let place = |root: &Path, line: Option<&str>, files: &'static Files| {
            // In a container the path may be the host's, and what is mounted the container's own.
            let folders = [root.join(path_of(line?)?), root.to_owned()];
            let folder = folders.into_iter().find(|folder| folder.join(files.events).exists())?;
            Some(Self { folder, files, ask })
        };
        place(&root.join("memory"), v1, &V1).or_else(|| place(root, v2, &V2))
    }

    /// Removes the groups of leases whose worker was killed, as far as nothing is in them any more.
    pub(crate) fn tidy(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                // One with processes in it is refused, which is right.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }

    /// How often the kernel has killed so far because this very group was at its limit. Version 2 counts in `memory.events` what was
    /// killed in the groups below too, at their own limits; a kernel before 5.2 has nothing better.
    pub(crate) fn oom_kills(&self) -> u64 {
        let local = (self.files.limit == V2.limit).then(|| counted(&self.folder.join("memory.events.local"), "oom "));
        local.flatten().or_else(|| counted(&self.folder.join(self.files.events), "oom_kill ")).unwrap_or(0)
    }

    /// How much memory it may have, where that is less than everything.
    pub(crate) fn limit_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(self.files.limit)).ok()?;
        // Version 1 says a number that no machine has, version 2 says `max`.
        text.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
    }

    /// Makes a group for the processes of a lease, with so much memory, and moves the first of them into it.
    pub(crate) fn limit(&self, epoch: i64, bytes: u64, pid: i32) -> io::Result<Group> {
        if self.files.limit == V2.limit {
            self.share_memory()?;
        }
        let folder = self.folder.join(format!("{PREFIX}{}-{epoch}", std::process::id()));
        fs::create_dir(&folder)?;
        let group = Group { folder, files: self.files };
        let ask = |file: &str, text: &str| (self.ask)(&group.folder.join(file), text);
        ask(self.files.limit, &bytes.to_string())?;
        // One process is killed alone otherwise, and the rest goes on without it. Version 1 cannot do better.
        let _ = ask("memory.oom.group", "1");
        // Without it, what is too much would go to swap.
        let _ = ask("memory.swap.max", "0");
        ask("cgroup.procs", &pid.to_string())?;
        Ok(group)
    }

    /// Version 2: lets groups below this one have limits of memory.
    fn share_memory(&self) -> io::Result<()> {
        let control = self.folder.join("cgroup.subtree_control");
        if fs::read_to_string(&control)?.split_whitespace().any(|kind| kind == "memory") {
            return Ok(());
        }
        if (self.ask)(&control, "+memory").is_ok() {
            return Ok(());
        }
        let (here, own) = (self.folder.join("cgroup.procs"), self.folder.join(WORKER));
        let _ = fs::create_dir(&own);
        let me = std::process::id().to_string();
        let moved = (self.ask)(&own.join("cgroup.procs"), &me).and_then(|()| (self.ask)(&control, "+memory"));
        moved.inspect_err(|_| {
            // Others are in it too, or nobody may move: back to where it was.
            let _ = (self.ask)(&here, &me);
            let _ = fs::remove_dir(&own);
        })
    }
}

/// The control group of one attempt. Dropped, it is removed, if it is empty.
#[derive(Debug)]
pub(crate) struct Group {
    folder: PathBuf,
    files: &'static Files,
}

impl Group {
    /// Whether the kernel has killed something in it.
    pub(crate) fn has_killed(&self) -> bool {
        counted(&self.folder.join(self.files.events), "oom_kill ").is_some_and(|kills| kills > 0)
    }

    /// The most memory that it had at one moment, with what the kernel kept of files for it.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        fs::read_to_string(self.folder.join(self.files.peak)).ok()?.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Something may have got away and still be in it: then the group stays, with its limit.
        let _ = fs::remove_dir(&self.folder);
    }
}

fn counted(events: &Path, what: &str) -> Option<u64> {
    let text = fs::read_to_string(events).ok()?;
    text.lines().find_map(|line| line.strip_prefix(what))?.trim().parse().ok()
}
