//! Values that are kept for long and read seldom, packed: what a fleet's controller keeps of each server is much the same words again and again.

use std::fmt;
use std::io::Write;
use std::marker::PhantomData;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value as deflated JSON.
#[derive(Clone)]
pub struct Packed<T> {
    bytes: Box<[u8]>,
    value: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Packed<T> {
    /// Of a value that has a form in JSON; another one does not come out again.
    pub fn new(value: &T) -> Self {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        // Written at once, for each write goes through the encoder. Nothing that is written to memory fails.
        let json = serde_json::to_vec(value).unwrap_or_default();
        let bytes = packed.write_all(&json).and_then(|()| packed.finish()).unwrap_or_default();
        Self { bytes: bytes.into(), value: PhantomData }
    }

    /// The value. `None` is a fault of the program, for nothing else writes the bytes.
    pub fn unpack(&self) -> Option<T> {
        serde_json::from_reader(std::io::BufReader::new(DeflateDecoder::new(&*self.bytes))).ok()
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
