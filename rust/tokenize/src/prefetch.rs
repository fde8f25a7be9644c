//! How does memory come near before it is needed?
//!
//! A look-up in a large table waits for memory far longer than it computes. Told early which line is asked next, the
//! machine fetches it while other work goes on. A hint only: nothing depends on it, and where there is no such instruction
//! it does nothing.

/// Asks for the item at `index`, if there is one.
#[inline(always)]
pub fn prefetch<T>(items: &[T], index: usize) {
    if let Some(item) = items.get(index) {
        prefetch_line(item);
    }
}

/// Asks for all of a value, which should not have many lines.
#[inline(always)]
pub fn prefetch_whole<T: ?Sized>(value: &T) {
    let start: *const u8 = std::ptr::from_ref(value).cast();
    for line in (0..size_of_val(value)).step_by(LINE_BYTES) {
        prefetch_line(start.wrapping_add(line));
    }
}

const LINE_BYTES: usize = 64;

/// Asks for the line of a place, which may be any.
#[inline(always)]
pub fn prefetch_line<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is part of every x86-64, reads nothing that the program sees and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
