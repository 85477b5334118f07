//! A schema registry in this process: it knows the schema of the fuzzed table, others that rows are resolved from, and some that
//! are none.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// The schemas by number, from 1; any other number is unknown.
const SCHEMAS: [&str; 5] = [
    // As the table has its columns.
    r#"{"type":"record","name":"row","fields":[{"name":"name","type":["null","string"]},{"name":"note","type":"string"},
        {"name":"small","type":["null","int"]},{"name":"large","type":["null","long"]},{"name":"ratio","type":["null","double"]},
        {"name":"is_on","type":["null","boolean"]},{"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
        {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}]},
        {"name":"at_time","type":["null",{"type":"long","logicalType":"local-timestamp-millis"}]},
        {"name":"at_zone","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},{"name":"raw_bytes","type":["null","bytes"]}]}"#,
    // Others, and in another order, with what has to be passed over.
    r#"{"type":"record","name":"row","fields":[{"name":"tags","type":{"type":"array","items":"string"}},
        {"name":"counts","type":{"type":"map","values":"long"}},{"name":"kind","type":{"type":"enum","name":"kind","symbols":["a","b"]}},
        {"name":"hash","type":{"type":"fixed","name":"hash","size":4}},{"name":"small","type":"int"},{"name":"note","type":"string"},
        {"name":"inner","type":{"type":"record","name":"inner","fields":[{"name":"x","type":["null","float"]}]}}]}"#,
    // Nothing that the table needs.
    r#"{"type":"record","name":"row","fields":[]}"#,
    r#""string""#,
    "{",
];

/// Serves the schemas for as long as the process lives. Gives the URL.
pub fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        // A connection stays open for many questions, and each reader has its own.
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(connection));
        }
    });
    url
}

/// Answers until the other side has gone.
fn answer_all(connection: TcpStream) {
    let Ok(mut answers) = connection.try_clone() else { return };
    let mut questions = BufReader::new(connection);
    let mut line = String::new();
    while questions.read_line(&mut line).is_ok_and(|read| read > 0) {
        let number: Option<usize> = line.split([' ', '/']).find_map(|word| word.parse().ok());
        while line.trim() != "" {
            line.clear();
            if questions.read_line(&mut line).is_err() {
                return;
            }
        }
        line.clear();
        let schema = number.and_then(|number| SCHEMAS.get(number.checked_sub(1)?));
        let (status, body) = match schema {
            Some(schema) => ("200 OK", format!("{{\"schema\":{}}}", quoted(schema))),
            None => ("404 Not Found", "{}".to_owned()),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A text as JSON spells it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " "))
}
