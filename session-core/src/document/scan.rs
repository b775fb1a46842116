//! Finds the structure of a JSON text without decoding its values.

use std::fmt;

use memchr::memchr2;

use super::span::Span;

/// How deep a value may be nested. serde_json reads at most 128 levels, and a value in a flash
/// entry is in a list in a document.
const MAX_DEPTH: u32 = 100;

/// An error in a text, and its offset. It never contains a part of the text.
#[derive(Debug)]
pub(crate) struct Malformed {
    what: &'static str,
    at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    max_depth: u32,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Malformed> {
        if u32::try_from(text.len()).is_err() {
            return Err(Malformed { what: "more than 4 GiB", at: 0 });
        }
        Ok(Self { text, at: 0, max_depth: MAX_DEPTH + 2 })
    }

    pub(super) fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    /// Reads an object. `member` is called with each name and whether it has escapes, and reads the
    /// value.
    pub(super) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Span, bool) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'{', "an object was expected")?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blanks();
            let (name, escaped) = self.string()?;
            self.expect(b':', "a colon is missing")?;
            self.blanks();
            member(self, name, escaped)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.malformed("a comma or brace is missing")),
            }
        }
    }

    /// Reads any value. Only its brackets and quotes are checked.
    pub(super) fn value(&mut self) -> Result<Span, Malformed> {
        let start = self.at;
        match self.text.get(self.at) {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{' | b'[') => self.nested()?,
            _ => self.scalar()?,
        }
        Ok(Span::new(start, self.at))
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let span = {
            let start = self.at;
            self.scalar()?;
            Span::new(start, self.at)
        };
        std::str::from_utf8(span.of(self.text))
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| self.malformed("a number was expected"))
    }

    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.malformed("something follows the end")),
        }
    }

    /// The text between the quotes, and whether it has escapes.
    fn string(&mut self) -> Result<(Span, bool), Malformed> {
        if self.text.get(self.at) != Some(&b'"') {
            return Err(self.malformed("a string was expected"));
        }
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            let Some(found) = find_quote_or_backslash(self.text, at) else {
                return Err(self.malformed("a string does not end"));
            };
            at = found;
            if self.text[at] == b'"' {
                self.at = at + 1;
                return Ok((Span::new(start, at), escaped));
            }
            escaped = true;
            at += 2;
        }
    }

    /// Reads an array or object. One bit per level says which bracket closes it.
    fn nested(&mut self) -> Result<(), Malformed> {
        let mut braces: u128 = 0;
        let mut depth = 0;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => {
                    depth += 1;
                    if depth > self.max_depth {
                        return Err(self.malformed("nested too deeply"));
                    }
                    braces = braces << 1 | u128::from(byte == b'{');
                }
                b'}' | b']' => {
                    if (braces & 1 == 1) != (byte == b'}') {
                        return Err(self.malformed("the wrong bracket closes"));
                    }
                    braces >>= 1;
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Ok(());
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        Err(self.malformed("a bracket is not closed"))
    }

    /// Reads a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<(), Malformed> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = rest.iter().position(|byte| !belongs(byte)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.malformed("a value is missing"));
        }
        self.at += length;
        Ok(())
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.malformed(what));
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&mut self) -> Option<u8> {
        self.blanks();
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }
}

/// The offset of the next `"` or `\`. Most strings of a session are short. For these, eight bytes
/// at a time cost a third of a call of memchr.
fn find_quote_or_backslash(text: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The lowest bit set marks the first byte of `word` that is zero.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let far = at + 64;
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let found =
            zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
        if at >= far {
            break;
        }
    }
    Some(at + memchr2(b'"', b'\\', text.get(at..)?)?)
}

/// Refuses a value that is nested too deeply to be read back.
pub(crate) fn check_nesting(json: &[u8]) -> Result<(), Malformed> {
    if !matches!(json.first(), Some(b'{' | b'[')) {
        return Ok(());
    }
    let mut scanner = Scanner::new(json)?;
    scanner.max_depth = MAX_DEPTH;
    scanner.value().map(drop)
}
