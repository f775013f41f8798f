//! The form of a notice for each kind of service.

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Value, json};
use thiserror::Error;

use super::{Notice, Notifier};
use crate::core::api::notifier::DEFAULT_CONTENT_TYPE;
use crate::core::api::{Kind, NotifierEvent, NotifierType, ObjectKey};

/// Steps that a template may take: loops over everything there is need a hundred.
const FUEL: u64 = 50_000;
/// Discord's limit, below those of the others.
const LONGEST_TEXT: usize = 1_900;
/// Of a rendered body.
const LONGEST_BODY: usize = 256 * 1024;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub content_type: String,
    pub body: Vec<u8>,
}

/// What is wrong with a template.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct TemplateError {
    pub message: String,
    /// From 1, within the template.
    pub line: Option<usize>,
    pub hint: Option<String>,
}

/// `left_out`: notices that came too fast since the last one. `time`: now, in RFC 3339.
pub fn payload(
    notifier: &Notifier,
    notice: &Notice,
    set: &str,
    time: &str,
    left_out: u64,
) -> Result<Payload, TemplateError> {
    let text = text(notice, set, left_out);
    let content = match notifier.notifier_type() {
        NotifierType::Webhook => return webhook(notifier, &variables(notice, set, time, left_out, &text)),
        NotifierType::Slack => json!({ "text": escape_slack(&text) }),
        // Whatever a container is called, nobody is pinged for it.
        NotifierType::Discord => json!({ "content": text, "allowed_mentions": { "parse": [] } }),
        NotifierType::Ntfy => json!({
            "title": title(notice),
            "message": text,
            "tags": [tag(notice.event)],
            "priority": if bad(notice.event) { 4 } else { 3 },
        }),
    };
    Ok(Payload { content_type: DEFAULT_CONTENT_TYPE.to_owned(), body: content.to_string().into_bytes() })
}

fn bad(event: NotifierEvent) -> bool {
    matches!(
        event,
        NotifierEvent::Blocked
            | NotifierEvent::Contended
            | NotifierEvent::AddressesLow
            | NotifierEvent::BackupFailed
            | NotifierEvent::ServerDown
            | NotifierEvent::ManifestInvalid
    )
}

fn tag(event: NotifierEvent) -> &'static str {
    match event {
        NotifierEvent::DriftFound
        | NotifierEvent::Blocked
        | NotifierEvent::Contended
        | NotifierEvent::AddressesLow
        | NotifierEvent::BackupFailed
        | NotifierEvent::ManifestInvalid => "warning",
        NotifierEvent::ServerDown => "rotating_light",
        NotifierEvent::Healed | NotifierEvent::ServerBack | NotifierEvent::ManifestValid => "white_check_mark",
    }
}

fn title(notice: &Notice) -> String {
    let what = match notice.event {
        NotifierEvent::DriftFound => "has drifted",
        NotifierEvent::Healed => "is healed",
        NotifierEvent::Blocked => "is blocked",
        NotifierEvent::Contended => "is contended",
        NotifierEvent::AddressesLow => "has few addresses left",
        NotifierEvent::BackupFailed => "has no new backup",
        NotifierEvent::ServerDown => "cannot be reached",
        NotifierEvent::ServerBack => "is back",
        NotifierEvent::ManifestInvalid => "cannot be used",
        NotifierEvent::ManifestValid => "can be used again",
    };
    match &notice.object {
        Some(object) => format!("{object} {what}"),
        None => format!("The manifests {what}"),
    }
}

/// `Destination/shop/web has drifted on infra/edge: The proxy is not on it. (ProxyDetached)`
fn text(notice: &Notice, set: &str, left_out: u64) -> String {
    let server = notice.server.as_ref().map(|server| format!(" on {}", server.path())).unwrap_or_default();
    let set = if set == "default" { String::new() } else { format!("[{set}] ") };
    let message: String = notice.message.chars().take(LONGEST_TEXT - 400).collect();
    let mut text = format!("{set}{}{server}: {message} ({})", title(notice), notice.reason);
    match left_out {
        0 => {}
        1 => text.push_str(" One more notice came too fast and was left out."),
        count => text.push_str(&format!(" {count} more notices came too fast and were left out.")),
    }
    text.chars().take(LONGEST_TEXT).collect()
}

/// Slack's three control characters.
fn escape_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn variables(notice: &Notice, set: &str, time: &str, left_out: u64, text: &str) -> Value {
    let object = notice.object.as_ref();
    json!({
        "event": notice.event.as_str(),
        "object": object.map(ToString::to_string).unwrap_or_default(),
        "kind": object.map(|object| object.kind.as_str()).unwrap_or_default(),
        "namespace": object.map(|object| object.namespace.as_str()).unwrap_or_default(),
        "name": object.map(|object| object.name.as_str()).unwrap_or_default(),
        "server": notice.server.as_ref().map(ObjectKey::path).unwrap_or_default(),
        "reason": notice.reason,
        "message": notice.message,
        "set": set,
        "time": time,
        "text": text,
        "leftOut": left_out,
    })
}

fn webhook(notifier: &Notifier, variables: &Value) -> Result<Payload, TemplateError> {
    let content_type = notifier.spec.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE).to_owned();
    let body = match &notifier.spec.template {
        None => variables.to_string(),
        Some(template) => render(template, variables)?,
    };
    Ok(Payload { content_type, body: body.into_bytes() })
}

fn render(template: &str, variables: &Value) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let wrong = |error: minijinja::Error| TemplateError {
        message: match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        },
        line: error.line(),
        hint: (error.kind() == minijinja::ErrorKind::UndefinedError).then(|| {
            let names: Vec<&str> = variables.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            format!("the variables are {}", names.join(", "))
        }),
    };
    let body = environment.render_str(template, variables).map_err(wrong)?;
    if body.len() > LONGEST_BODY {
        let message = format!("it makes more than {} KiB", LONGEST_BODY >> 10);
        return Err(TemplateError { message, line: None, hint: None });
    }
    Ok(body)
}

/// Tries a template on a notice of every event that holds what breaks carelessly made JSON.
pub fn check_template(notifier: &Notifier) -> Result<(), TemplateError> {
    for event in NotifierEvent::ALL {
        let notice = Notice {
            event,
            object: (!event.is_about_manifests()).then(|| ObjectKey::new(Kind::Destination, "shop", "web")),
            server: (!event.is_about_manifests()).then(|| ObjectKey::new(Kind::Server, "infra", "edge")),
            reason: "ProxyDetached".to_owned(),
            message: "A message may have \"quotes\", back\\slashes\nand more lines.".to_owned(),
        };
        let Payload { content_type, body } = payload(notifier, &notice, "default", "2026-01-02T03:04:05Z", 1)?;
        if content_type.starts_with(DEFAULT_CONTENT_TYPE)
            && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&body)
        {
            return Err(TemplateError {
                message: format!("what it makes is not JSON: {error}"),
                line: None,
                hint: Some("write text as `{{ message | tojson }}`, without quotes around it, or declare another `contentType`".to_owned()),
            });
        }
    }
    Ok(())
}
