//! Secret keys: where they come from, and what is derived from them.

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use session_core::{Error, ErrorKind, Result};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{permissions, weakness};

/// No key file is longer; what is ends in a key that is no base64.
const MAX_FILE_BYTES: usize = 1 << 16;

/// A key of a [`CookieStore`](crate::CookieStore)'s key ring: at least 32 random bytes.
///
/// Whoever has it can forge every session, so it does not belong into the source code, and no two
/// applications or stages should share one. Keys that are short, all-equal, patterned, made of words
/// or known placeholders are refused. `Debug` shows nothing, and the memory is overwritten on drop.
///
/// One key can be configured for signing and for encryption: what is used is derived from it for
/// each algorithm apart.
///
/// ```
/// # use session_cookie::SecretKey;
/// let key = SecretKey::generate()?; // or from_file, where `openssl rand -base64 32` wrote it
/// assert!(SecretKey::from_base64("Y2hhbmdlbWU=").is_err());
/// # assert_eq!(format!("{key:?}"), "SecretKey(..)");
/// # Ok::<(), session_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SecretKey(Zeroizing<Vec<u8>>);

impl SecretKey {
    /// How to make a key; every error about a key ends with it.
    pub(crate) const ADVICE: &str = "make a key with: openssl rand -base64 32";

    /// The key of these bytes, which must come from a cryptographic random source. Text is refused:
    /// that is for [`from_base64`](Self::from_base64).
    ///
    /// # Errors
    /// `InvalidConfig` for a weak key; the text says why, and the command that makes a good one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match weakness::of_bytes(bytes) {
            Some(why) => Err(refused(why)),
            None => Ok(Self(Zeroizing::new(bytes.to_vec()))),
        }
    }

    /// Reads a key from base64, of the standard or the URL alphabet, padded or not. White space is
    /// skipped.
    ///
    /// # Errors
    /// `InvalidConfig` for a weak key or what is no base64; the text has the command that makes a
    /// good one.
    pub fn from_base64(text: &str) -> Result<Self> {
        // One buffer from the start: a vector that grows leaves copies behind.
        let mut standard = Zeroizing::new(Vec::with_capacity(text.len()));
        standard.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        if let Some(why) = weakness::of_text(&standard) {
            return Err(refused(why));
        }
        for byte in standard.iter_mut() {
            match byte {
                b'-' => *byte = b'+',
                b'_' => *byte = b'/',
                _ => {}
            }
        }
        let digits = standard.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
        let bytes = STANDARD_NO_PAD
            .decode(&standard[..digits])
            .map(Zeroizing::new)
            .map_err(|_| refused("it is not base64"))?;
        Self::from_bytes(&bytes)
    }

    /// Reads a key from a file that holds it in base64, as `openssl rand -base64 32` prints it.
    ///
    /// On Unix the file must belong to this process's user or to root, and nobody else may write it.
    /// When others can read it, a warning is logged.
    ///
    /// # Errors
    /// `InvalidConfig` when the file can't be read or holds no good key, or when others can change it.
    /// The text names the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let in_file = |message: &str| {
            Error::invalid_config(format!("the key file {}: {message}", path.display()))
        };
        let unreadable = |source: io::Error| {
            in_file(&format!("it can't be read ({source}); {}", Self::ADVICE)).with_source(source)
        };
        let file = fs::File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if let Some(why) = permissions::refusal(&metadata) {
            return Err(in_file(why));
        }
        if permissions::others_can_read(&metadata) {
            let file = path.display();
            tracing::warn!(%file, "others can read this key file and so forge sessions: chmod 600");
        }
        // One buffer from the start: a vector that grows leaves copies behind.
        let length = usize::try_from(metadata.len()).unwrap_or(0).min(MAX_FILE_BYTES);
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        file.take(MAX_FILE_BYTES as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        std::str::from_utf8(&bytes)
            .map_err(|_| refused("it is not base64"))
            .and_then(Self::from_base64)
            .map_err(|error| in_file(error.message()))
    }

    /// Reads a key from a file, or makes one and the file when there is none: for development and
    /// for a single server. The new file can be read by its owner only (mode 0600). A file that
    /// exists is never written.
    ///
    /// # Errors
    /// `InvalidConfig` as for [`from_file`](Self::from_file), or when the file can't be made.
    pub fn from_file_or_generate(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let key = Self::generate()?;
        match key.write_to_new_file(path) {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::from_file(path),
            Err(source) => Err(Error::invalid_config(format!(
                "the key file {}: it can't be made ({source})",
                path.display()
            ))
            .with_source(source)),
        }
    }

    /// A new random key. Sessions that it sealed end when the process does, unless it is kept.
    ///
    /// # Errors
    /// `Other` when the operating system's random source fails.
    pub fn generate() -> Result<Self> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut bytes).map_err(|source| {
            Error::new(ErrorKind::Other, "the operating system's random source failed")
                .with_source(source)
        })?;
        Ok(Self(bytes))
    }

    /// A key for one use, which the label names. Nothing about this key, nor about those of other
    /// uses, follows from it.
    pub(crate) fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        let mut tag = mac.chain_update(label).finalize().into_bytes();
        let derived = Zeroizing::new(tag.into());
        tag.zeroize();
        derived
    }

    /// The file appears whole or not at all: another process may start at the same moment.
    fn write_to_new_file(&self, path: &Path) -> io::Result<()> {
        if fs::exists(path)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix)?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{:016x}.tmp", u64::from_ne_bytes(suffix)));

        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        let text = Zeroizing::new(STANDARD.encode(&self.0));
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::hard_link(&temporary, path)); // refuses what exists
        fs::remove_file(&temporary)?;
        written
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

fn refused(why: &str) -> Error {
    Error::invalid_config(format!("the key is refused: {why}; {}", SecretKey::ADVICE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_uses_differ() {
        let key = SecretKey::generate().unwrap();
        assert_ne!(key.derive("a"), key.derive("b"));
        assert_eq!(key.derive("a"), key.clone().derive("a"));
        assert_ne!(key.derive("a"), SecretKey::generate().unwrap().derive("a"));
    }
}
