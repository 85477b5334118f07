//! What is known of a distinct value for each call that shares its set.

/// What an entry knows of each call.
pub(crate) trait Marks: Default + Send {
    /// Counts one more for the calls in `wanted`; gives those for which it is the first.
    fn add(&mut self, wanted: u32) -> u32;
    /// Counts one less; gives those for which it was the last.
    fn remove(&mut self, wanted: u32) -> u32;
    /// The calls for which adding changes nothing, until something is removed.
    fn settled(&self) -> u32;
    /// Whether no call has the value any more.
    fn is_empty(&self) -> bool;
    /// Notes that adding or removing has changed this; whether that is news, by what it said.
    fn note(&mut self, changed: u32) -> bool;
    /// From now on changes are news again.
    fn settle(&mut self) {}
    /// How often a call has the value.
    fn count(&self, call: usize) -> u32;
    /// Says how often a call has the value.
    fn set(&mut self, call: usize, count: u32);
    /// Heap memory of its own, in bytes.
    fn heap_bytes(&self) -> usize;
}

/// One bit a call: nothing is taken back.
impl Marks for u32 {
    fn add(&mut self, wanted: u32) -> u32 {
        let new = wanted & !*self;
        *self |= wanted;
        new
    }

    fn remove(&mut self, wanted: u32) -> u32 {
        let gone = wanted & *self;
        *self &= !wanted;
        gone
    }

    fn settled(&self) -> u32 {
        *self
    }

    fn is_empty(&self) -> bool {
        *self == 0
    }

    fn note(&mut self, changed: u32) -> bool {
        changed != 0
    }

    fn count(&self, call: usize) -> u32 {
        self >> call & 1
    }

    fn set(&mut self, call: usize, count: u32) {
        *self |= u32::from(count > 0) << call;
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// How often the value is there, by call.
#[derive(Default)]
pub(crate) struct Counts {
    counts: Vec<u32>,
    is_noted: bool,
}

impl Marks for Counts {
    fn add(&mut self, wanted: u32) -> u32 {
        let needed = (u32::BITS - wanted.leading_zeros()) as usize;
        if needed > self.counts.len() {
            self.counts.resize(needed, 0);
        }
        self.change(wanted, |count| {
            *count += 1;
            *count == 1
        })
    }

    fn remove(&mut self, wanted: u32) -> u32 {
        self.change(wanted, |count| {
            let was_last = *count == 1;
            *count = count.saturating_sub(1);
            was_last
        })
    }

    fn settled(&self) -> u32 {
        0
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    fn note(&mut self, _: u32) -> bool {
        !std::mem::replace(&mut self.is_noted, true)
    }

    fn settle(&mut self) {
        self.is_noted = false;
    }

    fn count(&self, call: usize) -> u32 {
        self.counts.get(call).copied().unwrap_or(0)
    }

    fn set(&mut self, call: usize, count: u32) {
        if count > 0 && call >= self.counts.len() {
            self.counts.resize(call + 1, 0);
        }
        if let Some(place) = self.counts.get_mut(call) {
            *place = count;
        }
    }

    fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u32>()
    }
}

impl Counts {
    fn change(&mut self, wanted: u32, mut each: impl FnMut(&mut u32) -> bool) -> u32 {
        let mut changed = 0;
        for (call, count) in self.counts.iter_mut().enumerate() {
            if wanted >> call & 1 == 1 && each(count) {
                changed |= 1 << call;
            }
        }
        changed
    }
}
