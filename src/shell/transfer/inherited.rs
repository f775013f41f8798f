//! Archives for the daemon, without the default ACLs of directories: it sets them before it makes the files within, which would inherit what they never
//! had. GNU tar sets them last.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use hyper::body::Bytes;
use tar::{EntryType, Header};

use super::tree::{BLOCK, LARGEST_EXTENSION, padding, records};
use crate::shell::engine::Chunks;

const DEFAULT_ACL: &[u8] = b"SCHILY.xattr.system.posix_acl_default";
/// In place of `SCHILY.xattr.`, and as long: what nobody knows is passed over.
const LEFT_OUT: &[u8] = b"LANDFALL.not.";

/// The same archive, and how many ACLs are left out, as far as it has come.
pub(super) fn without_default_acls(content: Chunks) -> (Chunks, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let mut filter = Filter { header: Vec::new(), state: State::Header, size: None, count: Arc::clone(&count) };
    let filtered = content.map(move |piece| filter.take(&piece?).map(Bytes::from));
    (filtered.boxed(), count)
}

struct Filter {
    header: Vec<u8>,
    state: State,
    /// Of the entry that follows, where its header has no room for it.
    size: Option<u64>,
    count: Arc<AtomicU64>,
}

enum State {
    Header,
    /// Attributes of the entry that follows.
    Attributes {
        content: Vec<u8>,
        left: u64,
        padding: u64,
    },
    Content {
        left: u64,
    },
}

impl Filter {
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len() + BLOCK);
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header => {
                    let (now, later) = bytes.split_at((BLOCK - self.header.len()).min(bytes.len()));
                    self.header.extend_from_slice(now);
                    bytes = later;
                    if self.header.len() == BLOCK {
                        out.extend_from_slice(&self.header);
                        self.state = self.entry()?;
                        self.header.clear();
                    }
                }
                State::Attributes { content, left, .. } => {
                    let (now, later) = split(bytes, *left);
                    content.extend_from_slice(now);
                    *left -= now.len() as u64;
                    bytes = later;
                }
                State::Content { left } => {
                    let (now, later) = split(bytes, *left);
                    out.extend_from_slice(now);
                    *left -= now.len() as u64;
                    bytes = later;
                }
            }
            self.settle(&mut out)?;
        }
        Ok(out)
    }

    fn entry(&mut self) -> io::Result<State> {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&self.header);
        if self.header.iter().all(|byte| *byte == 0) {
            return Ok(State::Header);
        }
        let kind = header.entry_type();
        let left = header.entry_size()?;
        if kind.is_pax_local_extensions() {
            if left > LARGEST_EXTENSION {
                return Err(io::Error::other("the attributes of a file in the archive are longer than 4 MiB"));
            }
            return Ok(State::Attributes { content: Vec::new(), left, padding: padding(left) });
        }
        if kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_global_extensions() {
            return Ok(State::Content { left: left + padding(left) });
        }
        let left = self.size.take().unwrap_or(left);
        let has_content = matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
        Ok(State::Content { left: if has_content { left.saturating_add(padding(left)) } else { 0 } })
    }

    /// Goes on where what was read has come to its end.
    fn settle(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let State::Attributes { content, left: 0, padding } = &mut self.state {
            let (mut content, left) = (std::mem::take(content), *padding);
            let attributes = records(&content).map_err(io::Error::other)?;
            let size = attributes.get(&b"size"[..]).and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
            self.size = size.or(self.size);
            if attributes.contains_key(DEFAULT_ACL) {
                rename(&mut content);
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            out.extend_from_slice(&content);
            self.state = State::Content { left };
        }
        if let State::Content { left: 0 } = self.state {
            self.state = State::Header;
        }
        Ok(())
    }
}

/// The key of the record, in place: `<length> <key>=<value>\n`, again and again.
fn rename(content: &mut [u8]) {
    let mut at = 0;
    while let Some(blank) = content[at..].iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&content[at..at + blank]).ok().and_then(|it| it.parse::<usize>().ok());
        let Some(length) = length.filter(|it| *it > blank) else { return };
        let key = at + blank + 1;
        if content[key..].starts_with(DEFAULT_ACL) {
            content[key..key + LEFT_OUT.len()].copy_from_slice(LEFT_OUT);
        }
        at += length;
        if at > content.len() {
            return;
        }
    }
}

fn split(bytes: &[u8], left: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn default_acls_are_left_out_and_nothing_else_in_whatever_pieces() {
        let archive = |prefix: &str| {
            let mut archive = tar::Builder::new(Vec::new());
            let acl = format!("{prefix}system.posix_acl_default");
            let attributes =
                [("SCHILY.xattr.user.a", &b"SCHILY.xattr.system.posix_acl_default=\n"[..]), (&acl, b"\x02\0")];
            archive.append_pax_extensions(attributes).unwrap();
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, "directory", &b""[..]).unwrap();
            let mut header = Header::new_ustar();
            let content = b"27 SCHILY.xattr.system.posix_acl_default=\n".repeat(40);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, "directory/file", content.as_slice()).unwrap();
            archive.into_inner().unwrap()
        };
        let (before, expected) = (archive("SCHILY.xattr."), archive("LANDFALL.not."));
        for size in [1, 511, 512, 5000] {
            let pieces: Vec<io::Result<Bytes>> =
                before.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let (mut filtered, count) = without_default_acls(futures::stream::iter(pieces).boxed());
            let mut after = Vec::new();
            while let Some(piece) = filtered.next().await {
                after.extend_from_slice(&piece.unwrap());
            }
            assert!(after == expected, "in pieces of {size}");
            assert_eq!(count.load(Ordering::Relaxed), 1);
        }
    }
}
