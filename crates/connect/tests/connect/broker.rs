//! An Apache Kafka of the tests' own: one broker in KRaft mode on loopback, its data in a temporary folder, gone with the
//! test program.
//!
//! A shell holds it, as it holds PostgreSQL: when the test program ends, however it ends, the shell's input is closed, and
//! the shell kills the broker and removes the folder. Until then the shell takes orders, a line each.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// The password of the user `mulgil` on the secure listener; it must never be seen in a message.
pub(crate) const PASSWORD: &str = "h0rse battery";
/// Nothing that a broker is asked takes this long, its start included.
const LONG: Duration = Duration::from_secs(120);

const SCRIPT: &str = r#"
set -e
export CLASSPATH="$JARS/*"
java="java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
trap 'kill -KILL $pid 2>/dev/null || true; rm -rf "$DIR"' EXIT
trap 'exit 1' INT TERM HUP
cd "$DIR"
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 3650 -subj /CN=localhost \
  -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' 2>server.log
cat key.pem certificate.pem > keystore.pem
$java kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c server.properties \
  --add-scram "SCRAM-SHA-256=[name=mulgil,password=$PASSWORD]" >>server.log 2>&1 || { cat server.log; exit 1; }
run() { $java kafka.Kafka server.properties >>server.log 2>&1 & pid=$!; }
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

/// A running broker.
pub(crate) struct Broker {
    dir: PathBuf,
    port: u16,
    secure_port: u16,
    shell: Mutex<Shell>,
}

/// Kills the broker when this process ends.
struct Shell {
    _process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Broker {
    /// The one of this test program.
    pub(crate) fn shared() -> &'static Self {
        static BROKER: OnceLock<Broker> = OnceLock::new();
        BROKER.get_or_init(Self::start)
    }

    /// Another one, for a test that stops it.
    pub(crate) fn start() -> Self {
        let jars = jars();
        let dir = tempfile::Builder::new().prefix("mulgil-kafka-").tempdir_in("/tmp").unwrap().keep();
        let [port, controller_port, secure_port] = free_ports();
        std::fs::write(dir.join("server.properties"), properties(&dir, port, controller_port, secure_port)).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]).env("DIR", &dir).env("JARS", jars).env("PASSWORD", PASSWORD);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut shell = Shell { _process: process, orders, answers };
        shell.wait_until_done();
        let broker = Self { dir, port, secure_port, shell: Mutex::new(shell) };
        broker.wait_until_it_answers();
        broker
    }

    /// Where it listens in the clear.
    pub(crate) fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it listens for TLS and a password.
    pub(crate) fn secure_servers(&self) -> String {
        format!("127.0.0.1:{}", self.secure_port)
    }

    /// Whom a client has to trust to speak TLS with it.
    pub(crate) fn certificate(&self) -> String {
        self.dir.join("certificate.pem").display().to_string()
    }

    /// Makes a topic.
    pub(crate) fn topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(LONG)).request_timeout(Some(LONG));
        let topic = [NewTopic::new(name, partitions, TopicReplication::Fixed(1))];
        let made = futures::executor::block_on(admin.create_topics(&topic, &options)).unwrap();
        made.into_iter().for_each(|made| assert_eq!(made.unwrap(), name));
    }

    /// Gives a topic more partitions: so many in all.
    pub(crate) fn grow(&self, name: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(LONG)).request_timeout(Some(LONG));
        let wanted = [NewPartitions::new(name, partitions)];
        let grown = futures::executor::block_on(admin.create_partitions(&wanted, &options)).unwrap();
        grown.into_iter().for_each(|grown| assert_eq!(grown.unwrap(), name));
    }

    /// How a client finds it.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.servers()).set("reconnect.backoff.max.ms", "500");
        client
    }

    /// Stops it in its tracks: connections stay, nothing is answered.
    pub(crate) fn pause(&self) {
        self.order("pause");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.order("resume");
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&self) {
        self.order("kill");
    }

    /// Starts it again over the same data.
    pub(crate) fn start_again(&self) {
        self.order("start");
        self.wait_until_it_answers();
    }

    fn order(&self, order: &str) {
        let mut shell = self.shell.lock().unwrap();
        writeln!(shell.orders, "{order}").unwrap();
        shell.wait_until_done();
    }

    /// The client asks until there is an answer.
    fn wait_until_it_answers(&self) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        if let Err(error) = admin.inner().fetch_metadata(None, LONG) {
            let said = std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
            panic!("Kafka does not answer: {error}; it said: {said}");
        }
    }
}

impl Shell {
    fn wait_until_done(&mut self) {
        let mut said = String::new();
        while self.answers.read_line(&mut said).unwrap() > 0 && !said.ends_with("done\n") {}
        assert!(said.ends_with("done\n"), "Kafka did not start: {said}");
    }
}

/// The folder of Apache Kafka's packages.
fn jars() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let fetched = root.join("target/kafka");
    assert!(fetched.join(".fetched").exists(), "Apache Kafka is not there; `make kafka` fetches it");
    fetched.join("libs")
}

/// Ports that nobody listens on: the broker keeps them when it is started again.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn properties(dir: &Path, port: u16, controller_port: u16, secure_port: u16) -> String {
    let dir = dir.display();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port},SECURE://127.0.0.1:{secure_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure_port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_mulgil=\"{PASSWORD}\";
listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={dir}/keystore.pem
log.dirs={dir}/data
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"
    )
}
