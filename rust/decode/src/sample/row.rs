//! What is in a row of logits, read once?
//!
//! A row is read in blocks of [`BLOCK`] tokens: float32 where it stands, half precision widened, masked and adjusted
//! tokens replaced on the way, so that nothing as long as the vocabulary is written. One pass finds the best token, the
//! maximum of every block and whether the row can be drawn from at all. The maxima answer "where can a token above t
//! be?" without reading the row again: a bound for the k-th best is the k-th best maximum, and few blocks reach it.

use super::adjust::Adjust;
use crate::wide::wide;

/// Tokens that share a maximum.
pub(super) const BLOCK: usize = 64;
/// The logits of one block; behind the end of the row they are `-inf`.
pub(super) type Block = [f32; BLOCK];

/// Can a token be drawn from a row?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Yes.
    Ok = 0,
    /// An allowed logit is NaN or +inf.
    NotFinite = 1,
    /// No token is allowed, or every allowed logit is -inf.
    Empty = 2,
}

/// Logits as they lie in memory.
#[derive(Debug, Clone, Copy)]
pub enum Logits<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// The bits of IEEE half precision.
    F16(&'a [u16]),
    /// The bits of bfloat16.
    Bf16(&'a [u16]),
}

impl<'a> Logits<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(logits) => logits.len(),
            Self::F16(bits) | Self::Bf16(bits) => bits.len(),
        }
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row `n_row` of rows of `n_vocab`.
    pub(super) fn row(&self, n_row: usize, n_vocab: usize) -> Logits<'a> {
        let range = n_row * n_vocab..(n_row + 1) * n_vocab;
        match self {
            Self::F32(logits) => Logits::F32(&logits[range]),
            Self::F16(bits) => Logits::F16(&bits[range]),
            Self::Bf16(bits) => Logits::Bf16(&bits[range]),
        }
    }

    #[inline(always)]
    pub(super) fn get(&self, token: usize) -> f32 {
        match self {
            Self::F32(logits) => logits[token],
            Self::F16(bits) => from_f16(bits[token]),
            Self::Bf16(bits) => from_bf16(bits[token]),
        }
    }
}

/// Exact. The product moves the exponent, of subnormal numbers too.
#[inline(always)]
fn from_f16(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7FFF);
    let moved = f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000);
    let value = if magnitude >= 0x7C00 { f32::from_bits(magnitude << 13 | 0x7F80_0000) } else { moved };
    f32::from_bits(value.to_bits() | u32::from(bits & 0x8000) << 16)
}

#[inline(always)]
fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The logits of a row with its mask and adjustments.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    logits: Logits<'a>,
    mask: Option<&'a [u32]>,
    /// Adjusted logits of allowed tokens, ascending by token.
    changed: &'a [(u32, f32)],
    /// One bit a block: does it hold a changed token? Empty where nothing is changed.
    marks: &'a [u64],
}

impl Reader<'_> {
    pub(super) fn n_vocab(&self) -> usize {
        self.logits.len()
    }

    #[inline(always)]
    fn is_marked(&self, n_block: usize) -> bool {
        self.marks.get(n_block / 64).is_some_and(|word| word >> (n_block % 64) & 1 == 1)
    }

    /// The logits as they stand in memory, where nothing about them is changed.
    #[inline(always)]
    fn untouched(&self) -> &[f32] {
        match self.logits {
            Logits::F32(logits) if self.mask.is_none() && self.marks.is_empty() => logits,
            _ => &[],
        }
    }

    /// The mask of a block.
    #[inline(always)]
    fn bits(&self, n_block: usize) -> u64 {
        match self.mask {
            None => !0,
            Some(words) => {
                let high = words.get(2 * n_block + 1).copied().unwrap_or(0);
                u64::from(high) << 32 | u64::from(words[2 * n_block])
            }
        }
    }

    /// The logits of a block, where they stand or in `buffer`.
    #[inline(always)]
    pub(super) fn block<'b>(&'b self, n_block: usize, buffer: &'b mut Block) -> &'b Block {
        let (bits, is_marked) = (self.bits(n_block), self.is_marked(n_block));
        if let Logits::F32(logits) = self.logits
            && bits == !0
            && !is_marked
            && let Some(block) = logits[n_block * BLOCK..].first_chunk::<BLOCK>()
        {
            return block;
        }
        self.fill(n_block, bits, is_marked, buffer);
        buffer
    }

    #[inline(always)]
    fn fill(&self, n_block: usize, bits: u64, is_marked: bool, buffer: &mut Block) {
        let start = n_block * BLOCK;
        let end = self.n_vocab().min(start + BLOCK);
        if end - start < BLOCK {
            *buffer = [f32::NEG_INFINITY; BLOCK];
        }
        let filled = &mut buffer[..end - start];
        match self.logits {
            Logits::F32(logits) => filled.copy_from_slice(&logits[start..end]),
            Logits::F16(halves) => {
                filled.iter_mut().zip(&halves[start..end]).for_each(|(logit, &half)| *logit = from_f16(half));
            }
            Logits::Bf16(halves) => {
                filled
                    .iter_mut()
                    .zip(&halves[start..end])
                    .for_each(|(logit, &half)| *logit = from_bf16(half));
            }
        }
        if bits != !0 {
            for (offset, logit) in buffer.iter_mut().enumerate() {
                *logit = if bits >> offset & 1 == 1 { *logit } else { f32::NEG_INFINITY };
            }
        }
        if is_marked {
            let first = self.changed.partition_point(|(token, _)| (*token as usize) < start);
            for &(token, logit) in
                self.changed[first..].iter().take_while(|(token, _)| (*token as usize) < end)
            {
                buffer[token as usize - start] = logit;
            }
        }
    }

    /// The logit of one token.
    pub(super) fn logit(&self, token: u32) -> f32 {
        let n_block = token as usize / BLOCK;
        if self.bits(n_block) >> (token as usize % BLOCK) & 1 == 0 {
            return f32::NEG_INFINITY;
        }
        if self.is_marked(n_block)
            && let Ok(at) = self.changed.binary_search_by_key(&token, |(token, _)| *token)
        {
            return self.changed[at].1;
        }
        self.logits.get(token as usize)
    }
}

/// A row that can be drawn from.
pub(super) struct Row<'a> {
    pub(super) reader: Reader<'a>,
    /// The maximum of each block.
    pub(super) maxima: &'a [f32],
    /// The best logit.
    pub(super) max: f32,
}

impl Row<'_> {
    /// Call `visit` with every token whose logit is at least `bound` and above `-inf`, in no order.
    #[inline(always)]
    pub(super) fn for_each_from(&self, bound: f32, mut visit: impl FnMut(u32, f32)) {
        let mut buffer = [0.0; BLOCK];
        let least = bound.max(f32::MIN);
        for (n_block, _) in self.maxima.iter().enumerate().filter(|(_, max)| **max >= least) {
            let block = self.reader.block(n_block, &mut buffer);
            for offset in reaching(block, least) {
                visit((n_block * BLOCK + offset) as u32, block[offset]);
            }
        }
    }

    /// The best token, ties to the smallest id.
    pub(super) fn best(&self) -> u32 {
        let n_block = self.maxima.iter().position(|&max| max == self.max).unwrap_or(0);
        let mut buffer = [0.0; BLOCK];
        let block = self.reader.block(n_block, &mut buffer);
        let offset = block.iter().position(|&logit| logit == self.max).unwrap_or(0);
        (n_block * BLOCK + offset) as u32
    }

    /// The best logit of the other tokens.
    pub(super) fn runner_up(&self, best: u32) -> f32 {
        let own_block = best as usize / BLOCK;
        let others =
            self.maxima.iter().enumerate().filter(|(n_block, _)| *n_block != own_block).map(|(_, &max)| max);
        let mut buffer = [0.0; BLOCK];
        let own = self.reader.block(own_block, &mut buffer).iter().enumerate();
        let own = own.filter(|(offset, _)| *offset != best as usize % BLOCK).map(|(_, &logit)| logit);
        others.chain(own).fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Memory that the rows of a batch share.
#[derive(Default)]
pub(super) struct RowBuffers {
    allowed: Vec<u32>,
    changed: Vec<(u32, f32)>,
    marks: Vec<u64>,
    maxima: Vec<f32>,
}

impl RowBuffers {
    /// Read a row. Bit `t % 32` of `mask[t / 32]` allows token `t`, and so does `allowed` where it is not empty; tokens
    /// that are not allowed are not looked at. `adjusts` are ascending by token.
    pub(super) fn read<'a>(
        &'a mut self,
        logits: Logits<'a>,
        mask: Option<&'a [u32]>,
        allowed: &[u32],
        adjusts: &[Adjust],
    ) -> Result<Row<'a>, Status> {
        let n_blocks = logits.len().div_ceil(BLOCK);
        let mask = if allowed.is_empty() {
            mask
        } else {
            self.allow(mask, allowed, logits.len());
            Some(&self.allowed[..])
        };
        self.changed.clear();
        self.marks.clear();
        if !adjusts.is_empty() {
            self.marks.resize(n_blocks.div_ceil(64), 0);
            for adjust in adjusts {
                let token = adjust.token as usize;
                if mask.is_none_or(|words| words[token / 32] >> (token % 32) & 1 == 1) {
                    self.marks[token / BLOCK / 64] |= 1 << (token / BLOCK % 64);
                    self.changed.push((adjust.token, adjust.apply(logits.get(token))));
                }
            }
        }
        let reader = Reader { logits, mask, changed: &self.changed, marks: &self.marks };
        self.maxima.clear();
        self.maxima.resize(n_blocks, 0.0);
        let (max, has_nan) = fill_maxima(&reader, &mut self.maxima);
        if has_nan || max == f32::INFINITY {
            Err(Status::NotFinite)
        } else if max == f32::NEG_INFINITY {
            Err(Status::Empty)
        } else {
            Ok(Row { reader, maxima: &self.maxima, max })
        }
    }

    fn allow(&mut self, mask: Option<&[u32]>, allowed: &[u32], n_vocab: usize) {
        self.allowed.clear();
        self.allowed.resize(n_vocab.div_ceil(32), 0);
        for &token in allowed.iter().filter(|token| (**token as usize) < n_vocab) {
            self.allowed[token as usize / 32] |= 1 << (token % 32);
        }
        if let Some(words) = mask {
            self.allowed.iter_mut().zip(words).for_each(|(own, word)| *own &= word);
        }
    }
}

const LANES: usize = 8;

/// The places of a block at which a logit reaches `bound`, in no order. Eight lanes of eight bits, which vector units can
/// fill; place `8 step + lane` is bit `step` of its lane.
#[inline(always)]
pub(super) fn reaching(block: &Block, bound: f32) -> impl Iterator<Item = usize> {
    const _: () = assert!(BLOCK == 8 * LANES, "a bit a logit");
    let mut lanes = [0u32; LANES];
    for (step, eight) in block.as_chunks::<LANES>().0.iter().enumerate() {
        for lane in 0..LANES {
            lanes[lane] |= if eight[lane] >= bound { 1 << step } else { 0 };
        }
    }
    let mut found = u64::from_le_bytes(lanes.map(|bits| bits as u8));
    std::iter::from_fn(move || {
        let bit = found.trailing_zeros() as usize;
        let is_some = found != 0;
        found &= found.wrapping_sub(1);
        is_some.then_some(bit % 8 * LANES + bit / 8)
    })
}

#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The maximum of a block; marks the lanes in which a NaN was seen.
#[inline(always)]
fn block_max(block: &Block, nans: &mut [u32; LANES]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for eight in block.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            lanes[lane] = greater(eight[lane], lanes[lane]);
            nans[lane] |= if eight[lane].is_nan() { u32::MAX } else { 0 };
        }
    }
    // Halves, not one lane after the other: a chain of maxima takes longer than the reading.
    let [a, b, c, d, e, f, g, h] = lanes;
    greater(greater(greater(a, e), greater(c, g)), greater(greater(b, f), greater(d, h)))
}

wide! {
    /// The maximum of each block and of all, and whether a NaN was seen.
    fn fill_maxima(reader: &Reader<'_>, maxima: &mut [f32]) -> (f32, bool) {
        let mut buffer = [0.0; BLOCK];
        let mut best = f32::NEG_INFINITY;
        let mut nans = [0u32; LANES];
        let whole = reader.untouched().as_chunks::<BLOCK>().0;
        for (max, block) in maxima.iter_mut().zip(whole) {
            *max = block_max(block, &mut nans);
            best = greater(*max, best);
        }
        for (n_block, max) in maxima.iter_mut().enumerate().skip(whole.len()) {
            *max = block_max(reader.block(n_block, &mut buffer), &mut nans);
            best = greater(*max, best);
        }
        (best, nans.iter().any(|&nan| nan != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn status(logits: &[f32], mask: Option<&[u32]>) -> Option<Status> {
        RowBuffers::default().read(Logits::F32(logits), mask, &[], &[]).err()
    }

    #[test]
    fn unusable_rows_have_a_status() {
        assert_eq!(status(&[0.0, f32::NAN], None), Some(Status::NotFinite));
        assert_eq!(status(&[0.0, f32::INFINITY], None), Some(Status::NotFinite));
        assert_eq!(status(&[NONE; 70], None), Some(Status::Empty));
        assert_eq!(status(&[], None), Some(Status::Empty));
        assert_eq!(status(&[f32::NAN, 1.0], Some(&[0b10])), None);
        assert_eq!(status(&[f32::NAN, 1.0], Some(&[0b00])), Some(Status::Empty));
        let mut row = vec![0.0; 200];
        for n_nan in [0, 63, 64, 191, 192, 199] {
            row[n_nan] = f32::NAN;
            assert_eq!(status(&row, None), Some(Status::NotFinite), "{n_nan}");
            row[n_nan] = 0.0;
        }
    }

    #[test]
    fn the_best_token_is_the_first_of_its_equals() {
        let mut logits = vec![0.0; 300];
        (logits[65], logits[70], logits[299]) = (2.0, 2.0, 2.0);
        let mut buffers = RowBuffers::default();
        let row = buffers.read(Logits::F32(&logits), None, &[], &[]).unwrap();
        assert_eq!((row.best(), row.max), (65, 2.0));
        let mut seen = vec![];
        row.for_each_from(1.0, |token, _| seen.push(token));
        seen.sort_unstable();
        assert_eq!(seen, [65, 70, 299]);
    }

    #[test]
    fn halves_are_widened_exactly() {
        for (bits, expected) in [
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x7BFF, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x83FF, -6.097_555e-5),
            (0x7C00, f32::INFINITY),
            (0xFC00, NONE),
            (0x8000, -0.0),
        ] {
            assert_eq!(from_f16(bits).to_bits(), expected.to_bits(), "{bits:x}");
        }
        assert!(from_f16(0x7E00).is_nan());
        assert_eq!(from_bf16(0xC040), -3.0);
    }

    #[test]
    fn masked_and_changed_tokens_are_seen_as_they_are_meant() {
        let logits: Vec<f32> = (0..150).map(|n| n as f32).collect();
        let adjust = |token, bias| Adjust { token, bias, repetition: 1.0, penalty: 0.0 };
        let adjusts = [adjust(3, 1000.0), adjust(70, NONE), adjust(149, 1.0)];
        let mut mask = [!0u32; 5];
        mask[0] = !8;
        let allowed: Vec<u32> = (0..149).collect();
        let mut buffers = RowBuffers::default();
        let row = buffers.read(Logits::F32(&logits), Some(&mask), &allowed, &adjusts).unwrap();
        let mut buffer = [0.0; BLOCK];
        for n_block in 0..3 {
            let block = *row.reader.block(n_block, &mut buffer);
            for (offset, logit) in block.into_iter().enumerate() {
                let token = n_block * BLOCK + offset;
                let expected = if [3, 70].contains(&token) || token >= 149 { NONE } else { token as f32 };
                assert_eq!(logit, expected, "{token}");
                if token < 150 {
                    assert_eq!(row.reader.logit(token as u32), expected);
                }
            }
        }
        assert_eq!((row.max, row.maxima), (148.0, &[63.0, 127.0, 148.0][..]));
    }
}
