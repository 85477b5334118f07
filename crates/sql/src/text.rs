//! SQL text as tokens that know their place, cut into statements.
//!
//! Everything downstream keeps the tokens' places, so that a mistake is reported where it stands in the file. One
//! rewriting happens here: `SESSION(TABLE t PARTITION BY k, ...)` becomes `SESSION(t, PARTITION_BY(k), ...)`, which the
//! parser can take.

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::dialect::MulgilDialect;
use crate::problem::{Mistake, ProblemKind};

/// The dialect of tokens and parser.
pub(crate) static DIALECT: MulgilDialect = MulgilDialect::new();

/// The window table functions, in lower case.
pub(crate) const WINDOW_FUNCTIONS: [&str; 6] = ["tumble", "hop", "cumulate", "session", "count_tumble", "count_hop"];

/// The function in which the keys of a window call come from the parser.
pub(crate) const PARTITION_BY: &str = "partition_by";

/// The source text of a file, to cut pieces from by place.
pub(crate) struct SourceText<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> SourceText<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, line_starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    pub(crate) fn offset(&self, at: Location) -> usize {
        let line = usize::try_from(at.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let column = usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(&start) = self.line_starts.get(line) else { return self.text.len() };
        let rest = self.text.get(start..).unwrap_or_default();
        rest.char_indices().nth(column).map_or(self.text.len(), |(at, _)| start + at)
    }

    /// The text from the first token's start to the last token's end.
    pub(crate) fn between(&self, start: Location, end: Location) -> &'a str {
        self.text.get(self.offset(start)..self.offset(end)).unwrap_or_default().trim()
    }

    /// The text that the tokens cover.
    pub(crate) fn of(&self, tokens: &[TokenWithSpan]) -> &'a str {
        match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => self.between(first.span.start, last.span.end),
            _ => "",
        }
    }
}

/// The tokens of each statement, without whitespace and comments; empty statements are left out.
pub(crate) fn split_statements(text: &str) -> Result<Vec<Vec<TokenWithSpan>>, Mistake> {
    let tokens = Tokenizer::new(&DIALECT, text)
        .tokenize_with_location()
        .map_err(|error| Mistake::new(error.location, error.message.to_lowercase()).kind(ProblemKind::Syntax))?;
    let meaningful: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF)).collect();
    Ok(meaningful
        .split(|t| t.token == Token::SemiColon)
        .filter(|statement| !statement.is_empty())
        .map(<[TokenWithSpan]>::to_vec)
        .collect())
}

/// A parser over tokens that keep their places.
pub(crate) fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&DIALECT).with_tokens_with_locations(window_arguments(tokens))
}

/// Whether the token is this word, unquoted, in any case.
pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Brings the arguments of window table functions into a form that the parser takes: the word `TABLE` goes where it stands
/// first or after `=>`, and `t PARTITION BY a, b, DESCRIPTOR(...)` becomes `t, PARTITION_BY(a, b), DESCRIPTOR(...)`.
fn window_arguments(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // For each open parenthesis, whether a window function's arguments stand in it, and whether its list of keys is open.
    let mut open: Vec<(bool, bool)> = Vec::new();
    let mut rest = tokens.as_slice();
    while let [token, behind @ ..] = rest {
        rest = behind;
        let made = |made: Token| TokenWithSpan { token: made, span: token.span };
        let (in_call, in_keys) = open.last().copied().unwrap_or_default();
        if is_word(&token.token, "TABLE") && begins_window_argument(&kept) {
            continue;
        }
        if in_call && is_word(&token.token, "PARTITION") && behind.first().is_some_and(|by| is_word(&by.token, "BY")) {
            rest = behind.get(1..).unwrap_or_default();
            kept.extend([made(Token::Comma), made(Token::make_word(PARTITION_BY, None)), made(Token::LParen)]);
            open.pop();
            open.push((true, true));
            continue;
        }
        let ends_keys = token.token == Token::RParen || (token.token == Token::Comma && begins_argument(behind));
        if in_keys && ends_keys {
            kept.push(made(Token::RParen));
            open.pop();
            open.push((true, false));
        }
        match token.token {
            Token::LParen => open.push((kept.last().is_some_and(calls_window), false)),
            Token::RParen => drop(open.pop()),
            _ => {}
        }
        kept.push(token.clone());
    }
    kept
}

/// Whether another argument than a key begins here.
fn begins_argument(tokens: &[TokenWithSpan]) -> bool {
    match tokens {
        [name, arrow, ..] if arrow.token == Token::RArrow => matches!(name.token, Token::Word(_)),
        [first, ..] => matches!(first.token, Token::Number(..)) || is_word(&first.token, "DESCRIPTOR"),
        [] => false,
    }
}

fn calls_window(function: &TokenWithSpan) -> bool {
    WINDOW_FUNCTIONS.iter().any(|name| is_word(&function.token, name))
}

fn begins_window_argument(before: &[TokenWithSpan]) -> bool {
    match before {
        [.., function, open] if open.token == Token::LParen => calls_window(function),
        [.., function, open, _data, arrow] if open.token == Token::LParen && arrow.token == Token::RArrow => {
            calls_window(function)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn cuts_statements_and_their_text() {
        let text = "-- 물길\nSELECT 'a;b' -- no end;\n ;; SELECT `ü`, 2;";
        let source = SourceText::new(text);
        let statements = split_statements(text).unwrap();
        let texts: Vec<&str> = statements.iter().map(|tokens| source.of(tokens)).collect();
        assert_eq!(texts, ["SELECT 'a;b'", "SELECT `ü`, 2"]);
    }

    #[test]
    fn says_where_a_string_is_not_closed() {
        let mistake = split_statements("SELECT 1;\nSELECT 'abc").unwrap_err();
        assert_eq!(mistake.at.line, 2);
    }

    #[test]
    fn window_functions_take_the_word_table() {
        for (text, expected) in [
            ("TUMBLE(TABLE t, DESCRIPTOR(ts))", "TUMBLE(t, DESCRIPTOR(ts))"),
            ("tumble(DATA => TABLE t)", "tumble(DATA => t)"),
            ("TABLE(HOP(TABLE t))", "TABLE(HOP(t))"),
            ("f(TABLE t)", "f(TABLE t)"),
            ("SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), 5)", "SESSION(t, partition_by(k), DESCRIPTOR(ts), 5)"),
            (
                "SESSION(DATA => TABLE t PARTITION BY f(a, 1), b, GAP => 5)",
                "SESSION(DATA => t, partition_by(f(a, 1), b), GAP => 5)",
            ),
            ("HOP((SELECT sum(a) OVER (PARTITION BY b, 1)), 2)", "HOP((SELECT sum(a) OVER (PARTITION BY b, 1)), 2)"),
            ("SESSION(t PARTITION BY (a, b))", "SESSION(t, partition_by((a, b)))"),
            ("COUNT_HOP(TABLE t PARTITION BY a, 2, 3)", "COUNT_HOP(t, partition_by(a), 2, 3)"),
        ] {
            let tokens = split_statements(text).unwrap().remove(0);
            let kept: String = window_arguments(tokens).iter().map(|t| t.token.to_string()).collect();
            assert_eq!(kept, expected.replace(' ', ""), "{text}");
        }
    }
}
