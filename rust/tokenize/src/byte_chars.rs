//! Which character stands for which byte in the vocabulary of a byte-level file?
//!
//! GPT-2 wrote its byte tokens as printable text: the 188 bytes that are printable Latin-1 characters stand for
//! themselves, and the other 68, in ascending order, are written as the characters from U+0100 on. A space is "Ġ".
//!
//! Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (encoder.py).

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

const CHAR_OF_BYTE: [char; 256] = {
    let mut table = ['\0'; 256];
    let (mut byte, mut n_shifted) = (0usize, 0u32);
    while byte < 256 {
        if is_printable(byte as u8) {
            table[byte] = byte as u8 as char;
        } else {
            // Never a surrogate: at most U+0143.
            table[byte] = match char::from_u32(0x100 + n_shifted) {
                Some(c) => c,
                None => '\0',
            };
            n_shifted += 1;
        }
        byte += 1;
    }
    table
};

const N_CHARS: usize = 0x100 + 68;

const BYTE_OF_CHAR: [Option<u8>; N_CHARS] = {
    let mut table = [None; N_CHARS];
    let mut byte = 0usize;
    while byte < 256 {
        table[CHAR_OF_BYTE[byte] as usize] = Some(byte as u8);
        byte += 1;
    }
    table
};

/// The character that stands for `byte`.
pub fn char_of_byte(byte: u8) -> char {
    CHAR_OF_BYTE[byte as usize]
}

/// The byte that `c` stands for, if it stands for one.
pub fn byte_of_char(c: char) -> Option<u8> {
    BYTE_OF_CHAR.get(c as usize).copied().flatten()
}

/// The bytes that a vocabulary string stands for, or `None` if one of its characters stands for no byte.
pub fn bytes_of_text(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    append_bytes_of_text(text, &mut bytes).map(|()| bytes)
}

/// Appends these bytes; up to a character that stands for no byte, where the answer is `None`.
pub fn append_bytes_of_text(text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    for c in text.chars() {
        bytes.push(byte_of_char(c)?);
    }
    Some(())
}

/// The vocabulary string of a token.
pub fn text_of_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char_of_byte(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_a_bijection_with_the_published_corners() {
        for byte in 0..=255 {
            assert_eq!(byte_of_char(char_of_byte(byte)), Some(byte));
        }
        assert_eq!(char_of_byte(b' '), 'Ġ');
        assert_eq!(char_of_byte(b'\n'), 'Ċ');
        assert_eq!(char_of_byte(0xAD), 'Ń');
        assert_eq!(byte_of_char(' '), None);
        assert_eq!(byte_of_char('\u{144}'), None);
        assert_eq!(bytes_of_text("Ġé"), Some(vec![b' ', 0xE9]));
        assert_eq!(bytes_of_text("▁a"), None);
    }
}
