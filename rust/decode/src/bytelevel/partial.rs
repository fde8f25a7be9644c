//! Which character do these bytes begin?

/// The bytes of an incomplete character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Partial {
    bytes: [u8; 4],
    n: u8,
}

/// What becomes of an incomplete character and one more byte.
pub(super) enum Pushed {
    /// No character begins so.
    Invalid,
    More(Partial),
    Char(char),
}

impl Partial {
    /// How many bytes there are; 0 between characters.
    #[inline]
    pub(super) fn n(self) -> u8 {
        self.n
    }

    /// The code point whose missing bytes are all `filler`, whether it is a character or not.
    pub(super) fn completed_with(self, filler: u8) -> u32 {
        let lead = self.bytes[0];
        let n_bytes = if lead < 0xe0 {
            2
        } else if lead < 0xf0 {
            3
        } else {
            4
        };
        let rest = (1..n_bytes).map(|at| if at < usize::from(self.n) { self.bytes[at] } else { filler });
        let head = u32::from(lead) & (0x7f >> n_bytes);
        rest.fold(head, |point, byte| point << 6 | u32::from(byte & 0x3f))
    }

    #[inline]
    pub(super) fn push(self, byte: u8) -> Pushed {
        if self.n == 0 && byte.is_ascii() {
            return Pushed::Char(byte.into());
        }
        let mut longer = self;
        longer.bytes[usize::from(self.n)] = byte;
        longer.n += 1;
        match std::str::from_utf8(&longer.bytes[..usize::from(longer.n)]) {
            Ok(text) => text.chars().next().map_or(Pushed::Invalid, Pushed::Char),
            Err(error) if error.error_len().is_none() => Pushed::More(longer),
            Err(_) => Pushed::Invalid,
        }
    }
}
