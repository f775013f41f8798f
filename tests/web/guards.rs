//! Who may ask for what, and by which name.

use std::io::{Read, Write};

use landfall::shell::controller::run::Command;
use landfall::shell::web::Token;

use super::client::{connect, over_socket, request, send};
use super::served::{Served, TOKEN};

#[test]
fn acting_over_tcp_takes_the_token_and_nothing_like_it() {
    let mut served = Served::new();
    let post = |authorization: &[(&str, &str)]| served.post("/api/v1/reconcile", authorization);
    let answer = post(&[]).expect(401);
    assert_eq!(answer.json()["reason"], "Unauthorized");
    assert!(answer.headers["www-authenticate"].starts_with("Bearer"));
    for wrong in
        ["Bearer", "Bearer ", "Bearer a-token-of-the-tes", "Bearer a-token-of-the-test2", "Basic a-token-of-the-test"]
    {
        post(&[("Authorization", wrong)]).expect(401);
    }
    assert_eq!(served.asked(), None);

    served.post("/api/v1/reconcile", &[("Authorization", &format!("Bearer {TOKEN}"))]).expect(202);
    assert_eq!(served.asked(), Some(Command::Reconcile { server: None }));
}

#[test]
fn what_is_asked_for_is_asked_for_under_the_name_of_its_token() {
    let mut served = Served::with(Some(Token::new("alice token-of-alice\nbob token-of-bob\n").unwrap()));
    for (token, who) in [("token-of-alice", "alice"), ("token-of-bob", "bob")] {
        served.post("/api/v1/reconcile", &[("Authorization", &format!("Bearer {token}"))]).expect(202);
        assert_eq!(served.who().as_deref(), Some(who));
    }
    served.post("/api/v1/reconcile", &[("Authorization", "Bearer alice")]).expect(401);
    over_socket(&served.socket, "POST /api/v1/reconcile").expect(202);
    assert_eq!(served.who().as_deref(), Some("a user of this machine"));
}

#[test]
fn only_what_is_declared_can_be_suspended_and_only_what_landfall_runs_restarted() {
    let mut served = Served::new();
    served.show(&super::page::town());
    let address = served.address.to_string();
    let token = format!("Bearer {TOKEN}");
    let headers = [("Host", address.as_str()), ("Authorization", token.as_str()), ("Content-Type", "application/json")];
    let description = super::api::described();
    let post = |path: &str, body: &str, status: u16| {
        let answer = send(connect(served.address), &format!("POST {path}"), &headers, body).expect(status);
        super::api::check(&description, path, "post", status, &answer.json());
        answer.json()["reason"].as_str().unwrap_or_default().to_owned()
    };
    for (body, status, reason) in [
        ("{\"object\":\"Application/shop/frontend\"}", 409, "NotManaged"),
        ("{\"object\":\"Application/shop/nobody\"}", 404, "NotFound"),
        ("{\"object\":\"frontend\"}", 400, "BadRequest"),
    ] {
        assert_eq!(post("/api/v1/restart", body, status), reason, "{body}");
    }
    for (body, status, reason) in [
        ("{\"object\":\"Application/shop/frontend\",\"suspend\":true}", 400, "BadRequest"),
        ("{\"object\":\"Destination/shop/nothing\",\"suspend\":true}", 404, "NotFound"),
        ("{\"object\":\"Destination/shop/web\"}", 400, "BadRequest"),
        ("{\"object\":\"Destination/shop/web\",\"suspend\":true}", 202, ""),
    ] {
        assert_eq!(post("/api/v1/suspend", body, status), reason, "{body}");
    }
    let object = "Destination/shop/web".parse().unwrap();
    assert_eq!(served.asked(), Some(Command::Suspend { object, suspend: true }));
}

#[test]
fn without_a_token_nobody_acts_over_tcp() {
    let mut served = Served::with(None);
    for headers in [&[][..], &[("Authorization", "Bearer ")], &[("Authorization", "Bearer anything")]] {
        let answer = served.post("/api/v1/reconcile", headers).expect(403);
        assert_eq!(answer.json()["reason"], "NoToken");
    }
    assert_eq!(served.asked(), None);
}

#[test]
fn whoever_may_open_the_socket_may_act() {
    use std::os::unix::fs::PermissionsExt;
    let mut served = Served::with(None);
    assert_eq!(std::fs::metadata(&served.socket).unwrap().permissions().mode() & 0o777, 0o600);
    over_socket(&served.socket, "POST /api/v1/reconcile").expect(202);
    assert_eq!(served.asked(), Some(Command::Reconcile { server: None }));
}

#[test]
fn a_page_of_somebody_else_cannot_ask_under_its_own_name() {
    let served = Served::new();
    let with_host = |host: &str| send(connect(served.address), "GET /healthz", &[("Host", host)], "");
    for name in ["evil.example.com", "localhost.evil.example.com", "127.0.0.1.evil.example.com", "evil:7420"] {
        assert_eq!(with_host(name).expect(421).json()["reason"], "HostNotAllowed", "{name}");
    }
    for name in ["localhost", "LOCALHOST:7420", "127.0.0.1", "[::1]:7420", "landfall.example.com"] {
        with_host(name).expect(200);
    }
    send(connect(served.address), "GET /healthz", &[], "").expect(400);
    send(connect(served.address), "GET /healthz", &[("Host", "localhost"), ("Host", "evil.example.com")], "")
        .expect(400);
    let absolute = "GET http://evil.example.com/healthz";
    send(connect(served.address), absolute, &[("Host", "localhost")], "").expect(400);
}

#[test]
fn no_other_site_may_read_embed_or_script_it() {
    let served = Served::new();
    for path in ["/healthz", "/nothing-here"] {
        let answer = request(served.address, &format!("GET {path}"), &[("Origin", "https://evil.example.com")]);
        assert!(!answer.headers.keys().any(|name| name.starts_with("access-control-")), "{answer:?}");
        let policy = &answer.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["x-frame-options"], "DENY");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    request(served.address, "OPTIONS /healthz", &[("Origin", "https://evil.example.com")]).expect(405);
}

#[test]
fn what_is_too_much_is_refused() {
    let served = Served::new();
    let long = "x".repeat(64 * 1024);
    let head = send(connect(served.address), "GET /healthz", &[("Host", "localhost"), ("X-Long", &long)], "");
    assert_eq!(head.status, 431);
    let many: Vec<(String, &str)> = (0..200).map(|number| (format!("X-{number}"), "x")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    send(connect(served.address), "GET /healthz", &[&[("Host", "localhost")], &many[..]].concat(), "").expect(431);

    let authorization = format!("Bearer {TOKEN}");
    let headers = [("Host", "localhost"), ("Authorization", &authorization), ("Content-Type", "application/json")];
    let body = format!("{{\"fingerprint\": \"{}\"}}", "x".repeat(64 * 1024));
    send(connect(served.address), "POST /api/v1/approve", &headers, &body).expect(413);
    // Without saying how much it will be.
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let mut stream = connect(served.address);
    let head = format!(
        "POST /api/v1/approve HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(chunked.as_bytes()));
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// They may hold what is for nobody who only reads.
#[test]
fn the_manifests_themselves_are_read_on_the_socket_and_nowhere_else() {
    let served = Served::new();
    let secret = "https://hooks.example.com/not-for-you";
    served.board.update(|board| {
        let bytes = format!("url: {secret}\n").into_bytes();
        let source = landfall::core::manifest::Source { name: "n.yaml".to_owned(), bytes };
        board.sources = std::sync::Arc::new(landfall::shell::controller::kept::Kept::new(
            &[source],
            landfall::core::manifest::Base::default(),
        ));
    });
    let told = over_socket(&served.socket, "GET /api/v1/manifests/sources").expect(200).json();
    assert_eq!(told["sources"][0]["text"], format!("url: {secret}\n"));
    let authorization = format!("Bearer {TOKEN}");
    for path in ["/api/v1/manifests/sources", "/api/v1/manifests", "/", "/metrics", "/api/v1/status"] {
        let headers = [("Authorization", authorization.as_str())];
        let answer = request(served.address, &format!("GET {path}"), &headers);
        assert_eq!(answer.status, if path.ends_with("sources") { 404 } else { 200 }, "{path}");
        assert!(!answer.body.contains(secret), "{path}");
    }
}

/// A reverse proxy stands for whoever is not on this machine.
const BEYOND: (&str, &str) = ("X-Forwarded-For", "203.0.113.7");

#[test]
fn with_a_read_token_nothing_is_read_from_beyond_without_one() {
    const READ: &str = "a-token-to-read-with";
    let served = Served::with_read_token(READ);
    let paths = [
        "/",
        "/?q=x",
        "/objects/Server/default/edge",
        "/assets/page.css",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/openapi.yaml",
        "/api/v1/status",
        "/api/v1/manifests",
        "/api/v1/servers",
        "/api/v1/destinations",
        "/api/v1/resources",
        "/api/v1/objects/Server/default/edge",
        "/api/v1/diff",
        "/api/v1/events",
        "/api/v1/history",
        "/api/v1/pending",
        "/api/v1/stream",
        "/nowhere",
    ];
    for path in paths {
        for method in ["GET", "HEAD"] {
            let answer = request(served.address, &format!("{method} {path}"), &[BEYOND]).expect(401);
            assert!(answer.headers["www-authenticate"].starts_with("Basic"), "{path}");
        }
    }
    let get =
        |authorization: &str| request(served.address, "GET /healthz", &[BEYOND, ("Authorization", authorization)]);
    for wrong in ["Bearer a-token", "Basic !!", "Basic YS10b2tlbi10by1yZWFkLXdpdGg=", "Basic eDp4"] {
        get(wrong).expect(401);
    }
    // As a browser sends it: `anyone:a-token-to-read-with`.
    get("Basic YW55b25lOmEtdG9rZW4tdG8tcmVhZC13aXRo").expect(200);
    get(&format!("Bearer {READ}")).expect(200);
    // Whoever may act may read; whoever may read may not act.
    get(&format!("Bearer {TOKEN}")).expect(200);
    served.post("/api/v1/reconcile", &[("Authorization", &format!("Bearer {READ}"))]).expect(401);
    // On this machine, and over the socket.
    served.get("/healthz").expect(200);
    over_socket(&served.socket, "GET /healthz").expect(200);
}
