//! How does text of 32-bit characters become UTF-8?
//!
//! In place: a character takes at most as much room as before, so what is written never reaches what is still to be read.
//! Sixteen ASCII characters at a time; others without a jump that depends on their length, as scripts change with every word.
//! O(n), no memory.

/// So many characters are looked at together.
const BLOCK: usize = 16;

/// Turns code points of four bytes each, in the machine's order, into UTF-8 at the start of the same memory.
///
/// `None` if one is no character: a surrogate, or above U+10FFFF. What is in the memory then is of no use.
#[allow(unsafe_code)]
pub fn to_utf8(memory: &mut [u8]) -> Option<&str> {
    let (mut read, mut written) = (0, 0);
    while let Some(block) = memory[read..].first_chunk::<{ 4 * BLOCK }>() {
        let (words, _) = block.as_chunks::<4>();
        let chars: [u32; BLOCK] = std::array::from_fn(|at| u32::from_ne_bytes(words[at]));
        if chars.iter().fold(0, |all, &c| all | c) < 0x80 {
            memory[written..written + BLOCK].copy_from_slice(&chars.map(|c| c as u8));
            written += BLOCK;
        } else {
            for c in chars {
                written = write(memory, written, c)?;
            }
        }
        read += 4 * BLOCK;
    }
    while let Some(&word) = memory[read..].first_chunk::<4>() {
        written = write(memory, written, u32::from_ne_bytes(word))?;
        read += 4;
    }
    // SAFETY: `write` and the copy of ASCII write whole characters only.
    Some(unsafe { std::str::from_utf8_unchecked(&memory[..written]) })
}

/// Writes one character at `at`, and anything behind it up to four bytes. Where the next one goes.
#[inline(always)]
fn write(memory: &mut [u8], at: usize, c: u32) -> Option<usize> {
    let tail = |shift: u32| (c >> shift & 0x3F) | 0x80;
    let two = (c >> 6 | 0xC0) | tail(0) << 8;
    let three = (c >> 12 | 0xE0) | tail(6) << 8 | tail(0) << 16;
    let (mut bytes, mut n_bytes) = match c {
        0..0x80 => (c, 1),
        0x80..0x800 => (two, 2),
        _ => (three, 3),
    };
    if c.wrapping_sub(0xD800) < 0x800 || c > 0xFFFF {
        char::from_u32(c)?;
        (bytes, n_bytes) = ((c >> 18 | 0xF0) | tail(12) << 8 | tail(6) << 16 | tail(0) << 24, 4);
    }
    *memory.get_mut(at..)?.first_chunk_mut()? = bytes.to_le_bytes();
    Some(at + n_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(chars: impl IntoIterator<Item = u32>) -> Vec<u8> {
        chars.into_iter().flat_map(u32::to_ne_bytes).collect()
    }

    #[test]
    fn every_character_is_written_as_rust_writes_it() {
        let all: String = ('\0'..=char::MAX).collect();
        assert_eq!(to_utf8(&mut memory(all.chars().map(u32::from))), Some(&*all));
        let mixed: String = all.chars().step_by(97).flat_map(|c| [c, 'a', c, '\n']).collect();
        for start in 0..40 {
            let text: String = mixed.chars().skip(start).take(1000 + start).collect();
            assert_eq!(to_utf8(&mut memory(text.chars().map(u32::from))), Some(&*text));
        }
        for n in 0..70 {
            let text = "ascii, and more of it ".repeat(4)[..n].to_owned();
            assert_eq!(to_utf8(&mut memory(text.chars().map(u32::from))), Some(&*text));
        }
    }

    #[test]
    fn what_is_no_character_is_refused() {
        for bad in [0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0x11_0000, u32::MAX] {
            for n_before in [0, 3, 20] {
                let chars = std::iter::repeat_n(97, n_before).chain([bad]).chain([98; 3]);
                assert_eq!(to_utf8(&mut memory(chars)), None, "{bad:x}");
            }
        }
    }
}
