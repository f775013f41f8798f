//! Files with holes, as GNU tar archives them (PAX, version 1.0): first a map of what is data, then the data alone.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

const BLOCK: usize = 512;
/// Of a map: some three million pieces of one file.
const LONGEST_MAP: usize = 6_000_000;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Takes the content of one such file.
pub(super) struct Sparse {
    /// How many pieces there are, then where each begins and how long it is.
    map: Vec<u64>,
    digits: Option<u64>,
    /// Of the map and what it is filled up with.
    read: usize,
    is_read: bool,
    /// The piece that comes, and how much of it has come.
    piece: usize,
    within: u64,
    /// Of the file.
    at: u64,
    size: u64,
}

impl Sparse {
    /// `None`: the attributes are of another file.
    pub(super) fn of(pax: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Option<Self>, String> {
        if !pax.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Ok(None);
        }
        let text = |key: &str| pax.get(key.as_bytes()).and_then(|it| std::str::from_utf8(it).ok());
        let size = text("GNU.sparse.realsize").and_then(|it| it.parse().ok());
        match (text("GNU.sparse.major"), text("GNU.sparse.minor"), size) {
            (Some("1"), Some("0"), Some(size)) => Ok(Some(Self {
                map: Vec::new(),
                digits: None,
                read: 0,
                is_read: false,
                piece: 0,
                within: 0,
                at: 0,
                size,
            })),
            _ => Err("a file with holes is archived in another way than GNU tar's version 1.0".to_owned()),
        }
    }

    /// Hashes what a program would read from the file.
    pub(super) fn take(&mut self, mut bytes: &[u8], content: &mut Sha256) -> Result<(), String> {
        while let Some(first) = bytes.first() {
            if !self.is_read {
                self.digit(*first)?;
                bytes = &bytes[1..];
                continue;
            }
            let Some((offset, length)) = self.next()? else {
                return Err("there is more of a file with holes than its map says".to_owned());
            };
            if self.within == 0 {
                pad(content, offset - self.at);
                self.at = offset;
            }
            let left = usize::try_from(length - self.within).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            content.update(now);
            self.at += now.len() as u64;
            self.within += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// All of it has come. The answer is how much of the file is holes.
    pub(super) fn end(mut self, content: &mut Sha256) -> Result<u64, String> {
        if self.next()?.is_some() || !self.is_read {
            return Err("a file with holes ends before its map says so".to_owned());
        }
        pad(content, self.size - self.at);
        let data: u64 = self.map[1..].chunks_exact(2).map(|piece| piece[1]).sum();
        Ok(self.size.saturating_sub(data))
    }

    /// A byte of the map, or of what it is filled up with.
    fn digit(&mut self, byte: u8) -> Result<(), String> {
        let odd = || "the map of a file with holes is damaged".to_owned();
        if !self.has_map() {
            match (byte, self.digits) {
                (b'0'..=b'9', _) => {
                    let number = self.digits.unwrap_or(0);
                    let number = number.checked_mul(10).and_then(|it| it.checked_add(u64::from(byte - b'0')));
                    self.digits = Some(number.ok_or_else(odd)?);
                }
                (b'\n', Some(number)) => {
                    if self.map.is_empty() && number > LONGEST_MAP as u64 / 2 {
                        return Err(format!(
                            "a file has {number} pieces between its holes, which is more than is read"
                        ));
                    }
                    self.map.push(number);
                    self.digits = None;
                }
                _ => return Err(odd()),
            }
        }
        self.read += 1;
        self.is_read = self.has_map() && self.read.is_multiple_of(BLOCK);
        Ok(())
    }

    fn has_map(&self) -> bool {
        self.map.first().is_some_and(|pieces| self.map.len() as u64 == 1 + 2 * pieces)
    }

    /// The piece that bytes are missing of.
    fn next(&mut self) -> Result<Option<(u64, u64)>, String> {
        while let Some(&[offset, length]) = self.map.get(1 + 2 * self.piece..3 + 2 * self.piece) {
            if offset < self.at && self.within == 0 || offset.checked_add(length).is_none_or(|end| end > self.size) {
                return Err("the map of a file with holes is damaged".to_owned());
            }
            if self.within < length {
                return Ok(Some((offset, length)));
            }
            self.piece += 1;
            self.within = 0;
        }
        Ok(None)
    }
}

fn pad(content: &mut Sha256, mut bytes: u64) {
    while bytes > 0 {
        let now = bytes.min(ZEROS.len() as u64);
        content.update(&ZEROS[..usize::try_from(now).unwrap_or(ZEROS.len())]);
        bytes -= now;
    }
}

/// Bytes of whole pages that are zero. They may be holes, or data.
pub(super) fn zeros(bytes: &[u8]) -> u64 {
    bytes.chunks(4096).filter(|page| **page == ZEROS[..page.len()]).map(|page| page.len() as u64).sum()
}
