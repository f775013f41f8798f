//! Tests of the known_hosts matcher, against literals that OpenSSH's own tools made or would accept.

use super::*;

const ED25519_A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
const ED25519_B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINTk//WtUSHlj6ZvOFchQChAauuBdQtp6WLVwXQtPa0j";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBF+M5AvR/SHriGdrS22ubUz0dBPwbgQUxoboDsnB++Ef1lf6vv7TKePj2qfHHoSvGzsfGwesveb6awzvKlyCz7k=";

fn key(text: &str) -> HostKey {
    HostKey::parse(text).unwrap()
}

fn file(content: &str) -> KnownHosts {
    let mut hosts = KnownHosts::default();
    hosts.add_file("known_hosts", content.as_bytes());
    hosts
}

fn check(content: &str, host: &str, port: u16, shown: &str) -> Verdict {
    file(content).check(&HostName::new(host, port), &key(shown))
}

fn place(line: usize) -> Place {
    Place { file: "known_hosts".to_owned(), line }
}

fn on_file(text: &str, line: usize) -> Vec<KeyOnFile> {
    vec![KeyOnFile { key: key(text), place: place(line) }]
}

#[test]
fn a_plain_entry_trusts_its_key_for_its_host_only() {
    let content = format!("edge-1.example.com {ED25519_A} root@edge-1\n");
    assert_eq!(check(&content, "edge-1.example.com", 22, ED25519_A), Verdict::Trusted(place(1)));
    assert_eq!(check(&content, "EDGE-1.Example.com", 22, ED25519_A), Verdict::Trusted(place(1)));
    assert_eq!(check(&content, "edge-2.example.com", 22, ED25519_A), Verdict::Unknown);
}

#[test]
fn another_key_of_the_same_type_is_a_changed_key() {
    let content = format!("# comment\n\nedge-1 {ED25519_A}\n");
    assert_eq!(check(&content, "edge-1", 22, ED25519_B), Verdict::Changed(on_file(ED25519_A, 3)));
}

#[test]
fn a_key_of_another_type_is_not_a_changed_key() {
    let content = format!("edge-1 {ED25519_A}\n");
    assert_eq!(check(&content, "edge-1", 22, ECDSA), Verdict::OtherTypes(on_file(ED25519_A, 1)));
}

#[test]
fn any_of_several_keys_of_a_type_will_do() {
    let content = format!("edge-1 {ED25519_A}\nedge-1 {ECDSA}\nedge-1 {ED25519_B}\n");
    assert_eq!(check(&content, "edge-1", 22, ED25519_B), Verdict::Trusted(place(3)));
    assert_eq!(
        file(&content).key_types(&HostName::new("edge-1", 22)),
        ["ssh-ed25519", "ecdsa-sha2-nistp256"],
        "what to ask the server for"
    );
}

/// `ssh-keygen -H` wrote the first line for `edge-1.example.com`, the second for `[edge-1.example.com]:2222`.
#[test]
fn hashed_entries_match_by_their_hmac() {
    let content = format!(
        "|1|NZ6EOW9qrX7Oacc3zGtb0TO0yLA=|Lf+lFcwZO0RkksnCJs/glPEYMyc= {ED25519_A}\n\
         |1|/d/UeuVxL2ScuH4a+HFcIWNQQRI=|P1CO9DwL0xmMKpyooPpftwMrs0g= {ED25519_B}\n"
    );
    assert_eq!(check(&content, "edge-1.example.com", 22, ED25519_A), Verdict::Trusted(place(1)));
    assert_eq!(check(&content, "Edge-1.example.com", 2222, ED25519_B), Verdict::Trusted(place(2)));
    assert_eq!(check(&content, "edge-2.example.com", 22, ED25519_A), Verdict::Unknown);
}

#[test]
fn another_port_has_its_own_entries() {
    let content = format!("[edge-1]:2222 {ED25519_A}\n");
    assert_eq!(check(&content, "edge-1", 2222, ED25519_A), Verdict::Trusted(place(1)));
    assert_eq!(check(&content, "edge-1", 22, ED25519_A), Verdict::Unknown);
    assert_eq!(check(&content, "edge-1", 2223, ED25519_A), Verdict::Unknown);
    assert_eq!(check(&content, "edge-1", 2222, ED25519_B), Verdict::Changed(on_file(ED25519_A, 1)));
}

#[test]
fn an_entry_without_port_vouches_for_other_ports_but_does_not_accuse_them() {
    let content = format!("edge-1 {ED25519_A}\n");
    assert_eq!(check(&content, "edge-1", 2222, ED25519_A), Verdict::Trusted(place(1)));
    assert_eq!(check(&content, "edge-1", 2222, ED25519_B), Verdict::Unknown);
    assert_eq!(file(&content).key_types(&HostName::new("edge-1", 2222)), ["ssh-ed25519"]);
}

#[test]
fn addresses_are_names_too() {
    let content = format!("192.0.2.7,2001:db8::7,[2001:db8::7]:2222 {ED25519_A}\n");
    assert_eq!(check(&content, "192.0.2.7", 22, ED25519_A), Verdict::Trusted(place(1)));
    assert_eq!(check(&content, "2001:db8::7", 22, ED25519_A), Verdict::Trusted(place(1)));
    assert_eq!(check(&content, "[2001:db8::7]", 2222, ED25519_A), Verdict::Trusted(place(1)));
}

#[test]
fn lists_wildcards_and_negation() {
    let content = format!("*.example.com,edge-?,!db.example.com {ED25519_A}\n");
    for host in ["web.example.com", "a.b.example.com", "edge-1"] {
        assert_eq!(check(&content, host, 22, ED25519_A), Verdict::Trusted(place(1)), "{host}");
    }
    for host in ["db.example.com", "example.com", "edge-12", "web.example.com.evil.org"] {
        assert_eq!(check(&content, host, 22, ED25519_A), Verdict::Unknown, "{host}");
    }
}

#[test]
fn a_negation_alone_matches_nothing() {
    assert_eq!(check(&format!("!db {ED25519_A}\n"), "web", 22, ED25519_A), Verdict::Unknown);
}

#[test]
fn a_revoked_key_is_refused_even_if_another_line_trusts_it() {
    let content = format!("edge-1 {ED25519_A}\n@revoked * {ED25519_A}\n");
    assert_eq!(check(&content, "edge-1", 22, ED25519_A), Verdict::Revoked(place(2)));
    assert_eq!(check(&content, "edge-1", 2222, ED25519_A), Verdict::Revoked(place(2)));
}

/// OpenSSH takes any run of blanks and tabs. A revocation that is skipped as a bad line would be a key that is trusted.
#[test]
fn words_are_parted_by_blanks_and_tabs() {
    let tabs = ED25519_A.replace(' ', "\t");
    for content in [format!("edge-1\t{tabs}\n"), format!("  edge-1   {ED25519_A}\t\n")] {
        assert_eq!(check(&content, "edge-1", 22, ED25519_A), Verdict::Trusted(place(1)), "{content:?}");
    }
    for revoked in [format!("@revoked\t*\t{tabs}"), format!("@revoked   *  {ED25519_A}")] {
        let content = format!("edge-1 {ED25519_A}\n{revoked}\n");
        assert_eq!(check(&content, "edge-1", 22, ED25519_A), Verdict::Revoked(place(2)), "{content:?}");
    }
}

#[test]
fn the_revocation_of_another_key_or_for_another_host_says_nothing() {
    let content = format!("edge-1 {ED25519_A}\n@revoked * {ED25519_B}\n@revoked edge-2 {ED25519_A}\n");
    assert_eq!(check(&content, "edge-1", 22, ED25519_A), Verdict::Trusted(place(1)));
}

#[test]
fn a_revocation_without_port_holds_for_every_port() {
    let content = format!("[edge-1]:2222 {ED25519_A}\n@revoked edge-1 {ED25519_A}\n");
    assert_eq!(check(&content, "edge-1", 2222, ED25519_A), Verdict::Revoked(place(2)));
}

#[test]
fn a_certificate_authority_does_not_vouch_for_plain_keys() {
    let content = format!("@cert-authority *.example.com {ED25519_A}\n");
    assert_eq!(check(&content, "web.example.com", 22, ED25519_A), Verdict::OnlyAuthority(place(1)));
    assert_eq!(check(&content, "web.example.org", 22, ED25519_A), Verdict::Unknown);
    let with_key = format!("{content}web.example.com {ED25519_B}\n");
    assert_eq!(check(&with_key, "web.example.com", 22, ED25519_B), Verdict::Trusted(place(2)));
}

#[test]
fn one_bad_line_does_not_take_the_others_with_it() {
    let content = format!(
        "garbage\nedge-1 ssh-ed25519 not-base64!\nedge-1 ssh-rsa {}\n@maybe edge-1 {ED25519_A}\n|2|x|y {ED25519_A}\n\
         edge-1 1024 35 1234567\nedge-1 {ED25519_A}\n",
        ED25519_A.split_once(' ').unwrap().1
    );
    let mut hosts = file(&content);
    hosts.add_file("binary", b"\xff\xfe\x00\x01\nedge-2 \xff\xff\n");
    assert_eq!(hosts.check(&HostName::new("edge-1", 22), &key(ED25519_A)), Verdict::Trusted(place(7)));
    let problems: Vec<String> = hosts.bad_lines().iter().map(|bad| format!("{}: {}", bad.place, bad.problem)).collect();
    assert_eq!(
        problems,
        [
            "known_hosts:1: a key is its type and its base64",
            "known_hosts:2: the key is not base64",
            "known_hosts:3: the key is of another type than the line says",
            "known_hosts:4: unknown marker",
            "known_hosts:5: unknown form of a hashed host name",
            "known_hosts:6: keys of SSH protocol 1 are not supported",
            "binary:1: a key is its type and its base64",
            "binary:2: a key is its type and its base64",
        ]
    );
}

#[test]
fn several_files_count_as_one() {
    let mut hosts = file(&format!("edge-1 {ED25519_A}\n"));
    hosts.add_file("/etc/ssh/ssh_known_hosts", format!("edge-1 {ECDSA}\r\n").as_bytes());
    let global = Place { file: "/etc/ssh/ssh_known_hosts".to_owned(), line: 1 };
    assert_eq!(hosts.check(&HostName::new("edge-1", 22), &key(ECDSA)), Verdict::Trusted(global));
    assert_eq!(hosts.check(&HostName::new("edge-1", 22), &key(ED25519_A)), Verdict::Trusted(place(1)));
}

#[test]
fn an_alias_is_looked_up_without_the_port() {
    let hosts = file(&format!("cluster {ED25519_A}\n"));
    assert_eq!(hosts.check(&HostName::alias("Cluster"), &key(ED25519_A)), Verdict::Trusted(place(1)));
}

/// `ssh-keygen -lf` prints the same.
#[test]
fn fingerprints_are_those_of_openssh() {
    assert_eq!(key(ED25519_A).to_string(), "ssh-ed25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
}

#[test]
fn wildcards_do_not_explode() {
    let glob = "*a".repeat(200);
    assert!(!glob_matches(glob.as_bytes(), "a".repeat(5_000).replace("aaaa", "aaab").trim_end_matches('a').as_bytes()));
}
