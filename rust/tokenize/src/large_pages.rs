//! How does a look-up in a large table wait less for addresses?
//!
//! A table of megabytes has more pages than the processor keeps addresses of, so that most look-ups wait for the page tables
//! before they wait for the memory. Pages of two megabytes need few addresses. Linux gives them to who asks before the
//! memory is first written to. A hint only: nothing depends on it, and elsewhere nothing is asked.

/// `vec![value; n]`, on large pages where it has room for some and the system has them.
pub(crate) fn filled<T: Copy>(value: T, n: usize) -> Vec<T> {
    let mut items = Vec::with_capacity(n);
    #[cfg(target_os = "linux")]
    ask(items.spare_capacity_mut());
    items.resize(n, value);
    items
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn ask<T>(memory: &mut [std::mem::MaybeUninit<T>]) {
    const PAGE_BYTES: usize = 1 << 21;
    let bytes = memory.as_mut_ptr().cast::<u8>();
    let before = bytes.align_offset(PAGE_BYTES);
    let n_bytes = size_of_val(memory).saturating_sub(before) / PAGE_BYTES * PAGE_BYTES;
    if n_bytes > 0 {
        // SAFETY: the whole pages of memory that the caller has alone. What is in them stays as it is, and an error changes nothing.
        unsafe { libc::madvise(bytes.wrapping_add(before).cast(), n_bytes, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_any_size_is_filled() {
        for n in [0, 1, 1000, 1 << 20, (1 << 20) + 77] {
            assert_eq!(filled([7_u32, 9], n), vec![[7, 9]; n]);
        }
    }
}
