//! The token of those who may act.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Longer than anything that is a token.
const LONGEST: u64 = 4096;

/// A secret, kept as its hash: what is not kept cannot be shown.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// There is no token to be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{} cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the token is empty")]
    Empty,
    #[error("the token is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the token has characters that no HTTP header can carry: only visible ASCII will do")]
    NotAscii,
}

impl Token {
    /// White space around it is not part of it: editors end files with a newline.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NotAscii);
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    pub fn read(path: &Path) -> Result<Self, TokenError> {
        Self::new(&Self::text(path)?)
    }

    /// The content of the file, bounded.
    pub(super) fn text(path: &Path) -> Result<String, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(LONGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > LONGEST {
            return Err(TokenError::TooLong);
        }
        Ok(text)
    }

    /// Takes as long for a wrong guess as for the right one.
    pub fn is(&self, guess: &str) -> bool {
        let guess: [u8; 32] = Sha256::digest(guess).into();
        self.0.ct_eq(&guess).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_stands_between_white_space() {
        let token = Token::new("  s3cret-of-the-day\n").unwrap();
        assert!(token.is("s3cret-of-the-day"));
        for guess in ["", "s3cret-of-the-da", "s3cret-of-the-day\n", "S3cret-of-the-day"] {
            assert!(!token.is(guess), "{guess:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert!(matches!(Token::new(" \n"), Err(TokenError::Empty)));
        assert!(matches!(Token::new("two words"), Err(TokenError::NotAscii)));
        assert!(matches!(Token::new("schlüssel"), Err(TokenError::NotAscii)));
        assert!(matches!(Token::read(Path::new("/dev/zero")), Err(TokenError::TooLong)));
        assert!(matches!(Token::read(Path::new("/nonexistent")), Err(TokenError::Unreadable { .. })));
    }
}
