//! Column types as `CREATE TABLE` writes them, in Flink's names, and their Arrow types.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::problem::{Mistake, did_you_mean};

/// The time zone of `TIMESTAMP_LTZ` columns.
pub(crate) const UTC: &str = "UTC";

const KNOWN: [&str; 19] = [
    "VARCHAR",
    "STRING",
    "CHAR",
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "BYTES",
];

/// Reads a type at the parser's place.
pub(crate) fn parse_type(parser: &mut Parser<'_>) -> Result<DataType, Mistake> {
    let token = parser.next_token();
    let Token::Word(word) = &token.token else {
        return Err(Mistake::new(token.span.start, format!("expected a type, found {}", token.token))
            .remedy("write for example VARCHAR, INT, DOUBLE or TIMESTAMP(3)"));
    };
    let name = word.value.to_uppercase();
    Ok(match name.as_str() {
        "VARCHAR" | "CHAR" | "CHARACTER" => {
            arguments(parser, 1)?;
            DataType::Utf8
        }
        "STRING" | "TEXT" => DataType::Utf8,
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "TINYINT" => DataType::Int8,
        "SMALLINT" => DataType::Int16,
        "INT" | "INTEGER" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "FLOAT" | "REAL" => DataType::Float32,
        "DOUBLE" => {
            skip_word(parser, "PRECISION");
            DataType::Float64
        }
        "DECIMAL" | "NUMERIC" | "DEC" => decimal(parser, &token)?,
        "DATE" => DataType::Date32,
        "TIME" => {
            arguments(parser, 1)?;
            DataType::Time32(TimeUnit::Millisecond)
        }
        "TIMESTAMP" => timestamp(parser, &token, false)?,
        "TIMESTAMP_LTZ" => timestamp(parser, &token, true)?,
        "BYTES" | "VARBINARY" | "BINARY" => {
            arguments(parser, 1)?;
            DataType::Binary
        }
        _ => {
            return Err(Mistake::new(token.span.start, format!("unknown type {}", word.value))
                .remedy(did_you_mean(&name, &KNOWN, "types")));
        }
    })
}

fn decimal(parser: &mut Parser<'_>, token: &TokenWithSpan) -> Result<DataType, Mistake> {
    let given = arguments(parser, 2)?;
    let precision = given.first().copied().unwrap_or(10);
    let scale = given.get(1).copied().unwrap_or(0);
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if u64::from(p) >= scale => Ok(DataType::Decimal128(p, s)),
        _ => Err(Mistake::new(token.span.start, format!("DECIMAL({precision}, {scale}) is out of range"))
            .remedy("precision is 1 to 38, scale is 0 to the precision")),
    }
}

fn timestamp(parser: &mut Parser<'_>, token: &TokenWithSpan, mut local: bool) -> Result<DataType, Mistake> {
    let precision = arguments(parser, 1)?.first().copied().unwrap_or(6);
    if skip_word(parser, "WITHOUT") {
        skip_words(parser, &["TIME", "ZONE"])?;
    } else if skip_word(parser, "WITH") {
        skip_words(parser, &["LOCAL", "TIME", "ZONE"])?;
        local = true;
    }
    let unit = match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        7..=9 => TimeUnit::Nanosecond,
        _ => {
            return Err(Mistake::new(token.span.start, format!("TIMESTAMP({precision}) is out of range"))
                .remedy("the precision is 0 to 9 digits of a second"));
        }
    };
    Ok(DataType::Timestamp(unit, local.then(|| UTC.into())))
}

/// `(3)` or `(10, 2)`, or nothing.
fn arguments(parser: &mut Parser<'_>, count_max: usize) -> Result<Vec<u64>, Mistake> {
    let mut given = Vec::new();
    if !parser.consume_token(&Token::LParen) {
        return Ok(given);
    }
    loop {
        let place = parser.peek_token().span.start;
        given.push(parser.parse_literal_uint().map_err(|error| Mistake::from_parser(&error, place))?);
        if given.len() > count_max {
            return Err(Mistake::new(place, "too many numbers in the type's parentheses"));
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    let place = parser.peek_token().span.start;
    parser.expect_token(&Token::RParen).map_err(|error| Mistake::from_parser(&error, place))?;
    Ok(given)
}

/// Takes the next word if it is this one.
pub(crate) fn skip_word(parser: &mut Parser<'_>, word: &str) -> bool {
    let found = crate::text::is_word(&parser.peek_token_ref().token, word);
    if found {
        parser.next_token();
    }
    found
}

/// Takes these words, or says which one is missing.
pub(crate) fn skip_words(parser: &mut Parser<'_>, words: &[&str]) -> Result<(), Mistake> {
    for word in words {
        if !skip_word(parser, word) {
            let found = parser.peek_token();
            return Err(Mistake::new(found.span.start, format!("expected {word}, found {}", found.token)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use crate::text::{parser, split_statements};

    fn read(text: &str) -> Result<String, String> {
        let mut parser = parser(split_statements(text).unwrap().remove(0));
        parse_type(&mut parser)
            .map(|t| t.to_string())
            .map_err(|m| format!("{} | {}", m.message, m.remedy.unwrap_or_default()))
    }

    #[test]
    fn flink_types_become_arrow_types() {
        for (text, expected) in [
            ("VARCHAR(20)", "Utf8"),
            ("string", "Utf8"),
            ("INT", "Int32"),
            ("BIGINT", "Int64"),
            ("DOUBLE PRECISION", "Float64"),
            ("FLOAT", "Float32"),
            ("DECIMAL(10, 2)", "Decimal128(10, 2)"),
            ("DECIMAL", "Decimal128(10, 0)"),
            ("DATE", "Date32"),
            ("TIMESTAMP(3)", "Timestamp(ms)"),
            ("TIMESTAMP", "Timestamp(µs)"),
            ("TIMESTAMP(9) WITHOUT TIME ZONE", "Timestamp(ns)"),
            ("TIMESTAMP_LTZ(3)", "Timestamp(ms, \"UTC\")"),
            ("TIMESTAMP(6) WITH LOCAL TIME ZONE", "Timestamp(µs, \"UTC\")"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn wrong_types_are_explained() {
        assert_eq!(read("VARCHR").unwrap_err(), "unknown type VARCHR | did you mean VARCHAR?");
        assert!(read("DECIMAL(50, 2)").unwrap_err().starts_with("DECIMAL(50, 2) is out of range"));
        assert!(read("TIMESTAMP(12)").unwrap_err().starts_with("TIMESTAMP(12) is out of range"));
        assert!(read("(").unwrap_err().starts_with("expected a type"));
    }
}
