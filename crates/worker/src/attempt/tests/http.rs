//! HTTP tasks against a server that is really there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use serde_json::json;

use super::bench::House;

/// A server that gives one answer after the other, and what it was asked.
struct Server {
    address: String,
    asked: mpsc::Receiver<String>,
}

/// Reads a request: its head, and as much of a body as the head says.
fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

impl Server {
    fn answering(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let (tell, asked) = mpsc::channel();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                tell.send(request(&mut stream)).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { address, asked }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

const PROJECT: &str = "secrets: {token: 'env:TOKEN'}";

fn house() -> House {
    House::new(PROJECT).with("TOKEN", "s3cr3t-token")
}

#[tokio::test]
async fn a_request_carries_what_the_task_says_and_its_answer_is_the_result() {
    let server = Server::answering(&[&answer("201 Created", "", r#"{"id": 7, "token": "s3cr3t-token"}"#)]);
    let task = format!(
        r#"{{http: {{method: POST, url: "http://{}/orders?day={{{{ params.day }}}}", headers: {{X-Key: "Bearer {{{{ secrets.token }}}}"}},
        json: {{day: "{{{{ params.day }}}}", all: "{{{{ params }}}}", n: 3}}, expect: 201}}, result: json}}"#,
        server.address
    );
    let ended = house().run(&task).await;
    assert_eq!(ended.result(), json!({"id": 7, "token": "***"}));
    let asked = server.asked.recv().unwrap();
    assert!(asked.starts_with("POST /orders?day=2024-01-02 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("x-key: Bearer s3cr3t-token\r\n"), "{asked}");
    assert!(asked.contains("content-type: application/json\r\n"), "{asked}");
    let carried: serde_json::Value = serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(carried, json!({"day": "2024-01-02", "all": {"day": "2024-01-02"}, "n": 3}));
    assert!(!ended.log.contains("s3cr3t"), "{}", ended.log);
}

#[tokio::test]
async fn what_goes_wrong_is_told_by_its_kind() {
    let house = house();
    let get = |server: &Server, more: &str| {
        format!(r#"{{http: {{url: "http://{}/x"{more}}}, result: json}}"#, server.address)
    };
    let server = Server::answering(&[&answer("404 Not Found", "", "no s3cr3t-token here")]);
    let error = house.run(&get(&server, "")).await;
    let expected = format!("{} answered 404 Not Found, and not 2xx: no *** here", server.address);
    assert_eq!(error.error(), expected);
    let server = Server::answering(&[&answer("200 OK", "", "<html>")]);
    assert!(house.run(&get(&server, "")).await.error().contains("is no JSON"));
    // One that tells its length, and one that does not.
    let server =
        Server::answering(&[&answer("200 OK", "", "12345678"), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n12345678"]);
    for _ in 0..2 {
        assert!(house.run(&get(&server, ", max_bytes: 7")).await.error().contains("has more than 7 bytes"));
    }
    let server = Server::answering(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123"]);
    assert!(house.run(&get(&server, "")).await.error().contains("broke down"));
    // A port that nobody listens on, since its listener is gone.
    let gone = Server {
        address: TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string(),
        asked: server.asked,
    };
    let ended = house.run(&get(&gone, "")).await;
    assert!(
        ended.error().starts_with("cannot connect to 127.0.0.1:") && ended.error().contains("refused"),
        "{}",
        ended.error()
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = Server {
        address: silent.local_addr().map(|_| silent.local_addr().unwrap().to_string()).unwrap(),
        asked: keep(silent),
    };
    let ended = house.run(&get(&silent, ", timeout: 100ms")).await;
    assert!(ended.error().starts_with("timeout: 127.0.0.1:"), "{}", ended.error());
}

/// A listener that takes connections and never answers.
fn keep(listener: TcpListener) -> mpsc::Receiver<String> {
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    mpsc::channel().1
}

#[tokio::test]
async fn who_is_busy_is_asked_again_when_it_says() {
    let busy = answer("429 Too Many Requests", "retry-after: 1\r\n", "");
    let server = Server::answering(&[&busy, &answer("200 OK", "", "42")]);
    let task = format!(r#"{{http: {{url: "http://{}/"}}, result: json}}"#, server.address);
    let begun = std::time::Instant::now();
    assert_eq!(house().run(&task).await.result(), json!(42));
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1));
    // A status that is expected is no reason to ask again.
    let server = Server::answering(&[&busy]);
    let task = format!(r#"{{http: {{url: "http://{}/", expect: 429}}, result: body}}"#, server.address);
    assert_eq!(house().run(&task).await.result(), json!(""));
}

#[tokio::test]
async fn an_answer_is_waited_for_through_errors_and_refusals() {
    let server = Server::answering(&[&answer("503 Busy", "", ""), &answer("200 OK", "", "")]);
    let task = format!(r#"{{wait: {{http: "http://{}/ready", poke_every: 10ms}}}}"#, server.address);
    let ended = house().run(&task).await;
    assert_eq!(ended.result(), json!(null));
    assert!(ended.log.contains("not yet: the answer is 503") && ended.log.contains("it is there"), "{}", ended.log);
}

#[tokio::test]
async fn an_answer_is_a_failure_with_its_status_and_silence_one_of_the_connection() {
    let server = Server::answering(&[&answer("503 Service Unavailable", "", "later")]);
    let ended = house().run(&format!("{{http: {{url: 'http://{}/'}}}}", server.address)).await;
    assert_eq!(ended.fault().to_string(), "http 503");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ended = house().run(&format!("{{http: {{url: 'http://127.0.0.1:{port}/'}}}}")).await;
    assert_eq!(ended.fault().to_string(), "connection");
}
