//! How does memory come near before it is needed?
//!
//! A look-up in a large table waits for memory far longer than it computes. Told early which line is asked next, the
//! machine fetches it while other work goes on. A hint only: nothing depends on it, and where there is no such instruction
//! it does nothing.

/// Asks for the item at `index`, if there is one.
#[inline(always)]
pub(crate) fn prefetch<T>(items: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    if let Some(item) = items.get(index) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is part of every x86-64, reads nothing that the program sees and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, index);
}
