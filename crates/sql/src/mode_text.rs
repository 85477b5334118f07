//! Another `REFRESH_MODE` in the text of a view, with everything else as it was written.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::statement::RefreshMode;
use crate::text::{SourceText, is_word, split_statements};

/// The text of a `CREATE MATERIALIZED TABLE` with another mode; `None` where it is none.
pub fn with_mode(statement: &str, mode: RefreshMode) -> Option<String> {
    let source = SourceText::new(statement);
    let statements = split_statements(statement).ok()?;
    let [tokens] = statements.as_slice() else { return None };
    if !tokens.get(1).is_some_and(|token| is_word(&token.token, "MATERIALIZED")) {
        return None;
    }
    // Names and options stand before; the query may call something so too.
    let as_at = tokens.iter().position(|token| is_word(&token.token, "AS"))?;
    let before: &[TokenWithSpan] = tokens.get(..as_at)?;
    let written = before.iter().position(|token| is_word(&token.token, "REFRESH_MODE")).and_then(|at| {
        let (equals, word) = (before.get(at + 1)?, before.get(at + 2)?);
        (equals.token == Token::Eq).then_some(word)
    });
    let (start, end, new) = match written {
        Some(word) => (source.offset(word.span.start), source.offset(word.span.end), mode.to_string()),
        None => {
            let at = source.offset(tokens.get(as_at)?.span.start);
            (at, at, format!("REFRESH_MODE = {mode} "))
        }
    };
    Some(format!("{}{new}{}", statement.get(..start)?, statement.get(end..)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn nothing_changes_but_the_word() {
        let cases = [
            (
                "CREATE MATERIALIZED TABLE v -- refresh_mode = full\n  refresh_mode=full AS SELECT 'REFRESH_MODE = FULL'",
                Some(
                    "CREATE MATERIALIZED TABLE v -- refresh_mode = full\n  refresh_mode=KAPPA AS SELECT 'REFRESH_MODE = FULL'",
                ),
            ),
            (
                "CREATE MATERIALIZED TABLE v WITH ('a' = 'b')\nAS SELECT refresh_mode FROM t",
                Some(
                    "CREATE MATERIALIZED TABLE v WITH ('a' = 'b')\nREFRESH_MODE = KAPPA AS SELECT refresh_mode FROM t",
                ),
            ),
            ("CREATE TABLE t (a INT)", None),
        ];
        for (text, expected) in cases {
            assert_eq!(with_mode(text, RefreshMode::Kappa).as_deref(), expected, "{text}");
        }
    }
}
