//! What a server answers, read within a bound. Nothing else of the program gets hold of the body: a server that answers without end, be it
//! with an error, costs one call and not the memory of the process.

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use thiserror::Error;

/// Of an answer that tells of an error; what follows is cut off.
const LONGEST_REFUSAL: usize = 64 << 10;

/// An answer whose head has arrived.
#[derive(Debug)]
pub(in crate::shell::engine) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

/// The body of an answer did not arrive, or not all of it.
#[derive(Debug, Error)]
pub(in crate::shell::engine) enum BodyError {
    #[error("it is larger than {}", size(*.0))]
    TooLarge(usize),
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

impl Answer {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(in crate::shell::engine) fn status(&self) -> StatusCode {
        self.status
    }

    /// All of it, if that is at most so many bytes.
    pub(in crate::shell::engine) async fn whole(self, most: usize) -> Result<Bytes, BodyError> {
        match read(self.body, most).await? {
            (bytes, Ended::Whole) => Ok(bytes.into()),
            (_, Ended::CutOff) => Err(BodyError::TooLarge(most)),
        }
    }

    /// The beginning of what a refusal says, also where the rest of it never comes.
    pub(in crate::shell::engine) async fn refusal(self) -> Result<Bytes, BodyError> {
        Ok(read(self.body, LONGEST_REFUSAL).await?.0.into())
    }

    /// Piece by piece, for as long as it lasts.
    pub(in crate::shell::engine) fn pieces(self) -> http_body_util::BodyDataStream<Incoming> {
        self.body.into_data_stream()
    }
}

#[derive(Debug, PartialEq)]
enum Ended {
    Whole,
    CutOff,
}

async fn read<B: Body<Data = Bytes> + Unpin>(mut body: B, most: usize) -> Result<(Vec<u8>, Ended), B::Error> {
    // What the head says of the length is a hint, and nothing to reserve gigabytes for.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(announced.min(LONGEST_REFUSAL).min(most));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = most - bytes.len();
        bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
        if data.len() > room {
            return Ok((bytes, Ended::CutOff));
        }
    }
    Ok((bytes, Ended::Whole))
}

fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    fn body(pieces: impl IntoIterator<Item = &'static str>) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let frames: Vec<_> = pieces.into_iter().map(|it| Ok(Frame::data(Bytes::from_static(it.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn as_much_as_there_may_be_is_read_and_not_a_byte_more() {
        let (bytes, ended) = read(body(["abc", "def"]), 6).await.unwrap();
        assert_eq!((bytes.as_slice(), ended), (&b"abcdef"[..], Ended::Whole));
        let (bytes, ended) = read(body(["abc", "def"]), 5).await.unwrap();
        assert_eq!((bytes.as_slice(), ended), (&b"abcde"[..], Ended::CutOff));
    }

    #[tokio::test]
    async fn a_body_without_end_is_left_at_the_bound() {
        let endless =
            StreamBody::new(stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))));
        let (bytes, ended) = read(endless, 1000).await.unwrap();
        assert_eq!((bytes.len(), ended), (1000, Ended::CutOff));
    }

    #[test]
    fn bounds_are_named_as_people_count() {
        assert_eq!(BodyError::TooLarge(64 << 20).to_string(), "it is larger than 64 MiB");
        assert_eq!(BodyError::TooLarge(64 << 10).to_string(), "it is larger than 64 KiB");
    }
}
