//! The program and a project laid out in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The day whose landing file is damaged, and the line that is broken.
pub(crate) const DAMAGED_DAY: &str = "2013-01-16";
const DAMAGED_LINE: usize = 401;

/// A flights project.
pub(crate) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// Lays a new one out.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let project = Self { folder };
        let output = mulgil().args(["init", "--example", "flights"]).arg(project.path()).output().expect("mulgil runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        project
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        mulgil().arg("--project").arg(self.path()).args(arguments).output().expect("mulgil runs")
    }

    /// Runs a command that must succeed; gives its standard output.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "mulgil {arguments:?}: {}\n{text}\n{errors}", output.status);
        text.into_owned()
    }

    /// The rows of a query, as CSV lines without the header, sorted.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        sorted_rows(&self.succeed(&["sql", "--format", "csv", "-c", sql]))
    }

    /// Starts a command and leaves it running.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        mulgil()
            .arg("--project")
            .arg(self.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mulgil runs")
    }

    fn landing_file(&self, day: &str) -> PathBuf {
        self.path().join(format!("data/landing/departures/flight_date={day}/departures.csv"))
    }

    /// Takes the broken line out, as the README says.
    pub(crate) fn mend(&self) {
        let path = self.landing_file(DAMAGED_DAY);
        let text = std::fs::read_to_string(&path).expect("the landing file");
        let kept: Vec<&str> =
            text.lines().enumerate().filter(|(index, _)| index + 1 != DAMAGED_LINE).map(|(_, line)| line).collect();
        std::fs::write(&path, kept.join("\n") + "\n").expect("the landing file can be written");
    }
}

/// An empty project folder.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }

    /// A path in it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// A command that is yet to run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = mulgil();
        command.arg("--project").arg(self.0.path()).args(arguments);
        command
    }

    /// Runs a command that must succeed; gives its standard output.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("mulgil runs");
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "mulgil {arguments:?}: {}\n{text}\n{errors}", output.status);
        text.into_owned()
    }

    /// Runs a command that must succeed; gives what it says to people.
    pub(crate) fn run_to_end(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("mulgil runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "mulgil {arguments:?}: {}\n{said}", output.status);
        said
    }

    /// Where servers say what they have to say to people, for tests that fail.
    pub(crate) fn saying(&self) -> Stdio {
        let file = std::fs::File::options().append(true).create(true).open(self.path("server.err"));
        file.expect("a file can be written").into()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.path("server.err")).unwrap_or_default()
    }

    /// Waits until a server has said where it listens.
    pub(crate) fn wait_for_server(&self, server: &mut Child) {
        let pid = server.id().to_string();
        let says_so = || std::fs::read_to_string(self.0.path().join(".mulgil/server.json")).unwrap_or_default();
        let began = std::time::Instant::now();
        while !says_so().contains(&pid) {
            assert!(began.elapsed().as_secs() < 300, "the server does not start");
            let ended = server.try_wait().expect("a child");
            assert!(ended.is_none(), "the server has ended: {ended:?}\n{}", self.said());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// CSV text without its header, sorted.
pub(crate) fn sorted_rows(csv: &str) -> Vec<String> {
    let mut rows: Vec<String> = csv.lines().skip(1).map(str::to_owned).collect();
    rows.sort();
    rows
}

pub(crate) fn mulgil() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mulgil"));
    command.env_remove("MULGIL_PROJECT").env_remove("MULGIL_TOKEN");
    command
}
