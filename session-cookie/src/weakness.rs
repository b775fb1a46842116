//! Keys that an attacker finds without trying all of them.
//!
//! No test can prove a key good. These refuse what people really configure: nothing, a placeholder
//! from a tutorial, a word, a pattern. A random key of 32 bytes is refused less often than once in
//! ten million.

/// Shorter keys are easier to find than the 256 bits of a session id or a tag.
const SHORTEST: usize = 32;

/// 32 random bytes have fewer than 16 different ones once in 10¹⁵ keys.
const DIFFERENT: usize = 16;

/// Long enough to be rare in random base64.
const PLACEHOLDERS: [&[u8]; 16] = [
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
];

/// Why these bytes are no key.
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
    if is_progression(bytes) || repeats(bytes) || different(bytes) < DIFFERENT {
        return Some("it is a pattern, not random");
    }
    if has_placeholder(bytes) {
        return Some("it is a placeholder");
    }
    if bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return Some("it is text, not random bytes (base64 is read by from_base64)");
    }
    None
}

/// Why this base64, which has no white space, is no key. Its bytes are judged apart.
pub(crate) fn of_text(text: &[u8]) -> Option<&'static str> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding];
    if has_placeholder(text) {
        return Some("it is a placeholder");
    }
    if digits.len() >= 16 && repeats(digits) {
        return Some("it is a pattern, not random");
    }
    // Random base64 has letters of both cases, except once in 10⁹ keys. Hexadecimal digits are read
    // as base64; what they stand for is as random as they are.
    let has_both_cases =
        text.iter().any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase);
    if !text.is_empty() && !has_both_cases && !text.iter().all(u8::is_ascii_hexdigit) {
        return Some("it is words, not random");
    }
    None
}

/// 0, 1, 2, 3, …, and the like.
fn is_progression(bytes: &[u8]) -> bool {
    let step = bytes[1].wrapping_sub(bytes[0]);
    bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step)
}

/// The same again and again, the last time perhaps not whole.
fn repeats(bytes: &[u8]) -> bool {
    (1..=bytes.len() / 2).any(|period| bytes[period..] == bytes[..bytes.len() - period])
}

fn different(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    bytes.iter().filter(|byte| !std::mem::replace(&mut seen[usize::from(**byte)], true)).count()
}

fn has_placeholder(bytes: &[u8]) -> bool {
    PLACEHOLDERS
        .iter()
        .any(|word| bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word)))
}
