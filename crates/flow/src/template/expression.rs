//! Where in a template the expressions are.

use std::ops::Range;

use crate::findings::Position;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text that is copied.
    Text(Range<usize>),
    /// `{{ ... }}`, delimiters included.
    Value(Range<usize>),
    /// `{% ... %}`, delimiters included.
    Statement(Range<usize>),
    /// `{# ... #}`, delimiters included.
    Comment(Range<usize>),
}

/// Cuts a template into pieces. What is never closed reaches to the end.
pub(super) fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut from = 0;
    let mut verbatim = false;
    while let Some(rest) = template.get(from..).filter(|rest| !rest.is_empty()) {
        let opening = ["{{", "{%", "{#"].iter().filter_map(|open| rest.find(open)).min();
        let Some(start) = opening.map(|at| from + at) else {
            pieces.push(Piece::Text(from..template.len()));
            break;
        };
        if start > from {
            pieces.push(Piece::Text(from..start));
        }
        let piece = template.get(start..).unwrap_or_default();
        let end = start + length(piece);
        let inner = piece.get(2..).unwrap_or_default().trim_start_matches(['-', '+']).trim_start();
        let range = start..end;
        pieces.push(match piece.as_bytes().get(1) {
            Some(b'%') if inner.starts_with("endraw") => {
                verbatim = false;
                Piece::Statement(range)
            }
            _ if verbatim => Piece::Text(range),
            Some(b'%') => {
                verbatim = inner.starts_with("raw");
                Piece::Statement(range)
            }
            Some(b'#') => Piece::Comment(range),
            _ => Piece::Value(range),
        });
        from = end;
    }
    pieces
}

/// The length in bytes of the piece that opens at the start of `text`. A delimiter in a string does not close it.
fn length(text: &str) -> usize {
    let (close, strings) = match text.as_bytes().get(1) {
        Some(b'{') => ("}}", true),
        Some(b'%') => ("%}", true),
        _ => ("#}", false),
    };
    let mut quote = None;
    for (at, c) in text.char_indices().skip(2) {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if strings && matches!(c, '\'' | '"') => quote = Some(c),
            None if text.get(at..).is_some_and(|rest| rest.starts_with(close)) => return at + close.len(),
            None => {}
        }
    }
    text.len()
}

/// Where a variable is first used; the template's start if that cannot be told.
pub(super) fn place_of_name(template: &str, name: &str) -> Position {
    for piece in pieces(template) {
        let (Piece::Value(range) | Piece::Statement(range)) = piece else { continue };
        let code = template.get(range.clone()).unwrap_or_default();
        for (at, _) in code.match_indices(name) {
            let before = code.get(..at).and_then(|text| text.chars().next_back());
            let after = code.get(at + name.len()..).and_then(|text| text.chars().next());
            let is_part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            if !is_part_of_word(before) && before != Some('.') && !is_part_of_word(after) {
                return place_of_byte(template, range.start + at).unwrap_or(START);
            }
        }
    }
    START
}

const START: Position = Position { line: 1, column: 1 };

/// The line and column of a byte.
pub(super) fn place_of_byte(template: &str, byte: usize) -> Option<Position> {
    let before = template.get(..byte)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Some(Position { line: u32::try_from(line).ok()?, column: u32::try_from(column).ok()? })
}
