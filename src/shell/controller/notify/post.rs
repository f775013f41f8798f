//! What a notice looks like on the way to each kind of service.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use reqwest::Url;

use crate::core::api::NotifierType;
use crate::core::notice::Payload;
pub(super) use crate::shell::http_client::Failure;

pub(super) async fn post(notifier_type: NotifierType, url: &str, payload: &Payload) -> Result<(), Failure> {
    let mut url: Url = url.parse().map_err(|_| Failure::for_good("the address is not a URL"))?;
    let mut body = payload.body.clone();
    if notifier_type == NotifierType::Ntfy {
        (url, body) = ntfy(url, &body)?;
    }
    let content_type = HeaderValue::from_str(&payload.content_type);
    let content_type = content_type.map_err(|_| Failure::for_good("the content type cannot be sent"))?;
    crate::shell::http_client::post(url, HeaderMap::from_iter([(CONTENT_TYPE, content_type)]), body).await
}

/// Published as JSON, a title may have any character: the topic moves from the path into the body.
fn ntfy(mut url: Url, body: &[u8]) -> Result<(Url, Vec<u8>), Failure> {
    let path = url.path().to_owned();
    let (base, topic) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", ""));
    if topic.is_empty() {
        return Err(Failure::for_good("the address names no topic: https://HOST/TOPIC"));
    }
    let mut content: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(content) = content.as_object_mut() {
        content.insert("topic".to_owned(), topic.into());
    }
    url.set_path(&format!("{base}/"));
    Ok((url, content.to_string().into_bytes()))
}
