//! Quoting for a POSIX shell, and the places where no quoting can be safe.
//!
//! A value in single quotes is one word, whatever it contains, but only where the shell reads words. Inside double
//! quotes its single quotes would be ordinary letters and `$(...)` in the value would run. So the text around the
//! expressions is scanned the way a shell does, as far as quotes go, and misplaced expressions are refused.

use super::TemplateError;
use super::expression::{Piece, pieces, place_of_byte};
use crate::findings::Position;

/// The value as one word of a shell.
pub(super) fn single_quoted(value: &str) -> Result<String, &'static str> {
    if value.contains('\0') {
        return Err("the value holds a NUL character, which no command can take");
    }
    Ok(format!("'{}'", value.replace('\'', r"'\''")))
}

/// What the shell is reading: the innermost of the things that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Words,
    /// `(...)`, `$(...)`: words again.
    Parentheses,
    /// `${...}`.
    Braces,
    SingleQuotes,
    DollarSingleQuotes,
    DoubleQuotes,
    Backticks,
    Comment,
    /// Everything after `<<` in the text: where the document ends is not followed.
    HereDocument,
}

impl Reading {
    /// Where an expression would stand, if it may not stand there.
    fn place(self) -> Option<&'static str> {
        match self {
            Self::Words | Self::Parentheses => None,
            Self::Braces => Some("${...}"),
            Self::SingleQuotes | Self::DollarSingleQuotes => Some("single quotes"),
            Self::DoubleQuotes => Some("double quotes"),
            Self::Backticks => Some("backticks"),
            Self::Comment => Some("a comment"),
            Self::HereDocument => Some("or after a here-document"),
        }
    }

    fn is_words(self) -> bool {
        matches!(self, Self::Words | Self::Parentheses)
    }
}

/// The expressions of a shell template that stand where quoting cannot protect the shell.
pub(super) fn misplaced(template: &str) -> Vec<TemplateError> {
    let mut scanner = Scanner { open: Vec::new(), previous: '\n', before_previous: '\n', escaped: false };
    let mut found = Vec::new();
    for piece in pieces(template) {
        match piece {
            Piece::Text(range) => template.get(range).unwrap_or_default().chars().for_each(|c| scanner.read(c)),
            Piece::Statement(_) | Piece::Comment(_) => {}
            Piece::Value(range) => {
                let place = if scanner.escaped { Some("a backslash's reach") } else { scanner.top().place() };
                if let Some(place) = place {
                    let expression = template.get(range.clone()).unwrap_or_default();
                    let start = Position { line: 1, column: 1 };
                    let Position { line, column } = place_of_byte(template, range.start).unwrap_or(start);
                    let message = format!("{expression} stands in {place}, where a value cannot be quoted safely");
                    let remedy = "values are quoted already: write it as a word of its own, or hand it over with env";
                    found.push(TemplateError { line, column, message, remedy: Some(remedy.to_owned()) });
                }
                // The value itself reads as the letters of a word.
                scanner.read_letter('x');
            }
        }
    }
    found
}

struct Scanner {
    /// What is open, the innermost last; words when nothing is.
    open: Vec<Reading>,
    previous: char,
    before_previous: char,
    escaped: bool,
}

impl Scanner {
    fn top(&self) -> Reading {
        self.open.last().copied().unwrap_or(Reading::Words)
    }

    fn read(&mut self, c: char) {
        use Reading::{
            Backticks, Braces, Comment, DollarSingleQuotes, DoubleQuotes, HereDocument, Parentheses, SingleQuotes,
        };
        if std::mem::take(&mut self.escaped) {
            return self.read_letter(c);
        }
        let begins_word = self.previous.is_whitespace() || matches!(self.previous, ';' | '&' | '|' | '(');
        let after_dollar = self.previous == '$';
        // `<<<` is a here-string, whose content is an ordinary word: see `read_letter`.
        let after_here = c != '<' && self.previous == '<' && self.before_previous == '<';
        match (self.top(), c) {
            (HereDocument, _) | (SingleQuotes | Comment, '\\') => {}
            (_, '\\') => self.escaped = true,
            (top, _) if top.is_words() && after_here => self.open.push(HereDocument),
            (SingleQuotes | DollarSingleQuotes, '\'')
            | (DoubleQuotes, '"')
            | (Backticks, '`')
            | (Comment, '\n')
            | (Parentheses, ')')
            | (Braces, '}') => drop(self.open.pop()),
            (SingleQuotes | DollarSingleQuotes | Comment | Backticks, _) => {}
            (_, '(') if after_dollar => self.open.push(Parentheses),
            (_, '{') if after_dollar => self.open.push(Braces),
            (_, '`') => self.open.push(Backticks),
            (DoubleQuotes, _) => {}
            (_, '"') => self.open.push(DoubleQuotes),
            // In "${x:-it's}" a single quote is a letter.
            (Braces, '\'') if self.open.contains(&DoubleQuotes) => {}
            (_, '\'') if after_dollar => self.open.push(DollarSingleQuotes),
            (_, '\'') => self.open.push(SingleQuotes),
            (Braces, _) => {}
            (_, '(') => self.open.push(Parentheses),
            (_, '#') if begins_word => self.open.push(Comment),
            _ => {}
        }
        self.read_letter(c);
    }

    fn read_letter(&mut self, c: char) {
        let here_string = self.previous == '<' && self.before_previous == '<' && c == '<';
        self.before_previous = if here_string { ' ' } else { self.previous };
        self.previous = if here_string { ' ' } else { c };
    }
}
