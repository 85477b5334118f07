//! How much memory the state of streams may take where nobody says so: half of what the machine has, or of what the
//! container may have.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use mulgil_dataflow::spill::StateBudget;
use mulgil_engine::state_files::StateOptions;
use mulgil_sql::size::size_of_text;

/// Where state beyond memory goes, below a project's folder.
const FOLDER: &str = ".mulgil/state";

/// What views may hold together, as the project's file says it, or half of the memory. `None` where that is not known.
pub(crate) fn of_views(project: &Path, asked: Option<&str>) -> Result<Option<StateOptions>> {
    options(project.join(FOLDER).join("views"), asked)
}

/// The same for the statements of one process. What killed processes have left is removed.
pub(crate) fn of_process(project: &Path, asked: Option<&str>) -> Result<Option<StateOptions>> {
    let all = project.join(FOLDER);
    remove_dead(&all);
    options(all.join(format!("{PROCESS}{}", std::process::id())), asked)
}

/// What one query over the SQL port may take, as the project's file says it.
pub(crate) fn of_queries(asked: Option<&str>) -> Result<Option<usize>> {
    let read = |text: &str| {
        size_of_text(text)
            .ok_or_else(|| anyhow!("mulgil.yaml: sql: '{text}' is not a size: write for example '256 MB'"))
    };
    asked.map(read).transpose()
}

/// How the folder of a process's statements begins.
const PROCESS: &str = "sql-";

fn options(folder: PathBuf, asked: Option<&str>) -> Result<Option<StateOptions>> {
    let limit_bytes = match asked {
        Some(text) => {
            let size = size_of_text(text);
            Some(size.ok_or_else(|| anyhow!("'{text}' is not a size for state memory: write for example '256 MB'"))?)
        }
        None => memory_bytes().map(|bytes| bytes / 2),
    };
    Ok(limit_bytes.map(|limit_bytes| StateOptions { budget: StateBudget::new(limit_bytes), folder }))
}

/// Removes the folders of processes that are no more, where the system says which there are.
fn remove_dead(all: &Path) {
    let processes = Path::new("/proc");
    if !processes.join("self").exists() {
        return;
    }
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PROCESS));
        if number.is_some_and(|number| !processes.join(number).exists()) {
            // Another process may be at it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The memory of the machine, or the limit of the container if that is less.
fn memory_bytes() -> Option<usize> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = limits.into_iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    machine.into_iter().chain(limits).min()
}

fn total_of(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn half_of_the_memory_is_taken_where_nothing_is_said() {
        assert_eq!(total_of("MemTotal:       16303572 kB\nMemFree:  1 kB\n"), Some(16_303_572 * 1_024));
        let project = Path::new("project");
        let options = of_views(project, Some("256 MB")).unwrap().unwrap();
        assert_eq!(options.budget.limit_bytes(), 256_000_000);
        assert_eq!(options.folder, Path::new("project/.mulgil/state/views"));
        assert!(of_views(project, Some("much")).unwrap_err().to_string().contains("256 MB"));
        let asked_for_nothing = of_views(project, None).unwrap().map(|options| options.budget.limit_bytes());
        assert_eq!(asked_for_nothing, memory_bytes().map(|bytes| bytes / 2));
    }

    #[test]
    fn what_killed_processes_have_left_is_removed() {
        let project = tempfile::tempdir().unwrap();
        let of = |process: &str| project.path().join(FOLDER).join(process);
        let (living, dead, views) = (of(&format!("{PROCESS}{}", std::process::id())), of("sql-4194999"), of("views"));
        for folder in [&living, &dead, &views] {
            fs::create_dir_all(folder).unwrap();
        }
        of_process(project.path(), None).unwrap();
        let is_linux = Path::new("/proc/self").exists();
        assert_eq!([&living, &dead, &views].map(|folder| folder.exists()), [true, !is_linux, true]);
    }
}
