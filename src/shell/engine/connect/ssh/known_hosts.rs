//! Which host keys are trusted: the known_hosts format as OpenSSH reads it. Pure; who reads the files is somebody else.
//!
//! libssh2's own reader is not safe alone: it takes a key of another type for a changed one, accepts revoked keys, knows neither wildcards nor
//! `@cert-authority`, and gives up on the whole file at one bad line.
//!
//! By hand, not by the crate ssh-key (tried with 0.6.7 and 0.7.0-rc.12): it splits a line at single blanks, so that `@revoked<tab>*` is an error where OpenSSH
//! revokes, and would have us trust a revoked key, for bad lines are skipped; it refuses types of keys that it does not know, and matches no names. Of private
//! keys only the head is read (`auth`), to say whether a password is needed: libssh2 reads the rest.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The port that is left out of host names.
pub const DEFAULT_PORT: u16 = 22;

/// A public host key.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey {
    key_type: String,
    blob: Vec<u8>,
}

impl HostKey {
    /// From the bytes of the SSH protocol, which begin with the key's type.
    pub fn from_blob(blob: &[u8]) -> Option<Self> {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let key_type = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let key_type = std::str::from_utf8(key_type).ok().filter(|name| !name.is_empty() && name.is_ascii())?;
        Some(Self { key_type: key_type.to_owned(), blob: blob.to_vec() })
    }

    /// From `ssh-ed25519 AAAA… [comment]`, as in known_hosts and in public key files.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut words = text.split_ascii_whitespace();
        let (Some(key_type), Some(base64)) = (words.next(), words.next()) else {
            return Err("a key is its type and its base64");
        };
        let blob = STANDARD.decode(base64).map_err(|_| "the key is not base64")?;
        let key = Self::from_blob(&blob).ok_or("the key is cut off")?;
        if key.key_type == key_type { Ok(key) } else { Err("the key is of another type than the line says") }
    }

    /// `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`, …
    pub fn key_type(&self) -> &str {
        &self.key_type
    }

    /// `SHA256:…` as OpenSSH prints it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }

    pub(super) fn blob(&self) -> &[u8] {
        &self.blob
    }
}

impl fmt::Display for HostKey {
    /// Type and fingerprint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_type, self.fingerprint())
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({self})")
    }
}

/// The name a host has in known_hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// `host`, or `[host]:port` for another port than 22.
    name: String,
    /// `host` where the name has a port. OpenSSH then also accepts a key that is on file without one.
    portless: Option<String>,
}

impl HostName {
    pub fn new(host: &str, port: u16) -> Self {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        if port == DEFAULT_PORT {
            Self { name: host, portless: None }
        } else {
            Self { name: format!("[{host}]:{port}"), portless: Some(host) }
        }
    }

    /// `HostKeyAlias`: used as it is, whatever the port.
    pub fn alias(alias: &str) -> Self {
        Self { name: alias.to_ascii_lowercase(), portless: None }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Where a line is: `~/.ssh/known_hosts:3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A line that could not be read. The others count all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    pub place: Place,
    pub problem: String,
}

/// A key on file for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOnFile {
    pub key: HostKey,
    pub place: Place,
}

/// What the files say about a key that a host has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Trusted(Place),
    /// The key is marked `@revoked`.
    Revoked(Place),
    /// Nothing is on file for the host.
    Unknown,
    /// Other keys of the same type are on file.
    Changed(Vec<KeyOnFile>),
    /// Only keys of other types are on file.
    OtherTypes(Vec<KeyOnFile>),
    /// Only a certificate authority is on file, which is not supported.
    OnlyAuthority(Place),
}

/// The contents of any number of known_hosts files.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
    bad_lines: Vec<BadLine>,
}

#[derive(Debug, Clone)]
struct Entry {
    marker: Marker,
    hosts: Hosts,
    key: HostKey,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    CertificateAuthority,
}

#[derive(Debug, Clone)]
enum Hosts {
    Patterns(Vec<Pattern>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

#[derive(Debug, Clone)]
struct Pattern {
    negated: bool,
    /// Lower case; `*` and `?` are wildcards.
    glob: String,
}

impl KnownHosts {
    /// Adds the lines of one file.
    pub fn add_file(&mut self, file: &str, content: &[u8]) {
        // Editors on Windows begin files with a byte-order mark, which would make the first name another.
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
            let place = Place { file: file.to_owned(), line: index + 1 };
            match parse_line(line) {
                Ok(None) => {}
                Ok(Some((marker, hosts, key))) => self.entries.push(Entry { marker, hosts, key, place }),
                Err(problem) => self.bad_lines.push(BadLine { place, problem: problem.to_owned() }),
            }
        }
    }

    /// Lines that were skipped.
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad_lines
    }

    /// Types of the keys on file for the host, in the order of the files. Asking the server for one of these first makes it show a key that can
    /// be compared.
    pub fn key_types<'a>(&'a self, host: &HostName) -> Vec<&'a str> {
        let mut types = Vec::new();
        for name in std::iter::once(&host.name).chain(&host.portless) {
            for entry in self.matching(name, Marker::None) {
                if !types.contains(&entry.key.key_type()) {
                    types.push(entry.key.key_type());
                }
            }
        }
        types
    }

    /// What to make of the key.
    pub fn check(&self, host: &HostName, key: &HostKey) -> Verdict {
        let names = || std::iter::once(&host.name).chain(&host.portless);
        let revoked = names().flat_map(|name| self.matching(name, Marker::Revoked)).find(|entry| entry.key == *key);
        if let Some(entry) = revoked {
            return Verdict::Revoked(entry.place.clone());
        }
        let on_file: Vec<&Entry> = self.matching(&host.name, Marker::None).collect();
        if let Some(entry) = on_file.iter().find(|entry| entry.key == *key) {
            return Verdict::Trusted(entry.place.clone());
        }
        if on_file.is_empty() {
            return self.check_without_port(host, key);
        }
        let (same_type, other): (Vec<&Entry>, Vec<&Entry>) =
            on_file.into_iter().partition(|entry| entry.key.key_type == key.key_type);
        if same_type.is_empty() { Verdict::OtherTypes(keys(other)) } else { Verdict::Changed(keys(same_type)) }
    }

    /// A key on file without a port is accepted for any port; another one there says nothing about this port.
    fn check_without_port(&self, host: &HostName, key: &HostKey) -> Verdict {
        let portless = host.portless.iter().flat_map(|name| self.matching(name, Marker::None));
        if let Some(entry) = portless.into_iter().find(|entry| entry.key == *key) {
            return Verdict::Trusted(entry.place.clone());
        }
        match self.matching(&host.name, Marker::CertificateAuthority).next() {
            Some(entry) => Verdict::OnlyAuthority(entry.place.clone()),
            None => Verdict::Unknown,
        }
    }

    fn matching<'a, 'n>(&'a self, name: &'n str, marker: Marker) -> impl Iterator<Item = &'a Entry> + use<'a, 'n> {
        self.entries.iter().filter(move |entry| entry.marker == marker && entry.hosts.matches(name))
    }
}

fn keys(entries: Vec<&Entry>) -> Vec<KeyOnFile> {
    entries.into_iter().map(|entry| KeyOnFile { key: entry.key.clone(), place: entry.place.clone() }).collect()
}

/// `Ok(None)` for blank lines and comments.
fn parse_line(line: &[u8]) -> Result<Option<(Marker, Hosts, HostKey)>, &'static str> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    // A comment at the end may be in any encoding.
    let line = String::from_utf8_lossy(line);
    let (first, rest) = word(&line);
    let (marker, rest) = match first {
        "@revoked" => (Marker::Revoked, rest),
        "@cert-authority" => (Marker::CertificateAuthority, rest),
        marker if marker.starts_with('@') => return Err("unknown marker"),
        _ => (Marker::None, &*line),
    };
    let (hosts, rest) = word(rest);
    let (key_type, _) = word(rest);
    if !key_type.is_empty() && key_type.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("keys of SSH protocol 1 are not supported");
    }
    Ok(Some((marker, Hosts::parse(hosts)?, HostKey::parse(rest)?)))
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    text.split_at(text.find([' ', '\t']).unwrap_or(text.len()))
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(hashed) = text.strip_prefix('|') else {
            let patterns: Vec<Pattern> = text.split(',').filter(|glob| !glob.is_empty()).map(Pattern::parse).collect();
            return if patterns.is_empty() { Err("no host names") } else { Ok(Self::Patterns(patterns)) };
        };
        let mut parts = hashed.split('|');
        let (Some("1"), Some(salt), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err("unknown form of a hashed host name");
        };
        let decode = |text| STANDARD.decode(text).map_err(|_| "the hashed host name is not base64");
        Ok(Self::Hashed { salt: decode(salt)?, hash: decode(hash)? })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => {
                patterns.iter().any(|pattern| !pattern.negated && pattern.matches(name))
                    && !patterns.iter().any(|pattern| pattern.negated && pattern.matches(name))
            }
            Self::Hashed { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
                .is_ok_and(|mac| mac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let (negated, glob) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Self { negated, glob: glob.to_ascii_lowercase() }
    }

    fn matches(&self, name: &str) -> bool {
        glob_matches(self.glob.as_bytes(), name.as_bytes())
    }
}

/// `*` is any run of characters, `?` any one. Linear in space, and quadratic at worst in time: a file cannot make it explode.
fn glob_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut at_glob, mut at_name) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        match glob.get(at_glob) {
            Some(b'*') => {
                last_star = Some((at_glob, at_name));
                at_glob += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[at_name] => {
                at_glob += 1;
                at_name += 1;
            }
            _ => match last_star {
                Some((star, taken)) => {
                    last_star = Some((star, taken + 1));
                    at_glob = star + 1;
                    at_name = taken + 1;
                }
                None => return false,
            },
        }
    }
    glob[at_glob..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
