//! Every block of commands in the documentation: which test runs it, or why none does.

use std::collections::BTreeMap;
use std::fs;

use crate::documents::{files, pages, read};

/// Page, how the block begins, and the function that runs it.
const RUN: &[(&str, &str, &str)] = &[
    ("README.md", "$ landfall diff", "the_pages_show_what_the_commands_print"),
    ("README.md", "$ docker network disconnect", "the_pages_show_what_the_commands_print"),
    ("docs/reference/destination.md", "$ landfall get destinations", "the_pages_show_what_the_commands_print"),
    ("docs/tutorial.md", "landfall scan local", "the_tutorial_is_walked_through"),
    ("docs/tutorial.md", "landfall diff          # exit code 1", "the_tutorial_is_walked_through"),
    ("docs/tutorial.md", "docker network disconnect", "the_tutorial_is_walked_through"),
    ("docs/tutorial.md", "landfall delete destination web", "the_tutorial_is_walked_through"),
    ("docs/tutorial.md", "landfall diff                                # says", "the_tutorial_is_walked_through"),
    ("docs/guides/from-coolify.md", "landfall scan coolify-1", "the_guide_from_coolify_is_walked_through"),
    ("docs/guides/from-coolify.md", "landfall apply", "the_guide_from_coolify_is_walked_through"),
    ("docs/guides/fleet-over-ssh.md", "ssh-keygen", "the_guide_to_a_fleet_is_walked_through"),
    ("docs/guides/fleet-over-ssh.md", "landfall diff -l region=eu", "the_guide_to_a_fleet_is_walked_through"),
    ("docs/guides/fleet-over-ssh.md", "landfall run --git", "the_guide_to_a_fleet_is_walked_through"),
    ("docs/reference/graph.md", "$ landfall graph", "the_pages_of_what_looks_show_what_it_prints"),
    ("docs/reference/status.md", "$ landfall get dest -o jsonpath", "the_pages_of_what_looks_show_what_it_prints"),
    ("docs/reference/subnets.md", "$ landfall subnets", "the_pages_of_what_looks_show_what_it_prints"),
    ("docs/reference/drift.md", "$ landfall drift", "the_pages_of_what_looks_show_what_it_prints"),
    ("docs/reference/scan.md", "$ landfall scan", "the_pages_of_what_looks_show_what_it_prints"),
    ("docs/reference/doctor.md", "$ landfall doctor shop", "the_page_of_the_doctor_shows_what_it_finds"),
    ("docs/swarm.md", "$ landfall diff", "the_page_about_swarms_shows_what_diff_prints"),
    ("docs/operating.md", "landfall validate -f manifests", "commands_for_ci_do_what_operating_says"),
    ("docs/operating.md", "openssl rand", "a_controller_is_asked_as_the_pages_say"),
    ("docs/reference/http.md", "curl --data-binary", "a_controller_is_asked_as_the_pages_say"),
    ("docs/operating.md", "landfall events -w", "what_happened_is_told_and_waited_for_as_operating_says"),
    ("docs/guides/several-controllers.md", "etcdctl user add", "the_guide_to_several_controllers_is_walked_through"),
    ("docs/guides/several-controllers.md", "landfall run --git", "the_guide_to_several_controllers_is_walked_through"),
    (
        "docs/guides/several-controllers.md",
        "landfall get controllers",
        "the_guide_to_several_controllers_is_walked_through",
    ),
    ("docs/reference/backup.md", "$ landfall backup database", "the_pages_about_backups_are_walked_through"),
    ("docs/reference/backup.md", "$ landfall backup verify", "the_pages_about_backups_are_walked_through"),
    ("docs/guides/backup.md", "landfall backup database", "the_pages_about_backups_are_walked_through"),
    ("docs/guides/backup.md", "landfall backup verify", "the_pages_about_backups_are_walked_through"),
    ("docs/guides/backup.md", "landfall restore database", "the_pages_about_backups_are_walked_through"),
    ("docs/reference/clone.md", "$ landfall clone", "the_page_about_clones_shows_what_one_prints"),
];

/// Page, how the block begins, and why no test runs it.
const NOT_RUN: &[(&str, &str, &str)] = &[
    ("README.md", "scripts/quickstart", "tests/quickstart.rs runs the tour, and scripts/test runs this"),
    ("CONTRIBUTING.md", "scripts/test", "it runs this test"),
    ("CONTRIBUTING.md", "scripts/engines", "scripts/test runs it, and tests on the engine that it fetched"),
    (
        "docs/guides/fleet-over-ssh.md",
        "useradd",
        "it makes a user of the machine; tests/ssh logs in with a key that is restricted in the same way",
    ),
    ("docs/guides/fleet-over-ssh.md", "ssh-keyscan", "it asks a server on the internet, and is no command of Landfall"),
    (
        "docs/swarm.md",
        "$ landfall apply",
        "its images come from registries; tests/docker/on_swarm.rs runs images of its own so",
    ),
    (
        "docs/operating.md",
        "docker run -d",
        "its port is that of the machine; tests/docker/recipe.rs builds the image and runs it so on a daemon of its own",
    ),
    ("docs/install.md", "sudo apt install", "scripts/package-test installs the package in chroots of Debian 12 and 13"),
    ("docs/install.md", "sudo usermod", "scripts/package-test starts from the same files in its chroots"),
    ("docs/install.md", "sha256sum", "it is about the files of a release, which scripts/package makes"),
    ("docs/install.md", "podman load", "scripts/package-test loads the image and runs it"),
];

/// The languages of commands.
const LANGUAGES: [&str; 4] = ["console", "sh", "bash", "shell"];

/// A block of commands on a page.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) page: String,
    /// Of its first command.
    line: usize,
    /// As it stands on the page, without what it is indented by.
    pub(super) text: String,
    /// Whether outputs stand below the commands, which begin with `$ `.
    pub(super) console: bool,
    indent: String,
}

fn blocks_of(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let text = read(page);
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line[..line.len() - line.trim_start().len()].to_owned();
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let inside = inside.map(|line| format!("{}\n", line.strip_prefix(&indent).unwrap_or(line))).collect();
        if LANGUAGES.contains(&language) {
            let console = language == "console";
            blocks.push(Block { page: page.to_owned(), line: number + 1, text: inside, console, indent });
        }
    }
    blocks
}

/// The one block of the page that begins so.
pub(super) fn block(page: &str, begins: &str) -> Block {
    let mut found = blocks_of(page).into_iter().filter(|block| block.text.starts_with(begins));
    let block = found.next().unwrap_or_else(|| panic!("{page} has no commands that begin with {begins:?}"));
    assert!(found.next().is_none(), "{page} has several blocks that begin with {begins:?}");
    block
}

impl Block {
    /// Writes it anew.
    pub(super) fn replace(&self, content: &str) {
        let indented = |text: &str| -> String {
            text.lines().map(|line| format!("{}{line}", self.indent).trim_end().to_owned() + "\n").collect()
        };
        let text = read(&self.page);
        let old = indented(&self.text);
        assert_eq!(text.matches(&old).count(), 1, "{}:{}", self.page, self.line);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&self.page);
        fs::write(path, text.replace(&old, &indented(content))).unwrap();
    }
}

/// What a test has to run.
pub(super) fn of_test(test: &str) -> Vec<(&'static str, &'static str)> {
    let of = RUN.iter().filter(|(.., runs)| *runs == test);
    let found: Vec<_> = of.map(|(page, begins, _)| (*page, *begins)).collect();
    assert!(!found.is_empty(), "no block is listed for {test}");
    found
}

/// Nothing on a page is unproven without somebody having said why.
#[test]
fn every_block_of_commands_is_run_or_it_is_said_why_not() {
    let mut listed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (page, begins, said) in RUN.iter().chain(NOT_RUN) {
        assert!(!said.is_empty());
        let before = listed.insert((page, begins), 0);
        assert!(before.is_none(), "{page}: {begins} is listed twice");
    }
    let mut unlisted = Vec::new();
    for page in pages() {
        let page = page.to_str().unwrap().to_owned();
        for block in blocks_of(&page) {
            let of = |(on, begins): &&mut (&str, &str)| *on == page && block.text.starts_with(*begins);
            let mut found: Vec<_> = listed.keys().copied().collect();
            let found: Vec<_> = found.iter_mut().filter(of).map(|it| *it).collect();
            match found.as_slice() {
                [one] => *listed.get_mut(one).unwrap() += 1,
                [] => {
                    unlisted.push(format!("{page}:{}: {}", block.line, block.text.lines().next().unwrap_or_default()))
                }
                several => panic!("{page}:{} is listed several times: {several:?}", block.line),
            }
        }
    }
    assert_eq!(
        unlisted,
        Vec::<String>::new(),
        "no test runs these blocks, and it is not said why (tests/transcript/blocks.rs)"
    );
    let stale: Vec<_> = listed.iter().filter(|(_, count)| **count != 1).collect();
    assert!(stale.is_empty(), "listed, and not on the page once: {stale:?}");
    // The tests that are named are there.
    let sources: String = files("tests", "rs").iter().map(|file| read(file.to_str().unwrap())).collect();
    for (page, begins, test) in RUN {
        assert!(sources.contains(&format!("#[test]\nfn {test}()")), "{page}: {begins}: there is no test {test}");
    }
}
