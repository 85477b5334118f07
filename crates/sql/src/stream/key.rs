//! Which columns name a row of a result, so that a change finds the row that it changes.

/// The parts of a key. Each part is the columns that would do: `window_start` names a window as well as `window_end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    /// `None` where rows have no key.
    parts: Option<Vec<Vec<usize>>>,
}

impl Key {
    /// Rows without a key.
    pub(crate) fn none() -> Self {
        Self { parts: None }
    }

    pub(crate) fn of(parts: Vec<Vec<usize>>) -> Self {
        Self { parts: Some(parts) }
    }

    /// The key of rows that this key and one more part name together.
    pub(crate) fn and(self, part: Vec<usize>) -> Self {
        Self { parts: self.parts.map(|parts| parts.into_iter().chain([part]).collect()) }
    }

    /// The key after a projection: `sources[i]` is the input column that output column `i` merely repeats.
    pub(crate) fn project(&self, sources: &[Option<usize>]) -> Self {
        let Some(parts) = &self.parts else { return Self::none() };
        let project = |part: &Vec<usize>| -> Option<Vec<usize>> {
            let repeats = |source: &Option<usize>| source.is_some_and(|column| part.contains(&column));
            let columns: Vec<usize> =
                sources.iter().enumerate().filter(|(_, source)| repeats(source)).map(|(column, _)| column).collect();
            (!columns.is_empty()).then_some(columns)
        };
        Self { parts: parts.iter().map(project).collect() }
    }

    /// The key of pairs of rows: the first's columns, then, `width` columns on, the second's.
    pub(crate) fn beside(&self, second: &Self, width: usize) -> Self {
        let (Some(first), Some(second)) = (&self.parts, &second.parts) else { return Self::none() };
        let second = second.iter().map(|part| part.iter().map(|column| column + width).collect());
        Self { parts: Some(first.iter().cloned().chain(second).collect()) }
    }

    /// Whether every one of these columns is of the key: then the rows of one key are equal in them.
    pub(crate) fn covers(&self, columns: &[usize]) -> bool {
        let is_part = |column: &usize| self.parts.iter().flatten().any(|part| part.contains(column));
        columns.iter().all(is_part)
    }

    /// One column for each part.
    pub(crate) fn columns(&self) -> Option<Vec<usize>> {
        let mut columns: Vec<usize> = self.parts.as_ref()?.iter().filter_map(|part| part.first().copied()).collect();
        columns.sort_unstable();
        columns.dedup();
        Some(columns)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_projection_keeps_the_key_while_each_part_survives() {
        let key = Key::of(vec![vec![0], vec![1, 2]]);
        assert_eq!(key.project(&[Some(2), None, Some(0)]).columns(), Some(vec![0, 2]));
        assert_eq!(key.project(&[Some(0), None]).columns(), None);
        assert_eq!(Key::none().project(&[Some(0)]).columns(), None);
    }
}
