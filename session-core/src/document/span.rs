//! A range of bytes in a text.

use std::ops::Range;

/// A range of bytes in a text. 32 bits are enough: a record is far smaller than 4 GiB.
#[derive(Debug, Clone, Copy)]
pub(in crate::document) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(in crate::document) fn new(start: usize, end: usize) -> Self {
        let narrow = |at| u32::try_from(at).expect("texts of more than 4 GiB are refused before");
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(in crate::document) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(in crate::document) fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.range()).unwrap_or_default()
    }

    /// The span of this length that begins `gap` bytes after the end of this one.
    pub(in crate::document) fn next(self, gap: u32, len: u32) -> Self {
        Self { start: self.end + gap, end: self.end + gap + len }
    }

    /// Whether only a comma separates this one from the other.
    pub(in crate::document) fn is_before(self, next: Self) -> bool {
        self.end + 1 == next.start
    }

    /// From here to the end of the other.
    pub(in crate::document) fn up_to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// With the quotes around it.
    pub(in crate::document) fn quoted(self) -> Self {
        Self { start: self.start - 1, end: self.end + 1 }
    }
}
