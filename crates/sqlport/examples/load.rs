//! Asks a server the same thing again and again, at a given rate, and says how long the answers took: figures for
//! `bench/serving.py`.
//!
//! The rate is kept whatever the server does: each request is due at a moment of its own, and its time counts from then on, also
//! where it could not be sent yet because the server took nothing. Only what the system was late to wake this program up does not
//! count. Requests go over a few connections, one behind the other. It
//! is written over plain sockets and threads, so that it takes little of the processors that it shares with the server.
//!
//! ```text
//! load sql  127.0.0.1:7432 'SELECT s FROM sums WHERE k = $1' --keys 100000 --rate 10000 --seconds 20
//! load http 127.0.0.1:8080 '/api/v1/views/sums/rows?key=%7B%22k%22:{}%7D' --keys 100000 --rate 5000
//! load sql  127.0.0.1:7432 'SELECT count(*) FROM sums' --rate 0 --connections 2
//! ```
//!
//! A rate of 0 asks as soon as the answer before is there, on each connection. `load floor` asks a thread of its own that
//! does nothing but answer: what the machine, its sockets and this program take by themselves.

#![allow(clippy::print_stdout, reason = "its figures are its output")]

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// About as long as one that looks a key up.
const FLOOR_REQUEST: &[u8; 48] = &[0; 48];

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What is asked, how, and how often.
#[derive(Clone, Debug)]
struct Ask {
    is_http: bool,
    is_floor: bool,
    address: String,
    text: String,
    keys: u64,
    rate: f64,
    connections: u32,
    seconds: f64,
}

impl Ask {
    fn read(arguments: &[String]) -> Outcome<Self> {
        let usage =
            "usage: load sql|http ADDRESS TEXT [--keys N] [--rate N] [--connections N] [--seconds N], or load floor";
        let (kind, address, text, options) = match arguments {
            [kind, options @ ..] if kind == "floor" => (kind, nothing_but_answers()?, String::new(), options),
            [kind, address, text, options @ ..] => (kind, address.clone(), text.clone(), options),
            _ => return Err(usage.into()),
        };
        let mut ask = Self {
            is_http: kind == "http",
            is_floor: kind == "floor",
            address,
            text,
            keys: 1,
            rate: 1_000.0,
            connections: 4,
            seconds: 10.0,
        };
        for option in options.chunks(2) {
            let [name, value] = option else { return Err("an option has no value".into()) };
            match name.as_str() {
                "--keys" => ask.keys = value.parse()?,
                "--rate" => ask.rate = value.parse()?,
                "--connections" => ask.connections = value.parse()?,
                "--seconds" => ask.seconds = value.parse()?,
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        Ok(ask)
    }
}

/// Keys as good as chance.
struct Keys {
    state: u64,
    count: u64,
}

impl Keys {
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        1 + self.state % self.count
    }
}

/// One connection's answers.
#[derive(Default)]
struct Answers {
    took: Vec<Duration>,
    rows: u64,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ask = Ask::read(&arguments)?;
    // Who has come in waits for the others.
    let ready = Arc::new(Barrier::new(usize::try_from(ask.connections)? + 1));
    let connections: Vec<_> = (0..ask.connections)
        .map(|number| {
            let (ask, ready) = (ask.clone(), Arc::clone(&ready));
            thread::spawn(move || converse(&ask, number, &ready))
        })
        .collect();
    ready.wait();
    let began = Instant::now();
    let mut all = Answers::default();
    for connection in connections {
        let answers = connection.join().map_err(|_| "a connection's thread has panicked")??;
        all.took.extend(answers.took);
        all.rows += answers.rows;
    }
    all.took.sort_unstable();
    let at = |share: f64| {
        let place = (share * all.took.len().saturating_sub(1) as f64).round();
        // A share is at most 1, so the place is within.
        all.took.get(place as usize).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
    };
    let took = began.elapsed().as_secs_f64();
    println!(
        "{{\"answers\": {}, \"rows\": {}, \"per_second\": {:.0}, \"p50_ms\": {:.3}, \"p99_ms\": {:.3}, \"p999_ms\": {:.3}, \"max_ms\": {:.3}}}",
        all.took.len(),
        all.rows,
        all.took.len() as f64 / took,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
    );
    Ok(())
}

/// A server that takes requests of one kind and says that it is ready; gives its address.
fn nothing_but_answers() -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let serve = |mut socket: TcpStream| -> Outcome<()> {
        socket.set_nodelay(true)?;
        let mut request = [0; FLOOR_REQUEST.len()];
        loop {
            socket.read_exact(&mut request)?;
            socket.write_all(&message(b'Z', b"I"))?;
        }
    };
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(socket));
        }
    });
    Ok(address)
}

fn converse(ask: &Ask, number: u32, ready: &Barrier) -> Outcome<Answers> {
    let socket = TcpStream::connect(&ask.address)?;
    socket.set_nodelay(true)?;
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut writer = socket;
    let opened = if ask.is_http || ask.is_floor { Ok(()) } else { open_sql(&mut reader, &mut writer, &ask.text) };
    ready.wait();
    opened?;
    let began = Instant::now() + Duration::from_millis(10);
    let keys = Keys { state: 88_172_645_463_325_252 + u64::from(number) * 7_919, count: ask.keys };
    let until = began + Duration::from_secs_f64(ask.seconds);
    thread::sleep(began.saturating_duration_since(Instant::now()));
    if ask.rate <= 0.0 {
        return one_by_one(ask, (reader, writer), keys, until);
    }
    let every = Duration::from_secs_f64(f64::from(ask.connections) / ask.rate);
    let first = began + every.mul_f64(f64::from(number) / f64::from(ask.connections));
    let (sender, due) = channel();
    let sending = {
        let ask = ask.clone();
        thread::spawn(move || send(&ask, writer, keys, (first, every, until), &sender))
    };
    let answers = receive(ask, reader, &due)?;
    sending.join().map_err(|_| "a sending thread has panicked")??;
    Ok(answers)
}

fn one_by_one(
    ask: &Ask,
    (mut reader, mut writer): (BufReader<TcpStream>, TcpStream),
    mut keys: Keys,
    until: Instant,
) -> Outcome<Answers> {
    let mut answers = Answers::default();
    while Instant::now() < until {
        let began = Instant::now();
        writer.write_all(&request(ask, keys.next()))?;
        answers.rows += answer(ask, &mut reader)?;
        answers.took.push(began.elapsed());
    }
    Ok(answers)
}

fn send(
    ask: &Ask,
    mut writer: TcpStream,
    mut keys: Keys,
    (mut due, every, until): (Instant, Duration, Instant),
    sender: &Sender<Instant>,
) -> Outcome<()> {
    let mut woken = due;
    while due < until {
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            thread::sleep(early);
            woken = Instant::now();
        }
        sender.send(due.max(woken))?;
        writer.write_all(&request(ask, keys.next()))?;
        due += every;
    }
    Ok(())
}

fn receive(ask: &Ask, mut reader: BufReader<TcpStream>, due: &Receiver<Instant>) -> Outcome<Answers> {
    let mut answers = Answers::default();
    while let Ok(due) = due.recv() {
        answers.rows += answer(ask, &mut reader)?;
        answers.took.push(due.elapsed());
    }
    Ok(answers)
}

/// A message of PostgreSQL's protocol.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// Comes in, and prepares the statement.
fn open_sql(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream, text: &str) -> Outcome<()> {
    let body = [&196_608_u32.to_be_bytes()[..], b"user\0load\0database\0mulgil\0\0"].concat();
    let length = u32::try_from(body.len() + 4)?;
    writer.write_all(&[&length.to_be_bytes()[..], &body].concat())?;
    sql_answer(reader)?;
    let parse = message(b'P', &[b"asked\0", text.as_bytes(), b"\0\0\0"].concat());
    writer.write_all(&[parse, message(b'S', b"")].concat())?;
    sql_answer(reader)?;
    Ok(())
}

fn request(ask: &Ask, key: u64) -> Vec<u8> {
    if ask.is_floor {
        return FLOOR_REQUEST.to_vec();
    }
    let key = key.to_string();
    if ask.is_http {
        let path = ask.text.replace("{}", &key);
        return format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    }
    let mut bind = b"\0asked\0\0\0".to_vec();
    if ask.text.contains("$1") {
        bind.extend([0, 1]);
        bind.extend(u32::try_from(key.len()).unwrap_or_default().to_be_bytes());
        bind.extend(key.as_bytes());
    } else {
        bind.extend([0, 0]);
    }
    bind.extend([0, 0]);
    [message(b'B', &bind), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat()
}

/// Reads one answer; gives how many rows it has.
fn answer(ask: &Ask, reader: &mut BufReader<TcpStream>) -> Outcome<u64> {
    if ask.is_http { http_answer(reader) } else { sql_answer(reader) }
}

/// Reads up to the message that says that the server is ready.
fn sql_answer(reader: &mut BufReader<TcpStream>) -> Outcome<u64> {
    let mut rows = 0;
    loop {
        let mut head = [0; 5];
        reader.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length))?.saturating_sub(4)];
        reader.read_exact(&mut body)?;
        match kind {
            b'D' => rows += 1,
            b'E' => return Err(String::from_utf8_lossy(&body).replace('\0', " ").into()),
            b'Z' => return Ok(rows),
            _ => {}
        }
    }
}

fn http_answer(reader: &mut BufReader<TcpStream>) -> Outcome<u64> {
    let (mut length, mut line) = (0, String::new());
    reader.read_line(&mut line)?;
    let is_right = line.contains(" 200 ");
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim_end().to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body);
    if !is_right {
        return Err(body.into_owned().into());
    }
    Ok(u64::from(!body.contains("\"rows\":[]")))
}
