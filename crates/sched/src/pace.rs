//! How many runs of a backfill go at once: half as many after every error, twice as many again once as many in a row as go at
//! once have ended well. So a backfill that meets a broken source, or breaks it, does not run into it a thousand times.

/// The pace of a backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    most: u32,
    now: u32,
    /// Runs in a row that have ended well at this pace.
    well: u32,
}

impl Pace {
    /// At most so many at once, and for now this many, both at least one.
    #[must_use]
    pub fn new(most: u32, now: Option<u32>) -> Self {
        let most = most.max(1);
        Self { most, now: now.unwrap_or(most).clamp(1, most), well: 0 }
    }

    /// How many at once now.
    #[must_use]
    pub fn now(self) -> u32 {
        self.now
    }

    /// A run has ended. The new pace, if it is another one.
    pub fn ended(&mut self, well: bool) -> Option<u32> {
        let before = self.now;
        self.well = if well { self.well + 1 } else { 0 };
        if !well {
            self.now = (self.now / 2).max(1);
        } else if self.well >= self.now && self.now < self.most {
            self.now = self.now.saturating_mul(2).min(self.most);
            self.well = 0;
        }
        (self.now != before).then_some(self.now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn errors_halve_it_and_runs_that_end_well_bring_it_back() {
        let mut pace = Pace::new(8, None);
        let mut paces = |ends: &str| {
            ends.chars()
                .map(|end| {
                    pace.ended(end == '+');
                    pace.now()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(paces("++++++++++"), [8; 10], "never beyond what was asked for");
        assert_eq!(paces("----"), [4, 2, 1, 1]);
        assert_eq!(paces("+++++++"), [2, 2, 4, 4, 4, 4, 8]);
        assert_eq!(paces("-+++-++"), [4, 4, 4, 4, 2, 2, 4], "three of four in a row are not enough");
        assert_eq!(Pace::new(0, None).now(), 1);
        assert_eq!(Pace::new(4, Some(9)).now(), 4);
        assert_eq!(Pace::new(4, Some(2)).now(), 2);
    }
}
