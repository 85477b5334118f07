//! Actions: a shell action is its command; the others are what their tools are called by on a command line.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Reader;
use super::xml::Element;
use crate::shell::{self, quoted};

impl Reader {
    pub(super) fn action(&mut self, name: &str, node: &Element, needs: &[String]) -> String {
        let kinds = ["ok", "error"];
        let Some(kind) = node.children.iter().find(|child| !kinds.contains(&child.name.as_str())) else {
            return self.draft.stand_in(name, needs, node.line, &format!("action {name}"), "it does nothing");
        };
        let what = format!("{} action {name}", kind.name);
        if kind.name == "sub-workflow" {
            return self.sub_workflow(name, node, kind, needs);
        }
        let made = command_of(kind).and_then(|words| {
            let command = words.join(" ");
            let pieces = self
                .pieces(&command)
                .map_err(|what| format!("{what} has no counterpart: write it out, or use a parameter"))?;
            Ok(shell::join(&pieces))
        });
        let mut safe = match made {
            Ok(safe) => safe,
            Err(why) => return self.draft.stand_in(name, needs, kind.line, &what, &why),
        };
        for variable in kind.all("env-var") {
            if let Some((key, value)) = variable.text.trim().split_once('=') {
                match self.pieces(value) {
                    Ok(pieces) => drop(safe.env.insert(key.to_owned(), template(&pieces))),
                    Err(what) => self.draft.missing(
                        variable.line,
                        format!("env-var {key}"),
                        format!("{what} has no counterpart"),
                    ),
                }
            }
        }
        if let Some(capture) = kind.child("capture-output") {
            self.draft.missing(
                capture.line,
                "capture-output",
                "write the value as JSON to the file that $MULGIL_RESULT names",
            );
        }
        let files: Vec<&str> = kind.all("file").chain(kind.all("archive")).map(|file| file.text.trim()).collect();
        match (kind.name.as_str(), files.is_empty()) {
            ("shell", true) => self.draft.imported(kind.line, what),
            ("shell", false) => {
                let why = format!("it runs in the project's folder: put {} there", files.join(", "));
                self.draft.approximated(kind.line, what, why);
            }
            _ => {
                let why =
                    "as its tool's own command, which the server's machine must have; configuration is not handed on";
                self.draft.approximated(kind.line, what, why);
            }
        }
        let retries = self.retries(node);
        self.error_way(name, node);
        let env: BTreeMap<String, String> = safe.env;
        self.draft.task(name, needs, json!({"shell": safe.command, "env": env, "retries": retries}))
    }

    fn retries(&mut self, node: &Element) -> Value {
        let number = |key: &str| node.attribute(key).and_then(|text| text.parse::<u32>().ok());
        let Some(limit) = number("retry-max").filter(|limit| *limit > 0) else { return Value::Null };
        self.draft.imported(node.line, "retry-max");
        json!({"limit": limit, "delay": format!("{}m", number("retry-interval").unwrap_or(10).max(1)), "backoff": 1})
    }

    /// An error usually leads to the end by `kill`, which is what a failed task does.
    pub(super) fn error_way(&mut self, name: &str, node: &Element) {
        if let Some(error) = node.child("error") {
            let to = error.attribute("to").unwrap_or_default().to_owned();
            if !["fail", "kill", "Kill", "killed"].iter().any(|word| to.contains(word)) {
                self.draft.missing(
                    error.line,
                    format!("error to {to}"),
                    format!("add a task that needs {name}, with trigger_rule: one_failed"),
                );
            }
        }
    }
}

pub(super) fn template(pieces: &[shell::Piece]) -> String {
    let write = |piece: &shell::Piece| match piece {
        shell::Piece::Text(text) => shell::verbatim(text),
        shell::Piece::Value(expression) => format!("{{{{ {expression} }}}}"),
    };
    pieces.iter().map(write).collect()
}

/// A word of a command; what holds a variable stands in double quotes, in which it is still put in.
fn word(text: &str) -> String {
    let text = text.trim();
    match text.contains("${") {
        true if text.starts_with("${") && text.ends_with('}') && text.matches("${").count() == 1 => text.to_owned(),
        true => format!("\"{}\"", text.replace(['"', '`'], "")),
        false => quoted(text),
    }
}

/// The words of the command that does what the action does.
fn command_of(kind: &Element) -> Result<Vec<String>, String> {
    let of = |name: &str| kind.text_of(name).filter(|text| !text.is_empty());
    let need = |name: &str| of(name).map(word).ok_or_else(|| format!("it has no {name}"));
    let several = |name: &str| kind.all(name).map(|one| word(&one.text)).collect::<Vec<_>>();
    let mut words: Vec<String> = Vec::new();
    match kind.name.as_str() {
        "shell" => {
            words.push(need("exec")?);
            words.extend(several("argument"));
        }
        "java" => {
            words.extend(["java".to_owned(), "-cp".to_owned(), "'lib/*'".to_owned(), need("main-class")?]);
            words.extend(several("arg"));
        }
        "spark" => {
            words.extend(["spark-submit".to_owned(), "--master".to_owned(), need("master")?]);
            for (key, option) in [("mode", "--deploy-mode"), ("class", "--class")] {
                words.extend(of(key).into_iter().flat_map(|value| [option.to_owned(), word(value)]));
            }
            words.extend(of("spark-opts").map(str::to_owned));
            words.push(need("jar")?);
            words.extend(several("arg"));
        }
        "hive" | "hive2" => {
            let is_old = kind.name == "hive";
            words.push(if is_old { "hive".to_owned() } else { "beeline".to_owned() });
            if !is_old {
                words.extend(["-u".to_owned(), need("jdbc-url")?]);
            }
            words.extend(several("param").into_iter().flat_map(|one| ["--hivevar".to_owned(), one]));
            words.extend(["-f".to_owned(), need("script")?]);
        }
        "sqoop" => {
            words.push("sqoop".to_owned());
            match of("command") {
                Some(command) => words.push(command.to_owned()),
                None => words.extend(several("arg")),
            }
        }
        "distcp" => {
            words.extend(["hadoop".to_owned(), "distcp".to_owned()]);
            words.extend(several("arg"));
        }
        "ssh" => {
            words.extend(["ssh".to_owned(), need("host")?, need("command")?]);
            words.extend(several("args").into_iter().chain(several("arg")));
        }
        "fs" => return file_commands(kind),
        "email" => {
            let why = "a mail: write on_failure: or on_success: of the flow, with a channel (email) of mulgil.yaml";
            return Err(why.to_owned());
        }
        _ => return Err("this kind of action is not known: write shell: with its command".to_owned()),
    }
    Ok(words)
}

/// What an `fs` action does, one after another.
fn file_commands(kind: &Element) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    for child in &kind.children {
        let of = |name: &str| child.attribute(name).map(word).ok_or_else(|| format!("{} has no {name}", child.name));
        let command = match child.name.as_str() {
            "delete" => format!("-rm -r -f {}", of("path")?),
            "mkdir" => format!("-mkdir -p {}", of("path")?),
            "touchz" => format!("-touchz {}", of("path")?),
            "move" => format!("-mv {} {}", of("source")?, of("target")?),
            "chmod" => format!("-chmod {} {}", of("permissions")?, of("path")?),
            "name-node" | "job-xml" | "configuration" => continue,
            other => return Err(format!("{other} of an fs action is not known")),
        };
        if !words.is_empty() {
            words.push("&&".to_owned());
        }
        words.push(format!("hdfs dfs {command}"));
    }
    if words.is_empty() { Err("it does nothing".to_owned()) } else { Ok(words) }
}
