//! `SPLIT_INDEX(text, separator, index)`: a piece of a text, counted from 0; NULL where there is none.

use arrow::array::{Array, Int64Array, StringArray, StringBuilder};

/// The same piece of all texts.
pub fn same_for_all(texts: &StringArray, separator: &str, index: i64) -> StringArray {
    let mut pieces = StringBuilder::with_capacity(texts.len(), texts.len() * 8);
    match (separator.as_bytes(), usize::try_from(index)) {
        // One byte is searched for much faster than a text.
        ([byte], Ok(index)) if byte.is_ascii() => {
            for text in texts {
                pieces.append_option(text.and_then(|text| piece_before_byte(text, *byte, index)));
            }
        }
        _ => {
            for text in texts {
                pieces.append_option(text.and_then(|text| piece(text, separator, index)));
            }
        }
    }
    pieces.finish()
}

/// To each row its own separator and index.
pub fn each_its_own(texts: &StringArray, separators: &StringArray, indices: &Int64Array) -> StringArray {
    let rows = texts.iter().zip(separators).zip(indices);
    rows.map(|((text, separator), index)| piece(text?, separator?, index?)).collect()
}

/// An empty text has no pieces, and an empty separator separates nothing.
fn piece<'a>(text: &'a str, separator: &str, index: i64) -> Option<&'a str> {
    let index = usize::try_from(index).ok()?;
    if text.is_empty() {
        return None;
    }
    match separator.as_bytes() {
        [] => (index == 0).then_some(text),
        [byte] if byte.is_ascii() => piece_before_byte(text, *byte, index),
        _ => text.split(separator).nth(index),
    }
}

/// Pieces are short, so looking at byte after byte beats a search that has to be set up for each.
fn piece_before_byte(text: &str, separator: u8, index: usize) -> Option<&str> {
    if text.is_empty() {
        return None;
    }
    let mut separators = 0;
    let mut begin = 0;
    for (place, byte) in text.bytes().enumerate() {
        if byte == separator {
            if separators == index {
                return text.get(begin..place);
            }
            separators += 1;
            begin = place + 1;
        }
    }
    if separators == index { text.get(begin..) } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn pieces_count_from_zero() {
        for (text, separator, index, expected) in [
            ("https://a/b", "/", 2, Some("a")),
            ("https://a/b", "/", 1, Some("")),
            ("https://a/b", "/", 3, Some("b")),
            ("https://a/b", "/", 4, None),
            ("a/", "/", 1, Some("")),
            ("ä/물/é", "/", 1, Some("물")),
            ("a::b::c", "::", 2, Some("c")),
            ("a", "/", 0, Some("a")),
            ("a", "", 0, Some("a")),
            ("a", "", 1, None),
            ("", "/", 0, None),
            ("", "::", 0, None),
            ("a/b", "/", -1, None),
        ] {
            assert_eq!(piece(text, separator, index), expected, "{text} {separator} {index}");
            let texts = StringArray::from(vec![Some(text), None]);
            let same = same_for_all(&texts, separator, index);
            assert_eq!(same.iter().collect::<Vec<_>>(), [expected, None], "{text} {separator} {index}");
            let separators = StringArray::from(vec![separator, separator]);
            let own = each_its_own(&texts, &separators, &Int64Array::from(vec![index, index]));
            assert_eq!(own, same, "{text} {separator} {index}");
        }
    }
}
