//! The manifests in force, kept for whoever asks the controller for them: packed, because a fleet's are tens of megabytes of much the same.

use std::io::{self, Read, Write};

use zstd::{Decoder, Encoder};

use crate::core::manifest::{Base, Source};
use crate::shell::packed::LEVEL;

/// Manifests that do not change.
#[derive(Debug, Default)]
pub struct Kept {
    packed: Vec<u8>,
    base: Base,
}

impl Kept {
    /// `base`: where the files are that they name.
    pub fn new(sources: &[Source], base: Base) -> Self {
        let write = |packed: &mut Encoder<'_, Vec<u8>>, bytes: &[u8]| {
            packed.write_all(&(bytes.len() as u64).to_le_bytes())?;
            packed.write_all(bytes)
        };
        let pack = || {
            let mut packed = Encoder::new(Vec::new(), LEVEL)?;
            for source in sources {
                write(&mut packed, source.name.as_bytes())?;
                write(&mut packed, &source.bytes)?;
            }
            packed.finish()
        };
        // Nothing that is written to memory fails.
        let mut packed: Vec<u8> = pack().unwrap_or_default();
        packed.shrink_to_fit();
        Self { packed, base }
    }

    pub fn base(&self) -> &Base {
        &self.base
    }

    /// As they were.
    pub fn sources(&self) -> io::Result<Vec<Source>> {
        if self.packed.is_empty() {
            return Ok(Vec::new());
        }
        let mut packed = Decoder::new(self.packed.as_slice())?;
        let mut sources = Vec::new();
        while let Some(name) = part(&mut packed)? {
            let bytes = part(&mut packed)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            sources.push(Source { name: String::from_utf8_lossy(&name).into_owned(), bytes });
        }
        Ok(sources)
    }
}

/// `None`: there is nothing more.
fn part(packed: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = Vec::with_capacity(8);
    packed.by_ref().take(8).read_to_end(&mut length)?;
    if length.is_empty() {
        return Ok(None);
    }
    let length = length.try_into().map(u64::from_le_bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let mut bytes = Vec::new();
    packed.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(Some(bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_come_out_as_they_were_and_take_little_room_meanwhile() {
        let source = |number: usize| Source {
            name: format!("prod/{number}.yaml"),
            bytes: format!("apiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: d{number} }}\n")
                .into_bytes(),
        };
        let sources: Vec<Source> =
            (0..1000).map(source).chain([Source { name: "empty.yaml".to_owned(), bytes: Vec::new() }]).collect();
        let kept = Kept::new(&sources, Base::default());
        assert_eq!(kept.sources().unwrap(), sources);
        let plain: usize = sources.iter().map(|source| source.bytes.len()).sum();
        assert!(kept.packed.len() * 5 < plain, "{} of {plain}", kept.packed.len());
        assert_eq!(Kept::default().sources().unwrap(), []);
    }
}
