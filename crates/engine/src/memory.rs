//! Lets the allocator keep what is freed. Batches come and go by the megabyte: to fetch each anew from the kernel, page by
//! page, costs more than to fill it.
//!
//! glibc learns from what it is given back: after a block of its own mapping, blocks up to that size come from its heap, and
//! twice as much stays there when freed. So it is shown one large block, which nobody touches. Other allocators do not care.

use std::hint::black_box;
use std::sync::Once;

/// The largest block that glibc learns from is 32 MiB, with what it adds itself.
const BLOCK_BYTES: usize = (32 << 20) - (64 << 10);

/// From now on, what is freed stays at hand.
pub(crate) fn keep_freed() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(black_box(BLOCK_BYTES)))));
}
