//! One file of an archive: compressed, encrypted where that is asked for, and hashed on the way.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use futures::StreamExt;
use hyper::body::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::TransferError;
use super::shelf::{Archive, Draft};
use super::storage::{PieceReader, PieceWriter, Storage};
use super::tree::{Tree, TreeReader};
use crate::core::backup::{Content, Part};
use crate::core::digest::hex;
use crate::shell::engine::Chunks;

/// Of zstd: what its own program takes by default.
const LEVEL: i32 = 3;
/// Pieces that may wait to be written, or to be sent.
pub(super) const WAITING: usize = 16;
/// Bytes of a piece that is read from a file.
const PIECE: usize = 64 << 10;
/// Of a file with keys.
const LARGEST_KEYS: u64 = 1 << 20;

/// Whom an archive is written for.
#[derive(Clone, Default)]
pub struct Encryption(Vec<age::x25519::Recipient>);

impl Encryption {
    /// `age1…`, one recipient each. None: the archive is not encrypted.
    pub fn parse(recipients: &[String]) -> Result<Self, String> {
        let parse = |text: &String| {
            text.parse().map_err(|problem: &str| format!("{text:?} is no recipient of age (age1…): {problem}"))
        };
        recipients.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// `age1…`
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encryption({} recipients)", self.0.len())
    }
}

/// Keys that open archives.
#[derive(Clone, Default)]
pub struct Identities(Vec<age::x25519::Identity>);

impl Identities {
    /// A file as `age-keygen` writes it.
    pub fn read(path: &Path) -> Result<Self, TransferError> {
        let mut text = String::new();
        let opened = File::open(path).map_err(TransferError::file("reading the keys in", path))?;
        opened
            .take(LARGEST_KEYS)
            .read_to_string(&mut text)
            .map_err(TransferError::file("reading the keys in", path))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<age::x25519::Identity>, &str> = lines.map(str::parse).collect();
        match keys {
            Ok(keys) if !keys.is_empty() => Ok(Self(keys)),
            _ => Err(TransferError::failed(
                format!("{} has no key of age (AGE-SECRET-KEY-…)", path.display()),
                "age-keygen -o FILE writes one",
            )),
        }
    }

    /// Whom archives for these keys are written for.
    pub fn recipients(&self) -> Encryption {
        Encryption(self.0.iter().map(age::x25519::Identity::to_public).collect())
    }

    /// A new key, as the text of a file.
    pub fn generate() -> String {
        age::x25519::Identity::generate().to_string().expose_secret().to_owned()
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

/// What was written.
pub(super) struct Written {
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) content_size: u64,
    pub(super) content_sha256: String,
    /// Of a tar archive.
    pub(super) tree: Option<Tree>,
}

impl Written {
    pub(super) fn part(self, file: String, content: Content, encryption: &Encryption) -> Part {
        let Self { size, sha256, content_size, content_sha256, tree: _ } = self;
        Part { file, content, encrypted: !encryption.is_none(), size, sha256, content_size, content_sha256 }
    }
}

struct Hashing<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    fn end(self) -> (T, u64, String) {
        (self.inner, self.bytes, hex(&self.hash.finalize()))
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Compresses, encrypts and stops at nothing in between.
enum Sealed<W: Write> {
    Plain(W),
    Age(Box<age::stream::StreamWriter<W>>),
}

impl<W: Write> Write for Sealed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sealed::Plain(to) => to.write(bytes),
            Sealed::Age(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sealed::Plain(to) => to.flush(),
            Sealed::Age(to) => to.flush(),
        }
    }
}

/// Writes what comes to a new file of the archive, durably. `is_tar`: what comes is looked into on the way.
pub(super) async fn write(
    draft: &Draft,
    file: &str,
    from: mpsc::Receiver<Bytes>,
    encryption: Encryption,
    is_tar: bool,
) -> Result<Written, TransferError> {
    store(draft.storage(), draft.file(file), from, encryption, is_tar).await
}

async fn store(
    storage: &Arc<dyn Storage>,
    path: String,
    from: mpsc::Receiver<Bytes>,
    encryption: Encryption,
    is_tar: bool,
) -> Result<Written, TransferError> {
    let (to, sealed) = mpsc::channel(WAITING);
    let place = path.clone();
    let sealing = tokio::task::spawn_blocking(move || seal(&place, PieceWriter::new(to), from, &encryption, is_tar));
    let (written, stored) = futures::future::join(sealing, storage.store(&path, sealed)).await;
    // Why it was not taken says more than that there was nobody to take it.
    stored?;
    written.unwrap_or_else(|error| Err(TransferError::file("writing", path)(io::Error::other(error))))
}

fn seal(
    path: &str,
    to: PieceWriter,
    mut from: mpsc::Receiver<Bytes>,
    encryption: &Encryption,
    is_tar: bool,
) -> Result<Written, TransferError> {
    let failed = |source| TransferError::file("writing", path)(source);
    let file = Hashing::new(to);
    let sealed = if encryption.is_none() {
        Sealed::Plain(file)
    } else {
        let recipients = encryption.0.iter().map(|it| it as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(|error| failed(io::Error::other(error)))?;
        Sealed::Age(Box::new(encryptor.wrap_output(file).map_err(failed)?))
    };
    let mut encoder = zstd::Encoder::new(sealed, LEVEL).map_err(failed)?;
    encoder.include_checksum(true).map_err(failed)?;
    let mut to = Hashing::new(encoder);
    let mut tree = is_tar.then(TreeReader::default);
    let damaged = |problem| TransferError::Damaged { what: "what the server sends".to_owned(), problem };
    while let Some(piece) = from.blocking_recv() {
        to.write_all(&piece).map_err(failed)?;
        if let Some(tree) = &mut tree {
            tree.take(&piece).map_err(damaged)?;
        }
    }
    let (encoder, content_size, content_sha256) = to.end();
    let file = match encoder.finish().map_err(failed)? {
        Sealed::Plain(file) => file,
        Sealed::Age(stream) => stream.finish().map_err(failed)?,
    };
    let (mut file, size, sha256) = file.end();
    file.flush().map_err(failed)?;
    let tree = tree.map(TreeReader::finish).transpose().map_err(damaged)?;
    Ok(Written { size, sha256, content_size, content_sha256, tree })
}

/// The content of a part, as it was before it was compressed. Ends with an error where it is not what it should be.
pub(super) fn read(archive: &Archive, part: &Part, keys: &Identities) -> Chunks {
    content(Arc::clone(archive.storage()), archive.file(&part.file), part, keys)
}

fn content(storage: Arc<dyn Storage>, path: String, part: &Part, keys: &Identities) -> Chunks {
    let (to, from) = mpsc::channel(WAITING);
    let (part, keys) = (part.clone(), keys.clone());
    let file = PieceReader::open(storage, path.clone(), WAITING);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = send(file, &path, &part, &keys, &to) {
            let _ = to.blocking_send(Err(error));
        }
    });
    let received = |mut from: mpsc::Receiver<io::Result<Bytes>>| async { from.recv().await.map(|piece| (piece, from)) };
    Box::pin(futures::stream::unfold(from, received))
}

fn send(
    file: PieceReader,
    path: &str,
    part: &Part,
    keys: &Identities,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let file = BufReader::new(file);
    let opened: Box<dyn Read> = if part.encrypted {
        let keys = keys.0.iter().map(|it| it as &dyn age::Identity);
        let decryptor = age::Decryptor::new(file).map_err(io::Error::other)?;
        Box::new(decryptor.decrypt(keys).map_err(io::Error::other)?)
    } else {
        Box::new(file)
    };
    let mut decoder = zstd::Decoder::new(opened)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    loop {
        let mut piece = vec![0; PIECE];
        let read = decoder.read(&mut piece)?;
        if read == 0 {
            break;
        }
        piece.truncate(read);
        hash.update(&piece);
        size += read as u64;
        if to.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
    if size != part.content_size || hex(&hash.finalize()) != part.content_sha256 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} is damaged")));
    }
    Ok(())
}

/// Whether the file is what was written, by its size and checksum; the key is not needed.
pub(super) async fn check(archive: &Archive, part: &Part) -> Result<(), TransferError> {
    is_sound(archive.storage().as_ref(), &archive.file(&part.file), part).await
}

async fn is_sound(storage: &dyn Storage, path: &str, part: &Part) -> Result<(), TransferError> {
    let damaged = |problem: String| TransferError::Damaged { what: path.to_owned(), problem };
    let Some(mut chunks) = storage.open(path).await? else {
        return Err(damaged("it is not there".to_owned()));
    };
    let mut hash = Sha256::new();
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(TransferError::file("reading", path))?;
        hash.update(&chunk);
        size += chunk.len() as u64;
    }
    if size != part.size {
        return Err(damaged(format!("it has {size} bytes, and {} were written", part.size)));
    }
    if hex(&hash.finalize()) != part.sha256 {
        return Err(damaged("its checksum is not the one that was written down".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::core::backup::address::Address;
    use crate::shell::transfer::storage;

    fn local(directory: &Path) -> (Arc<dyn Storage>, String) {
        let address = Address::Directory(directory.join("part"));
        (storage::of(&address).unwrap(), storage::path(&address))
    }

    async fn written(directory: &Path, encryption: &Encryption) -> Part {
        let (to, from) = mpsc::channel(WAITING);
        let ((storage, path), of) = (local(directory), encryption.clone());
        let writing = tokio::spawn(async move { store(&storage, path, from, of, false).await });
        for number in 0..100u8 {
            to.send(vec![number; 10_000].into()).await.unwrap();
        }
        drop(to);
        let content = Content::Dump { database: "goods".to_owned() };
        writing.await.unwrap().unwrap().part("part".to_owned(), content, encryption)
    }

    async fn size(directory: &Path, part: &Part, keys: &Identities) -> io::Result<usize> {
        let (storage, path) = local(directory);
        let mut chunks = content(storage, path, part, keys);
        let mut size = 0;
        while let Some(chunk) = chunks.next().await {
            size += chunk?.len();
        }
        Ok(size)
    }

    async fn check(directory: &Path, part: &Part) -> Result<(), TransferError> {
        let (storage, path) = local(directory);
        is_sound(storage.as_ref(), &path, part).await
    }

    #[tokio::test]
    async fn what_is_written_is_read_again_and_a_changed_byte_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let part = written(directory.path(), &Encryption::default()).await;
        assert!(part.size < part.content_size && part.content_size == 1_000_000);
        check(directory.path(), &part).await.unwrap();
        assert_eq!(size(directory.path(), &part, &Identities::default()).await.unwrap(), 1_000_000);
        let path = directory.path().join("part");
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let said = check(directory.path(), &part).await.unwrap_err().to_string();
        assert!(said.ends_with("its checksum is not the one that was written down"), "{said}");
        assert!(size(directory.path(), &part, &Identities::default()).await.is_err());
        fs::write(&path, &bytes[..middle]).unwrap();
        assert!(check(directory.path(), &part).await.unwrap_err().to_string().contains("were written"));
    }

    #[tokio::test]
    async fn an_encrypted_part_opens_with_its_key_alone() {
        let directory = tempfile::tempdir().unwrap();
        let keys = |name: &str| {
            let path = directory.path().join(name);
            fs::write(&path, format!("# a comment\n{}\n", Identities::generate())).unwrap();
            Identities::read(&path).unwrap()
        };
        let (right, wrong) = (keys("right"), keys("wrong"));
        let part = written(directory.path(), &right.recipients()).await;
        assert!(
            part.encrypted && fs::read(directory.path().join("part")).unwrap().starts_with(b"age-encryption.org/v1")
        );
        check(directory.path(), &part).await.unwrap();
        assert_eq!(size(directory.path(), &part, &right).await.unwrap(), 1_000_000);
        assert!(size(directory.path(), &part, &wrong).await.is_err());
        assert!(Encryption::parse(&["age1nonsense".to_owned()]).is_err());
    }
}
