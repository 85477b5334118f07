//! A server with an open SQL port and a small project, and `psql` to ask it.

use std::process::{Child, Command, Output, Stdio};

use crate::program::Folder;

const CITIES: &str = "CREATE TABLE cities_raw (name VARCHAR, people BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'data/cities.csv', 'format' = 'csv');
";
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
