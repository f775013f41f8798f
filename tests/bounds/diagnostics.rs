//! What is said of wrong manifests: bounded, and without the secrets that stand beside what is wrong.

use landfall::core::manifest::{self, Diagnostic, MAX_PROBLEMS, Source};

fn wrong(text: &str) -> Vec<Diagnostic> {
    let source = Source { name: "test.yaml".to_owned(), bytes: text.as_bytes().to_vec() };
    manifest::load(&[source]).expect_err(text)
}

/// Everything that anyone is shown of them.
fn shown(found: &[Diagnostic]) -> String {
    let texts = found.iter().flat_map(|it| [it.render(false), it.render(true), it.to_string()]);
    texts.collect::<Vec<_>>().join("\n") + &serde_json::to_string(found).unwrap()
}

const URL: &str = "https://hooks.example.com/services/T0KEN";

/// A document of a kind, in a flow mapping: whatever is wrong with it, the secret is on the same line.
fn flow(kind: &str, spec: &str) -> String {
    format!("{{ apiVersion: landfall/v1, kind: {kind}, metadata: {{ name: x }}, spec: {{ {spec} }} }}")
}

#[test]
fn a_secret_is_not_shown_whatever_is_wrong_with_it_or_beside_it() {
    let notifiers = [
        // Itself.
        "type: slack, url: hxxps://hooks.example.com/services/T0KEN",
        "type: slack, url: T0KEN",
        "type: slack, url: [T0KEN]",
        "type: slack, url: { a: T0KEN }",
        "type: slack, url: !T0KEN x",
        "type: slack, url: !!int T0KEN",
        "type: webhook, url: https://hooks.example.com/a, template: '{{ T0KEN '",
        "type: webhook, url: https://hooks.example.com/a, template: [T0KEN]",
        // Its own field, misspelt.
        &format!("type: slack, ulr: {URL}"),
        "type: slack, webhook: T0KEN",
        "type: slack, URL: [T0KEN]",
        // A neighbour.
        &format!("tpye: slack, url: {URL}"),
        &format!("type: slakc, url: {URL}"),
        &format!("type: slack, url: {URL}, events: [Nothing]"),
        &format!("type: slack, url: {URL}, urlEnv: HOOK"),
        &format!("type: slack, url: {URL}, template: x"),
        &format!("type: slack, url: {URL}, url: {URL}"),
        // What is no YAML.
        &format!("type: slack, url: {URL}, : x: y"),
        &format!("type: slack, url: {URL}, events: [*unknown]"),
        &format!("type: slack, url: {URL}, events: [\"x]"),
        &format!("type: slack, url: {URL}: more"),
        &format!("type: slack, events: [, url: {URL}"),
        &format!("type: slack, url: {URL}, events: \u{1}"),
    ];
    let mut cases: Vec<String> = notifiers.iter().map(|spec| flow("Notifier", spec)).collect();
    cases.extend([
        flow("Notifer", &format!("type: slack, url: {URL}")),
        flow("[Notifier]", "type: slack, url: T0KEN"),
        format!("{{ apiVersion: landfall/v1, metadata: {{ name: x }}, spec: {{ type: slack, url: {URL} }} }}"),
        format!("{{ apiVersion: landfall/v2, kind: Notifier, metadata: {{ name: x }}, spec: {{ type: slack, url: {URL} }} }}"),
        format!("{{ apiVersion: landfall/v1, kind: Notifier, metadata: {{ name: X }}, spec: {{ type: slack, url: {URL} }} }}"),
        "T0KEN".to_owned(),
        "[T0KEN]".to_owned(),
        format!("apiVersion: landfall/v1\nkind: Notifier\nmetadata: {{ name: x }}\nspec:\n  type: slack\n  url:\n    {URL}: x: y\n"),
        "apiVersion: landfall/v1\nkind: Notifier\nspec:\n  url: >\n    a\n \t T0KEN\n".to_owned(),
        flow("Application", "destination: web, image: a, env: [{ name: A, value: T0KEN, valueFrom: { env: B } }]"),
        flow("Application", "destination: web, image: a, env: [{ nmae: A, value: T0KEN }]"),
        flow("Application", "destination: web, image: a, env: [{ name: A, value: [T0KEN] }]"),
        flow("Application", "destination: web, image: a, env: [{ name: A, value: { x: T0KEN } }]"),
        flow("Application", "destination: web, image: a, env: { A: T0KEN }"),
        flow("Application", "destination: web, image: a, env: [T0KEN]"),
        flow("Application", "destination: web, image: a, env: [{ name: A, vlaue: T0KEN }]"),
        flow("Application", "destination: nowhere, image: a, env: [{ name: A, value: T0KEN }]"),
        flow("Application", "destination: web, image: a, files: [{ path: x, value: T0KEN }]"),
        flow("Application", "destination: web, image: a, files: [{ path: /x, value: [T0KEN] }]"),
        flow("Application", "destination: web, image: a, files: [{ pth: /x, value: T0KEN }]"),
        flow("Application", "destination: web, image: a, logging: { driver: '', options: { splunk-token: T0KEN } }"),
        flow("Application", "destination: web, image: a, logging: { driver: x, options: { splunk-token: [T0KEN] } }"),
        flow("Application", "destination: web, image: a, logging: { drivr: x, options: { splunk-token: T0KEN } }"),
        flow("Server", "endpoint: unix:///a.sock, ssh: { password: T0KEN }"),
        flow("Server", "endpoint: 'ssh://root:T0KEN@edge-1'"),
        flow("Server", "endpoint: 'http://root:T0KEN@edge-1'"),
        flow("Server", "endpoint: 'tcp://root:T0KEN@edge-1:2376'"),
    ]);
    for case in &cases {
        let shown = shown(&wrong(case));
        assert!(!shown.contains("T0KEN"), "{case}\n{shown}");
    }
    // A number is a secret as well.
    let shown = shown(&wrong(&flow("Application", "destination: web, image: a, env: [{ name: A, value: 48151623 }]")));
    assert!(!shown.contains("48151623") && shown.contains("expected text, found a number"), "{shown}");
}

#[test]
fn the_place_is_shown_without_the_value() {
    let text = "apiVersion: landfall/v1\nkind: Notifier\nmetadata: { name: x }\n\
                spec: { tpye: slack, url: https://hooks.example.com/T0KEN }\n";
    insta::assert_snapshot!(wrong(text).iter().map(|it| it.render(false)).collect::<Vec<_>>().join("\n\n"), @r"
    error: unknown field `tpye`
     --> test.yaml:4:9
      |
    4 | spec: { tpye: ***, url: *** }
      |         ^^^^
      |
      = help: did you mean `type`?
    ");
}

/// Four megabytes of documents that are wrong in a few ways each.
#[test]
fn of_very_many_problems_the_first_are_told_and_the_others_counted() {
    let document = |number: usize| {
        format!(
            "---\napiVersion: landfall/v1\nkind: Destination\nmetadata: {{ name: web-{number}, lables: {{}} }}\n\
             spec: {{ server: nowhere, netwrok: {{ name: x }}, proxy: yes }}\n"
        )
    };
    let text: String = (0..30_000).map(document).collect();
    assert!(text.len() > 4_000_000);
    let started = std::time::Instant::now();
    let found = wrong(&text);
    let shown: String = found.iter().map(|diagnostic| diagnostic.render(true)).collect();
    println!("{} diagnostics, {} bytes, {:?}", found.len(), shown.len(), started.elapsed());
    assert_eq!(found.len(), MAX_PROBLEMS + 1);
    let last = &found[MAX_PROBLEMS].message;
    let more: usize = last.strip_prefix("and ").unwrap().strip_suffix(" more problems").unwrap().parse().unwrap();
    assert_eq!(more + MAX_PROBLEMS, manifest::count(&found));
    assert!(more >= 90_000 - MAX_PROBLEMS, "{last}");
    assert!(shown.len() < 600_000, "{} bytes", shown.len());
}

#[test]
fn names_as_long_as_a_file_are_cut() {
    let long = "x".repeat(1 << 20);
    for text in [
        flow("Server", &format!("{long}: 1")),
        flow("Server", &format!("role: {long}")),
        flow(&long, ""),
        flow("Destination", &format!("server: {long}")),
        format!("{{ {long}: 1, {long}: 2 }}"),
        format!("{{ a: !{long} b }}"),
        format!("{{ a: *{long} }}"),
    ] {
        let found = wrong(&text);
        let shown = shown(&found);
        assert!(
            shown.len() < 8_000 * found.len(),
            "{} bytes of {} diagnostics: {}",
            shown.len(),
            found.len(),
            &shown[..2000]
        );
    }
}
