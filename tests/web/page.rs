//! The status page: in a real browser, and as text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use landfall::core::api::{Kind, ObjectKey};
use landfall::core::observed::NetworkId;
use landfall::core::plan::{Withheld, WithheldDeletion, WithheldDisconnection};
use landfall::shell::controller::board::{BackupState, Digest, SourceProblem, SourceState};
use landfall::shell::controller::run::Command;
use landfall::shell::git::Commit;
use landfall::shell::store::records::{EventRecord, EventType};

use super::served::{Served, TOKEN};
use crate::support::scenario::{Scenario, application, container, database, destination, edge, network};
use crate::support::{Browser, Scheme};

/// A server with a bit of everything: what is well, what is missing, what is refused, and what nobody declared.
pub(crate) fn town() -> Scenario {
    let mut scenario = Scenario::new()
        .destination(
            destination("web")
                .named("web-net")
                .subnet("10.42.0.0/24")
                .member(application("frontend").address("10.42.0.7")),
        )
        .destination(
            destination("data")
                .named("data-net")
                .without_proxy()
                .member(database("orders"))
                .member(application("frontend")),
        )
        .destination(destination("mail").named("mail-net").member(application("mailer")))
        .container(container("frontend").on("bridge"))
        .container(container("orders").on("bridge"));
    scenario.apply();
    scenario
        .container(container("stranger").on("web-net"))
        .destination(destination("legacy").named("legacy-net"))
        .network(network("legacy-net").subnet("10.9.0.0/16"))
}

/// Another server, which does not answer.
pub(super) fn outpost() -> Scenario {
    let mut scenario = Scenario::new().destination(destination("backup").named("backup-net")).unreachable();
    let key = ObjectKey::new(Kind::Server, "default", "outpost");
    let mut server = scenario.desired.servers.remove(&edge()).unwrap();
    Arc::make_mut(&mut server).key = key.clone();
    scenario.desired.servers = BTreeMap::from([(key.clone(), server)]);
    let seen = scenario.observed.remove(&edge()).unwrap();
    scenario.observed = BTreeMap::from([(key, seen)]);
    scenario
}

/// That many destinations, none of which exists yet.
pub(super) fn many(count: usize) -> Scenario {
    let mut scenario = Scenario::new();
    let one = |index: usize| destination(&format!("d{index:05}")).named(&format!("net-{index:05}")).0;
    scenario.server().destinations = (0..count).map(one).collect();
    scenario
}

/// Where the manifests come from, what of it is in force, and what is wrong with the newest.
#[test]
fn the_repository_is_shown_with_the_commit_in_force_and_what_is_wrong_with_the_newest() {
    let served = Served::new();
    served.show(&town());
    let commit = |revision: &str, author: &str, subject: &str| Commit {
        revision: revision.repeat(8),
        author: author.to_owned(),
        subject: subject.to_owned(),
        time: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    let (good, newest) = (commit("a1b2c", "Ada", "the shop gets a cache"), commit("d3e4f", "Bob", "a <b>typo</b>"));
    let show = |in_force: &Commit, problem: Option<SourceProblem>| {
        served.board.update(|board| {
            board.manifests.revision = Some(in_force.revision.clone());
            board.manifests.source = Some(SourceState {
                url: "git.example.com/team/shop".to_owned(),
                branch: Some("main".to_owned()),
                path: "prod".to_owned(),
                revision: Some(newest.revision.clone()),
                commits: vec![good.clone(), newest.clone()],
                fetched: Some(jiff::Timestamp::now()),
                problem,
            });
        });
        let page = served.get("/").expect(200).body;
        let source = page.split("id=\"source\"").nth(1).and_then(|it| it.split("</section>").next()).unwrap();
        source.to_owned()
    };
    let shown = show(&newest, None);
    assert!(shown.contains("d3e4fd3") && shown.contains("Bob") && !shown.contains("not in force"), "{shown}");
    assert!(shown.contains("a &#60;b&#62;typo&#60;/b&#62;") || shown.contains("a &lt;b&gt;typo"), "{shown}");
    let shown = show(&good, None);
    for words in [
        "git.example.com/team/shop",
        "main",
        "a1b2ca1",
        "the shop gets a cache",
        "Ada",
        "datetime=\"2026-01-02T03:04:05Z\" title=\"",
        "Newest, not in force:",
        "Bob",
    ] {
        assert!(shown.contains(words), "{words} is missing: {shown}");
    }
    let since = jiff::Timestamp::now();
    let problem =
        SourceProblem { reason: "FetchFailed", message: "the remote does not answer".to_owned(), hint: None, since };
    let shown = show(&good, Some(problem));
    assert!(shown.contains("FetchFailed: the remote does not answer. Since"), "{shown}");
}

/// A destination with two addresses left.
pub(super) fn crowded() -> Scenario {
    let mut scenario = Scenario::without_proxy()
        .network(network("web-net").of("web").subnet("10.42.0.0/27").gateway("10.42.0.1"))
        .destination(destination("web").named("web-net"));
    for at in 0..27 {
        scenario =
            scenario.container(container(&format!("c{at}")).on("web-net").address(&format!("10.42.0.{}", at + 2)));
    }
    scenario
}

/// The plan says it, and the page says no other word for it.
#[test]
fn few_addresses_left_are_told_as_the_plan_tells_it() {
    let served = Served::new();
    served.show(&crowded());
    for page in ["/", "/objects/Destination/shop/web"] {
        let body = served.get(page).expect(200).body;
        assert!(body.contains("AddressesLow") && body.contains("2 of 30 addresses"), "{page}: {body}");
        assert!(!body.contains("RunningOut"), "{page}");
    }
}

/// Connected is all that Landfall promises, but whoever looks for the fault should see it.
#[test]
fn what_does_not_run_needs_attention() {
    let served = Served::new();
    let attention = |served: &Served| {
        let page = served.get("/").expect(200).body;
        page.split("id=\"attention\"").nth(1).unwrap().split("id=\"networks-head\"").next().unwrap().to_owned()
    };
    let mut scenario = Scenario::new()
        .container(container("orders-db").on("bridge"))
        .destination(destination("data").named("data-net").member(crate::support::scenario::database("orders-db")));
    scenario.apply();
    served.show(&scenario);
    assert!(!attention(&served).contains("orders-db"), "{}", attention(&served));
    let database = scenario.state().containers.iter_mut().find(|it| it.name == "orders-db").unwrap();
    database.state = landfall::core::observed::ContainerState::Exited;
    served.show(&scenario);
    let shown = attention(&served);
    for words in ["Not healthy", "<code>NotRunning</code>", "orders-db is exited.", "/objects/Database/shop/orders-db"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn a_backup_that_failed_needs_attention_until_the_next_one() {
    let served = Served::new();
    served.show(&town());
    let key = ("Database/shop/orders".parse::<ObjectKey>().unwrap(), edge());
    let pages = ["/", "/objects/Database/shop/orders"];
    for problem in [Some("no space left on the device"), None] {
        served.board.update(|board| {
            let state = BackupState { problem: problem.map(str::to_owned), ..BackupState::default() };
            board.backups.insert(key.clone(), state);
        });
        for page in pages {
            let body = served.get(page).expect(200).body;
            let told = "The last backup that was due was not written: no space left on the device";
            assert_eq!(body.contains(told), problem.is_some(), "{page}: {body}");
            assert_eq!(body.contains("<code>BackupFailed</code>"), problem.is_some(), "{page}");
        }
    }
}

/// For whoever wants to look: `SCREENSHOTS=DIR cargo nextest run web::page`. `UPDATE_DOCS=1` takes those of the documentation anew.
fn keep(browser: &Browser, name: &str) {
    let mut directories: Vec<std::path::PathBuf> =
        std::env::var_os("SCREENSHOTS").into_iter().map(Into::into).collect();
    if let ("page-light" | "page-dark", Some(_)) = (name, std::env::var_os("UPDATE_DOCS")) {
        let images = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
        // The readme shows what one sees first.
        std::fs::write(images.join(format!("{name}-top.png")), browser.shot(1280, 1400)).unwrap();
        directories.push(images);
    }
    for directory in directories {
        std::fs::write(directory.join(format!("{name}.png")), browser.screenshot()).unwrap();
    }
}

/// Texts whose contrast with what is behind them is below the 4.5 that WCAG asks for.
const FAINT: &str = "
    const channel = (value) => (value /= 255, value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.closest('script, .hidden, .skip')) continue;
        const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${element.className} ${texts.currentNode.data.trim().slice(0, 40)}`);
    }
    return faint;";

/// Fails where it scrolls sideways, is faint, or a screen reader stumbles.
#[track_caller]
pub(super) fn legible(browser: &Browser, what: &str) {
    let fits = browser.run("return document.documentElement.scrollWidth <= window.innerWidth");
    assert_eq!(fits, true, "{what} scrolls sideways");
    assert_eq!(browser.run(FAINT), serde_json::json!([]), "{what} is faint");
    assert_eq!(browser.run(STUMBLES), serde_json::json!([]), "{what}");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "{what}");
    keep(browser, what);
}

/// What a screen reader would stumble over.
const STUMBLES: &str = "
    const found = [];
    for (const landmark of ['header', 'main', 'footer', 'nav[aria-label]', '[role=status][aria-live=polite]', 'html[lang]'])
        if (!document.querySelector(landmark)) found.push(`no ${landmark}`);
    let level = 0;
    for (const heading of document.querySelectorAll('h1, h2, h3, h4')) {
        const own = Number(heading.tagName[1]);
        if (own > level + 1) found.push(`h${level} is followed by h${own}: ${heading.innerText}`);
        level = own;
    }
    if (document.querySelectorAll('h1').length !== 1) found.push('not one h1');
    const ids = [...document.querySelectorAll('[id]')].map((it) => it.id);
    if (new Set(ids).size !== ids.length) found.push('an id twice');
    for (const element of document.querySelectorAll('[aria-labelledby]'))
        if (!document.getElementById(element.getAttribute('aria-labelledby'))) found.push('labelled by nothing');
    for (const input of document.querySelectorAll('input:not([type=hidden])'))
        if (!input.labels.length) found.push('an input without a label');
    for (const link of document.querySelectorAll('a')) if (!link.textContent.trim()) found.push('a link without words');
    return found;";

/// Deletions that wait for somebody to agree.
pub(super) fn waiting(served: &Served, names: &[&str]) {
    served.board.update(|board| {
        let state = std::sync::Arc::make_mut(board.servers.get_mut("default/edge-1").unwrap());
        let deletion = |name: &&str| WithheldDeletion {
            destination: ObjectKey::new(Kind::Destination, "shop", name),
            network: format!("{name}-net"),
            network_id: NetworkId::try_from("4f".repeat(32)).unwrap(),
        };
        state.pending = (!names.is_empty()).then(|| Withheld {
            declared: String::new(),
            fingerprint: format!("0a1b2c3d4e5f{:04x}", names.len()),
            deletions: names.iter().map(deletion).collect(),
            disconnections: Vec::new(),
            removals: Vec::new(),
        });
    });
}

/// What the loop would have written down, and something that waits for another try.
fn told(served: &Served) {
    let event = |minutes: i64, event_type, object: &str, reason: &str, message: &str| EventRecord {
        id: 0,
        time: "2026-01-02T03:04:05Z".parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_mins(minutes),
        event_type,
        object: object.parse().ok(),
        server: Some(edge()),
        reason: reason.to_owned(),
        message: message.to_owned(),
        pass: Some(1),
    };
    served.board.tell(&[
        event(0, EventType::Normal, "Destination/shop/web", "NetworkMissing", "create the network web-net"),
        event(3, EventType::Normal, "Application/shop/frontend", "MemberDetached", "connect frontend to web-net"),
        event(9, EventType::Warning, "Destination/shop/legacy", "AdoptionRequired", "A network of that name exists."),
    ]);
}

#[test]
fn it_is_legible_in_light_and_dark_and_on_a_narrow_screen() {
    let served = Served::new();
    // One more destination, which is about to be made.
    served.show(&town().destination(destination("cache").named("cache-net")));
    served.show(&outpost());
    told(&served);
    waiting(&served, &["carts", "mails-of-last-year", "search"]);
    for (scheme, width, name) in
        [(Scheme::Light, 1280, "light"), (Scheme::Dark, 1280, "dark"), (Scheme::Light, 390, "narrow")]
    {
        let browser = Browser::with(scheme, true);
        for (path, page) in [
            ("/", "page-"),
            ("/objects/Destination/shop/mail", "object-"),
            ("/objects/Server/default/edge-1", "server-"),
        ] {
            browser.resize(width, 900);
            browser.open(&served.url(path));
            browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
            legible(&browser, &format!("{page}{name}"));
        }
    }
}

#[test]
fn it_says_what_is_blocked_and_why_and_who_is_where() {
    let served = Served::new();
    served.show(&town());
    served.show(&outpost());
    let browser = Browser::start();
    browser.open(&served.url("/"));
    assert!(browser.text("h1").contains("of 5 destinations are not ready"), "{}", browser.text("h1"));
    let attention = browser.text("#attention");
    for said in ["AdoptionRequired", "Destination/shop/legacy", "ContainerMissing", "mailer"] {
        assert!(attention.contains(said), "{said} is missing: {attention}");
    }
    let networks = browser.text("#networks");
    for said in [
        "web-net",
        "10.42.0.0/24",
        "traefik",
        "stranger",
        "undeclared",
        "It does not answer.",
        "not Landfall's: AdoptionRequired",
    ] {
        assert!(networks.contains(said), "{said} is missing: {networks}");
    }
    browser.open(&served.url("/objects/Destination/shop/mail"));
    let conditions = browser.text("#conditions");
    for said in ["Ready", "MembersConnected", "ContainerMissing"] {
        assert!(conditions.contains(said), "{said} is missing: {conditions}");
    }
    for path in ["/objects/Server/default/edge-1", "/objects/Application/shop/frontend"] {
        served.get(path).expect(200);
    }
    served.get("/objects/Application/shop/nobody").expect(404);
}

#[test]
fn what_waits_for_an_approval_is_worked_by_keyboard_and_kept_in_place() {
    let served = Served::new();
    served.show(&town());
    waiting(&served, &["carts", "search"]);
    let browser = Browser::start();
    browser.open(&served.url("/"));
    browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
    // Before everything else, and told once.
    let order = "return [...document.querySelectorAll('main > *')].map((it) => it.id).slice(0, 3).join(' ')";
    assert_eq!(browser.run(order), "headline source pending");
    assert!(!browser.text("#attention").contains("MassDeletionRefused"));
    assert!(browser.text("#pending").contains("landfall approve 0a1b2c3d4e5f0002"), "{}", browser.text("#pending"));
    // Skip link, brand, the server; then the command and its button.
    browser.press(&"\u{E004}".repeat(4));
    assert_eq!(browser.run("return document.activeElement.textContent"), "landfall approve 0a1b2c3d4e5f0002");
    browser.press("\u{E004}");
    let focused = "return document.activeElement.dataset.copy ?? null";
    assert_eq!(browser.run(focused), "landfall approve 0a1b2c3d4e5f0002");
    browser.press("\u{E007}");
    browser.until("it is copied", "return document.querySelector('#announce').textContent === 'Copied'");
    // Something else changes within: whoever is at the button stays there.
    browser.run("document.querySelector('#pending h2').append('!')");
    served.board.update(|_| {});
    browser.until("it is anew", "return !document.querySelector('#pending h2').textContent.includes('!')");
    assert_eq!(browser.run(focused), "landfall approve 0a1b2c3d4e5f0002");
    // Another list is another command.
    waiting(&served, &["carts", "search", "mails"]);
    browser.until("the other list", "return document.querySelector('#pending').innerText.includes('3 deletions wait')");
    assert!(browser.text("#pending").contains("landfall approve 0a1b2c3d4e5f0003"));
    waiting(&served, &[]);
    browser.until("nothing waits", "return document.querySelector('#pending').innerText.trim() === ''");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_long_list_of_deletions_is_cut_and_says_so() {
    let served = Served::new();
    served.show(&town());
    let names: Vec<String> = (0..5000).map(|number| format!("d{number:04}")).collect();
    waiting(&served, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let page = served.get("/").expect(200).body;
    assert!(page.contains("5000 deletions wait for your approval"));
    assert!(page.contains("d0049-net") && !page.contains("d0050-net") && page.contains("and 4950 more"));
}

#[test]
fn disconnections_that_wait_are_shown_beside_the_deletions() {
    let served = Served::new();
    served.show(&town());
    waiting(&served, &["carts"]);
    served.board.update(|board| {
        let state = std::sync::Arc::make_mut(board.servers.get_mut("default/edge-1").unwrap());
        let disconnection = |name: &str| WithheldDisconnection {
            destination: ObjectKey::new(Kind::Destination, "shop", "web"),
            name: name.to_owned(),
            id: "5e".repeat(32),
            network: "web-net".to_owned(),
            network_id: NetworkId::try_from("4f".repeat(32)).unwrap(),
        };
        let pending = state.pending.as_mut().unwrap();
        pending.disconnections = ["frontend", "backend"].map(disconnection).into();
    });
    let page = served.get("/").expect(200).body;
    for words in [
        "1 deletion and 2 disconnections wait for your approval",
        "nothing is deleted or disconnected unless you agree",
        "1 network would be deleted and 2 endpoints would be disconnected",
        "<b>backend</b> <span class=\"dim\">from web-net</span>",
    ] {
        assert!(page.contains(words), "{words} is missing: {page}");
    }
    let pending = served.get("/api/v1/pending").expect(200).json();
    assert_eq!(pending["items"][0]["disconnections"][0]["name"], "frontend");
}

#[test]
fn it_is_worked_by_keyboard_alone() {
    let served = Served::new();
    served.show(&town());
    let browser = Browser::start();
    browser.resize(1280, 900);
    browser.open(&served.url("/"));
    browser.press("\u{E004}");
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
    browser.press("/");
    assert_eq!(browser.run("return document.activeElement.id"), "q");
    browser.press("orders\u{E007}");
    browser.until("the search is answered", "return location.search.includes('q=orders')");
    browser.until("one is found", "return document.querySelectorAll('.lane').length === 1");
    assert!(browser.text("#networks").contains("1 of 4 destinations"));
    // The search has moved to the picture of what was found.
    assert_eq!(browser.run("return location.hash"), "#map");
    let drawn = "return [...document.querySelectorAll('[data-wide] a')].map((it) => it.getAttribute('href')).join(' ')";
    assert_eq!(
        browser.run(drawn),
        "/objects/Server/default/edge-1 /objects/Destination/shop/data /objects/Application/shop/frontend \
         /objects/Database/shop/orders"
    );
    browser.run("document.querySelector('[data-wide] a').focus()");
    browser.press("\u{E015}");
    assert_eq!(browser.run("return document.activeElement.getAttribute('href')"), "/objects/Destination/shop/data");
    browser.press("\u{E014}\u{E007}");
    browser.until("its page comes", "return location.pathname.startsWith('/objects/Application/shop/')");
}

#[test]
fn the_picture_says_how_everything_is() {
    let served = Served::new();
    served.show(&town());
    // Something is undone again and again, and something has stopped.
    let mut scenario = Scenario::new()
        .destination(
            destination("fought").named("fought-net").member(application("fought")).member(application("late")),
        )
        .container(container("fought").on("bridge"))
        .container(container("late").on("bridge"));
    scenario.apply();
    let late = scenario.state().containers.iter_mut().find(|it| it.name == "late").unwrap();
    late.state = landfall::core::observed::ContainerState::Exited;
    served.show(&elsewhere(scenario, 7));
    served.board.update(|board| {
        let state = Arc::make_mut(board.servers.get_mut("default/edge-007").unwrap());
        let conditions = state.conditions.get_mut(&"Application/shop/fought".parse().unwrap()).unwrap();
        let fought = landfall::core::api::Condition::from(landfall::core::api::Statement {
            condition_type: "Contended".into(),
            status: landfall::core::api::ConditionStatus::True,
            reason: "Contended".into(),
            message: "fought on fought-net is undone again and again".into(),
            observed_generation: None,
            last_transition_time: None,
        });
        *conditions = conditions.iter().cloned().chain([fought]).collect();
        let declared = board.declared.servers.values().find(|it| it.key.path() == "default/edge-007").unwrap();
        state.digest = Some(Digest::new(declared, &state.conditions));
    });
    served.show(&outpost());
    let browser = Browser::start();
    browser.open(&served.url("/"));
    let labels = browser.run("return [...document.querySelectorAll('[data-wide] title')].map((it) => it.textContent)");
    let labels: Vec<&str> = labels.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let said = |words: &str| labels.iter().any(|label| label.contains(words));
    for words in [
        "Server default/edge-1: reachable. Docker",
        "Server default/outpost: unreachable. It does not answer.",
        "Proxy traefik: ready",
        "Destination shop/web: ready. Network web-net · 10.42.0.0/24",
        "Application shop/frontend, container frontend: connected, 10.42.0.7",
        "Undeclared container stranger: unmanaged",
        "container mailer: missing",
        "container fought: contended",
        "container late: stopped",
        "Destination shop/backup: unknown",
    ] {
        assert!(said(words), "{words} is missing: {labels:#?}");
    }
    // In the list of what needs somebody, too.
    let attention = browser.text("#attention");
    assert!(attention.contains("Contended") && attention.contains("late is exited."), "{attention}");
    let picture = served.get("/topology.svg").expect(200);
    assert_eq!(picture.headers["content-type"], "image/svg+xml");
    let parsed = roxmltree::Document::parse(&picture.body).unwrap();
    assert_eq!(parsed.root_element().attribute("role"), Some("img"));
    assert!(picture.body.contains("container fought: contended") && picture.body.contains("prefers-color-scheme"));
    // The same is in the documentation.
    let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images/topology.svg");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, &picture.body).unwrap();
    }
    let documented = std::fs::read_to_string(&kept).unwrap_or_default();
    assert!(documented == picture.body, "docs/images/topology.svg is out of date: run with UPDATE_DOCS=1");
    assert!(!served.get("/topology.svg?server=default/edge-1").expect(200).body.contains("fought"));
    // What was there when the server last answered stays visible.
    served.show(&town().unreachable());
    let page = served.get("/objects/Server/default/edge-1").expect(200).body;
    assert!(page.contains("It last answered") && page.contains("container orders: unknown"), "{page}");
}

#[test]
fn a_fleet_of_a_thousand_servers_is_one_picture() {
    let served = Served::new();
    for number in 0..1000 {
        let one = Scenario::new().destination(destination(&format!("d{number:04}")).named(&format!("net-{number:04}")));
        let mut one = if number % 100 == 3 { one.unreachable() } else { one };
        if number % 100 != 3 && number % 10 != 0 {
            one.apply();
        }
        served.show(&elsewhere(one, number));
    }
    let browser = Browser::start();
    browser.resize(1280, 900);
    browser.open(&served.url("/"));
    assert_eq!(browser.run("return document.querySelectorAll('[data-wide] .cell').length"), 1000);
    let stops = "return [...document.querySelectorAll('[data-wide] a')].filter((it) => it.tabIndex >= 0).length";
    assert!(browser.run(stops).as_u64().unwrap() < 15, "{}", browser.run(stops));
    assert_eq!(browser.run(STUMBLES), serde_json::json!([]));
    keep(&browser, "fleet");
    browser.run("[...document.querySelectorAll('[data-wide] a')].find((it) => it.textContent.startsWith('default/edge-042')).dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }))");
    browser.until("it zooms in", "return location.search.includes('edge-042') && document.querySelector('[data-wide] .chip, [data-wide] .box') !== null");
    browser.press("/edge-777\u{E007}");
    browser.until("the search moves there", "return document.querySelector('[data-wide] a[href$=edge-777]') !== null");
}

/// What axe-core finds.
fn violations(browser: &Browser, what: &str) {
    static AXE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = std::process::Command::new(root.join("scripts/node-tools")).output().unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        std::fs::read_to_string(root.join("target/node/node_modules/axe-core/axe.min.js")).unwrap()
    });
    browser.run(&AXE);
    browser.run(
        "window.found = null;
         axe.run({ resultTypes: ['violations'] }).then(({ violations }) => {
             window.found = violations.map((it) => `${it.id}: ${it.help}: ${it.nodes.slice(0, 3).map((node) => node.html).join(' ')}`);
         }, (error) => { window.found = [String(error)]; });",
    );
    browser.until("axe is through", "return window.found !== null");
    assert_eq!(browser.run("return window.found"), serde_json::json!([]), "{what}");
}

#[test]
fn axe_finds_nothing() {
    let served = Served::new();
    served.show(&town().destination(destination("cache").named("cache-net")));
    served.show(&outpost());
    told(&served);
    waiting(&served, &["carts", "search"]);
    for (scheme, width) in [(Scheme::Light, 1280), (Scheme::Dark, 1280), (Scheme::Light, 390)] {
        let browser = Browser::with(scheme, true);
        browser.resize(width, 900);
        for path in [
            "/",
            "/objects/Destination/shop/web",
            "/objects/Destination/shop/mail",
            "/objects/Server/default/edge-1",
            "/objects/Application/shop/frontend",
        ] {
            browser.open(&served.url(path));
            browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
            violations(&browser, &format!("{path} {scheme:?} {width}"));
        }
        browser.open(&served.url("/"));
        browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
        browser.run("document.querySelector('button[data-act]').click()");
        violations(&browser, &format!("the dialog {scheme:?} {width}"));
    }
}

#[test]
fn acting_from_the_page_takes_a_token_and_the_name_where_something_is_taken_away() {
    let mut served = Served::new();
    served.show(&town());
    waiting(&served, &["carts", "search"]);
    let browser = Browser::start();
    browser.open(&served.url("/"));
    browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
    let type_into = |id: &str, text: &str| {
        browser.run(&format!("document.getElementById('{id}').focus(); document.getElementById('{id}').select()"));
        browser.press(text);
    };
    let disabled = || browser.run("return document.getElementById('act-go').disabled") == true;
    browser.run("document.querySelector('#pending button[data-act]').click()");
    assert!(browser.text("#act-says").contains("2 networks would be deleted"), "{}", browser.text("#act-says"));
    assert!(disabled());
    type_into("act-token", "a-wrong-guess");
    assert!(disabled(), "nothing was typed to confirm");
    type_into("act-confirm", "default/edge-1");
    assert!(!disabled());
    browser.run("document.getElementById('act-go').click()");
    browser.until("it is refused", "return document.getElementById('act-error').textContent.includes('token')");
    assert_eq!(served.asked(), None);
    type_into("act-token", TOKEN);
    browser.run("document.getElementById('act-go').click()");
    browser.until("the dialog closes", "return !document.getElementById('act').open");
    assert_eq!(served.asked(), Some(Command::Approve { fingerprint: "0a1b2c3d4e5f0002".to_owned() }));
    // The token is known now, and on another page too.
    browser.open(&served.url("/objects/Destination/shop/web"));
    browser.run("document.querySelector('button[data-act]').click()");
    assert_eq!(browser.run("return document.getElementById('act-token-line').hidden"), true);
    type_into("act-confirm", "web\u{E007}");
    browser.until("the dialog closes", "return !document.getElementById('act').open");
    let object = ObjectKey::new(Kind::Destination, "shop", "web");
    assert_eq!(served.asked(), Some(Command::Suspend { object, suspend: true }));
    assert_eq!(
        browser.complaints().into_iter().filter(|it| !it.contains("401")).collect::<Vec<_>>(),
        Vec::<String>::new()
    );
    // Without a token there is nothing to act with.
    let reading = Served::with(None);
    reading.show(&town());
    let browser = Browser::start();
    browser.open(&reading.url("/"));
    assert_eq!(browser.run("return document.querySelector('button[data-act]').checkVisibility()"), false);
}

#[test]
fn what_is_declared_stands_beside_what_there_is() {
    let served = Served::new();
    let mut scenario = town();
    let network = scenario.state().networks.iter_mut().find(|it| it.name == "data-net").unwrap();
    network.internal = true;
    served.show(&scenario);
    let page = served.get("/objects/Destination/shop/data").expect(200).body;
    assert!(
        page.contains("Declared and observed") && page.contains("<td>no</td><td>yes <span class=\"badge bad\">"),
        "{page}"
    );
    let page = served.get("/objects/Destination/shop/web").expect(200).body;
    for words in
        ["10.42.0.0/24</b>", "of 254 in use", "<code>10.42.0.7</code>", "href=\"/objects/Application/shop/frontend\""]
    {
        assert!(page.contains(words), "{words} is missing: {page}");
    }
}

#[test]
fn without_javascript_it_is_complete_and_reloads_itself() {
    let served = Served::new();
    served.show(&town());
    let browser = Browser::with(Scheme::Light, false);
    browser.open(&served.url("/"));
    assert!(browser.text("#networks").contains("web-net"));
    assert_eq!(browser.run("return document.querySelector('#live').checkVisibility()"), false);
    assert!(served.get("/").body.contains("<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>"));
}

/// Names and versions come from daemons, and whoever runs a container on one has a say in them.
#[test]
fn what_a_daemon_says_is_text_and_never_markup() {
    const EVIL: &str =
        "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>\"' onmouseover='window.pwned=1";
    let mut scenario = town();
    let attached = scenario.state().networks.iter().position(|it| it.name == "web-net").unwrap();
    scenario.state().networks[attached].driver = EVIL.to_owned();
    EVIL.clone_into(&mut scenario.state().engine.version);
    let mut scenario = scenario.container(container(EVIL).label(EVIL, EVIL).on("web-net"));
    scenario.server().destinations[0].display_name = Some(EVIL.to_owned());
    let served = Served::new();
    served.show(&scenario);
    served.board.update(|board| {
        board.manifests.problems = vec![landfall::core::manifest::Diagnostic::of_file(EVIL, EVIL.to_owned())];
    });
    let browser = Browser::start();
    for path in
        ["/", "/objects/Destination/shop/web", "/objects/Server/default/edge-1", &format!("/?q={}", "%3Cscript%3E")]
    {
        browser.open(&served.url(path));
        browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
        assert_eq!(
            browser.run("return [window.pwned ?? null, document.scripts.length, document.images.length]").to_string(),
            "[null,1,1]",
            "{path}"
        );
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{path}");
        assert!(!served.get(path).body.contains("<script>"), "{path}");
    }
    assert!(browser.run("return document.querySelector('#q').value").as_str().unwrap().contains("<script>"));
}

/// One of a hundred servers with a hundred destinations each, with an application on each: half of them as declared, of the others nothing
/// is there yet.
fn one_of_a_hundred(number: usize) -> Scenario {
    let declared = |index: usize| {
        let member = application(&format!("app-{index:05}"));
        destination(&format!("d{index:05}")).named(&format!("net-{index:05}")).member(member)
    };
    let first = number * 100;
    let mut scenario = (first..first + 50).fold(Scenario::new(), |scenario, index| {
        scenario.destination(declared(index)).container(container(&format!("app-{index:05}")).on("bridge"))
    });
    scenario.apply();
    elsewhere((first + 50..first + 100).fold(scenario, |scenario, index| scenario.destination(declared(index))), number)
}

/// The same on a server of another name.
fn elsewhere(mut scenario: Scenario, number: usize) -> Scenario {
    let key = ObjectKey::new(Kind::Server, "default", &format!("edge-{number:03}"));
    let mut server = scenario.desired.servers.remove(&edge()).unwrap();
    Arc::make_mut(&mut server).key = key.clone();
    scenario.desired.servers = BTreeMap::from([(key.clone(), server)]);
    let seen = scenario.observed.remove(&edge()).unwrap();
    scenario.observed = BTreeMap::from([(key, seen)]);
    scenario
}

/// What a page of that size takes of the server, in milliseconds and bytes: the middle of five.
fn cost(served: &Served, path: &str) -> (u128, usize) {
    let mut times: Vec<u128> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            served.get(path).expect(200);
            begun.elapsed().as_millis()
        })
        .collect();
    times.sort_unstable();
    (times[2], served.get(path).body.len())
}

/// `cargo nextest run --no-capture ten_thousand` shows the figures.
#[test]
fn ten_thousand_destinations_stay_usable() {
    let served = Served::new();
    (0..100).for_each(|number| served.show(&one_of_a_hundred(number)));
    // Without optimization, on whatever else the machine does.
    let most = if cfg!(debug_assertions) { 1_000 } else { 100 };
    for path in [
        "/",
        "/?page=200",
        "/?q=net-09999",
        "/?q=app-0123&page=2",
        "/?show=attention",
        "/objects/Destination/shop/d09999",
    ] {
        let (milliseconds, bytes) = cost(&served, path);
        eprintln!("{path:<40} {milliseconds:>5} ms {bytes:>8} bytes");
        assert!(milliseconds < most, "{path}: {milliseconds} ms");
        assert!(bytes < 300_000, "{path}: {bytes} bytes");
    }

    let browser = Browser::start();
    browser.open(&served.url("/"));
    browser.until("it is live", "return document.querySelector('#live').dataset.state === 'live'");
    let timing = "const [it] = performance.getEntriesByType('navigation');
        return `the first byte after ${Math.round(it.responseStart)} ms, interactive after ${Math.round(it.domInteractive)} ms, \
                complete after ${Math.round(it.loadEventEnd)} ms`";
    eprintln!("in the browser: {}", browser.run(timing));
    let paint = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null";
    browser.until("it is painted", "return performance.getEntriesByName('first-contentful-paint').length > 0");
    let painted = browser.run(paint).as_f64().unwrap();
    eprintln!("first paint after {painted:.0} ms");
    // Optimized, and with the machine to itself, it takes a fraction.
    assert!(painted < if cfg!(debug_assertions) { 3_000.0 } else { 300.0 }, "first paint after {painted:.0} ms");
    assert!(browser.text(".pager").contains("Page 1 of 200"));
    assert_eq!(browser.run("return document.querySelectorAll('.lane').length"), 50);
    browser.run("document.querySelector('.pager a[rel=next]').click()");
    browser
        .until("the second page comes", "return document.querySelector('.pager')?.innerText.includes('Page 2 of 200')");
    assert!(browser.text("#networks").contains("shop/d00050"));
    browser.open(&served.url("/?q=net-09999"));
    assert!(browser.text(".lane").contains("shop/d09999"));
    // What is searched for stays so from page to page, and by its container a destination is found as well.
    browser.open(&served.url("/?q=app-00&page=3"));
    assert!(browser.text("#networks").contains("1000 of 10000 destinations"), "{}", browser.text("#networks p"));
    assert!(browser.text(".pager").contains("Page 3 of 20"));
    assert_eq!(
        browser.run("return document.querySelector('.pager a[rel=next]').getAttribute('href')"),
        "/?q=app-00&page=4"
    );
    browser.open(&served.url("/?q=nothing-like-this"));
    assert!(browser.text("#networks").contains("No destination is like that."));
    // A page behind the last is the last.
    browser.open(&served.url("/?page=9999"));
    assert!(browser.text(".pager").contains("Page 200 of 200"));
}

#[test]
fn assets_are_kept_for_ever_under_names_that_change_with_them() {
    let served = Served::new();
    let page = served.get("/").expect(200).body;
    let style = page.split("href=\"").find(|rest| rest.contains(".css\"")).unwrap().split('"').next().unwrap();
    let answer = served.get(style).expect(200);
    assert_eq!(answer.headers["content-type"], "text/css; charset=utf-8");
    assert!(answer.headers["cache-control"].contains("immutable"));
    served.get("/assets/page-0000000000000000.css").expect(404);
    for from_elsewhere in ["http://", "https://", "//cdn"] {
        assert!(!page.contains(&format!("=\"{from_elsewhere}")), "something comes from elsewhere");
    }
}
