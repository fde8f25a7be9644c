//! Which bytes does this base64 stand for?
//!
//! The standard alphabet with padding, one spelling for every string of bytes (no stray bits, no line breaks), appended to
//! a buffer: rank files hold a hundred thousand short strings. O(n).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Above the 24 bits of a group.
const BAD: u32 = 1 << 31;
/// The value of every digit, by its place in a group of four.
const VALUES: [[u32; 256]; 4] = {
    let mut values = [[BAD; 256]; 4];
    let mut value = 0;
    while value < 64 {
        let mut place = 0;
        while place < 4 {
            values[place][ALPHABET[value] as usize] = (value as u32) << (18 - 6 * place);
            place += 1;
        }
        value += 1;
    }
    values
};

/// Appends the bytes of `text`; `None` if it is no base64, with some bytes appended perhaps.
pub(crate) fn decode_onto(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (groups, []) = text.as_chunks::<4>() else { return None };
    let Some((last, groups)) = groups.split_last() else { return Some(()) };
    out.reserve(3 * groups.len() + 3);
    for group in groups {
        out.extend_from_slice(&bytes(*group)?);
    }
    let n_padding = match last {
        [.., b'=', b'='] => 2,
        [.., b'='] => 1,
        _ => 0,
    };
    let mut padded = *last;
    padded[4 - n_padding..].fill(b'A');
    let last = bytes(padded)?;
    let (kept, stray_bits) = last.split_at(3 - n_padding);
    out.extend_from_slice(kept);
    stray_bits.iter().all(|&byte| byte == 0).then_some(())
}

#[inline]
fn bytes([a, b, c, d]: [u8; 4]) -> Option<[u8; 3]> {
    let [first, second, third, fourth] = &VALUES;
    let bits =
        first[usize::from(a)] | second[usize::from(b)] | third[usize::from(c)] | fourth[usize::from(d)];
    let [_, bytes @ ..] = bits.to_be_bytes();
    (bits & BAD == 0).then_some(bytes)
}

/// The base64 of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    encode_onto(bytes, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends the base64 of `bytes`.
pub(crate) fn encode_onto(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(word);
        let digits = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift) as usize % 64]);
        let n_digits = chunk.len() + 1;
        out.extend_from_slice(&digits[..n_digits]);
        out.extend(std::iter::repeat_n(b'=', 4 - n_digits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode_onto(text.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn every_string_has_one_spelling() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("~~~", "fn5+")]
        {
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        for bad in
            ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "Z===", "Zg==Zg==", "Z g=", "Zm9v\n", "Zm-v", "=Zm9"]
        {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        let bytes: Vec<u8> = (0..=255).rev().collect();
        for n_bytes in 1..bytes.len() {
            let mut text = Vec::new();
            encode_onto(&bytes[..n_bytes], &mut text);
            assert_eq!(decode(std::str::from_utf8(&text).unwrap()).unwrap(), &bytes[..n_bytes]);
        }
    }
}
