//! How does a look-up in a large table wait less for addresses?
//!
//! A table of megabytes has more pages than the processor keeps addresses of, so that most look-ups, and requests for memory
//! ahead of them, wait for the page tables before they wait for the memory. Pages of two megabytes need few addresses. Linux
//! gives them to who asks before the memory is first written to, where the memory begins with such a page; so a large table does.
//! Results of megabytes are asked for the same way: one page of two megabytes costs the system less than 512 small ones.
//! A hint only: nothing depends on it, and elsewhere nothing is asked.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

const PAGE_BYTES: usize = 1 << 21;

/// Items of a fixed number, on large pages where they fill some and the system has them.
pub(crate) struct Table<T: Copy> {
    /// An allocation for `n` items by [`layout`], all of them written to.
    start: NonNull<T>,
    n: usize,
}

// SAFETY: a table owns its items as a vector does.
unsafe impl<T: Copy + Send> Send for Table<T> {}
// SAFETY: the same.
unsafe impl<T: Copy + Sync> Sync for Table<T> {}

/// That of an array, from the start of a large page on where it fills one. `None` if it would be larger than memory can be.
fn layout<T>(n: usize) -> Option<Layout> {
    let layout = Layout::array::<T>(n).ok()?;
    if layout.size() < PAGE_BYTES { Some(layout) } else { layout.align_to(PAGE_BYTES).ok() }
}

/// Asks for large pages under the room that a vector has left, where it is several pages.
pub(crate) fn ask_for_room<T: Copy>(vector: &mut Vec<T>) {
    let room = vector.spare_capacity_mut();
    ask_for(room.as_mut_ptr().cast(), size_of_val(room));
}

/// Asks for large pages under memory that was not written to, where it is several pages. The address may be any: no memory is
/// read or written, whatever lies there.
pub fn ask_for(start: *mut u8, n_bytes: usize) {
    if n_bytes >= 2 * PAGE_BYTES {
        ask(start, n_bytes);
    }
}

/// Asks for large pages under memory, as far as whole small pages of it go.
fn ask(start: *mut u8, n_bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        const SMALL_PAGE_BYTES: usize = 1 << 12;
        let skipped = start.align_offset(SMALL_PAGE_BYTES);
        let n_bytes = n_bytes.saturating_sub(skipped) / SMALL_PAGE_BYTES * SMALL_PAGE_BYTES;
        // SAFETY: what is in the pages stays as it is, whose ever they are, and an error changes nothing.
        unsafe { libc::madvise(start.wrapping_add(skipped).cast(), n_bytes, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, n_bytes);
}

impl<T: Copy> Table<T> {
    /// `n` times the same item; at least one.
    pub(crate) fn filled(value: T, n: usize) -> Self {
        let n = n.max(1);
        const { assert!(size_of::<T>() > 0) };
        let Some(layout) = layout::<T>(n) else { handle_alloc_error(Layout::new::<T>()) };
        // SAFETY: `layout` is not of size 0.
        let memory = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(memory.cast::<T>()) else { handle_alloc_error(layout) };
        if layout.size() >= PAGE_BYTES {
            ask(memory, layout.size() / PAGE_BYTES * PAGE_BYTES);
        }
        for at in 0..n {
            // SAFETY: the memory has room for `n` items.
            unsafe { start.add(at).write(value) };
        }
        Self { start, n }
    }
}

impl<T: Copy> Drop for Table<T> {
    fn drop(&mut self) {
        if let Some(layout) = layout::<T>(self.n) {
            // SAFETY: the memory was allocated with this layout; items that are `Copy` need no drop.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

impl<T: Copy> Deref for Table<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `n` items lie there, borrowed as the table is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.n) }
    }
}

impl<T: Copy> DerefMut for Table<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the same, and nobody else borrows the table.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.n) }
    }
}

impl<T: Copy> Clone for Table<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::filled(self[0], self.n);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Copy + std::fmt::Debug> std::fmt::Debug for Table<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_any_size_is_filled_and_copied() {
        for n in [1, 1000, 1 << 20, (1 << 20) + 77] {
            let mut table = Table::filled([7_u32, 9], n);
            assert_eq!(*table, vec![[7, 9]; n]);
            table[n / 2] = [1, 2];
            let copy = table.clone();
            assert_eq!(*copy, *table);
            assert_eq!(copy[n / 2], [1, 2]);
        }
        assert_eq!(Table::filled(1_u8, 0).len(), 1);
    }

    #[test]
    fn a_large_table_begins_with_a_large_page() {
        let table = Table::filled(1_u8, 3 * PAGE_BYTES / 2);
        assert_eq!(table.as_ptr().addr() % PAGE_BYTES, 0);
    }
}
