//! Somebody who listens for webhooks, and answers as told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A request that came.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// See the module.
pub(crate) struct Receiver {
    address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Receiver {
    /// Answers with these statuses in turn, the last one for ever; 0 never answers.
    pub(crate) async fn answering(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Unbounded: a test sends a handful.
        let (tell, heard) = mpsc::unbounded_channel();
        let statuses = statuses.to_vec();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = tell.send(request(&mut stream).await);
                let status = statuses[number.min(statuses.len() - 1)];
                if status == 0 {
                    kept.push(stream);
                    continue;
                }
                let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwhy?");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, heard }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?token=hush", self.address)
    }

    pub(crate) async fn next(&mut self) -> Heard {
        self.heard.recv().await.unwrap()
    }

    pub(crate) fn is_silent(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }
}

async fn request(stream: &mut TcpStream) -> Heard {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    Heard { headers, path, body: serde_json::from_slice(&body).unwrap() }
}
