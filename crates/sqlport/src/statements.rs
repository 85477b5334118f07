//! A text cut into statements, with quotes and comments respected, and their words.

use crate::service::QueryError;

/// One statement of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The statement, without the semicolon and the space around it.
    pub(crate) text: String,
    /// How many characters stand before it.
    pub(crate) begins_after: usize,
}

/// A word, number, quoted thing or sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name or number: an unquoted one in lower case.
    Word(String),
    /// A `"quoted name"`.
    Name(String),
    /// A `'text'`.
    Text(String),
    /// Anything else.
    Sign(char),
}

/// Where a token stands: byte offsets.
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) begin: usize,
    pub(crate) end: usize,
}

/// Cuts a text at its semicolons. Empty statements are left out.
pub(crate) fn split(text: &str) -> Result<Vec<Piece>, QueryError> {
    let tokens = tokens_of(text)?;
    let pieces = tokens.split(|placed| placed.token == Token::Sign(';')).filter_map(|tokens| {
        let (first, last) = (tokens.first()?, tokens.last()?);
        let before = text.get(..first.begin)?;
        Some(Piece { text: text.get(first.begin..last.end)?.to_owned(), begins_after: before.chars().count() })
    });
    Ok(pieces.collect())
}

/// The tokens of one statement, with their places.
pub(crate) fn placed(text: &str) -> Result<Vec<Placed>, QueryError> {
    tokens_of(text)
}

/// The tokens of one statement, at most `limit` of them.
pub(crate) fn words(text: &str, limit: usize) -> Result<Vec<Token>, QueryError> {
    Ok(tokens_of(text)?.into_iter().take(limit).map(|placed| placed.token).collect())
}

fn tokens_of(text: &str) -> Result<Vec<Placed>, QueryError> {
    let mut scanner = Scanner { text, at: 0 };
    let mut tokens = Vec::new();
    while let Some(placed) = scanner.next()? {
        tokens.push(placed);
    }
    Ok(tokens)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Result<Option<Placed>, QueryError> {
        self.skip_space()?;
        let begin = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        let token = match first {
            '\'' => Token::Text(self.quoted('\'', false)?),
            '"' => Token::Name(self.quoted('"', false)?),
            'e' | 'E' if self.rest().get(1..2) == Some("'") => {
                self.at += 1;
                Token::Text(self.quoted('\'', true)?)
            }
            '$' => self.dollar()?,
            letter if letter.is_alphanumeric() || letter == '_' => {
                let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
                let end = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
                let word = self.rest().get(..end).unwrap_or_default().to_lowercase();
                self.at += end;
                Token::Word(word)
            }
            sign => {
                self.at += sign.len_utf8();
                Token::Sign(sign)
            }
        };
        Ok(Some(Placed { token, begin, end: self.at }))
    }

    fn skip_space(&mut self) -> Result<(), QueryError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            let skipped = rest.len() - trimmed.len();
            let more = if trimmed.starts_with("--") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                comment_length(trimmed).ok_or_else(|| self.unfinished("comment"))?
            } else {
                0
            };
            self.at += skipped + more;
            if more == 0 {
                return Ok(());
            }
        }
    }

    /// A quoted thing: the quote doubled stands for itself, and in `E'…'` a backslash takes the next character along.
    fn quoted(&mut self, quote: char, escapes: bool) -> Result<String, QueryError> {
        let mut value = String::new();
        let mut characters = self.rest().char_indices().skip(1).peekable();
        while let Some((at, character)) = characters.next() {
            if character == quote {
                if characters.next_if(|(_, next)| *next == quote).is_none() {
                    self.at += at + quote.len_utf8();
                    return Ok(value);
                }
                value.push(quote);
            } else if character == '\\' && escapes {
                value.extend(characters.next().map(|(_, escaped)| escaped));
            } else {
                value.push(character);
            }
        }
        Err(self.unfinished("quoted text"))
    }

    /// `$1`, or a text between `$tag$` and `$tag$`.
    fn dollar(&mut self) -> Result<Token, QueryError> {
        let rest = self.rest().get(1..).unwrap_or_default();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let tag = rest.get(..length).unwrap_or_default();
        let is_tag =
            rest.get(length..).unwrap_or_default().starts_with('$') && !tag.starts_with(|c: char| c.is_numeric());
        if !is_tag {
            let word = format!("${tag}");
            self.at += word.len();
            return Ok(Token::Word(word));
        }
        let fence = format!("${tag}$");
        let body = self.rest().get(fence.len()..).unwrap_or_default();
        let end = body.find(&fence).ok_or_else(|| self.unfinished("quoted text"))?;
        let value = body.get(..end).unwrap_or_default().to_owned();
        self.at += 2 * fence.len() + end;
        Ok(Token::Text(value))
    }

    fn unfinished(&self, what: &str) -> QueryError {
        let before = self.text.get(..self.at).unwrap_or_default();
        QueryError::new(QueryError::SYNTAX, format!("unterminated {what}")).at(before.chars().count() + 1)
    }
}

/// The bytes of a comment; comments may stand in each other.
fn comment_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match bytes.get(at..at + 2)? {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn texts_are_cut_where_a_client_means_it() {
        let cases: &[(&str, &[(&str, usize)])] = &[
            ("", &[]),
            (" ; ;", &[]),
            ("select 1", &[("select 1", 0)]),
            ("select 1; select ';' ;", &[("select 1", 0), ("select ';'", 10)]),
            ("select 'it''s; ok'; x", &[("select 'it''s; ok'", 0), ("x", 20)]),
            ("select E'a\\';b'; x", &[("select E'a\\';b'", 0), ("x", 17)]),
            ("select \"a;b\" -- c;d\n; x", &[("select \"a;b\"", 0), ("x", 22)]),
            ("/* a; /* b; */ c; */ select 1", &[("select 1", 21)]),
            ("select $$a;b$$; select $t$ ; $$ $t$", &[("select $$a;b$$", 0), ("select $t$ ; $$ $t$", 16)]),
            ("select $1; select '물;길'; y", &[("select $1", 0), ("select '물;길'", 11), ("y", 25)]),
        ];
        for (text, expected) in cases {
            let pieces = split(text).unwrap();
            let pieces: Vec<_> = pieces.iter().map(|piece| (piece.text.as_str(), piece.begins_after)).collect();
            assert_eq!(&pieces, expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_finished_is_refused_with_its_place() {
        for (text, place) in [("select 'a", 8), ("select \"물", 8), ("x /* a", 2), ("select $a$ b", 8)] {
            let error = split(text).unwrap_err();
            assert_eq!((error.code, error.position), (QueryError::SYNTAX, Some(place)), "{text}: {error}");
        }
    }
}
