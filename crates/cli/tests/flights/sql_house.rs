//! A server with an open SQL port and a small project, and `psql` to ask it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::program::Folder;

/// Nothing that is waited for takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);
const CITIES: &str = "CREATE TABLE cities_raw (name VARCHAR, people BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'data/cities.csv', 'format' = 'csv');
";
/// Views whose rows have keys: of one column, and of two.
const KEYED: [(&str, &str); 2] = [
    (
        "views/by_name.sql",
        "CREATE MATERIALIZED TABLE by_name REFRESH_MODE = CONTINUOUS
        AS SELECT name, count(*) AS c, sum(people) AS people FROM cities_raw GROUP BY name",
    ),
    (
        "views/by_size.sql",
        "CREATE MATERIALIZED TABLE by_size REFRESH_MODE = CONTINUOUS
        AS SELECT count(*) AS c, name, people > 1000000 AS \"is big\" FROM cities_raw GROUP BY name, people > 1000000",
    ),
];
const VIEW: &str = "CREATE MATERIALIZED TABLE cities REFRESH_MODE = FULL AS SELECT name, people FROM cities_raw";

/// A server with its SQL port, that ends with its test.
pub(crate) struct House {
    pub(crate) folder: Folder,
    server: Child,
}

impl House {
    /// A server over a project with these settings.
    pub(crate) fn open(settings: &str) -> Self {
        Self::with(Folder::new(), settings, &[])
    }

    /// The same in a folder of one's own, with variables of its environment.
    pub(crate) fn with(folder: Folder, settings: &str, variables: &[(&str, &str)]) -> Self {
        folder.write("mulgil.yaml", settings);
        folder.write("sources/cities.sql", CITIES);
        folder.write("views/cities.sql", VIEW);
        folder.write("data/cities.csv", "name,people\nSeoul,9400000\nBusan,3300000\nOslo,717710\nBern,134794\n");
        let mut server = folder
            .command(&["server", "--listen", "127.0.0.1:0", "--sql-listen", "127.0.0.1:0"])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mulgil runs");
        folder.wait_for_server(&mut server);
        Self { folder, server }
    }

    /// The same with views whose rows have keys, which are known once the views run.
    pub(crate) fn with_keys(folder: Folder, settings: &str, variables: &[(&str, &str)]) -> Self {
        for (file, view) in KEYED {
            folder.write(file, view);
        }
        let house = Self::with(folder, settings, variables);
        let password = variables.iter().find(|(name, _)| *name == "MULGIL_TOKEN").map_or("", |(_, token)| token);
        let known = || house.psql_with(&[("PGPASSWORD", password)], &["-At", "-c", "SELECT count(*) FROM pg_index"]);
        let deadline = Instant::now() + PATIENCE;
        while known().0 != "2\n" {
            assert!(Instant::now() < deadline, "{:?}", known());
            std::thread::sleep(Duration::from_millis(50));
        }
        house
    }

    /// Where the SQL port listens.
    pub(crate) fn port(&self) -> String {
        let place = std::fs::read(self.folder.path(".mulgil/server.json")).expect("the server's place");
        let place: serde_json::Value = serde_json::from_slice(&place).expect("JSON");
        let address = place["sql"].as_str().expect("the SQL port is open");
        address.rsplit_once(':').expect("a port").1.to_owned()
    }

    /// The rows of a query, as `psql -At` writes them.
    pub(crate) fn rows(&self, query: &str) -> String {
        let (rows, errors) = self.psql(&["-At", "-c", query]);
        assert_eq!(errors, "", "{query}");
        rows
    }

    /// What `psql` says to some commands: standard output, then standard error.
    pub(crate) fn psql(&self, commands: &[&str]) -> (String, String) {
        self.psql_with(&[], commands)
    }

    /// The same, with variables of its environment.
    pub(crate) fn psql_with(&self, variables: &[(&str, &str)], commands: &[&str]) -> (String, String) {
        let mut psql = Command::new("psql");
        psql.arg("-w").envs(variables.iter().copied());
        psql.args(["-X", "-h", "127.0.0.1", "-p", &self.port(), "-U", "tester", "-d", "mulgil"]);
        psql.args(["-v", "VERBOSITY=verbose"]).args(commands);
        let Output { stdout, stderr, .. } = psql.env("PGCLIENTENCODING", "UTF8").output().expect("psql runs");
        (String::from_utf8(stdout).expect("UTF-8"), String::from_utf8(stderr).expect("UTF-8"))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Runs a client of `tests/sql` in Python, which has to find everything as promised.
pub(crate) fn python(script: &str, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let script = root.join("tests/sql").join(script);
    let output =
        Command::new(root.join(".venv/bin/python")).arg(&script).args(arguments).output().expect("Python runs");
    assert!(output.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&output.stderr));
}

/// A certificate for this machine, and its key.
pub(crate) fn certify(folder: &Folder) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out"])
        .arg(folder.path("server.crt"))
        .arg("-keyout")
        .arg(folder.path("server.key"))
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
