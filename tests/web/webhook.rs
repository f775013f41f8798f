//! What forges say about pushes.

use landfall::shell::controller::source::GitSource;
use landfall::shell::git::{Address, Repository, Signatures, Wanted};
use landfall::shell::web::{Webhook, WebhookSecret};

use super::client::{self, Answer};
use super::served::Served;

const SECRET: &str = "a-secret-of-the-forge";

fn webhook(branch: Option<&str>) -> Webhook {
    let wanted = Wanted {
        address: Address::parse("/nonexistent/shop.git").unwrap(),
        branch: branch.map(str::to_owned),
        path: String::new(),
        signatures: Signatures::Anybodys,
        only_forward: true,
    };
    let source = GitSource::new(Repository::new(std::path::Path::new("/nonexistent"), wanted));
    Webhook::new(WebhookSecret::new(SECRET).unwrap(), source, branch.map(str::to_owned))
}

fn served(branch: Option<&str>) -> Served {
    // No token at all: a delivery proves itself.
    Served::with_webhook(None, Some(webhook(branch)))
}

/// Whoever sends slowly keeps a place, of which there are eight, and nobody else waiting.
#[test]
fn deliveries_of_strangers_that_do_not_come_hold_up_none_that_is_signed() {
    use std::io::Write;
    use std::time::{Duration, Instant};
    const NEVER: Duration = Duration::from_secs(3600);
    let limits = landfall::shell::web::Limits { connections: 8, head: NEVER, answer: NEVER, unread: NEVER };
    let served = Served::start(None, Some(webhook(Some("main"))), limits);
    let push = r#"{"ref":"refs/heads/main","after":"0123"}"#;
    let (right, wrong) = (signature(push), "0".repeat(64));
    let slow = |headers: &str| {
        let mut stream = client::connect(served.address);
        let head =
            format!("POST /api/v1/webhook/git HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: 1000\r\n\r\n{{");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let mut slowest = Duration::ZERO;
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(slow(""));
        strangers.push(slow(&format!("X-Hub-Signature-256: sha256={wrong}\r\n")));
        strangers.push(slow("X-Gitlab-Token: a-guess-at-the-secret\r\n"));
        let begun = Instant::now();
        let header = format!("sha256={right}");
        deliver(&served, &[("X-GitHub-Event", "push"), ("X-Hub-Signature-256", &header)], push).expect(202);
        slowest = slowest.max(begun.elapsed());
    }
    println!("{} slow strangers: {slowest:?}", strangers.len());
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

fn deliver(served: &Served, headers: &[(&str, &str)], body: &str) -> Answer {
    let host = served.address.to_string();
    let headers: Vec<_> = [("Host", host.as_str())].into_iter().chain(headers.iter().copied()).collect();
    client::send(client::connect(served.address), "POST /api/v1/webhook/git", &headers, body)
}

fn signature(body: &str) -> String {
    use hmac::Mac;
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn pushes_to_the_followed_branch_are_taken_from_every_forge() {
    let served = served(Some("main"));
    let push = r#"{"ref":"refs/heads/main","after":"0123"}"#;
    let signature = signature(push);
    let hub = format!("sha256={signature}");
    for headers in [
        &[("X-GitHub-Event", "push"), ("X-Hub-Signature-256", hub.as_str())][..],
        &[("X-Gitea-Event", "push"), ("X-Gitea-Signature", signature.as_str())],
        &[("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", SECRET)],
    ] {
        assert_eq!(deliver(&served, headers, push).expect(202).json()["accepted"], true, "{headers:?}");
    }
}

#[test]
fn other_branches_and_pings_are_answered_and_ignored() {
    let served = served(Some("main"));
    let token = ("X-Gitlab-Token", SECRET);
    let other = r#"{"ref":"refs/heads/feature"}"#;
    assert_eq!(deliver(&served, &[token], other).expect(202).json()["accepted"], false);
    let ping = [token, ("X-GitHub-Event", "ping")];
    assert_eq!(deliver(&served, &ping, "{}").expect(202).json()["accepted"], false);
    // In another form than JSON, or of a repository whose own branch is followed: it may be the one.
    assert_eq!(deliver(&served, &[token], "payload=%7B%7D").expect(202).json()["accepted"], true);
    assert_eq!(deliver(&self::served(None), &[token], other).expect(202).json()["accepted"], true);
}

#[test]
fn without_a_right_signature_nothing_is_done_and_nothing_is_told() {
    let served = served(Some("main"));
    let push = r#"{"ref":"refs/heads/main"}"#;
    let signature = signature("something else");
    let hub = format!("sha256={signature}");
    for headers in [
        &[][..],
        &[("X-Hub-Signature-256", hub.as_str())],
        &[("X-Gitea-Signature", signature.as_str())],
        &[("X-Gitlab-Token", "a-guess-at-the-secret")],
        &[("Authorization", "Bearer a-secret-of-the-forge")],
    ] {
        let answer = deliver(&served, headers, push).expect(403);
        assert_eq!(answer.json()["reason"], "SignatureInvalid", "{headers:?}");
        assert!(!answer.body.contains(SECRET));
    }
    assert_eq!(deliver(&Served::new(), &[("X-Gitlab-Token", SECRET)], push).expect(403).json()["reason"], "NoWebhook");
    let large = format!(r#"{{"ref":"refs/heads/main","x":"{}"}}"#, "x".repeat(2 << 20));
    deliver(&served, &[("X-Gitlab-Token", SECRET)], &large).expect(413);
}
