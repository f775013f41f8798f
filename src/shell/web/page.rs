//! The status page: complete without JavaScript, live with it, and nothing in it comes from elsewhere.
//!
//! Whatever a daemon says (names, labels, messages) is somebody else's text: templates escape all of it, and no script or style stands in
//! the page itself, so that the policy of the headers holds for whatever might slip through.

mod inquiry;
mod lane;
mod map;
mod object;
mod overview;
mod parts;
mod pending;
mod timeline;

use std::sync::LazyLock;

use askama::Template;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::Problem;
use crate::core::digest::{SHORT, digest};
use crate::shell::controller::board::Content;

pub(super) use map::topology;
pub(super) use object::object;
pub(super) use overview::overview;

/// Files that pages name, under names that change with the content: they may be kept for ever.
static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("page", "css", "text/css; charset=utf-8", STYLE),
        Asset::new("page", "js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
        Asset::new("icon", "svg", "image/svg+xml", include_str!("page/icon.svg")),
    ]
});

/// Of the pages, and of the picture on them.
const STYLE: &str = concat!(include_str!("page/page.css"), include_str!("../../core/graph/topology.css"));

struct Asset {
    name: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: &'static str) -> Self {
        let hash = digest(content, SHORT);
        Self { name: format!("{stem}-{hash}.{extension}"), content_type, content }
    }
}

pub(super) async fn asset(Path(file): Path<String>) -> Result<Response, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "NotFound", "There is no such file.");
    let asset = ASSETS.iter().find(|asset| asset.name == file).ok_or_else(missing)?;
    let mut response = asset.content.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Ok(response)
}

/// What surrounds every page.
struct Frame {
    title: String,
    set: String,
    style: String,
    script: String,
    icon: String,
    version: &'static str,
    now: String,
    now_text: String,
    /// Somebody who has a token can act from here.
    acts: bool,
    /// Where it does not reload itself without JavaScript: it shows what was asked of servers.
    still: bool,
}

impl Frame {
    fn new(title: String, content: &Content, acts: bool) -> Self {
        let [style, script, icon] = [&ASSETS[0], &ASSETS[1], &ASSETS[2]].map(|asset| format!("/assets/{}", asset.name));
        let now = jiff::Timestamp::now();
        Self {
            title,
            set: content.set.clone(),
            style,
            script,
            icon,
            version: env!("CARGO_PKG_VERSION"),
            now: now.to_string(),
            now_text: parts::moment(now),
            acts,
            still: false,
        }
    }
}

fn render(status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
    let text = page.render().map_err(|error| Problem::internal(&error))?;
    Ok((status, Html(text)).into_response())
}
