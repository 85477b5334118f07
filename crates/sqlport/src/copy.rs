//! `COPY (query) TO STDOUT`: rows as lines of text, in PostgreSQL's own form or as CSV, or as binary values.

use std::fmt::Debug;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Sink, SinkExt, StreamExt};
use pgwire::api::results::{QueryResponse, Tag};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use pgwire::messages::data::DataRow;

use crate::front::send_tag;
use crate::service::QueryError;
use crate::statements::{Placed, Token, placed};

/// `COPY … TO STDOUT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyOut {
    pub(crate) query: String,
    /// How many characters of the statement stand before the query.
    pub(crate) begins_after: usize,
    form: Form,
}

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Lines(Lines),
    Binary,
}

/// What stands before binary rows: a signature, and that there are neither flags nor more words about them.
const BINARY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind the last: the number of values that no row has.
const BINARY_END: i16 = -1;

/// How lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lines {
    is_csv: bool,
    header: bool,
    delimiter: u8,
    null: String,
    quote: u8,
    escape: u8,
}

impl Lines {
    fn new(is_csv: bool) -> Self {
        let (delimiter, null) = if is_csv { (b',', "") } else { (b'\t', "\\N") };
        Self { is_csv, header: false, delimiter, null: null.to_owned(), quote: b'"', escape: b'"' }
    }
}

fn syntax(message: impl Into<String>) -> QueryError {
    QueryError::new(QueryError::SYNTAX, message)
}

fn word(placed: &Placed) -> &str {
    match &placed.token {
        Token::Word(word) => word,
        _ => "",
    }
}

impl CopyOut {
    /// Reads the statement. What would write is refused.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let tokens = placed(text)?;
        let is_sign = |placed: &Placed, sign: char| placed.token == Token::Sign(sign);
        let mut depth = 0_usize;
        let to = tokens.iter().position(|placed| {
            match placed.token {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && ["to", "from"].contains(&word(placed))
        });
        let to = to.ok_or_else(|| syntax("expected TO STDOUT after COPY and a query"))?;
        let is_out = tokens.get(to).is_some_and(|placed| word(placed) == "to");
        if !is_out {
            return Err(QueryError::new(QueryError::READ_ONLY, "cannot execute COPY FROM in a read-only transaction"));
        }
        if tokens.get(to + 1).map(word) != Some("stdout") {
            return Err(QueryError::new("42501", "COPY goes TO STDOUT only: the server writes no files for clients"));
        }
        let of = tokens.get(1..to).unwrap_or_default();
        let (query, begins_after) = match of {
            [open, inner @ .., close] if is_sign(open, '(') && is_sign(close, ')') => {
                let (first, last) =
                    inner.first().zip(inner.last()).ok_or_else(|| syntax("expected a query in COPY ()"))?;
                let before = text.get(..first.begin).unwrap_or_default().chars().count();
                (text.get(first.begin..last.end).unwrap_or_default().to_owned(), before)
            }
            [] => return Err(syntax("expected a query or a table after COPY")),
            [first, ..] => {
                let last = of.last().unwrap_or(first);
                let open = of.iter().position(|placed| is_sign(placed, '(')).unwrap_or(of.len());
                let table = of.get(..open).and_then(|name| text.get(first.begin..name.last()?.end)).unwrap_or_default();
                let columns = of.get(open).and_then(|open| text.get(open.end..last.begin)).unwrap_or("*");
                (format!("SELECT {columns} FROM {table}"), 0)
            }
        };
        let form = form_of(tokens.get(to + 2..).unwrap_or_default())?;
        Ok(Self { query, begins_after, form })
    }

    /// Whether its rows are to be binary values, and not texts.
    pub(crate) fn is_binary(&self) -> bool {
        self.form == Form::Binary
    }

    /// Sends the rows, which have to be texts or binary values as [`CopyOut::is_binary`] says.
    pub(crate) async fn send<C>(&self, client: &mut C, mut rows: QueryResponse) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let fields = rows.row_schema();
        let count = i16::try_from(fields.len()).unwrap_or(i16::MAX);
        let form = i8::from(self.is_binary());
        let response = CopyOutResponse::new(form, count, vec![form.into(); fields.len()]);
        client.feed(PgWireBackendMessage::CopyOutResponse(response)).await?;
        if let Form::Lines(lines) = &self.form
            && lines.header
        {
            let names = fields.iter().map(|field| Some(field.name().as_bytes()));
            client.feed(PgWireBackendMessage::CopyData(CopyData::new(lines.line(names)))).await?;
        }
        // Clients look for the head of binary rows in one message with what follows.
        let mut head = BINARY_HEAD;
        let mut sent = 0;
        while let Some(row) = rows.data_rows().next().await {
            let row = row?;
            let written = match &self.form {
                Form::Lines(lines) => lines.line(values(&row).into_iter()),
                Form::Binary => binary(std::mem::take(&mut head), &row),
            };
            client.feed(PgWireBackendMessage::CopyData(CopyData::new(written))).await?;
            sent += 1;
        }
        if self.is_binary() {
            let end = Bytes::from([head, &BINARY_END.to_be_bytes()].concat());
            client.feed(PgWireBackendMessage::CopyData(CopyData::new(end))).await?;
        }
        client.feed(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
        send_tag(client, Tag::new("COPY").with_rows(sent)).await
    }
}

/// A row of binary values, behind what stands before it: how many, and each with its length before it, as they go over the wire
/// anyway.
fn binary(head: &[u8], row: &DataRow) -> Bytes {
    let mut written = BytesMut::with_capacity(head.len() + size_of::<i16>() + row.data.len());
    written.put_slice(head);
    written.put_i16(row.field_count);
    written.put_slice(&row.data);
    written.freeze()
}

/// The values of a row, as they are laid out for the wire: each with its length before it, -1 for a null.
fn values(row: &DataRow) -> Vec<Option<&[u8]>> {
    let mut rest: &[u8] = &row.data;
    let mut values = Vec::new();
    while rest.remaining() >= size_of::<i32>() {
        let length = usize::try_from(rest.get_i32()).ok();
        values.push(length.and_then(|length| {
            let (value, behind) = rest.split_at_checked(length)?;
            rest = behind;
            Some(value)
        }));
    }
    values
}

/// `[WITH] [(] FORMAT csv, HEADER, DELIMITER ';', NULL '' [)]`, and the older `CSV HEADER` and `BINARY`.
fn form_of(tokens: &[Placed]) -> Result<Form, QueryError> {
    let tokens: Vec<&Placed> = tokens
        .iter()
        .filter(|placed| !matches!(placed.token, Token::Sign('(' | ')' | ',')))
        .filter(|placed| !["with", "as"].contains(&word(placed)))
        .collect();
    let format = match tokens.iter().position(|placed| word(placed) == "format") {
        Some(at) => match tokens.get(at + 1).map(|placed| &placed.token) {
            Some(Token::Word(name) | Token::Name(name) | Token::Text(name)) => name.to_lowercase(),
            _ => String::new(),
        },
        None => tokens.first().map(|placed| word(placed).to_owned()).unwrap_or_default(),
    };
    let says_format = tokens.iter().any(|placed| word(placed) == "format");
    match format.as_str() {
        "binary" if tokens.len() == 1 + usize::from(says_format) => Ok(Form::Binary),
        "binary" => Err(syntax("COPY in binary takes no other options")),
        "csv" => lines_of(&tokens, true).map(Form::Lines),
        "text" => lines_of(&tokens, false).map(Form::Lines),
        _ if says_format => {
            Err(QueryError::new(QueryError::UNSUPPORTED, "COPY knows the formats text, csv and binary"))
        }
        _ => lines_of(&tokens, false).map(Form::Lines),
    }
}

/// The options of lines.
fn lines_of(tokens: &[&Placed], is_csv: bool) -> Result<Lines, QueryError> {
    let mut lines = Lines::new(is_csv);
    let mut rest = tokens;
    while let [option, behind @ ..] = rest {
        let (value, after) = match behind {
            [value, after @ ..] => (Some(&value.token), after),
            [] => (None, behind),
        };
        let text = match value {
            Some(Token::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let byte = || match text.map(str::as_bytes) {
            Some([byte]) => Ok(*byte),
            _ => Err(syntax(format!("COPY {} must be one character of one byte", word(option).to_uppercase()))),
        };
        rest = after;
        match word(option) {
            "csv" | "text" => rest = behind,
            "format" => {}
            "header" => match value {
                Some(Token::Word(word)) if ["true", "on", "1"].contains(&word.as_str()) => lines.header = true,
                Some(Token::Word(word)) if ["false", "off", "0"].contains(&word.as_str()) => lines.header = false,
                _ => (lines.header, rest) = (true, behind),
            },
            "delimiter" => lines.delimiter = byte()?,
            "quote" => (lines.quote, lines.escape) = (byte()?, byte()?),
            "escape" => lines.escape = byte()?,
            "null" => text.unwrap_or_default().clone_into(&mut lines.null),
            "encoding" => {}
            other => {
                let message = format!("COPY does not know the option {}", other.to_uppercase());
                return Err(QueryError::new(QueryError::UNSUPPORTED, message)
                    .hint("the options are FORMAT, HEADER, DELIMITER, NULL, QUOTE and ESCAPE"));
            }
        }
    }
    Ok(lines)
}

impl Lines {
    fn line<'a>(&self, values: impl Iterator<Item = Option<&'a [u8]>>) -> Bytes {
        let mut line = BytesMut::new();
        for (at, value) in values.enumerate() {
            if at > 0 {
                line.put_u8(self.delimiter);
            }
            match value {
                None => line.put_slice(self.null.as_bytes()),
                Some(value) if self.is_csv => self.csv(value, &mut line),
                Some(value) => self.text(value, &mut line),
            }
        }
        line.put_u8(b'\n');
        line.freeze()
    }

    fn text(&self, value: &[u8], line: &mut BytesMut) {
        for &byte in value {
            let escaped = match byte {
                b'\\' => b'\\',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x08 => b'b',
                0x0b => b'v',
                0x0c => b'f',
                byte if byte == self.delimiter => byte,
                byte => {
                    line.put_u8(byte);
                    continue;
                }
            };
            line.put_slice(&[b'\\', escaped]);
        }
    }

    /// In quotes where it would be read as something else.
    fn csv(&self, value: &[u8], line: &mut BytesMut) {
        let is_special = |byte: &u8| [self.delimiter, self.quote, b'\n', b'\r'].contains(byte);
        if value != self.null.as_bytes() && value != b"\\." && !value.iter().any(is_special) {
            line.put_slice(value);
            return;
        }
        line.put_u8(self.quote);
        for &byte in value {
            if byte == self.quote || byte == self.escape {
                line.put_u8(self.escape);
            }
            line.put_u8(byte);
        }
        line.put_u8(self.quote);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn written(options: &str, values: &[Option<&str>]) -> String {
        let copy = CopyOut::parse(&format!("COPY (SELECT 1) TO STDOUT {options}")).unwrap();
        let Form::Lines(lines) = copy.form else { panic!("{options}") };
        let line = lines.line(values.iter().map(|value| value.map(str::as_bytes)));
        String::from_utf8(line.to_vec()).unwrap()
    }

    #[test]
    fn lines_are_as_postgres_writes_them() {
        let values = [Some("a\tb"), None, Some(""), Some("it's \"so\", \\ or\nnot"), Some("물길")];
        let cases = [
            ("", "a\\tb\t\\N\t\tit's \"so\", \\\\ or\\nnot\t물길\n"),
            ("(FORMAT csv)", "a\tb,,\"\",\"it's \"\"so\"\", \\ or\nnot\",물길\n"),
            ("WITH CSV", "a\tb,,\"\",\"it's \"\"so\"\", \\ or\nnot\",물길\n"),
            ("(FORMAT csv, DELIMITER ';', NULL '-')", "a\tb;-;;\"it's \"\"so\"\", \\ or\nnot\";물길\n"),
            ("DELIMITER '|' NULL 'x'", "a\\tb|x||it's \"so\", \\\\ or\\nnot|물길\n"),
        ];
        for (options, expected) in cases {
            assert_eq!(written(options, &values), expected, "{options}");
        }
    }

    #[test]
    fn what_is_copied_is_a_query_or_a_table() {
        let cases = [
            ("COPY (SELECT (1) AS to) TO STDOUT", ("SELECT (1) AS to", 6)),
            ("copy cities to stdout", ("SELECT * FROM cities", 0)),
            ("COPY public.\"C d\" (a, b) TO STDOUT (FORMAT csv, HEADER)", ("SELECT a, b FROM public.\"C d\"", 0)),
        ];
        for (text, (query, begins_after)) in cases {
            let copy = CopyOut::parse(text).unwrap();
            assert_eq!((copy.query.as_str(), copy.begins_after), (query, begins_after), "{text}");
        }
        let form = |options: &str| CopyOut::parse(&format!("COPY a TO STDOUT {options}")).unwrap().form;
        let header = |options: &str| matches!(form(options), Form::Lines(Lines { header: true, .. }));
        assert_eq!(["(HEADER)", "(HEADER false)", "CSV HEADER", ""].map(header), [true, false, true, false]);
        assert_eq!(
            ["(FORMAT binary)", "WITH BINARY", "(FORMAT 'binary')"].map(form),
            [Form::Binary, Form::Binary, Form::Binary]
        );
        for (text, code) in [
            ("COPY a FROM STDIN", QueryError::READ_ONLY),
            ("COPY a TO '/etc/passwd'", "42501"),
            ("COPY (SELECT 1)", QueryError::SYNTAX),
            ("COPY TO STDOUT", QueryError::SYNTAX),
            ("COPY () TO STDOUT", QueryError::SYNTAX),
            ("COPY a TO STDOUT (FORMAT parquet)", QueryError::UNSUPPORTED),
            ("COPY a TO STDOUT (FORMAT binary, HEADER)", QueryError::SYNTAX),
            ("COPY a TO STDOUT (FORCE_QUOTE *)", QueryError::UNSUPPORTED),
            ("COPY a TO STDOUT (DELIMITER 'ab')", QueryError::SYNTAX),
        ] {
            assert_eq!(CopyOut::parse(text).unwrap_err().code, code, "{text}");
        }
    }
}
