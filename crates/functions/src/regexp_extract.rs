//! `REGEXP_EXTRACT(text, expression [, group])`: what a group of a regular expression matches; group 0 is the whole match.
//! NULL where there is no match, or no such group.

use std::cell::RefCell;

use arrow::array::{Array, Int64Array, StringArray, StringBuilder};
use regex::{CaptureLocations, Regex};

use crate::FunctionError;

/// A regular expression, with the places of its groups in the last text.
struct Extract {
    expression: Regex,
    places: CaptureLocations,
}

thread_local! {
    /// The expressions that this thread has used last, the latest at the end: compiling one costs as much as some hundred searches.
    static COMPILED: RefCell<Vec<Regex>> = const { RefCell::new(Vec::new()) };
}

/// How many expressions a thread keeps.
const COMPILED_MAX: usize = 16;

fn compiled(expression: &str) -> Result<Regex, FunctionError> {
    COMPILED.with_borrow_mut(|compiled| {
        let known = compiled.iter().position(|known| known.as_str() == expression);
        let found = match known {
            Some(place) => compiled.remove(place),
            None => Regex::new(expression).map_err(|error| FunctionError::Expression {
                expression: expression.to_owned(),
                reason: error.to_string(),
            })?,
        };
        if compiled.len() == COMPILED_MAX {
            compiled.remove(0);
        }
        compiled.push(found.clone());
        Ok(found)
    })
}

/// What one expression's group matches in each text.
///
/// # Errors
/// It is not a regular expression.
pub fn same_for_all(texts: &StringArray, expression: &str, groups: &Int64Array) -> Result<StringArray, FunctionError> {
    let mut extract = Extract::new(expression)?;
    let mut found = StringBuilder::with_capacity(texts.len(), texts.len() * 8);
    for (text, group) in texts.iter().zip(groups) {
        found.append_option(text.zip(group).and_then(|(text, group)| extract.one(text, group)));
    }
    Ok(found.finish())
}

/// To each row its own expression.
///
/// # Errors
/// One of them is not a regular expression.
pub fn each_its_own(
    texts: &StringArray,
    expressions: &StringArray,
    groups: &Int64Array,
) -> Result<StringArray, FunctionError> {
    let rows = texts.iter().zip(expressions).zip(groups);
    rows.map(|row| match row {
        ((Some(text), Some(expression)), Some(group)) => Ok(Extract::new(expression)?.one(text, group)),
        _ => Ok(None),
    })
    .collect()
}

impl Extract {
    fn new(expression: &str) -> Result<Self, FunctionError> {
        let expression = compiled(expression)?;
        let places = expression.capture_locations();
        Ok(Self { expression, places })
    }

    fn one<'a>(&mut self, text: &'a str, group: i64) -> Option<&'a str> {
        let group = usize::try_from(group).ok()?;
        if group == 0 {
            return self.expression.find(text).map(|found| found.as_str());
        }
        self.expression.captures_read(&mut self.places, text)?;
        let (from, to) = self.places.get(group)?;
        text.get(from..to)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_group_is_what_it_matches() {
        for (text, expression, group, expected) in [
            (Some("https://a?b=1&channel_id=7&c"), "(&|^)channel_id=([^&]*)", 2, Some("7")),
            (Some("channel_id=7"), "(&|^)channel_id=([^&]*)", 0, Some("channel_id=7")),
            (Some("channel_id=7"), "(&|^)channel_id=([^&]*)", 1, Some("")),
            (Some("xchannel_id=7"), "(&|^)channel_id=([^&]*)", 2, None),
            (Some("a"), "(a)|(b)", 2, None),
            (Some("a"), "a", 1, None),
            (Some("a"), "a", -1, None),
            (None, "a", 0, None),
        ] {
            let (texts, groups) = (StringArray::from(vec![text]), Int64Array::from(vec![group]));
            let same = same_for_all(&texts, expression, &groups).unwrap();
            assert_eq!(same.iter().next().unwrap(), expected, "{text:?} {expression} {group}");
            let own = each_its_own(&texts, &StringArray::from(vec![expression]), &groups).unwrap();
            assert_eq!(own, same, "{text:?} {expression} {group}");
        }
        let error = same_for_all(&StringArray::from(vec!["a"]), "(", &Int64Array::from(vec![0])).unwrap_err();
        assert!(error.to_string().starts_with("\"(\" is not a regular expression: "), "{error}");
    }
}
