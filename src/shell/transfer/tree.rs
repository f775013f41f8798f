//! What is in a tar archive, as one number: the same for the same files, in whatever order and by whichever program they were archived.
//!
//! Each entry is hashed with its name, type, owners, permissions, times, attributes and content, and the hashes are added up. Memory does not
//! grow with the number of files. An archive that was cut off is told by its missing end.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::sparse::{Sparse, zeros};

pub(super) const BLOCK: usize = 512;
/// Of a name, or of the attributes of one file.
pub(super) const LARGEST_EXTENSION: u64 = 4 << 20;
/// The directory that everything in an archive of a volume is below.
const TOP: &[u8] = b"landfall-data";
/// How PAX names the extended attributes of a file.
const ATTRIBUTE: &str = "SCHILY.xattr.";
/// The only attribute that the daemon reads.
const CAPABILITY: &[u8] = b"SCHILY.xattr.security.capability";
/// What is less than that is no loss where it is written out.
const LONG: u64 = 1 << 20;

/// What an archive comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    /// Entries below the root.
    pub(super) entries: u64,
    /// Hexadecimal, without the attributes that the daemon does not read.
    pub(super) digest: String,
    /// The same with all attributes that the archive has.
    pub(super) full: String,
    /// How many files have such attributes.
    pub(super) attributed: u64,
    /// How many files have long holes, or zeros that may be some, and the bytes of these.
    pub(super) hollow: (u64, u64),
}

/// Hashes of entries, added up: over 256 bits in four parts, each by itself.
#[derive(Default)]
struct Sum([u64; 4]);

impl Sum {
    fn add(&mut self, entry: Sha256) {
        for (sum, part) in self.0.iter_mut().zip(entry.finalize().chunks_exact(8)) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(part);
            *sum = sum.wrapping_add(u64::from_le_bytes(bytes));
        }
    }

    fn text(&self) -> String {
        self.0.iter().map(|part| format!("{part:016x}")).collect()
    }
}

/// Takes an archive piece by piece.
#[derive(Default)]
pub(super) struct TreeReader {
    block: Vec<u8>,
    state: State,
    /// Of the entry that follows.
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
    sum: Sum,
    full: Sum,
    entries: u64,
    attributed: u64,
    hollow: (u64, u64),
    ended: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Header,
    /// A name or attributes, for the next entry.
    Extension { kind: EntryType, content: Vec<u8>, left: u64, padding: u64 },
    /// The content of a file.
    Content { file: Box<Entry>, left: u64, padding: u64 },
}

/// A file whose content comes.
struct Entry {
    plain: Sha256,
    full: Sha256,
    content: Sha256,
    sparse: Option<Sparse>,
    /// Bytes of pages that are zero.
    zeros: u64,
}

impl Entry {
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(sparse) = &mut self.sparse {
            return sparse.take(bytes, &mut self.content);
        }
        self.zeros += zeros(bytes);
        self.content.update(bytes);
        Ok(())
    }
}

impl TreeReader {
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header => {
                    let (now, later) = bytes.split_at((BLOCK - self.block.len()).min(bytes.len()));
                    self.block.extend_from_slice(now);
                    bytes = later;
                    if self.block.len() == BLOCK {
                        let block = std::mem::take(&mut self.block);
                        self.header(&block)?;
                    }
                }
                State::Extension { content, left, padding, .. } => {
                    let (now, later) = bytes.split_at(size(*left).min(bytes.len()));
                    content.extend_from_slice(now);
                    *left -= now.len() as u64;
                    let skipped = size(*padding).min(later.len());
                    *padding -= skipped as u64;
                    bytes = &later[skipped..];
                }
                State::Content { file, left, padding } => {
                    let (now, later) = bytes.split_at(size(*left).min(bytes.len()));
                    file.take(now)?;
                    *left -= now.len() as u64;
                    let skipped = size(*padding).min(later.len());
                    *padding -= skipped as u64;
                    bytes = &later[skipped..];
                }
            }
            self.settle()?;
        }
        Ok(())
    }

    /// The archive is complete.
    pub(super) fn finish(self) -> Result<Tree, String> {
        if !self.ended {
            return Err("the archive ends in the middle".to_owned());
        }
        let Self { entries, attributed, hollow, .. } = self;
        Ok(Tree { entries, digest: self.sum.text(), full: self.full.text(), attributed, hollow })
    }

    fn header(&mut self, block: &[u8]) -> Result<(), String> {
        if block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return Ok(());
        }
        if self.ended {
            return Err("something follows the end of the archive".to_owned());
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        let odd = |error: std::io::Error| format!("a header of the archive is damaged: {error}");
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        if header.cksum().map_err(odd)? != sum {
            return Err("a header of the archive is damaged: its checksum does not fit".to_owned());
        }
        let kind = header.entry_type();
        let mut left = header.entry_size().map_err(odd)?;
        if kind.is_pax_local_extensions()
            || kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_global_extensions()
        {
            if left > LARGEST_EXTENSION {
                return Err("a name or the attributes of a file in the archive are longer than 4 MiB".to_owned());
            }
            self.state = State::Extension { kind, content: Vec::new(), left, padding: padding(left) };
            return Ok(());
        }
        let pax = std::mem::take(&mut self.pax);
        if let Some(size) = number(&pax, b"size") {
            left = size;
        }
        // Links and directories have none, whatever their header says.
        if !matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) {
            left = 0;
        }
        let sparse = Sparse::of(&pax)?;
        let name = pax.get(&b"GNU.sparse.name"[..]).or_else(|| pax.get(&b"path"[..])).cloned();
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = plain(&name);
        let mut plain = hashed(name, &header, &pax);
        let mut full = plain.clone();
        let mut is_attributed = false;
        // Of a file with several names they are those of the first.
        let attributes = pax.iter().filter(|(key, _)| key.starts_with(ATTRIBUTE.as_bytes()) && !kind.is_hard_link());
        for (key, value) in attributes {
            if *key == CAPABILITY {
                field(&mut plain, key);
                field(&mut plain, value);
            } else {
                is_attributed = true;
            }
            field(&mut full, key);
            field(&mut full, value);
        }
        self.attributed += u64::from(is_attributed);
        if !name.is_empty() {
            self.entries += 1;
        }
        let file = Entry { plain, full, content: Sha256::new(), sparse, zeros: 0 };
        self.state = State::Content { file: Box::new(file), left, padding: padding(left) };
        Ok(())
    }

    /// Goes on where what was read has come to its end.
    fn settle(&mut self) -> Result<(), String> {
        match std::mem::take(&mut self.state) {
            State::Extension { kind, content, left: 0, padding: 0 } => match kind {
                EntryType::XHeader => self.pax.extend(records(&content)?),
                EntryType::GNULongName => {
                    self.pax.insert(b"path".to_vec(), without_end(content));
                }
                EntryType::GNULongLink => {
                    self.pax.insert(b"linkpath".to_vec(), without_end(content));
                }
                _ => {}
            },
            State::Content { file, left: 0, padding: 0 } => {
                let Entry { mut plain, mut full, mut content, sparse, zeros } = *file;
                let hollow = match sparse {
                    Some(sparse) => sparse.end(&mut content)?,
                    None => zeros,
                };
                if hollow >= LONG {
                    self.hollow.0 += 1;
                    self.hollow.1 += hollow;
                }
                let content = content.finalize();
                plain.update(content);
                full.update(content);
                self.sum.add(plain);
                self.full.add(full);
            }
            state => self.state = state,
        }
        Ok(())
    }
}

/// What an entry is, but for its attributes and content.
fn hashed(name: &[u8], header: &Header, pax: &BTreeMap<Vec<u8>, Vec<u8>>) -> Sha256 {
    let kind = header.entry_type();
    let target = pax.get(&b"linkpath"[..]).cloned();
    let target = target.or_else(|| header.link_name_bytes().map(|it| it.into_owned())).unwrap_or_default();
    let target = if kind.is_hard_link() { plain(&target).to_vec() } else { target };
    let mut entry = Sha256::new();
    field(&mut entry, name);
    field(&mut entry, &[if kind == EntryType::Continuous { b'0' } else { kind.as_byte().max(b'0') }]);
    field(&mut entry, &target);
    // Programs leave blank what is nothing; damage is told by the checksum.
    let mode = header.mode().unwrap_or_default() & 0o7777;
    let uid = number(pax, b"uid").unwrap_or_else(|| header.uid().unwrap_or_default());
    let gid = number(pax, b"gid").unwrap_or_else(|| header.gid().unwrap_or_default());
    // The root's own time is that of the last file that was put there.
    let time = number(pax, b"mtime").unwrap_or_else(|| header.mtime().unwrap_or_default());
    let time = if name.is_empty() { 0 } else { time };
    let device = |part: std::io::Result<Option<u32>>| part.ok().flatten().unwrap_or_default();
    for part in [u64::from(mode), uid, gid, time] {
        field(&mut entry, &part.to_le_bytes());
    }
    if kind.is_character_special() || kind.is_block_special() {
        field(&mut entry, &device(header.device_major()).to_le_bytes());
        field(&mut entry, &device(header.device_minor()).to_le_bytes());
    }
    entry
}

fn field(entry: &mut Sha256, bytes: &[u8]) {
    entry.update((bytes.len() as u64).to_le_bytes());
    entry.update(bytes);
}

fn size(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX)
}

pub(super) fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// Without what programs put before and after a name.
fn plain(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_prefix(b"./").or_else(|| name.strip_prefix(b"/")) {
        name = rest;
    }
    while let Some(rest) = name.strip_suffix(b"/") {
        name = rest;
    }
    if name == b"." || name == TOP {
        return b"";
    }
    name.strip_prefix(TOP).and_then(|rest| rest.strip_prefix(b"/")).unwrap_or(name)
}

fn without_end(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}

/// Whole seconds of a time, or any other number.
fn number(pax: &BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(pax.get(key)?).ok()?;
    text.split('.').next()?.parse().ok()
}

/// `<length> <key>=<value>\n`, again and again.
pub(super) fn records(mut bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, String> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let odd = || "the attributes of a file in the archive are damaged".to_owned();
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(odd)?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok().and_then(|it| it.parse().ok()).ok_or_else(odd)?;
        let record = bytes.get(space + 1..length).and_then(|it| it.strip_suffix(b"\n")).ok_or_else(odd)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(odd)?;
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        bytes = &bytes[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content, mode) in files {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_mtime(7);
            archive.append_data(&mut header, name, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn tree(bytes: &[u8], piece: usize) -> Result<Tree, String> {
        let mut reader = TreeReader::default();
        for piece in bytes.chunks(piece) {
            reader.take(piece)?;
        }
        reader.finish()
    }

    #[test]
    fn the_same_files_come_to_the_same_in_any_order_and_in_any_pieces() {
        let long = "d/".repeat(80) + "file";
        let one = archive(&[("a", b"one", 0o600), ("b", &[7; 1000], 0o644), (&long, b"", 0o600)]);
        let other = archive(&[(&long, b"", 0o600), ("b", &[7; 1000], 0o644), ("a", b"one", 0o600)]);
        let expected = tree(&one, usize::MAX).unwrap();
        assert_eq!(expected.entries, 3);
        for piece in [1, 7, 511, 512, 513] {
            assert_eq!(tree(&other, piece).unwrap(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn names_permissions_and_contents_all_count() {
        let base = tree(&archive(&[("a", b"one", 0o600)]), 512).unwrap();
        for other in [("b", &b"one"[..], 0o600), ("a", b"two", 0o600), ("a", b"one", 0o644)] {
            assert_ne!(tree(&archive(&[other]), 512).unwrap().digest, base.digest, "{other:?}");
        }
        let twice = archive(&[("a", b"one", 0o600), ("a", b"one", 0o600)]);
        assert_ne!(tree(&twice, 512).unwrap().digest, base.digest);
    }

    #[test]
    fn attributes_and_long_names_are_of_the_entry_that_follows() {
        let with = |value: &str| {
            let mut archive = tar::Builder::new(Vec::new());
            archive.append_pax_extensions([("SCHILY.xattr.user.note", value.as_bytes()), ("path", b"a\nb")]).unwrap();
            let mut header = Header::new_ustar();
            header.set_size(0);
            archive.append_data(&mut header, "short", &b""[..]).unwrap();
            tree(&archive.into_inner().unwrap(), 100).unwrap()
        };
        assert_ne!(with("one").full, with("two").full);
        assert_eq!(with("one").digest, with("two").digest, "the daemon reads none of them");
        assert_eq!((with("one").entries, with("one").attributed), (1, 1));
    }

    /// As GNU tar writes it: the map in blocks of its own, then the pieces.
    fn with_holes(map: &str, data: &[u8], size: &str) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let attributes = [("major", "1"), ("minor", "0"), ("name", "hole"), ("realsize", size)];
        let named: Vec<(String, &[u8])> =
            attributes.iter().map(|(key, value)| (format!("GNU.sparse.{key}"), value.as_bytes())).collect();
        archive.append_pax_extensions(named.iter().map(|(key, value)| (key.as_str(), *value))).unwrap();
        let mut content = map.replace(' ', "\n").into_bytes();
        content.resize(content.len().next_multiple_of(BLOCK), 0);
        content.extend_from_slice(data);
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(7);
        archive.append_data(&mut header, "GNUSparseFile.1/hole", content.as_slice()).unwrap();
        archive.into_inner().unwrap()
    }

    #[test]
    fn a_file_with_holes_comes_to_the_same_as_one_that_is_written_out() {
        let mut written = vec![0; 3 << 20];
        written[4096..8192].fill(1);
        written[1 << 20..(1 << 20) + 512].fill(2);
        let dense = tree(&archive(&[("hole", &written, 0o600)]), 1000).unwrap();
        let data = [vec![1; 4096], vec![2; 512]].concat();
        let archived = with_holes("3 4096 4096 1048576 512 3145728 0 ", &data, "3145728");
        for piece in [1, 511, 513, usize::MAX] {
            let sparse = tree(&archived, piece).unwrap();
            assert_eq!((&sparse.digest, &sparse.full), (&dense.digest, &dense.full), "in pieces of {piece}");
            assert_eq!(sparse.hollow, (1, (3 << 20) - 4608));
        }
        assert_eq!(dense.hollow.0, 1);
        assert_ne!(tree(&with_holes("1 0 4608 ", &data, "3145728"), 512).unwrap().digest, dense.digest);
    }

    #[test]
    fn a_map_of_holes_that_leads_astray_is_told() {
        let data = vec![1; 512];
        for (map, size) in [
            ("1 0 1024 ", "1024"),
            ("1 0 100 ", "1024"),
            ("1 1000 512 ", "1024"),
            ("2 512 256 0 256 ", "1024"),
            ("1 18446744073709551615 512 ", "18446744073709551615"),
            ("99999999 0 512 ", "1024"),
            ("x 0 512 ", "1024"),
            ("1 0 512 ", "many"),
        ] {
            assert!(tree(&with_holes(map, &data, size), 512).is_err(), "{map} of {size}");
        }
    }

    #[test]
    fn an_archive_that_was_cut_off_or_changed_is_told() {
        let whole = archive(&[("a", &[1; 2000], 0o600)]);
        for end in [0, 100, 512, 1000, 2048, 2560] {
            assert!(tree(&whole[..end], 512).is_err(), "cut at {end}");
        }
        let mut changed = whole.clone();
        changed[3] ^= 1;
        assert_eq!(tree(&changed, 512).unwrap_err(), "a header of the archive is damaged: its checksum does not fit");
    }
}
