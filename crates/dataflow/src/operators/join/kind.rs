//! Which rows a kind of join gives: pairs of rows that match, and rows of one side alone.

/// One of the two inputs: port 0 is left, port 1 is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Port 0.
    Left,
    /// Port 1.
    Right,
}

impl Side {
    pub(super) fn of_port(port: usize) -> Self {
        if port == 0 { Side::Left } else { Side::Right }
    }

    pub(super) fn port(self) -> usize {
        match self {
            Side::Left => 0,
            Side::Right => 1,
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

/// Something for each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides<T> {
    /// For the left side.
    pub left: T,
    /// For the right side.
    pub right: T,
}

impl<T> Sides<T> {
    /// That of one side.
    pub fn of(&self, side: Side) -> &T {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    pub(super) fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }
}

/// What a join gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// The pairs.
    Inner,
    /// The pairs, and left rows without a match, padded with nulls.
    Left,
    /// The pairs, and right rows without a match, padded with nulls.
    Right,
    /// The pairs, and rows of both sides without a match, padded with nulls.
    Full,
    /// Left rows with a match.
    LeftSemi,
    /// Right rows with a match.
    RightSemi,
    /// Left rows without a match.
    LeftAnti,
    /// Right rows without a match.
    RightAnti,
    /// Left rows, and whether they have a match.
    LeftMark,
    /// Right rows, and whether they have a match.
    RightMark,
}

/// When rows of a side come out alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Alone {
    /// While they have no match.
    pub(super) unmatched: bool,
    /// While they have one.
    pub(super) matched: bool,
}

impl Alone {
    /// Whether it must be known how many matches a row has.
    pub(super) fn counts(self) -> bool {
        self.unmatched || self.matched
    }
}

impl JoinKind {
    /// Whether pairs of matching rows come out.
    pub(super) fn gives_pairs(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full)
    }

    /// Whether the last column says if the row has a match.
    pub fn gives_mark(self) -> bool {
        matches!(self, JoinKind::LeftMark | JoinKind::RightMark)
    }

    /// Whether columns of a side come out.
    pub fn shows(self, side: Side) -> bool {
        self.gives_pairs() || self.alone(side).counts()
    }

    /// Whether rows of a side may come out alone.
    pub fn shows_alone(self, side: Side) -> bool {
        self.alone(side).counts()
    }

    pub(super) fn alone(self, side: Side) -> Alone {
        let (unmatched, matched) = match (self, side) {
            (JoinKind::Left | JoinKind::Full | JoinKind::LeftAnti, Side::Left)
            | (JoinKind::Right | JoinKind::Full | JoinKind::RightAnti, Side::Right) => (true, false),
            (JoinKind::LeftSemi, Side::Left) | (JoinKind::RightSemi, Side::Right) => (false, true),
            (JoinKind::LeftMark, Side::Left) | (JoinKind::RightMark, Side::Right) => (true, true),
            _ => (false, false),
        };
        Alone { unmatched, matched }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            JoinKind::Inner => "inner join",
            JoinKind::Left => "left join",
            JoinKind::Right => "right join",
            JoinKind::Full => "full join",
            JoinKind::LeftSemi => "left semi join",
            JoinKind::RightSemi => "right semi join",
            JoinKind::LeftAnti => "left anti join",
            JoinKind::RightAnti => "right anti join",
            JoinKind::LeftMark => "left mark join",
            JoinKind::RightMark => "right mark join",
        }
    }
}
