//! Values that are kept for long and read seldom, packed: what a fleet's controller keeps of each server is much the same words again and again.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zstd::bulk::{Compressor, Decompressor};

/// The fastest that finds what repeats; higher ones gain a tenth of the size and take three times as long.
pub const LEVEL: i32 = 1;

thread_local! {
    /// One of a thread: making one takes longer than packing most values.
    static PACKER: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// A value as JSON, compressed.
#[derive(Clone)]
pub struct Packed<T> {
    bytes: Box<[u8]>,
    /// Of the JSON.
    length: usize,
    value: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Packed<T> {
    /// Of a value that has a form in JSON; another one does not come out again.
    pub fn new(value: &T) -> Self {
        let json = serde_json::to_vec(value).unwrap_or_default();
        let packed = PACKER.with_borrow_mut(|packer| packer.as_mut()?.compress(&json).ok());
        // Nothing that is compressed in memory fails but for want of memory.
        Self { bytes: packed.unwrap_or_default().into(), length: json.len(), value: PhantomData }
    }

    /// The value. `None` is a fault of the program, for nothing else writes the bytes.
    pub fn unpack(&self) -> Option<T> {
        let json = UNPACKER.with_borrow_mut(|unpacker| unpacker.as_mut()?.decompress(&self.bytes, self.length).ok())?;
        serde_json::from_slice(&json).ok()
    }
}

/// Equal values are packed alike.
impl<T> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_out_as_it_went_in_and_takes_little_room_meanwhile() {
        let value: Vec<(String, u32)> =
            (0..1000).map(|number| (format!("container-{number} on net-{number}"), number)).collect();
        let packed = Packed::new(&value);
        assert_eq!(packed.unpack(), Some(value.clone()));
        let plain = serde_json::to_vec(&value).unwrap().len();
        assert!(packed.bytes.len() * 3 < plain, "{} of {plain}", packed.bytes.len());
    }
}
