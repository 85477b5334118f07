//! Operators: `sh>` and `py>` mean the same here; a few others are commands; the rest is named.

use std::collections::BTreeMap;

use mulgil_flow::yaml::{Data, Key, Node};
use serde_json::{Value, json};

use super::call::call;
use super::{Around, Reader, list_of, scalar_of, text_of};
use crate::shell::quoted;

impl Reader<'_> {
    /// The task of an operator that is no loop.
    pub(super) fn operator(
        &mut self,
        operator: &Key,
        value: &Node,
        entries: &[(Key, Node)],
        around: &Around,
    ) -> String {
        let (line, name) = (operator.at.line, around.prefix.clone());
        let text = text_of(value).unwrap_or_default();
        let what = format!("+{name} {}", operator.text);
        let made = match operator.text.as_str() {
            "sh>" => self.shell(value, entries),
            "echo>" => self.shell_text(&format!("echo {}", in_quotes(&text))),
            "py>" => self.python(&text, entries),
            "fail>" => self.shell_text(&format!("echo {} >&2; exit 1", in_quotes(&text))),
            "http>" => {
                let method = entries.iter().find(|(key, _)| key.text == "method").and_then(|(_, value)| text_of(value));
                let method = method.unwrap_or_else(|| "GET".to_owned()).to_uppercase();
                let url = match text.contains("${") {
                    true => self.template(&text).ok_or_else(|| format!("nobody here computes {text}")),
                    false => Ok(text.clone()),
                };
                url.map(|url| json!({"http": {"method": method, "url": url}}))
            }
            "call>" | "require>" => call(&operator.text, &text, entries).map(|(keys, different)| {
                self.draft.approximated(line, what.clone(), different);
                keys
            }),
            "!call>" => Err("it is another workflow: import that file too, and run it by flow:".to_owned()),
            "if>" => Err("write when: at the tasks below".to_owned()),
            "mail>" => Err("write on_failure for failures; a mail after success is not known yet".to_owned()),
            "wait>" => Err("write wait: {until: TIME}, or let the schedule come later".to_owned()),
            "td>" | "td_run>" | "pg>" | "redshift>" | "bq>" | "athena.query>" | "snowflake>" => {
                Err("write sql: with the query, over a table that is declared in sources/".to_owned())
            }
            "embulk>" => self.shell_text(&format!("embulk run {}", in_quotes(&text))),
            "rb>" => Err("write shell: ruby FILE".to_owned()),
            _ => Err("this operator is not known".to_owned()),
        };
        match made {
            Err(why) => self.draft.stand_in(&name, &around.after, line, &what, &why),
            Ok(mut keys) => {
                match operator.text.as_str() {
                    "http>" => {
                        let why = "its content, headers and secrets, if it has any, are to be written to http:";
                        self.draft.approximated(line, what, why);
                    }
                    // Said where it was made.
                    "call>" | "require>" => {}
                    "embulk>" => self.draft.approximated(line, what, "by the embulk that is installed"),
                    _ => self.note_sessions(line, what),
                }
                self.sessions.clear();
                if let Some(fields) = keys.as_object_mut() {
                    let calls = fields.contains_key("flow");
                    if let Some(retries) = &around.retries {
                        match calls {
                            true => {
                                self.draft.approximated(line, "_retry", "the tasks of the other flow have their own")
                            }
                            false => drop(fields.insert("retries".to_owned(), retries.clone())),
                        }
                    }
                    let mut env: BTreeMap<String, Value> =
                        around.env.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
                    if let Some(Value::Object(own)) = fields.remove("env") {
                        env.extend(own);
                    }
                    if !calls && !fields.contains_key("http") {
                        fields.insert("env".to_owned(), json!(env));
                    }
                }
                self.declare_asked(line);
                self.draft.task(&name, &around.after, keys)
            }
        }
    }

    fn note_sessions(&mut self, line: u32, what: String) {
        if self.sessions.is_empty() {
            return self.draft.imported(line, what);
        }
        let names: Vec<&str> = self.sessions.iter().map(String::as_str).collect();
        let why = format!(
            "{}: Digdag's session is the time at which the schedule fires, Mulgil's ds the day that the run is about (the one before, for a daily flow): check the date",
            names.join(", ")
        );
        self.draft.approximated(line, what, why);
    }

    /// Parameters that are used and that nobody has declared.
    fn declare_asked(&mut self, line: u32) {
        for name in std::mem::take(&mut self.asked) {
            if !self.draft.has_in("params", &name) {
                self.draft.set_in("params", &name, "");
                let why = "nothing in this file sets it: it is a parameter now, empty where none is given";
                self.draft.approximated(line, format!("variable {name}"), why);
            }
        }
    }

    fn shell(&mut self, value: &Node, entries: &[(Key, Node)]) -> Result<Value, String> {
        let text = match &value.data {
            Data::List(_) => list_of(value).iter().map(|word| in_quotes(word)).collect::<Vec<_>>().join(" "),
            _ => text_of(value).unwrap_or_default(),
        };
        let shell = entries.iter().find(|(key, _)| key.text == "shell").map(|(_, value)| list_of(value).join(" "));
        match shell.filter(|shell| !matches!(shell.as_str(), "/bin/sh" | "sh")) {
            Some(shell) if !text.contains("${") => self.shell_text(&format!("{shell} -c {}", quoted(&text))),
            Some(shell) => Err(format!("a command with variables for {shell}: hand them on by env")),
            None => self.shell_text(&text),
        }
    }

    fn shell_text(&mut self, text: &str) -> Result<Value, String> {
        let safe = self
            .command(text)
            .map_err(|what| format!("nobody here computes {what}: write it out, or use a parameter"))?;
        Ok(json!({"shell": safe.command, "env": safe.env}))
    }

    /// `package.module.Class.method` or `module.function`; the other keys of the task are its arguments.
    fn python(&mut self, text: &str, entries: &[(Key, Node)]) -> Result<Value, String> {
        let parts: Vec<&str> = text.split('.').collect();
        let is_class = |part: &str| part.starts_with(|c: char| c.is_uppercase());
        let at = parts.iter().position(|part| is_class(part)).unwrap_or(parts.len().saturating_sub(1));
        let (module, name) = parts.split_at(at);
        if module.is_empty() || name.is_empty() {
            return Err("it names no function of a module".to_owned());
        }
        if name.len() > 1 {
            return Err("a method of a class: write a function that makes the object and calls it".to_owned());
        }
        let mut args = serde_json::Map::new();
        for (key, value) in
            entries.iter().filter(|(key, _)| !key.text.ends_with('>') && !key.text.starts_with(['_', '+']))
        {
            let text = text_of(value).ok_or_else(|| format!("argument {} is no single value", key.text))?;
            let value = match text.contains("${") {
                true => json!(self.template(&text).ok_or_else(|| format!("nobody here computes {text}"))?),
                false => scalar_of(value),
            };
            args.insert(key.text.clone(), value);
        }
        let mut python = json!({"function": format!("{}:{}", module.join("."), name.join("."))});
        if let (false, Some(python)) = (args.is_empty(), python.as_object_mut()) {
            python.insert("args".to_owned(), Value::Object(args));
        }
        Ok(json!({"python": python}))
    }
}

/// In double quotes, in which variables are still put in.
fn in_quotes(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '=' | ',');
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        let is_variable = c == '$' && letters.peek() == Some(&'{');
        if matches!(c, '"' | '\\' | '`') || (c == '$' && !is_variable) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
