//! The token of those who may act.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Longer than anything that is a token.
const LONGEST: u64 = 4096;

/// One secret or several, kept as their hashes: what is not kept cannot be shown.
#[derive(Clone)]
pub struct Token(Vec<Known>);

#[derive(Clone)]
struct Known {
    /// Whose it is, where that is said.
    name: Option<String>,
    hash: [u8; 32],
}

/// Tokens of one file.
const MOST: usize = 100;
/// Characters of a name.
const LONGEST_NAME: usize = 64;

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
    #[error("line {0} is neither `TOKEN` nor `NAME TOKEN`")]
    Line(usize),
    #[error("there are more than {MOST} tokens")]
    TooMany,
}

impl Token {
    /// `TOKEN`, or one `NAME TOKEN` a line: what is done with a named one is written down under its name. White space around a token is not
    /// part of it, for editors end files with a newline.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let mut known = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (name, token) = match words.as_slice() {
                [] => continue,
                [token] => (None, *token),
                [name, token] if name.chars().count() <= LONGEST_NAME => (Some(*name), *token),
                _ => return Err(TokenError::Line(number)),
            };
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(TokenError::NotAscii);
            }
            if known.len() == MOST {
                return Err(TokenError::TooMany);
            }
            known.push(Known { name: name.map(str::to_owned), hash: Sha256::digest(token).into() });
        }
        if known.is_empty() { Err(TokenError::Empty) } else { Ok(Self(known)) }
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

    pub fn is(&self, guess: &str) -> bool {
        self.whose(guess).is_some()
    }

    /// Under whose name something is done with it. Takes as long for a wrong guess as for the right one.
    pub fn whose(&self, guess: &str) -> Option<&str> {
        let guess: [u8; 32] = Sha256::digest(guess).into();
        let mut found = None;
        for known in &self.0 {
            if bool::from(known.hash.ct_eq(&guess)) {
                found = Some(known);
            }
        }
        found.map(|known| known.name.as_deref().unwrap_or("the holder of the token"))
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
    fn each_of_several_tokens_is_somebodys() {
        let token = Token::new("alice first-token\n\n bob  second-token \n").unwrap();
        assert_eq!((token.whose("first-token"), token.whose("second-token")), (Some("alice"), Some("bob")));
        assert_eq!((token.whose("alice"), token.whose("alice first-token")), (None, None));
        assert_eq!(Token::new("unnamed").unwrap().whose("unnamed"), Some("the holder of the token"));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert!(matches!(Token::new(" \n"), Err(TokenError::Empty)));
        assert!(matches!(Token::new("a-token\nmore than two"), Err(TokenError::Line(2))));
        assert!(matches!(Token::new(&"t\n".repeat(MOST + 1)), Err(TokenError::TooMany)));
        assert!(matches!(Token::new("schlüssel"), Err(TokenError::NotAscii)));
        assert!(matches!(Token::read(Path::new("/dev/zero")), Err(TokenError::TooLong)));
        assert!(matches!(Token::read(Path::new("/nonexistent")), Err(TokenError::Unreadable { .. })));
    }
}
