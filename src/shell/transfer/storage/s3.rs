//! Archives in a bucket of S3, or of what speaks its protocol.
//!
//! An object is there when all of it is, and nothing can be renamed: an archive is complete once its manifest is there, which is stored last.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::FuturesOrdered;
use futures::{StreamExt, TryStreamExt};
use http::header::{ETAG, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Bytes;
use reqwest::Response;
use rusty_s3::actions::{
    AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, DeleteObject, GetObject, ListObjectsV2,
    PutObject, S3Action, UploadPart,
};
use rusty_s3::{Bucket, Credentials, UrlStyle};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Listing, OWNER, Storage, below};
use crate::core::backup::MANIFEST;
use crate::core::printable::{bytes, one_line};
use crate::shell::engine::Chunks;
use crate::shell::http_client::{Failure, HttpClient, explain};
use crate::shell::transfer::TransferError;

/// Of a request's signature; it is made anew for each.
const VALID: Duration = Duration::from_secs(3600);
/// For the answer to a request, what it sends included.
const ANSWER: Duration = Duration::from_secs(300);
/// Between two pieces of an object that is read.
const PIECE: Duration = Duration::from_secs(60);
/// Of a part of a large object. Parts grow, for there may be ten thousand: that many are 430 GiB.
const PART: usize = 8 << 20;
const PARTS: u16 = 10_000;
/// Parts on their way. So many and one more are in memory.
const CONCURRENT: usize = 3;
/// Of an answer that is read whole: a list of a thousand objects.
const LARGEST: usize = 8 << 20;
/// Lists of a thousand objects that are read at most.
const LISTS: usize = 1000;
const ATTEMPTS: u32 = 4;
const FIRST_DELAY: Duration = Duration::from_millis(500);

pub(super) struct S3 {
    bucket: Bucket,
    credentials: Credentials,
    http: HttpClient,
}

/// The value of the first of these variables that is set.
fn variable(names: &[&str]) -> Option<String> {
    names.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.trim().is_empty())
}

impl S3 {
    /// What the address does not say is that of the variables that the tools of AWS have.
    pub(super) fn new(bucket: &str, endpoint: Option<&str>, region: Option<&str>) -> Result<Self, TransferError> {
        let region = region.map(str::to_owned).or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = endpoint.map(str::to_owned).or_else(|| variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
        // A name with dots is in no certificate, and an endpoint of one's own seldom has a name for each bucket.
        let style = if endpoint.is_none() && !bucket.contains('.') { UrlStyle::VirtualHost } else { UrlStyle::Path };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let wrong = |problem: String| {
            TransferError::failed(
                format!("s3://{bucket} is not reached: {problem}"),
                "write s3://bucket/prefix?endpoint=https://host&region=name",
            )
        };
        let url =
            endpoint.parse().map_err(|error| wrong(format!("the endpoint {endpoint:?} is not right: {error}")))?;
        let bucket = Bucket::new(url, style, bucket.to_owned(), region)
            .map_err(|_| wrong(format!("{endpoint:?} is no endpoint of S3")))?;
        let Some(credentials) = Credentials::from_env() else {
            return Err(TransferError::failed(
                format!("there are no credentials for s3://{}", bucket.name()),
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the process of Landfall, in an environment file of its service for example",
            ));
        };
        let http = HttpClient::keeping(CONCURRENT).map_err(|failure| wrong(failure.message))?;
        Ok(Self { bucket, credentials, http })
    }

    fn place(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket.name())
    }

    fn failed(&self, attempted: &'static str, key: &str) -> impl FnOnce(String) -> TransferError {
        super::failed(attempted, self.place(key))
    }

    /// What may be different the next time is tried again.
    async fn call<'a, A: S3Action<'a>>(
        &self,
        (attempted, key): (&'static str, &str),
        action: &A,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, TransferError> {
        let method = match A::METHOD {
            rusty_s3::Method::Head => Method::HEAD,
            rusty_s3::Method::Get => Method::GET,
            rusty_s3::Method::Post => Method::POST,
            rusty_s3::Method::Put => Method::PUT,
            rusty_s3::Method::Delete => Method::DELETE,
        };
        let (mut delay, mut attempt) = (FIRST_DELAY, 1);
        loop {
            let request = self.http.request(method.clone(), action.sign(VALID), headers.clone(), body.clone());
            let sent = timeout(ANSWER, request).await;
            let late = |_| Err(Failure::again(format!("there was no answer within {} seconds", ANSWER.as_secs())));
            let problem = match sent.unwrap_or_else(late) {
                Ok(response) if response.status().is_success() => return Ok(Answer::Done(response)),
                Ok(response) if response.status() == StatusCode::PRECONDITION_FAILED => return Ok(Answer::Taken),
                Ok(response) => {
                    let status = response.status();
                    let said = refusal(response).await;
                    if status == StatusCode::NOT_FOUND && !said.contains("bucket") {
                        return Ok(Answer::Absent);
                    }
                    let again = status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 429);
                    Failure { message: said, worth_repeating: again, after: None }
                }
                Err(failure) => failure,
            };
            if !problem.worth_repeating || attempt == ATTEMPTS {
                return Err(self.failed(attempted, key)(problem.message));
            }
            tracing::debug!(key, "{attempted} is tried again: {}", problem.message);
            tokio::time::sleep(delay).await;
            delay *= 2;
            attempt += 1;
        }
    }

    /// The text of an answer that has to be one of success.
    async fn ask<'a, A: S3Action<'a>>(
        &self,
        what: (&'static str, &str),
        action: &A,
        body: Bytes,
    ) -> Result<String, TransferError> {
        match self.call(what, action, HeaderMap::new(), body).await? {
            Answer::Done(response) => read(response).await.map_err(|problem| self.failed(what.0, what.1)(problem)),
            Answer::Absent | Answer::Taken => Err(self.failed(what.0, what.1)("it is not there".to_owned())),
        }
    }

    /// Keys that begin with that.
    async fn keys(&self, prefix: &str) -> Result<Vec<String>, TransferError> {
        let mut keys = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..LISTS {
            let mut action = ListObjectsV2::new(&self.bucket, Some(&self.credentials));
            action.with_prefix(prefix);
            if let Some(token) = token.take() {
                action.with_continuation_token(token);
            }
            let what = ("listing", prefix);
            let text = self.ask(what, &action, Bytes::new()).await?;
            let listed = ListObjectsV2::parse_response(&text)
                .map_err(|error| self.failed(what.0, prefix)(format!("the answer is not one of S3: {error}")))?;
            keys.extend(listed.contents.into_iter().map(|it| it.key).filter(|key| key.starts_with(prefix)));
            match listed.next_continuation_token {
                Some(next) => token = Some(next),
                None => return Ok(keys),
            }
        }
        Err(self.failed("listing", prefix)(format!("there are more than {} objects", LISTS * 1000)))
    }

    async fn put(&self, key: &str, body: Bytes, only_new: bool) -> Result<Answer, TransferError> {
        let mut action = PutObject::new(&self.bucket, Some(&self.credentials), key);
        let mut headers = HeaderMap::new();
        if only_new {
            action.headers_mut().insert("if-none-match", "*");
            headers.insert(http::header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        self.call(("writing", key), &action, headers, body).await
    }

    async fn delete(&self, key: &str) -> Result<(), TransferError> {
        let action = DeleteObject::new(&self.bucket, Some(&self.credentials), key);
        self.call(("removing", key), &action, HeaderMap::new(), Bytes::new()).await.map(|_| ())
    }

    async fn part(&self, key: &str, upload: &str, number: u16, body: Bytes) -> Result<String, TransferError> {
        let action = UploadPart::new(&self.bucket, Some(&self.credentials), key, number, upload);
        let failed = self.failed("writing", key);
        match self.call(("writing", key), &action, HeaderMap::new(), body).await? {
            Answer::Done(response) => match response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()) {
                Some(tag) => Ok(tag.to_owned()),
                None => Err(failed("the server does not say what it has got of a part (ETag)".to_owned())),
            },
            Answer::Absent | Answer::Taken => Err(failed("the server has given the upload up".to_owned())),
        }
    }

    /// A few parts at a time, the first of which is there already.
    async fn parts(
        &self,
        key: &str,
        upload: &str,
        first: Vec<u8>,
        from: &mut mpsc::Receiver<Bytes>,
    ) -> Result<Vec<String>, TransferError> {
        let mut tags = Vec::new();
        let mut sent = FuturesOrdered::new();
        let (mut number, mut next) = (1, first);
        while !next.is_empty() {
            if number > PARTS {
                return Err(self.failed("writing", key)("it is larger than an upload may be".to_owned()));
            }
            sent.push_back(self.part(key, upload, number, next.into()));
            if sent.len() >= CONCURRENT {
                tags.extend(sent.try_next().await?);
            }
            number += 1;
            let size = PART * (1 + usize::from(number) / 1000);
            // What is on its way goes on while the next part is put together.
            let mut filling = std::pin::pin!(fill(from, size));
            next = loop {
                tokio::select! {
                    next = &mut filling => break next,
                    Some(tag) = sent.next(), if !sent.is_empty() => tags.push(tag?),
                }
            };
        }
        while let Some(tag) = sent.next().await {
            tags.push(tag?);
        }
        Ok(tags)
    }

    async fn upload(&self, key: &str, first: Vec<u8>, from: &mut mpsc::Receiver<Bytes>) -> Result<(), TransferError> {
        let what = ("writing", key);
        let credentials = Some(&self.credentials);
        let action = CreateMultipartUpload::new(&self.bucket, credentials, key);
        let text = self.ask(what, &action, Bytes::new()).await?;
        let Some(upload) = element(&text, "UploadId").filter(|upload| !upload.is_empty()) else {
            return Err(self.failed("writing", key)("the answer is not one of S3: it names no upload".to_owned()));
        };
        let finished = async {
            let tags = self.parts(key, upload, first, from).await?;
            let tags = tags.iter().map(String::as_str);
            let action = CompleteMultipartUpload::new(&self.bucket, credentials, key, upload, tags.clone());
            let body = CompleteMultipartUpload::new(&self.bucket, credentials, key, upload, tags).body();
            let text = self.ask(what, &action, body.into()).await?;
            // Success may be an error that was noticed too late for another status.
            if text.contains("<Error>") { Err(self.failed("writing", key)(said(&text))) } else { Ok(()) }
        };
        let finished = finished.await;
        if finished.is_err() {
            // Parts cost money until somebody gives them up.
            let action = AbortMultipartUpload::new(&self.bucket, credentials, key, upload);
            let _ = self.call(("giving up", key), &action, HeaderMap::new(), Bytes::new()).await;
        }
        finished
    }
}

enum Answer {
    Done(Response),
    Absent,
    /// It was to be made only if it was not there, and it is.
    Taken,
}

/// Reads up to so many bytes; fewer only at the end.
async fn fill(from: &mut mpsc::Receiver<Bytes>, size: usize) -> Vec<u8> {
    let mut part = Vec::new();
    // Not more than a piece over it, which no server minds.
    while part.len() < size {
        match from.recv().await {
            Some(piece) => part.extend_from_slice(&piece),
            None => break,
        }
    }
    part
}

async fn read(mut response: Response) -> Result<String, String> {
    let mut body = Vec::new();
    let reading = async {
        while let Some(piece) = response.chunk().await.map_err(|error| explain(&error))? {
            if body.len() + piece.len() > LARGEST {
                return Err(format!("it is larger than {}", bytes(LARGEST as u64)));
            }
            body.extend_from_slice(&piece);
        }
        Ok(())
    };
    let read = timeout(ANSWER, reading).await.map_err(|_| "the answer did not end".to_owned())?;
    read.map_err(|problem| format!("the answer cannot be read: {problem}"))?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// What an answer of failure says of itself.
async fn refusal(response: Response) -> String {
    let status = response.status();
    let text = read(response).await.unwrap_or_default();
    match said(&text) {
        said if said.is_empty() => format!("the server answered with status {}", status.as_u16()),
        said => said,
    }
}

/// The text of the first element of that name. Servers differ in what is around it: rclone's has another root, MinIO's errors no namespace.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

/// The code and message of an error of S3.
fn said(text: &str) -> String {
    let of = |name: &str| {
        let value = element(text, name)?;
        Some(one_line(&value.chars().take(300).collect::<String>()).into_owned())
    };
    match (of("Code"), of("Message")) {
        (Some(code), _) if code == "NoSuchBucket" => "there is no such bucket (NoSuchBucket)".to_owned(),
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code,
        _ => String::new(),
    }
}

#[async_trait]
impl Storage for S3 {
    async fn list(&self, directory: &str) -> Result<Listing, TransferError> {
        let prefix = below(directory, "");
        let mut listing = Listing::default();
        for key in self.keys(&prefix).await? {
            // What is deeper belongs to another directory.
            let Some((name, file)) = key[prefix.len()..].split_once('/') else { continue };
            if file.contains('/') {
                continue;
            }
            listing.begun.push(name.to_owned());
            if file == MANIFEST {
                listing.complete.push(name.to_owned());
            }
        }
        listing.begun.dedup();
        let complete = &listing.complete;
        listing.begun.retain(|name| !complete.contains(name));
        Ok(listing)
    }

    async fn open(&self, path: &str) -> Result<Option<Chunks>, TransferError> {
        let action = GetObject::new(&self.bucket, Some(&self.credentials), path);
        let Answer::Done(response) = self.call(("reading", path), &action, HeaderMap::new(), Bytes::new()).await?
        else {
            return Ok(None);
        };
        let chunks = futures::stream::unfold(Some(response), |response| async {
            let mut response = response?;
            match timeout(PIECE, response.chunk()).await {
                Ok(Ok(None)) => None,
                Ok(Ok(Some(piece))) => Some((Ok(piece), Some(response))),
                Ok(Err(error)) => Some((Err(io::Error::other(explain(&error))), None)),
                Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
            }
        });
        Ok(Some(Box::pin(chunks)))
    }

    async fn store(&self, path: &str, mut from: mpsc::Receiver<Bytes>) -> Result<(), TransferError> {
        let first = fill(&mut from, PART).await;
        if first.len() >= PART {
            return self.upload(path, first, &mut from).await;
        }
        self.put(path, first.into(), false).await.map(|_| ())
    }

    async fn begin(&self, directory: &str, name: &str, owner: &str) -> Result<bool, TransferError> {
        let draft = below(directory, name);
        if !self.keys(&below(&draft, "")).await?.is_empty() {
            return Ok(false);
        }
        let marker = below(&draft, OWNER);
        Ok(matches!(self.put(&marker, owner.as_bytes().to_vec().into(), true).await?, Answer::Done(_)))
    }

    fn draft(&self, directory: &str, name: &str) -> String {
        below(directory, name)
    }

    async fn publish(&self, directory: &str, name: &str) -> Result<(), TransferError> {
        // It is complete with its manifest already.
        self.delete(&below(&below(directory, name), OWNER)).await
    }

    async fn discard(&self, directory: &str, name: &str) -> Result<(), TransferError> {
        let mut keys = self.keys(&below(&below(directory, name), "")).await?;
        // What says whose it is goes last: cut off before, it is found again.
        keys.sort_by_key(|key| key.ends_with(OWNER));
        for key in keys {
            self.delete(&key).await?;
        }
        Ok(())
    }

    async fn remove(&self, directory: &str, name: &str) -> Result<(), TransferError> {
        self.delete(&below(&below(directory, name), MANIFEST)).await?;
        self.discard(directory, name).await
    }

    async fn free(&self, _directory: &str) -> Option<u64> {
        None
    }
}
