//! What is different between two texts, line by line: the shortest way from one to the other, after Eugene W. Myers, "An O(ND)
//! Difference Algorithm and Its Variations" (1986). Texts that differ in more lines than that is worth count as different in all.

/// Lines that differ before two texts count as different in all that is between their equal ends.
const EDITS_MAX: usize = 1000;
/// Equal lines that are shown around what differs.
const CONTEXT: usize = 3;

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// It is in both.
    Same(String),
    /// Only the older text has it.
    Removed(String),
    /// Only the newer text has it.
    Added(String),
    /// So many lines here are in both, and left out.
    Gap(usize),
}

/// What is different: nothing, if the texts are equal. Of what is the same, the lines around.
#[must_use]
pub fn difference(older: &[String], newer: &[String]) -> Vec<Line> {
    if older == newer {
        return Vec::new();
    }
    let before = older.iter().zip(newer).take_while(|(a, b)| a == b).count();
    let (old, new) = (older.get(before..).unwrap_or_default(), newer.get(before..).unwrap_or_default());
    let after = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let old_middle = old.get(..old.len() - after).unwrap_or_default();
    let new_middle = new.get(..new.len() - after).unwrap_or_default();
    let mut lines: Vec<Line> = older.iter().take(before).cloned().map(Line::Same).collect();
    match ways(old_middle, new_middle) {
        Some(ways) => lines.extend(walk(&ways, old_middle, new_middle)),
        None => {
            lines.extend(old_middle.iter().cloned().map(Line::Removed));
            lines.extend(new_middle.iter().cloned().map(Line::Added));
        }
    }
    lines.extend(old.iter().skip(old_middle.len()).cloned().map(Line::Same));
    with_gaps(lines)
}

/// How far along the older text each diagonal has come.
#[derive(Clone)]
struct Reach {
    middle: i64,
    places: Vec<i64>,
}

impl Reach {
    fn index(&self, diagonal: i64) -> Option<usize> {
        usize::try_from(self.middle + diagonal).ok()
    }

    fn at(&self, diagonal: i64) -> i64 {
        self.index(diagonal).and_then(|index| self.places.get(index)).copied().unwrap_or(0)
    }

    fn set(&mut self, diagonal: i64, place: i64) {
        if let Some(at) = self.index(diagonal).and_then(|index| self.places.get_mut(index)) {
            *at = place;
        }
    }

    /// From which diagonal the next edit comes to this one.
    fn origin(&self, diagonal: i64, edits: i64) -> i64 {
        let adds = diagonal == -edits || (diagonal != edits && self.at(diagonal - 1) < self.at(diagonal + 1));
        if adds { diagonal + 1 } else { diagonal - 1 }
    }
}

fn same(old: &[String], new: &[String], x: i64, y: i64) -> bool {
    let line = |lines: &'_ [String], at: i64| usize::try_from(at).ok().and_then(|at| lines.get(at).cloned());
    line(old, x).is_some_and(|text| line(new, y) == Some(text))
}

/// What was reached before each number of edits, until the end is; `None` when it takes too many.
fn ways(old: &[String], new: &[String]) -> Option<Vec<Reach>> {
    let (ends_x, ends_y) = (old.len() as i64, new.len() as i64);
    let most = EDITS_MAX.min(old.len() + new.len()) as i64;
    let mut reach = Reach { middle: most + 1, places: vec![0; 2 * most as usize + 3] };
    let mut ways = Vec::new();
    for edits in 0..=most {
        ways.push(reach.clone());
        for diagonal in (-edits..=edits).step_by(2) {
            let origin = reach.origin(diagonal, edits);
            let mut x = if origin > diagonal { reach.at(origin) } else { reach.at(origin) + 1 };
            while same(old, new, x, x - diagonal) {
                x += 1;
            }
            reach.set(diagonal, x);
            if x >= ends_x && x - diagonal >= ends_y {
                return Some(ways);
            }
        }
    }
    None
}

/// The way back from the end, turned round.
fn walk(ways: &[Reach], old: &[String], new: &[String]) -> Vec<Line> {
    let line =
        |lines: &[String], at: i64| usize::try_from(at).ok().and_then(|at| lines.get(at).cloned()).unwrap_or_default();
    let (mut x, mut y) = (old.len() as i64, new.len() as i64);
    let mut lines = Vec::new();
    for (edits, reach) in ways.iter().enumerate().rev() {
        let diagonal = x - y;
        let origin = reach.origin(diagonal, edits as i64);
        let (from_x, from_y) = if edits == 0 { (0, 0) } else { (reach.at(origin), reach.at(origin) - origin) };
        while x > from_x && y > from_y {
            (x, y) = (x - 1, y - 1);
            lines.push(Line::Same(line(old, x)));
        }
        if edits > 0 {
            lines.push(if x == from_x { Line::Added(line(new, from_y)) } else { Line::Removed(line(old, from_x)) });
            (x, y) = (from_x, from_y);
        }
    }
    lines.reverse();
    lines
}

/// Leaves out what is the same and far from what is not.
fn with_gaps(lines: Vec<Line>) -> Vec<Line> {
    let differs = |line: &Line| !matches!(line, Line::Same(_));
    let places: Vec<usize> = (0..lines.len()).filter(|place| lines.get(*place).is_some_and(differs)).collect();
    let mut shown = Vec::new();
    let mut left_out = 0;
    for (place, line) in lines.into_iter().enumerate() {
        let next = places.partition_point(|at| at + CONTEXT < place);
        if places.get(next).is_some_and(|at| at.abs_diff(place) <= CONTEXT) {
            if left_out > 0 {
                shown.push(Line::Gap(std::mem::take(&mut left_out)));
            }
            shown.push(line);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        shown.push(Line::Gap(left_out));
    }
    shown
}

#[cfg(test)]
mod tests;
