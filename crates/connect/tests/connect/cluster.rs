//! A PostgreSQL of the tests' own: a cluster in a temporary folder, started once a test program, gone with it.
//!
//! PostgreSQL refuses to run as root, so there it runs as the user `postgres`. A shell holds it: when the test program
//! ends, however it ends, the shell's input is closed, and the shell stops the server and removes the folder.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// The password of the clusters' user; it must never be seen in a message.
pub(crate) const PASSWORD: &str = "h0rse battery";

const SCRIPT: &str = r#"
set -e
printf '%s' "$PASSWORD" > "$DIR/password"
initdb -D "$DIR/data" -U mulgil --auth=scram-sha-256 --pwfile="$DIR/password" -E UTF8 --locale=C --no-sync >"$DIR/initdb.log" 2>&1 \
  || { cat "$DIR/initdb.log"; exit 1; }
if [ -n "$PORT" ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$DIR/data/server.key" -out "$DIR/data/server.crt" -days 3650 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE >"$DIR/openssl.log" 2>&1 || { cat "$DIR/openssl.log"; exit 1; }
  chmod 600 "$DIR/data/server.key"
  echo "ssl = on" >> "$DIR/data/postgresql.conf"
  LISTEN="-c listen_addresses=localhost -c port=$PORT"
else
  LISTEN="-c listen_addresses="
fi
start() {
  pg_ctl start -w -s -D "$DIR/data" -l "$DIR/server.log" \
    -o "$LISTEN -c unix_socket_directories=$DIR -c fsync=off -c max_connections=50 -c shared_buffers=16MB" >/dev/null 2>&1 \
    || { cat "$DIR/server.log"; exit 1; }
}
server() { head -1 "$DIR/data/postmaster.pid"; }
# The server and its children.
all() { echo "$(server)" $(cat "/proc/$(server)/task/$(server)/children"); }
# One that has ended meanwhile needs no signal.
tell() { signal=$1; shift; kill "-$signal" "$@" 2>/dev/null || true; }
start
echo ready
while read -r order; do
  case $order in
    # The server itself first, so that it makes no child that is not among those listed.
    stop) tell STOP "$(server)"; tell STOP $(all) ;;
    go) tell CONT $(all) ;;
    # Such a child would hold what the next server needs.
    kill) tell STOP "$(server)"; gone=$(all); tell KILL $gone; for one in $gone; do while kill -0 "$one" 2>/dev/null; do sleep 0.02; done; done ;;
    start) start ;;
  esac
  echo ready
done
tell CONT $(all)
pg_ctl stop -m immediate -s -D "$DIR/data" || true
rm -rf "$DIR"
"#;

/// A running server.
pub(crate) struct Cluster {
    dir: PathBuf,
    port: Option<u16>,
    /// Stops the server when this process ends.
    _holder: Child,
    /// Where the holder reads and writes.
    orders: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Cluster {
    /// The one of this test program.
    pub(crate) fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Self::start)
    }

    /// Another one, for a test that stops it.
    pub(crate) fn start() -> Self {
        Self::listening(None)
    }

    /// Another one, which listens on a port of `localhost`, with TLS.
    pub(crate) fn start_with_tls() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::listening(Some(port))
    }

    fn listening(port: Option<u16>) -> Self {
        let dir = tempfile::Builder::new().prefix("mulgil-pg-").tempdir_in("/tmp").unwrap().keep();
        let programs = programs();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let mut command = if is_root {
            let user = ["postgres", "nobody"].into_iter().find(|user| uid_of(user).is_some()).unwrap();
            let (uid, gid) = uid_of(user).unwrap();
            std::os::unix::fs::chown(&dir, Some(uid), Some(gid)).unwrap();
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups", "sh", "-c", SCRIPT]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT]);
            command
        };
        command
            .env("PATH", path)
            .env("DIR", &dir)
            .env("PASSWORD", PASSWORD)
            .env("PORT", port.map(|port| port.to_string()).unwrap_or_default())
            .current_dir("/");
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = (holder.stdin.take().unwrap(), BufReader::new(holder.stdout.take().unwrap()));
        let cluster = Self { dir, port, _holder: holder, orders: Mutex::new(orders) };
        wait_until_ready(&mut cluster.orders.lock().unwrap().1);
        cluster
    }

    /// `stop` and `go` on, as with SIGSTOP and SIGCONT; `kill` as with SIGKILL, and `start` again over the same data.
    pub(crate) fn order(&self, order: &str) {
        let mut orders = self.orders.lock().unwrap();
        writeln!(orders.0, "{order}").unwrap();
        wait_until_ready(&mut orders.1);
    }

    /// The URL at which it listens, on a host of the test's choice.
    pub(crate) fn url_of(&self, host: &str) -> String {
        format!("postgresql://mulgil:{}@{host}:{}/postgres", PASSWORD.replace(' ', "%20"), self.port.unwrap())
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("data/server.crt")
    }

    /// The URL of its database, with the password in it.
    pub(crate) fn url(&self) -> String {
        let host = self.dir.display().to_string().replace('/', "%2F");
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("postgresql://mulgil:{}@{host}{port}/postgres", PASSWORD.replace(' ', "%20"))
    }

    /// Runs statements.
    pub(crate) fn run(&self, statements: &str) {
        self.run_in(&self.url(), statements);
    }

    /// Runs statements in the database of this URL.
    pub(crate) fn run_in(&self, url: &str, statements: &str) {
        let arguments = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements, url];
        let done = Command::new("psql").args(arguments).output().unwrap();
        assert!(done.status.success(), "{statements}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

fn wait_until_ready(output: &mut impl BufRead) {
    let mut said = String::new();
    while output.read_line(&mut said).unwrap() > 0 && !said.ends_with("ready\n") {}
    assert!(said.ends_with("ready\n"), "PostgreSQL did not start: {said}");
}

/// Where `initdb` and `pg_ctl` are: on the path, or where Debian puts them.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path =
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists());
    let of_debian = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let folders = versions.map(|version| version.path().join("bin"));
        folders.filter(|folder| folder.join("initdb").exists()).max_by_key(|folder| version_of(folder))
    };
    on_path.or_else(of_debian).expect("PostgreSQL is not installed; `make postgres` installs it")
}

fn version_of(folder: &Path) -> u32 {
    let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// The numbers of a user and its group.
fn uid_of(user: &str) -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(user))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
