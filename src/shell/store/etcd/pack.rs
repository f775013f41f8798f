//! Values as they are stored: JSON, compressed, and never larger than etcd takes.

use std::io::Read;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// etcd takes requests of 1.5 MiB by default; base64 is not counted, keys and the rest of a transaction are.
pub(super) const LARGEST: usize = 1 << 20;
/// Of a value that is unpacked: ten thousand endpoints of a journal, or a sixteenth of a large server's objects.
const UNPACKED: u64 = 64 << 20;

/// `None`: it is too large, or has no form in JSON.
pub fn packed(value: &impl Serialize) -> Option<Vec<u8>> {
    let text = serde_json::to_vec(value).ok()?;
    let packed = zstd::encode_all(text.as_slice(), 3).ok()?;
    (packed.len() <= LARGEST).then_some(packed)
}

pub fn unpacked<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut text = Vec::new();
    let decoder = zstd::Decoder::new(bytes).map_err(|error| error.to_string())?;
    decoder.take(UNPACKED + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > UNPACKED {
        return Err(format!("larger than {UNPACKED} bytes"));
    }
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_too_large_is_neither() {
        let words = vec!["landfall".to_owned(); 10_000];
        let bytes = packed(&words).unwrap();
        assert!(bytes.len() < 1_000);
        assert_eq!(unpacked::<Vec<String>>(&bytes).unwrap(), words);
        assert!(unpacked::<Vec<String>>(b"not packed").is_err());
        // Nothing that compresses.
        let mut state = 1_u64;
        let noise: Vec<u64> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state
        })
        .take(200_000)
        .collect();
        assert_eq!(packed(&noise), None);
        let bomb = zstd::encode_all(std::io::repeat(b' ').take(UNPACKED + 10), 3).unwrap();
        assert!(unpacked::<Vec<String>>(&bomb).unwrap_err().contains("larger than"));
    }
}
