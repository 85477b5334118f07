//! Places in a text, and the diagnostics collected about it.

use crate::Diagnostic;

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// What has been found wrong with a file so far.
#[derive(Debug)]
pub(crate) struct Findings {
    file: String,
    found: Vec<Diagnostic>,
}

impl Findings {
    pub(crate) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), found: Vec::new() }
    }

    pub(crate) fn add(&mut self, at: Position, message: impl Into<String>, remedy: Option<String>) {
        let Position { line, column } = at;
        self.found.push(Diagnostic { file: self.file.clone(), line, column, message: message.into(), remedy });
    }

    /// A word that is none of those allowed here.
    pub(crate) fn unknown<'a>(
        &mut self,
        at: Position,
        what: &str,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        self.add(at, format!("unknown {what} {word}"), remedy_for(word, &known));
    }

    /// `Ok(value)` if nothing was found, else everything, in the order of the text.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Diagnostic>> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.into_vec()),
        }
    }

    /// Everything found, in the order of the text.
    pub(crate) fn into_vec(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|d| (d.line, d.column));
        // What an alias repeats is found once for each.
        self.found.dedup();
        self.found
    }
}

/// "did you mean", or what is allowed.
pub(crate) fn remedy_for(word: &str, known: &[&str]) -> Option<String> {
    // Two thirds of the letters must agree; below that, a guess misleads more often than it helps.
    let nearest = known.iter().map(|name| (strsim::normalized_damerau_levenshtein(word, name), name));
    let nearest = nearest.filter(|(likeness, _)| *likeness > 0.66).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => Some(format!("did you mean {name}?")),
        None if known.is_empty() => None,
        None => Some(format!("known: {}", known.join(", "))),
    }
}
