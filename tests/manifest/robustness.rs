//! Whatever the bytes are: a located message, never a panic, and in bounded time.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use landfall::core::manifest::{self, Diagnostic, MAX_FILE_BYTES, Source};
use proptest::prelude::*;

use super::{SERVER, load, source};

fn load_bytes(bytes: &[u8]) -> Result<usize, Vec<Diagnostic>> {
    manifest::load(&[Source { name: "test.yaml".to_owned(), bytes: bytes.to_vec() }]).map(|found| found.objects().len())
}

#[track_caller]
fn only(found: Result<usize, Vec<Diagnostic>>) -> Diagnostic {
    let found = found.expect_err("a fault");
    let [only] = found.as_slice() else { panic!("one fault, not {found:#?}") };
    only.clone()
}

/// Lines as an editor counts them.
fn lines(text: &str) -> Vec<String> {
    text.replace("\r\n", "\n").split(['\n', '\r']).map(str::to_owned).collect()
}

#[track_caller]
fn check_locations(bytes: &[u8], found: &[Diagnostic]) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = lines(text);
    for diagnostic in found {
        let _ = (diagnostic.render(true), diagnostic.render(false), diagnostic.to_string());
        let Some(line) = diagnostic.line else { continue };
        assert!(line >= 1 && line <= lines.len(), "line {line} of {}: {diagnostic}", lines.len());
        let column = diagnostic.column.expect("a line has a column");
        assert!(
            column >= 1 && column <= lines[line - 1].chars().count() + 1,
            "column {column}: {diagnostic}\n{text:?}"
        );
    }
}

fn samples() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifest/invalid");
    fs::read_dir(directory)
        .expect("the samples")
        .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("a sample"))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_refused_within_the_file(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Err(found) = load_bytes(&bytes) {
            check_locations(&bytes, &found);
        }
    }

    #[test]
    fn text_made_of_what_yaml_is_made_of_is_refused_within_the_file(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "a", "b: ", "- ", ": ", "? ", "\n", "\r\n", "  ", "\t", "[", "]", "{", "}", ",", "&x ", "*x", "!t ", "!!str ", "|\n", ">-\n",
                "\"", "'", "#", "---\n", "...\n", "%YAML 1.2\n", "<<", "é", "🐳", "\\", "@", "`", "~", "null", "1e3", "apiVersion: landfall/v1\n",
                "kind: Server\n", "metadata: { name: a }\n", "spec: {}\n", "\u{feff}", "\u{85}", "\u{2028}", "\r",
            ]),
            0..60,
        )
    ) {
        let text = words.concat();
        if let Err(found) = load_bytes(text.as_bytes()) {
            check_locations(text.as_bytes(), &found);
        }
    }

    #[test]
    fn a_damaged_manifest_is_refused_within_the_file(
        which in any::<proptest::sample::Index>(),
        damages in proptest::collection::vec(
            (any::<proptest::sample::Index>(), 0_usize..8, proptest::sample::select(vec!["", "\n", "  ", ":", "{", "ü", "\t", "\u{0}", "---\n", "*a"])),
            1..4,
        )
    ) {
        let samples = samples();
        let mut text: Vec<char> = which.get(&samples).chars().collect();
        for (at, removed, inserted) in damages {
            let at = at.index(text.len() + 1).min(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(found) = load_bytes(text.as_bytes()) {
            check_locations(text.as_bytes(), &found);
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_are_located() {
    let found = only(load_bytes(b"apiVersion: landfall/v1\nkind: \xc3\x28\n"));
    assert_eq!((found.line, found.column), (Some(2), Some(7)));
    assert_eq!(found.message, "byte 30 (0xc3) is not UTF-8");
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain("kind".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(only(load_bytes(&utf16)).hint.as_deref(), Some("the file is UTF-16: save it as UTF-8"));
}

#[test]
fn control_characters_are_located() {
    let found = only(load_bytes(b"apiVersion: landfall/v1\nkind: \0Server\n"));
    assert_eq!((found.line, found.column), (Some(2), Some(7)));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_accepted() {
    let text = format!("\u{feff}{}", SERVER.trim_start().replace('\n', "\r\n"));
    assert_eq!(load_bytes(text.as_bytes()), Ok(1));
    // And do not move the locations.
    let found = only(load_bytes(text.replace("name: edge-1", "nome: edge-1").as_bytes()));
    assert_eq!((found.line, found.column), (Some(3), Some(13)));
}

#[test]
fn empty_documents_are_skipped() {
    for text in ["", "\n", "---\n", "---\n---\n", "# nothing\n", "---\n# nothing\n...\n", "%YAML 1.2\n---\n"] {
        assert_eq!(load_bytes(text.as_bytes()), Ok(0), "{text:?}");
    }
    assert_eq!(load_bytes(format!("---\n---\n{SERVER}\n---\n# end\n").as_bytes()), Ok(1));
    assert_eq!(load_bytes(format!("%YAML 1.2\n---\n{SERVER}...\n").as_bytes()), Ok(1));
}

#[test]
fn json_is_read_as_it_is_written_by_programs() {
    let json = "{\n\t\"apiVersion\": \"landfall\\/v1\",\n\t\"kind\": \"Server\",\n\t\"metadata\": {\n\t\t\"name\": \"a\",\n\t\t\"annotations\": {\"note\": \"\\ud83d\\udc33 \\u00e9\"}\n\t},\n\t\"spec\": {}\n}\n";
    let found = load(json).unwrap_or_else(|found| panic!("{}", found[0].render(false)));
    let object = found.objects().next().expect("one object");
    assert_eq!(object.object.metadata.annotations["note"], "🐳 é");
    let compact: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(load_bytes(compact.to_string().as_bytes()), Ok(1));
}

#[test]
fn a_file_over_the_limit_is_refused_and_one_below_it_is_not() {
    let mut text = format!("{SERVER}#");
    text.extend(std::iter::repeat_n('x', MAX_FILE_BYTES - text.len()));
    assert_eq!(load_bytes(text.as_bytes()), Ok(1));
    text.push('x');
    let found = only(load_bytes(text.as_bytes()));
    assert_eq!(found.message, "the file is larger than 8 MiB, the most that is read");
}

#[test]
fn hostile_files_are_refused_in_bounded_time() {
    let size = 1 << 18;
    let anchors = (0..2000).fold("a0: &a0 [x]\n".to_owned(), |mut text, n| {
        let _ = writeln!(text, "a{}: &a{} [*a{n}, *a{n}]", n + 1, n + 1);
        text
    });
    let keys = (0..size / 16).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "key-{n}: v");
        text
    });
    let hostile = [
        ("open brackets", "[".repeat(size)),
        ("open braces", "{a: ".repeat(size / 4)),
        ("nested lists", "- ".repeat(size / 2)),
        ("one long list", format!("[{}]", "a,".repeat(size / 2))),
        ("a list of non-ASCII on one line", format!("[{}]", "é,".repeat(size / 3))),
        ("anchors of anchors", anchors),
        ("many documents", "---\na\n".repeat(50_010)),
        ("many broken documents", "---\n[\n".repeat(20_000)),
        ("many keys", keys.clone()),
        ("many keys twice", format!("{keys}{keys}")),
        ("an open quote", format!("a: \"{}", "x\n ".repeat(size / 3))),
        ("an open block", format!("a: |\n{}", " x\n".repeat(size / 3))),
        ("many anchors", "&a ".repeat(size / 3)),
        ("many tags", "!a ".repeat(size / 3)),
        ("many question marks", "? ".repeat(size / 2)),
        ("colons", ": ".repeat(size / 2)),
        ("a deep indentation", (0..1400).fold(String::new(), |text, n| text + &" ".repeat(n) + "a:\n")),
    ];
    for (name, text) in hostile {
        let started = Instant::now();
        let found = load_bytes(text.as_bytes()).expect_err(name);
        assert!(!found.is_empty());
        let elapsed = started.elapsed();
        // Generous: a debug build on a busy machine. What it guards against takes hours.
        assert!(elapsed < Duration::from_secs(30), "{name} took {elapsed:?}");
    }
}

#[test]
fn every_problem_of_every_document_of_every_file_is_reported() {
    let broken =
        |name: &str| format!("{SERVER}---\napiVersion: landfall/v1\nkind: {name}\n---\n{{\n---\nkind: Server\n");
    let sources = [source("b.yaml", &broken("Serve")), source("a.yaml", &broken("Destinatio"))];
    let found = manifest::load(&sources).expect_err("faults");
    let places: Vec<String> =
        found.iter().map(|one| format!("{}:{} {}", one.file, one.line.unwrap_or(0), one.message)).collect();
    insta::assert_snapshot!(places.join("\n"));
}
