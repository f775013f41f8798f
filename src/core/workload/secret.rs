//! Values that are never shown: not in a plan, a journal, a log, a page or a history.

use crate::core::digest::hex;
use std::fmt;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Where a secret comes from. Names only; they may be shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretSource {
    /// Environment variable of the process.
    Env(String),
    /// A file, as a path from the working directory. `generate`: made with a random password where it does not exist.
    File { path: String, generate: bool },
    /// A key of a file that is encrypted with SOPS.
    Sops { file: String, key: String },
    /// Text around another secret.
    Rendered { within: Box<SecretSource>, before: String, after: String, form: Form },
}

/// How a value is written into the text around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Plain,
    /// Percent-encoded, as a part of a URL.
    Url,
    /// Within an element of XML.
    Xml,
    /// Within double quotes, with backslashes before quotes and backslashes.
    Quoted,
}

impl Form {
    pub fn write(self, value: &str) -> String {
        match self {
            Form::Plain => value.to_owned(),
            Form::Url => value
                .bytes()
                .map(|byte| match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                    byte => format!("%{byte:02X}"),
                })
                .collect(),
            Form::Xml => value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            Form::Quoted => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
        }
    }
}

impl SecretSource {
    /// The text around the secret, with `value` in its place.
    pub fn render(before: &str, value: &str, after: &str, form: Form) -> String {
        format!("{before}{}{after}", form.write(value))
    }

    /// This secret within a text.
    pub fn within(self, before: impl Into<String>, after: impl Into<String>, form: Form) -> SecretSource {
        SecretSource::Rendered { within: Box::new(self), before: before.into(), after: after.into(), form }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Env(name) => write!(f, "the environment variable {name}"),
            SecretSource::File { path, .. } => write!(f, "the file {path}"),
            SecretSource::Sops { file, key } => write!(f, "the key {key} of {file}"),
            SecretSource::Rendered { within, .. } => within.fmt(f),
        }
    }
}

/// A value from elsewhere. `Debug` shows where it comes from, and it does not serialize; [`Secret::expose`] is for the engine's client alone.
#[derive(Clone)]
pub struct Secret {
    pub source: SecretSource,
    value: Result<SecretString, String>,
}

impl Secret {
    /// Not read yet.
    pub fn unread(source: SecretSource) -> Self {
        let problem = format!("{source} was not read");
        Self { source, value: Err(problem) }
    }

    /// What reading came to: the value, or why there is none.
    pub fn set(&mut self, value: Result<String, String>) {
        self.value = value.map(SecretString::from);
    }

    pub fn problem(&self) -> Option<&str> {
        self.value.as_ref().err().map(String::as_str)
    }

    /// The value itself. For the engine's client, and for what is composed of it.
    pub fn expose(&self) -> Option<&str> {
        self.value.as_ref().ok().map(ExposeSecret::expose_secret)
    }

    /// Tells one value from another without telling either: keyed with something of the container, so that equal values of two containers
    /// differ. `None` where there is no value.
    pub fn fingerprint(&self, salt: &str) -> Option<String> {
        self.expose().map(|value| fingerprint(value, salt))
    }
}

/// HMAC-SHA-256 of a value, 32 hexadecimal digits.
pub fn fingerprint(value: &str, salt: &str) -> String {
    // A key of any length is accepted.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(salt.as_bytes()) else { return String::new() };
    mac.update(value.as_bytes());
    hex(&mac.finalize().into_bytes()[..16])
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.expose() == other.expose() && self.problem() == other.problem()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_where_it_comes_from_and_never_what_it_is() {
        let mut secret = Secret::unread(SecretSource::Env("TOKEN".to_owned()));
        assert_eq!(secret.problem(), Some("the environment variable TOKEN was not read"));
        secret.set(Ok("hunter2".to_owned()));
        assert_eq!(format!("{secret:?}"), "Secret(the environment variable TOKEN)");
        assert_eq!((secret.problem(), secret.expose()), (None, Some("hunter2")));
    }

    #[test]
    fn a_password_cannot_break_out_of_the_text_around_it() {
        let password = "a/b@c:\"d\\e\u{e4} %";
        assert_eq!(Form::Url.write(password), "a%2Fb%40c%3A%22d%5Ce%C3%A4%20%25");
        assert_eq!(Form::Quoted.write(password), "\"a/b@c:\\\"d\\\\e\u{e4} %\"");
    }

    #[test]
    fn fingerprints_differ_by_value_and_by_container() {
        let one = fingerprint("hunter2", "container-1");
        assert_eq!(one, fingerprint("hunter2", "container-1"));
        assert_ne!(one, fingerprint("hunter3", "container-1"));
        assert_ne!(one, fingerprint("hunter2", "container-2"));
        assert!(!one.contains("hunter") && one.len() == 32);
    }
}
