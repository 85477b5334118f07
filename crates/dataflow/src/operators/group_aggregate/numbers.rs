//! The groups that were touched since a moment, numbered in the order in which they were.

/// Not touched.
const UNTOUCHED: usize = usize::MAX;

/// Numbers of touched groups.
#[derive(Default)]
pub(crate) struct Numbers {
    /// The group of each number.
    touched: Vec<usize>,
    /// The number of each group.
    numbers: Vec<usize>,
    of_rows: Vec<usize>,
}

impl Numbers {
    /// Numbers the groups of some rows; [`Numbers::of_rows`] then has the number of each row's.
    pub(crate) fn touch(&mut self, groups: &[usize], group_bound: usize) {
        if group_bound > self.numbers.len() {
            self.numbers.resize(group_bound, UNTOUCHED);
        }
        self.of_rows.clear();
        for group in groups {
            let Some(number) = self.numbers.get_mut(*group) else { continue };
            if *number == UNTOUCHED {
                *number = self.touched.len();
                self.touched.push(*group);
            }
            self.of_rows.push(*number);
        }
    }

    /// The number of the group of each row touched last.
    pub(crate) fn of_rows(&self) -> &[usize] {
        &self.of_rows
    }

    /// How many groups are touched.
    pub(crate) fn len(&self) -> usize {
        self.touched.len()
    }

    /// The touched groups by number. From now on none is.
    pub(crate) fn take(&mut self) -> Vec<usize> {
        for group in &self.touched {
            if let Some(number) = self.numbers.get_mut(*group) {
                *number = UNTOUCHED;
            }
        }
        std::mem::take(&mut self.touched)
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        (self.touched.capacity() + self.numbers.capacity() + self.of_rows.capacity()) * size_of::<usize>()
    }
}
