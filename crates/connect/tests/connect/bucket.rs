//! An S3-compatible storage of the tests' own: Versity's gateway over a temporary folder, on loopback, gone with the test
//! program.
//!
//! A shell holds it, as it holds PostgreSQL and Kafka: when the test program ends, however it ends, the shell's input is
//! closed, and the shell kills the server and removes the folder.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use mulgil_connect::object_storage::{ObjectFolder, ObjectStorageOptions};

/// The key of the storage; it must never be seen in a message.
const SECRET: &str = "h0rse-battery";
const BUCKET: &str = "pipelines";

const SCRIPT: &str = r#"
set -e
trap 'kill -KILL $pid 2>/dev/null || true; rm -rf "$DIR"' EXIT
trap 'exit 1' INT TERM HUP
run() { "$PROGRAM" --port "127.0.0.1:$PORT" --quiet posix --sidecar "$DIR/attributes" "$DIR/data" >>"$DIR/log" 2>&1 & pid=$!; }
run
echo done
while read -r order; do
  case $order in
    pause) kill -STOP $pid;;
    resume) kill -CONT $pid;;
    kill) kill -KILL $pid; wait $pid || true;;
    start) run;;
  esac
  echo done
done
"#;

/// A running storage with one bucket.
pub(crate) struct Storage {
    dir: PathBuf,
    port: u16,
    shell: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

impl Storage {
    /// The one of this test program.
    pub(crate) fn shared() -> &'static Self {
        static STORAGE: OnceLock<Storage> = OnceLock::new();
        STORAGE.get_or_init(Self::start)
    }

    /// Another one, for a test that stops it.
    pub(crate) fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/s3/bin/versitygw");
        assert!(program.exists(), "{} is missing: run `make s3`", program.display());
        let dir = tempfile::Builder::new().prefix("mulgil-s3-").tempdir().unwrap().keep();
        for folder in ["attributes", "data", &format!("data/{BUCKET}")] {
            std::fs::create_dir(dir.join(folder)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]).env("PROGRAM", program).env("DIR", &dir).env("PORT", port.to_string());
        command.env("ROOT_ACCESS_KEY", "mulgil").env("ROOT_SECRET_KEY", SECRET);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, answers) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let storage = Self { dir, port, shell: Mutex::new((shell, orders, answers)) };
        storage.shell.lock().unwrap().2.read_line(&mut String::new()).unwrap();
        storage.answers();
        storage
    }

    /// Waits until somebody listens.
    fn answers(&self) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "the storage does not start: {log}");
            std::thread::yield_now();
        }
    }

    fn order(&self, order: &str) {
        let mut shell = self.shell.lock().unwrap();
        writeln!(shell.1, "{order}").unwrap();
        shell.2.read_line(&mut String::new()).unwrap();
    }

    /// Kills it in the middle of whatever it does.
    pub(crate) fn kill(&self) {
        self.order("kill");
    }

    /// Starts it again after [`Self::kill`].
    pub(crate) fn restart(&self) {
        self.order("start");
        self.answers();
    }

    /// How it is reached.
    pub(crate) fn options(&self) -> ObjectStorageOptions {
        ObjectStorageOptions {
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            access_key_id: Some("mulgil".to_owned()),
            secret_access_key: Some(SECRET.to_owned()),
            ..ObjectStorageOptions::default()
        }
    }

    /// A folder of the bucket.
    pub(crate) fn folder(&self, name: &str) -> ObjectFolder {
        ObjectFolder::open(&format!("s3://{BUCKET}/{name}"), &self.options()).unwrap()
    }

    /// The same folder as it lies on disk.
    pub(crate) fn on_disk(&self, name: &str) -> PathBuf {
        self.dir.join("data").join(BUCKET).join(name)
    }
}
