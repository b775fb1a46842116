//! Secret keys, their sources, and derived keys.

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

/// How much of a key file is read. A longer file contains no valid key.
const MAX_FILE_BYTES: usize = 1 << 16;

/// A key of a [`CookieStore`](crate::CookieStore)'s key ring: at least 32 random bytes.
///
/// Anyone with the key can forge every session. Do not put it into the source code, and do not
/// share it between applications or stages. Keys that are short, a pattern, words, a placeholder or
/// published are refused. `Debug` shows nothing, and the memory is overwritten on drop.
///
/// The same key can be used for signing and for encryption: each algorithm uses its own derived
/// key.
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
    /// How to make a key. Every error about a key ends with it.
    pub(crate) const ADVICE: &str = "make a key with: openssl rand -base64 32";

    /// The key of these bytes, which must come from a cryptographic random source. Text is refused;
    /// use [`from_base64`](Self::from_base64) for it.
    ///
    /// # Errors
    /// `InvalidConfig` for a weak key. The message contains the reason and the command that makes a
    /// good key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match weakness::of_bytes(bytes) {
            Some(why) => Err(refused(why)),
            None => Ok(Self(Zeroizing::new(bytes.to_vec()))),
        }
    }

    /// Reads a key from base64, in the standard or the URL alphabet, with or without padding. White
    /// space is skipped.
    ///
    /// # Errors
    /// `InvalidConfig` for a weak key or invalid base64. The message contains the command that
    /// makes a good key.
    pub fn from_base64(text: &str) -> Result<Self> {
        // One buffer of the final size: a vector that grows leaves copies of the key in memory.
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
    /// On Unix the file must belong to this process's user or to root, and must not be writable by
    /// others. If others can read it, a warning is logged.
    ///
    /// # Errors
    /// `InvalidConfig` if the file can't be read, contains no good key, or can be changed by
    /// others. The message names the file.
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
            tracing::warn!(%file, "others can read this key file and forge sessions: chmod 600");
        }
        // One buffer of the final size: a vector that grows leaves copies of the key in memory.
        let length = usize::try_from(metadata.len()).unwrap_or(0).min(MAX_FILE_BYTES);
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        file.take(MAX_FILE_BYTES as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        std::str::from_utf8(&bytes)
            .map_err(|_| refused("it is not base64"))
            .and_then(Self::from_base64)
            .map_err(|error| in_file(error.message()))
    }

    /// Reads a key from a file. If there is no file, it generates a key and creates the file. It is
    /// for development and for a single server. Only its owner can read the new file (mode 0600).
    /// An existing file is never changed.
    ///
    /// # Errors
    /// `InvalidConfig` as for [`from_file`](Self::from_file), or if the file can't be created.
    pub fn from_file_or_generate(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let key = Self::generate()?;
        match key.write_to_new_file(path) {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::from_file(path),
            Err(source) => Err(Error::invalid_config(format!(
                "the key file {}: it can't be created ({source})",
                path.display()
            ))
            .with_source(source)),
        }
    }

    /// A new random key. The sessions that it sealed end with the process, unless the key is stored
    /// elsewhere.
    ///
    /// # Errors
    /// `Other` if the operating system's random source fails.
    pub fn generate() -> Result<Self> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut bytes).map_err(|source| {
            Error::new(ErrorKind::Other, "the operating system's random source failed")
                .with_source(source)
        })?;
        Ok(Self(bytes))
    }

    /// Derives the key for one use, which the label names. A derived key reveals nothing about this
    /// key or about the keys of other uses.
    pub(crate) fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        let mut tag = mac.chain_update(label).finalize().into_bytes();
        let derived = Zeroizing::new(tag.into());
        tag.zeroize();
        derived
    }

    /// Creates the file atomically, because another process may start at the same moment.
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
            .and_then(|()| fs::hard_link(&temporary, path)); // fails if the file exists
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
