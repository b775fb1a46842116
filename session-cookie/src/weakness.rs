//! Detects keys that an attacker can guess.
//!
//! A test can't prove that a key is random. These tests detect common mistakes: an empty key, a
//! placeholder from a tutorial, words, a pattern. They refuse fewer than one in ten million random
//! keys of 32 bytes.

use zeroize::Zeroizing;

/// A shorter key would be easier to guess than the 256 bits of a session id or a tag.
const SHORTEST: usize = 32;

/// Of 10¹⁵ keys with 32 random bytes, one has fewer than 16 different bytes.
const DIFFERENT: usize = 16;

/// A run of this length, up or down in steps of one, is not random, in bytes or in text.
const RUN: usize = 12;

/// The placeholders are long enough to be rare in random base64. Those of hexadecimal digits are
/// rare in random hexadecimal text, too.
const PLACEHOLDERS: [&[u8]; 25] = [
    b"changeme",
    b"change_me",
    b"change-me",
    b"replaceme",
    b"replace_me",
    b"replace-me",
    b"placeholder",
    b"secret",
    b"password",
    b"passw0rd",
    b"default",
    b"example",
    b"insecure",
    b"letmein",
    b"qwerty",
    b"0123456789",
    b"1234567890",
    b"deadbeef",
    b"cafebabe",
    b"signingkey",
    b"yourkey",
    b"goeshere",
    b"batterystaple",
    b"keyboardcat",
    b"mysuper",
];

/// Keys that were published in this repository.
const PUBLISHED: [[u8; 32]; 1] = [[
    0xf5, 0x6d, 0x27, 0x57, 0x7a, 0x97, 0x6f, 0x5b, 0x98, 0x26, 0x6d, 0x10, 0x9b, 0x4a, 0xd9, 0xd9,
    0xf5, 0xdb, 0xf5, 0xd3, 0x14, 0x96, 0x10, 0xb9, 0xa3, 0xb7, 0x37, 0xca, 0xaf, 0x21, 0x57, 0xa1,
]];

/// The reason why these bytes are refused as a key.
pub(crate) fn of_bytes(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("it is empty");
    }
    if bytes.len() < SHORTEST {
        return Some("it has fewer than 32 bytes");
    }
    if bytes.iter().all(|byte| *byte == bytes[0]) {
        return Some("all its bytes are equal");
    }
    if is_progression(bytes) || runs(bytes) || repeats(bytes) || different(bytes) < DIFFERENT {
        return Some("it is a pattern, not random");
    }
    if PUBLISHED.iter().any(|key| bytes == key) {
        return Some("it was published");
    }
    if has_placeholder(bytes) {
        return Some("it is a placeholder");
    }
    // Of 10⁸ keys with 32 random bytes, one is valid UTF-8.
    if str::from_utf8(without_nuls(bytes)).is_ok() {
        return Some("it is text, not random bytes (use from_base64 for base64)");
    }
    None
}

/// The reason why this base64 text, without white space, is refused as a key. [`of_bytes`] checks
/// its bytes.
pub(crate) fn of_text(text: &[u8]) -> Option<&'static str> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding];
    if has_placeholder(text) {
        return Some("it is a placeholder");
    }
    if digits.len() >= 16 && (repeats(digits) || runs(digits)) {
        return Some("it is a pattern, not random");
    }
    // Hexadecimal digits are valid base64, too. The bytes that they encode are checked, too.
    if text.iter().all(u8::is_ascii_hexdigit) {
        return if text.len() < 2 * SHORTEST { None } else { of_bytes(&from_hex(text)) };
    }
    // All but one of 10⁹ random keys have letters of both cases in base64.
    let has_both_cases =
        text.iter().any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase);
    if !has_both_cases || is_prose(digits) {
        return Some("it is words, not random");
    }
    None
}

/// The bytes of pairs of hexadecimal digits.
fn from_hex(digits: &[u8]) -> Zeroizing<Vec<u8>> {
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let byte =
        |pair: &[u8]| value(pair[0]).zip(value(pair[1])).map_or(0, |(high, low)| high << 4 | low);
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    bytes.extend(digits.chunks_exact(2).map(byte));
    bytes
}

/// Whether it looks like words without spaces: only letters, most of them in lower case and many of
/// them vowels. Fewer than one in ten million random keys are such a text in base64.
fn is_prose(digits: &[u8]) -> bool {
    let count = |is: fn(&u8) -> bool| digits.iter().filter(|&byte| is(byte)).count();
    let vowels = count(|byte| b"aeiou".contains(&byte.to_ascii_lowercase()));
    let small = count(u8::is_ascii_lowercase);
    digits.len() >= SHORTEST
        && digits.iter().all(u8::is_ascii_alphabetic)
        && small * 10 >= digits.len() * 7
        && vowels * 10 >= digits.len() * 3
}

/// Whether it is an arithmetic progression, such as 0, 1, 2, 3, …, or several interleaved ones.
fn is_progression(bytes: &[u8]) -> bool {
    let step = |from: usize, stride: usize| bytes[from + stride].wrapping_sub(bytes[from]);
    (1..=4).any(|stride| {
        let mut at = 0..bytes.len() - 2 * stride;
        at.all(|at| step(at, stride) == step(at + stride, stride))
    })
}

/// Whether it contains a run such as `abcdefghijkl`, or its reverse.
fn runs(bytes: &[u8]) -> bool {
    [1, 255].iter().any(|step| {
        let is_step = |pair: &[u8]| pair[1].wrapping_sub(pair[0]) == *step;
        bytes.windows(RUN).any(|window| window.windows(2).all(is_step))
    })
}

fn without_nuls(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] | [rest @ .., 0] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether it is the repetition of one part. The last repetition may be incomplete.
fn repeats(bytes: &[u8]) -> bool {
    (1..=bytes.len() / 2).any(|period| bytes[period..] == bytes[..bytes.len() - period])
}

fn different(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    bytes.iter().filter(|byte| !std::mem::replace(&mut seen[usize::from(**byte)], true)).count()
}

fn has_placeholder(bytes: &[u8]) -> bool {
    (0..bytes.len()).filter(|&start| BEGINS_WORD[usize::from(bytes[start])]).any(|start| {
        let rest = &bytes[start..];
        let begins = |word: &&[u8]| {
            rest.get(..word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
        };
        PLACEHOLDERS.iter().any(begins)
    })
}

/// The first letters of the placeholders, to skip most positions.
const BEGINS_WORD: [bool; 256] = {
    let mut begins = [false; 256];
    let mut n = 0;
    while n < PLACEHOLDERS.len() {
        let first = PLACEHOLDERS[n][0];
        begins[first as usize] = true;
        begins[first.to_ascii_uppercase() as usize] = true;
        n += 1;
    }
    begins
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_words_only_if_most_of_them_are_small() {
        assert!(of_text(b"correcthorsebatterystaplEisamemorablesentence").is_some());
        assert_eq!(of_text(b"aEbOcIdUfAgEhOiUkAlEmOnUpAqErOsUtAvEwOxUyAzE"), None);
    }
}
