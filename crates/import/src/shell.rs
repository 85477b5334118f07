//! Shell commands from elsewhere, made safe for templates.
//!
//! Mulgil writes every template value as one word of the shell and refuses one inside quotes, where other systems paste text.
//! So a value inside quotes becomes an environment variable, which the shell itself puts there; what only looks like a template
//! is kept as it is.

use std::collections::BTreeMap;

/// A command, and the variables that it reads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SafeCommand {
    /// The command.
    pub(crate) command: String,
    /// Variables by name, whose values are templates.
    pub(crate) env: BTreeMap<String, String>,
}

/// A piece of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text of the shell.
    Text(String),
    /// The expression of a template, without its braces.
    Value(String),
}

/// Puts the pieces together.
pub(crate) fn join(pieces: &[Piece]) -> SafeCommand {
    let mut safe = SafeCommand { command: String::new(), env: BTreeMap::new() };
    let mut quote = None;
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                quote = quote_after(text, quote);
                safe.command.push_str(&verbatim(text));
            }
            Piece::Value(expression) => match quote {
                None => safe.command.push_str(&format!("{{{{ {expression} }}}}")),
                Some(open) => {
                    let name = format!("VALUE_{}", safe.env.len() + 1);
                    let reference = if open == '"' { format!("${{{name}}}") } else { format!("'\"${{{name}}}\"'") };
                    safe.command.push_str(&reference);
                    safe.env.insert(name, format!("{{{{ {expression} }}}}"));
                }
            },
        }
    }
    safe
}

/// Which quote is open after the text.
fn quote_after(text: &str, mut open: Option<char>) -> Option<char> {
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        match (open, c) {
            (None | Some('"'), '\\') => drop(letters.next()),
            (None, '\'' | '"') => open = Some(c),
            (Some(quote), c) if quote == c => open = None,
            _ => {}
        }
    }
    open
}

/// Text that must not be taken for a template.
pub(crate) fn verbatim(text: &str) -> String {
    if ["{{", "{%", "{#"].iter().any(|open| text.contains(open)) {
        format!("{{% raw %}}{text}{{% endraw %}}")
    } else {
        text.to_owned()
    }
}

/// The text as one word of the shell, in quotes only where it needs them.
pub(crate) fn quoted(text: &str) -> String {
    let is_safe =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '=' | ',' | '+' | '@' | '%');
    if !text.is_empty() && text.chars().all(is_safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Cuts a text at `open` ... `close`, such as `${` and `}`; the inner part goes through `translate`. What it cannot translate
/// is returned as the error.
pub(crate) fn pieces(
    text: &str,
    (open, close): (&str, char),
    mut translate: impl FnMut(&str) -> Option<Piece>,
) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        let Some((inner, behind)) = split_balanced(after, close) else { break };
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(translate(inner.trim()).ok_or_else(|| format!("{open}{inner}{close}"))?);
        rest = behind;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    Ok(pieces)
}

/// Splits at the closing brace that belongs to the one already open.
fn split_balanced(text: &str, close: char) -> Option<(&str, &str)> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            c if c == close && depth == 0 => return Some((text.get(..at)?, text.get(at + close.len_utf8()..)?)),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn values_inside_quotes_become_variables() {
        let cases = [
            ("echo ${a} b", "echo {{ a }} b", 0),
            ("echo \"x ${a}\" ${a}", "echo \"x ${VALUE_1}\" {{ a }}", 1),
            ("echo 'it ${a}' \"${b}\"", "echo 'it '\"${VALUE_1}\"'' \"${VALUE_2}\"", 2),
            (r#"echo \" ${a} '"' ${b}"#, r#"echo \" {{ a }} '"' {{ b }}"#, 0),
            ("docker ps --format '{{.Names}}'", "{% raw %}docker ps --format '{{.Names}}'{% endraw %}", 0),
        ];
        for (from, to, env) in cases {
            let cut = pieces(from, ("${", '}'), |inner| Some(Piece::Value(inner.to_owned()))).unwrap();
            let safe = join(&cut);
            assert_eq!((safe.command.as_str(), safe.env.len()), (to, env), "{from}");
        }
    }
}
