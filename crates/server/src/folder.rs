//! A project's folder as files: read as a whole, each broken file told with its place, none of them fatal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mulgil_connect::connectors::Connectors;
use mulgil_flow::{Dashboard, Diagnostic, Flow, Project, blamed, check_calls};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::problem::SqlProblem;

use crate::project::{Problem, ProblemKind};
use crate::scheduler::FlowSource;
use crate::scripted::{Script, Scripts};
use crate::{dashboards, view_flows};

/// The project's file. A folder without one is no project.
pub const PROJECT_FILE: &str = "mulgil.yaml";

/// A project's folder as it was read.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where it is.
    pub dir: PathBuf,
    /// `mulgil.yaml`; the defaults for what of that file is broken.
    pub project: Arc<Project>,
    /// The flows that are whole.
    pub flows: Vec<FlowSource>,
    /// The dashboards that are whole.
    pub dashboards: Vec<Dashboard>,
    /// The SQL files of `sources/` and `views/` with their texts, paths relative to the folder.
    pub sql: Vec<(PathBuf, String)>,
    /// What is wrong with `mulgil.yaml` and the flows.
    pub problems: Vec<Problem>,
    /// What is wrong with `mulgil.yaml` and the files that it names.
    mistakes: Vec<Diagnostic>,
    /// The flows that are not.
    broken_flows: Vec<BrokenFlow>,
}

/// A flow's file that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenFlow {
    /// The name that it states, else the file's name without its ending.
    pub name: String,
    /// The file, relative to the project's folder.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no `mulgil.yaml`.
    #[error("{} is no Mulgil project: it has no {PROJECT_FILE}; run `mulgil init {}` to make it one", dir.display(), dir.display())]
    NoProject {
        /// The folder.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
}

impl Folder {
    /// Reads the project in a folder. Broken files are problems, not errors.
    pub fn read(dir: &Path) -> Result<Self, FolderError> {
        let project_file = dir.join(PROJECT_FILE);
        if !project_file.is_file() {
            return Err(FolderError::NoProject { dir: dir.to_owned() });
        }
        let text = read_text(&project_file)?;
        let mut problems = Vec::new();
        let (whole, mut mistakes) = Project::read(PROJECT_FILE, &text);
        let mut project = whole.unwrap_or_default();
        let dates = |path: &str| std::fs::read_to_string(dir.join(path)).map_err(|error| error.to_string());
        mistakes.extend(project.read_calendars(PROJECT_FILE, dates));
        problems.extend(mistakes.iter().cloned().map(|one| {
            let text = if one.file == PROJECT_FILE { text.as_str() } else { "" };
            from_diagnostic(ProblemKind::Project, None, one, text)
        }));
        let mut folder = Self {
            dir: dir.to_owned(),
            project: Arc::new(project),
            flows: Vec::new(),
            dashboards: Vec::new(),
            sql: Vec::new(),
            problems,
            mistakes,
            broken_flows: Vec::new(),
        };
        for (file, text) in files(dir, "flows", &["yaml", "yml"])? {
            let flow = Flow::parse(&file, &text, &folder.project);
            let name = stated_name(&text).unwrap_or_else(|| file_stem(&file));
            folder.add_flow(flow, name, &file, text.clone(), &text);
        }
        let scripts = files(dir, "flows", &["py"])?;
        for script in Scripts::new(dir, &Arc::clone(&folder.project).python).read(scripts) {
            folder.add_script(&script);
        }
        for kind in ["sources", "views"] {
            let found = files(dir, kind, &["sql"])?;
            folder.sql.extend(found.into_iter().map(|(file, text)| (PathBuf::from(file), text)));
        }
        for (file, text) in files(dir, "dashboards", &["yaml", "yml"])? {
            folder.add_dashboard(&file, &text);
        }
        folder.refuse_wrong_calls();
        folder.flows.sort_by(|a, b| a.flow.name.cmp(&b.flow.name));
        Ok(folder)
    }

    /// The project's name: what `mulgil.yaml` says, else the folder's name.
    pub fn name(&self) -> String {
        let folder_name = || self.dir.file_name().map(|name| name.to_string_lossy().into_owned());
        self.project.name.clone().or_else(folder_name).unwrap_or_else(|| "project".to_owned())
    }

    /// The tables and views of the SQL files, and what is wrong with them.
    pub fn catalog(&self, connectors: &Connectors) -> (Catalog, Vec<Problem>) {
        let (catalog, found) = Catalog::load_checked(&self.sql, connectors);
        let problems = found.into_iter().map(|problem| self.located(problem)).collect();
        (catalog, problems)
    }

    /// The settings, unless something is wrong with them.
    pub fn sound_project(&self) -> Option<Arc<Project>> {
        self.mistakes.is_empty().then(|| Arc::clone(&self.project))
    }

    /// Adds the flows that keep views fresh, and says which tasks do something to views that are not there. A flow of the project
    /// that has the name of one goes first.
    pub(crate) fn add_view_flows(&mut self, catalog: &Catalog) {
        self.problems.extend(view_flows::wrong_views(&self.flows, catalog));
        self.problems.extend(view_flows::wrong_exports(catalog));
        for source in view_flows::flows(catalog, &self.project) {
            if self.flows.iter().all(|other| other.flow.name != source.flow.name) {
                self.flows.push(source);
            }
        }
        self.flows.sort_by(|a, b| a.flow.name.cmp(&b.flow.name));
    }

    /// Says which panels of dashboards follow views that are not there.
    pub(crate) fn check_dashboards(&mut self, catalog: &Catalog) {
        let found = dashboards::wrong_views(&self.dashboards, catalog);
        self.problems.extend(found.into_iter().map(|one| from_diagnostic(ProblemKind::Dashboard, None, one, "")));
    }

    /// The flows whose files are broken.
    pub fn broken_flows(&self) -> &[BrokenFlow] {
        &self.broken_flows
    }

    /// Adds a flow that has been checked; `definition` is what the history keeps of it, `text` what its file holds.
    fn add_flow(
        &mut self,
        checked: Result<Flow, Vec<Diagnostic>>,
        name: String,
        file: &str,
        definition: String,
        text: &str,
    ) {
        let found = match checked {
            Ok(flow) => match self.flows.iter().find(|other| other.flow.name == flow.name) {
                None => return self.flows.push(FlowSource { flow: Arc::new(flow), text: definition }),
                Some(other) => vec![Diagnostic {
                    file: file.to_owned(),
                    line: 1,
                    column: 1,
                    message: format!("flow {} is already defined in {}", flow.name, other.flow.file),
                    remedy: Some("rename one of the two".to_owned()),
                }],
            },
            Err(found) => blamed(found, &self.mistakes),
        };
        let problem = |one| from_diagnostic(ProblemKind::Flow, Some(name.clone()), one, text);
        self.problems.extend(found.into_iter().map(problem));
        self.broken_flows.push(BrokenFlow { name, file: file.to_owned(), text: text.to_owned() });
    }

    /// Adds a dashboard that is whole.
    fn add_dashboard(&mut self, file: &str, text: &str) {
        let found = match Dashboard::parse(file, text) {
            Ok(dashboard) => match self.dashboards.iter().find(|other| other.name == dashboard.name) {
                None => return self.dashboards.push(dashboard),
                Some(other) => vec![Diagnostic {
                    file: file.to_owned(),
                    line: 1,
                    column: 1,
                    message: format!("dashboard {} is already defined in {}", dashboard.name, other.file),
                    remedy: Some("rename one of the two".to_owned()),
                }],
            },
            Err(found) => found,
        };
        let problem = |one| from_diagnostic(ProblemKind::Dashboard, None, one, text);
        self.problems.extend(found.into_iter().map(problem));
    }

    /// Adds the flows of a script: each is checked like one in YAML, and what is broken stops only itself.
    fn add_script(&mut self, script: &Script) {
        if let Some(fault) = &script.fault {
            let stem = vec![file_stem(&script.file)];
            for name in if script.lost.is_empty() { &stem } else { &script.lost } {
                let found = Err(vec![fault.clone()]);
                self.add_flow(found, name.clone(), &script.file, String::new(), &script.text);
            }
        }
        for flow in &script.flows {
            let (checked, definition) = match &flow.definition {
                Some(definition) => (
                    Flow::from_json(&script.file, definition, &flow.lines, &self.project),
                    serde_json::to_string_pretty(definition).unwrap_or_default(),
                ),
                None => (Err(flow.fault(&script.file).into_iter().collect()), String::new()),
            };
            self.add_flow(checked, flow.name.clone(), &script.file, definition, &script.text);
        }
    }

    /// Takes the flows out that call what is not there, or themselves.
    fn refuse_wrong_calls(&mut self) {
        let flows: Vec<&Flow> = self.flows.iter().map(|source| &*source.flow).collect();
        let broken: Vec<&str> = self.broken_flows.iter().map(|flow| flow.name.as_str()).collect();
        for (name, one) in check_calls(&flows, &broken) {
            if let Some(place) = self.flows.iter().position(|source| source.flow.name == name) {
                let source = self.flows.swap_remove(place);
                // The definition of a scripted flow is not what its file holds.
                let text = if one.file.ends_with(".py") { String::new() } else { source.text };
                self.broken_flows.push(BrokenFlow { name: name.clone(), file: one.file.clone(), text });
            }
            let text = self.broken_flows.iter().find(|flow| flow.name == name).map_or("", |flow| flow.text.as_str());
            self.problems.push(from_diagnostic(ProblemKind::Flow, Some(name), one, text));
        }
    }

    fn located(&self, problem: SqlProblem) -> Problem {
        let file = problem.file.display().to_string();
        let is_view = problem.file.starts_with("views");
        let text = self.sql.iter().find(|(path, _)| *path == problem.file).map(|(_, text)| text.as_str());
        let line = u32::try_from(problem.line).ok();
        Problem {
            kind: if is_view { ProblemKind::View } else { ProblemKind::Source },
            name: is_view.then(|| file_stem(&file)),
            line,
            column: u32::try_from(problem.column).ok(),
            message: problem.message,
            remedy: problem.remedy,
            excerpt: excerpt(text.unwrap_or_default(), line),
            file,
        }
    }
}

fn from_diagnostic(kind: ProblemKind, name: Option<String>, one: Diagnostic, text: &str) -> Problem {
    Problem {
        kind,
        name,
        file: one.file,
        line: Some(one.line),
        column: Some(one.column),
        message: one.message,
        remedy: one.remedy,
        excerpt: excerpt(text, Some(one.line)),
    }
}

/// The files of a folder of the project with these endings, by name; none where there is no such folder.
fn files(dir: &Path, folder: &str, endings: &[&str]) -> Result<Vec<(String, String)>, FolderError> {
    let path = dir.join(folder);
    let listing = match std::fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(|source| FolderError::Read { path: path.clone(), source })?,
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|source| FolderError::Read { path: path.clone(), source })?;
        let file = entry.path();
        let wanted =
            file.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| endings.contains(&ending));
        if wanted && file.is_file() {
            let text = read_text(&file)?;
            found.push((format!("{folder}/{}", entry.file_name().to_string_lossy()), text));
        }
    }
    found.sort();
    Ok(found)
}

/// Bytes that are no UTF-8 become replacement characters: the parser then says where.
fn read_text(path: &Path) -> Result<String, FolderError> {
    let bytes = std::fs::read(path).map_err(|source| FolderError::Read { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn stated_name(text: &str) -> Option<String> {
    let stated = text.lines().find_map(|line| line.strip_prefix("flow:"))?;
    let name = stated.split('#').next()?.trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}

fn file_stem(file: &str) -> String {
    Path::new(file).file_stem().map_or_else(|| file.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// A line of a text, cut where it would be longer than a screen.
fn excerpt(text: &str, line: Option<u32>) -> Option<String> {
    const CHARS_MAX: usize = 200;
    let found = text.lines().nth(usize::try_from(line?.checked_sub(1)?).ok()?)?;
    Some(found.chars().take(CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_broken_flow_is_a_problem_with_its_place_and_stops_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("flows")).unwrap();
        std::fs::write(dir.path().join(PROJECT_FILE), "name: little\n").unwrap();
        std::fs::write(dir.path().join("flows/good.yaml"), "flow: good\ntasks:\n  one:\n    shell: echo hello\n")
            .unwrap();
        std::fs::write(dir.path().join("flows/bad.yaml"), "flow: broken\ntasks:\n  one:\n    shel: echo hello\n")
            .unwrap();
        let folder = Folder::read(dir.path()).unwrap();
        assert_eq!(folder.name(), "little");
        assert_eq!(folder.flows.iter().map(|source| source.flow.name.as_str()).collect::<Vec<_>>(), ["good"]);
        assert_eq!(folder.broken_flows()[0].name, "broken");
        let problem = folder.problems.iter().find(|problem| problem.line == Some(4)).unwrap();
        assert_eq!((problem.file.as_str(), problem.name.as_deref()), ("flows/bad.yaml", Some("broken")));
        assert_eq!(problem.excerpt.as_deref(), Some("    shel: echo hello"));
    }

    #[test]
    fn a_mistake_in_the_project_file_is_told_at_the_flows_that_miss_something_for_it_and_at_no_other() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("flows")).unwrap();
        let flow = |name: &str, text: &str| {
            std::fs::write(dir.path().join(format!("flows/{name}.yaml")), format!("flow: {name}\n{text}")).unwrap();
        };
        flow("rests", "schedule: {cron: '0 6 * * *', calendar: work}\ntasks: {a: {shell: 'true'}}\n");
        flow("waits", "tasks: {a: {shell: 'true', pool: heavy}}\n");
        let told = |project: &str| {
            std::fs::write(dir.path().join(PROJECT_FILE), project).unwrap();
            let folder = Folder::read(dir.path()).unwrap();
            let of_flows = folder.problems.iter().filter(|problem| problem.kind == ProblemKind::Flow);
            of_flows.map(|problem| format!("{}: {}", problem.file, problem.message)).collect::<Vec<_>>()
        };
        let sound = "calendars: {work: {weekdays: MON-FRI}}\n";
        let pools = "pools: {heavy: 0}\n";
        assert_eq!(told(&format!("{sound}{pools}")), [""; 0], "what is whole is known");
        let mistake = "is not known while mulgil.yaml has a mistake: 2:8: ";
        let found = told(&format!("{sound}pools: [heavy]\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("flows/waits.yaml: pool heavy {mistake}expected ")), "{found:?}");
        let found = told("calendars: {work: {weekdays: MON-FRI}\npools: [\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("calendar work is not known while mulgil.yaml has a mistake"), "{found:?}");
        let found = told("pools: {heavy: 1}\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("flows/rests.yaml: unknown calendar work"), "{found:?}");
    }

    #[test]
    fn a_folder_without_project_file_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Folder::read(dir.path()).unwrap_err().to_string().contains("mulgil init"));
    }
}
