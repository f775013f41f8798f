//! Digests as text: one way to write bytes in hexadecimal, and one to shorten what is long.

use sha2::{Digest, Sha256};

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |bits: u8| char::from(DIGITS[usize::from(bits & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The beginning of the SHA-256 of something, so many bytes of it: [`SHORT`] where nothing is compared but what one set of manifests has.
pub fn digest(content: impl AsRef<[u8]>, bytes: usize) -> String {
    let digest = Sha256::digest(content);
    hex(digest.get(..bytes).unwrap_or(&digest))
}

/// Bytes of a short digest: by chance two of a million are the same once in forty million times.
pub const SHORT: usize = 8;

/// Of an image or another thing that Docker names by a digest, what it shows of it.
pub fn short_id(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_sha256sum_does() {
        assert_eq!(digest("abc", SHORT), "ba7816bf8f01cfea");
        assert_eq!(digest("abc", 99).len(), 64);
        assert_eq!(hex(&[0, 15, 16, 255]), "000f10ff");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
    }
}
