// SPDX-License-Identifier: GPL-2.0

//! Mask of the completion vectors that the channels of a port may use, in the text form of the
//! kernel's CPU masks, and the next vector in turn.
//!
//! Not here: the use of the mask ([`crate::port`]), and its file ([`crate::admin`]).
//!
//! C source: `bitmap_parse()`, and `%*pb` in `lib/vsprintf.c`.

use core::fmt;

use kernel::prelude::*;

/// Bits per group of hexadecimal digits in the text form.
const GROUP: u32 = 32;

/// A mask of completion vectors.
pub(crate) struct VectorMask {
    /// 32 vectors per word, the first ones first.
    words: KVec<u32>,
    /// Number of vectors of the device, at least 1.
    vectors: u32,
    /// Number of bits of the text form, as that of a CPU mask.
    width: u32,
    /// The vector after the last one used.
    next: u32,
}

impl VectorMask {
    /// Returns a mask of all vectors of a device that has `vectors`. `cpus` is the largest number
    /// of CPUs of the machine, at least 1. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn all(vectors: u32, cpus: u32) -> Result<Self> {
        let width = vectors.max(cpus).max(1);
        let mut words = KVec::new();
        for first in (0..width).step_by(GROUP as usize) {
            let word = match vectors.saturating_sub(first) {
                0 => 0,
                here if here >= GROUP => u32::MAX,
                here => (1 << here) - 1,
            };
            words.push(word, GFP_KERNEL)?;
        }
        Ok(Self {
            words,
            vectors: vectors.max(1),
            width,
            next: 0,
        })
    }

    /// Returns the number of vectors of the device, at least 1.
    pub(crate) fn vectors(&self) -> u32 {
        self.vectors
    }

    /// Returns whether the mask contains a vector.
    fn contains(&self, vector: u32) -> bool {
        // CAST: A `u32` fits in a `usize`.
        let word = self.words.get((vector / GROUP) as usize);
        word.is_some_and(|word| word & (1 << (vector % GROUP)) != 0)
    }

    /// Returns the next vector in turn.
    pub(crate) fn next(&mut self) -> u32 {
        let set = |vector: &u32| self.contains(*vector);
        let found = (self.next..self.vectors)
            .find(set)
            .or_else(|| (0..self.next).find(set));
        // Some vector is found: the mask is never empty.
        let vector = found.unwrap_or(0);
        let next = vector.saturating_add(1);
        self.next = if next < self.vectors { next } else { 0 };
        vector
    }

    /// Parses and sets a mask: hexadecimal digits, in groups of up to eight separated by commas, or
    /// a single group of any length; surrounding white space is ignored. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is malformed, is empty, or contains a vector that does not exist; `EOVERFLOW`
    /// if one of several groups has more than eight digits; `ENOMEM`. The mask is unchanged then.
    pub(crate) fn parse(&mut self, text: &str) -> Result {
        let text = text.trim();
        let groups = text.split(',').count();
        let mut words = KVec::new();
        for group in text.rsplit(',') {
            let word = match group.len() {
                1..=8 if group.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    u32::from_str_radix(group, 16).map_err(|_| EINVAL)?
                }
                9.. if groups == 1 => return self.parse_long(group),
                9.. => return Err(EOVERFLOW),
                _ => return Err(EINVAL),
            };
            words.push(word, GFP_KERNEL)?;
        }
        self.set(words)
    }

    /// Implements [`Self::parse`] for a single group of more than eight digits, which is split.
    fn parse_long(&mut self, digits: &str) -> Result {
        let mut words = KVec::new();
        for group in digits.as_bytes().rchunks(8) {
            let word = group.iter().try_fold(0u32, |word, &digit| {
                let digit = char::from(digit).to_digit(16).ok_or(EINVAL)?;
                Ok::<u32, Error>((word << 4) | digit)
            })?;
            words.push(word, GFP_KERNEL)?;
        }
        self.set(words)
    }

    /// Sets a mask that contains existing vectors only.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is empty or contains others; `ENOMEM`. The mask is unchanged then.
    fn set(&mut self, mut words: KVec<u32>) -> Result {
        let last = self.vectors.div_ceil(GROUP);
        let allowed = |index: usize| match u32::try_from(index) {
            Ok(index) if index + 1 < last => u32::MAX,
            Ok(index) if index + 1 == last => match self.vectors % GROUP {
                0 => u32::MAX,
                here => (1 << here) - 1,
            },
            _ => 0,
        };
        let some = words.iter().any(|word| *word != 0);
        let valid = |(index, word): (usize, &u32)| word & !allowed(index) == 0;
        if !some || !words.iter().enumerate().all(valid) {
            return Err(EINVAL);
        }
        while words.len() < self.words.len() {
            words.push(0, GFP_KERNEL)?;
        }
        words.truncate(self.words.len());
        self.words = words;
        Ok(())
    }
}

impl fmt::Display for VectorMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate().rev() {
            // The first group has as many digits as the width requires.
            let top = index + 1 == self.words.len();
            let bits = match self.width % GROUP {
                here if top && here != 0 => here,
                _ => GROUP,
            };
            // CAST: At most 8.
            let digits = bits.div_ceil(4) as usize;
            write!(f, "{word:0digits$x}")?;
            if index != 0 {
                f.write_str(",")?;
            }
        }
        Ok(())
    }
}
