//! Where are digits cut when threes are counted from the right?
//!
//! `\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))`: the first group of a run takes what threes leave over, every other one has
//! three, so that groups have place values: 1|234|567. The pattern reads the rest of the run at every group; here the run is
//! counted once, at its start, and a group behind a digit has three. O(n) a text.

use super::class::{ClassTable, Properties};

/// The first group at or behind `at`, which is the start of the text or the end of a group.
pub(super) fn find(table: &ClassTable, text: &[u8], at: usize, digit: Properties) -> Option<(usize, usize)> {
    let start = table.run_without(text, at, digit);
    if start == text.len() {
        return None;
    }
    let goes_on = start > 0 && table.at(text, ClassTable::before(text, start)).0 & digit != 0;
    let n_first = if goes_on { 3 } else { n_left_over(table, text, start, digit) };
    let end = (0..n_first).fold(start, |end, _| end + table.at(text, end).1);
    Some((start, end))
}

/// How many digits of the run at `at` threes from its end leave over; three where they leave none.
fn n_left_over(table: &ClassTable, text: &[u8], mut at: usize, digit: Properties) -> usize {
    let mut n_digits = 0;
    loop {
        let (found, length) = table.at(text, at);
        if found & digit == 0 {
            return (n_digits + 2) % 3 + 1;
        }
        n_digits += 1;
        at += length;
    }
}
