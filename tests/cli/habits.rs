//! What users of kubectl, Terraform and their shell expect of a command line.

use super::run::{command, finish, landfall};
use super::world::World;

const MANIFESTS: &str = "\
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-10 }
spec: { endpoint: unix:///nowhere/a.sock }
---
apiVersion: landfall/v1
kind: Server
metadata: { name: edge-2, namespace: far, labels: { tier: outer } }
spec: { endpoint: unix:///nowhere/b.sock }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web }
spec: { server: edge-10, network: { name: web } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: web, namespace: far }
spec: { server: edge-2, network: { name: web } }
---
apiVersion: landfall/v1
kind: Destination
metadata: { name: data }
spec: { server: edge-10, network: { name: data, mtu: 1450 } }
";

/// As the words of a shell, not split at spaces.
fn run(world: &World, arguments: &[&str]) -> super::run::Ran {
    finish(world.command("").args(arguments), "")
}

#[test]
fn objects_come_as_jsonpath_as_columns_and_in_an_order() {
    let world = World::new(MANIFESTS);
    // No server answers; what is declared is shown all the same, and the exit code says so.
    let ran = run(
        &world,
        &["get", "dest", "-o", "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}"],
    );
    assert_eq!(ran.expect(2).stdout, "default/data\ndefault/web\nfar/web\n");
    let ran = run(&world, &["get", "dest", "data", "-o", "jsonpath={.spec.network.mtu}"]).expect(2);
    assert_eq!(ran.stdout, "1450", "what is asked for by its name is no list");
    let ran =
        run(&world, &["get", "dest", "-o", "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}"]);
    assert_eq!(ran.expect(2).stdout, "Unknown Unknown Unknown");
    let columns = "custom-columns=NAME:.metadata.name,MTU:.spec.network.mtu";
    let ran = run(&world, &["get", "dest", "-n", "default", "-o", columns]).expect(2);
    assert_eq!(ran.stdout, "NAME   MTU\ndata   1450\nweb    <none>\n");
    let ran = run(&world, &["get", "dest", "-n", "default", "--no-headers", "-o", columns]).expect(2);
    assert_eq!(ran.stdout, "data   1450\nweb    <none>\n");
    let names = |arguments: &[&str]| run(&world, arguments).expect(2).stdout.replace('\n', " ");
    assert_eq!(
        names(&["get", "servers", "-o", "name", "--sort-by", ".metadata.name"]),
        "server/edge-2 server/edge-10 "
    );
    assert_eq!(
        names(&["get", "dest", "-n", "default", "-o", "name", "--sort-by={.spec.network.mtu}"]),
        "destination/web destination/data ",
        "what lacks the field comes first"
    );
}

#[test]
fn a_format_that_does_not_exist_is_told_with_those_that_do() {
    let world = World::new(MANIFESTS);
    for (format, told) in [
        ("jsn", "did you mean `json`?"),
        ("custom-columns=NAME", "\"NAME\" is not HEADING:PATH"),
        ("jsonpath={.items[*]", "has no `}`"),
        ("jsonpath", "the template is empty"),
        ("json=x", "there is no such format"),
    ] {
        let ran = run(&world, &["get", "dest", "-o", format]).expect(2);
        assert!(ran.stderr.contains(told) && ran.stdout.is_empty(), "{format}: {ran}");
    }
    let ran = run(&world, &["get", "dest", "--sort-by", ".items["]).expect(2);
    assert!(ran.stderr.contains("a bracket is not closed"), "{ran}");
}

#[test]
fn the_words_of_other_tools_are_answered_with_those_of_this_one() {
    for (word, answer) in [
        ("plan", "landfall diff"),
        ("status", "landfall get all"),
        ("destroy", "landfall delete -f DIR"),
        ("import", "landfall scan SERVER"),
        ("edit", "landfall apply -f FILE"),
        ("up", "landfall run"),
        ("lint", "landfall validate"),
        ("restart", "landfall rollout restart"),
    ] {
        let ran = landfall(std::path::Path::new("/"), [word]).expect(2);
        assert!(ran.stderr.contains(answer), "{word}: {ran}");
        assert_eq!(ran.stderr.matches("tip:").count(), 1, "{word}: one answer: {ran}");
    }
    let ran = landfall(std::path::Path::new("/"), ["aply"]).expect(2);
    assert!(ran.stderr.contains("'apply'"), "a typo has the word that is near it: {ran}");
}

#[test]
fn a_reason_is_explained_with_what_to_do() {
    let here = std::path::Path::new("/");
    let ran = landfall(here, ["explain", "MassDeletionRefused"]).expect(0);
    assert!(ran.stdout.starts_with("MassDeletionRefused\n\n  Pruning would remove more"), "{ran}");
    assert!(ran.stdout.contains("\nWHAT TO DO\n  check that `-f` names"), "{ran}");
    assert!(landfall(here, ["explain", "memberdetached"]).expect(0).stdout.contains("not on the network"));
    let ran = landfall(here, ["explain", "Contendet"]).expect(2);
    assert!(ran.stderr.contains("landfall explain Contended"), "{ran}");
    // What is none of the words is told with all kinds of them, and with the one that is near.
    for (word, near) in
        [("NoSuch", ""), ("Contendd", "Contended"), ("destinatoin", "destination"), ("proxydetahced", "ProxyDetached")]
    {
        let ran = landfall(here, ["explain", word]).expect(2);
        assert!(ran.stderr.contains("is no kind, and no reason, cause, condition or event"), "{ran}");
        match near {
            "" => assert!(ran.stderr.contains("kinds are server, destination, application"), "{ran}"),
            near => assert!(ran.stderr.contains(&format!("did you mean `{near}`? landfall explain {near}\n")), "{ran}"),
        }
    }
    let ran = landfall(here, ["explain", "destination.spec.netwrk"]).expect(2);
    assert!(ran.stderr.contains("did you mean `destination.spec.network`?"), "{ran}");
    let ran = landfall(here, ["explain", "destination.spec.network", "--recursive"]).expect(0);
    assert!(ran.stdout.contains("\nFIELDS\n  ") && ran.stdout.contains("\n    gateway <string>\n"), "{ran}");
}

#[test]
fn what_is_wrong_with_manifests_comes_as_forges_read_it() {
    let world =
        World::new("apiVersion: landfall/v1\nkind: Server\nmetadata: { name: a }\nspec: { endpint: unix:///x }\n");
    let ran = world.run("validate -o github").expect(2);
    assert!(ran.stdout.starts_with("::error file=manifests/all.yaml,line=4,col=9,title=ManifestInvalid::"), "{ran}");
    let report = world.run("validate -o gitlab").expect(2).json();
    assert_eq!(report[0]["location"]["path"], "manifests/all.yaml");
    assert_eq!(report[0]["location"]["lines"]["begin"], 4);
    assert_eq!(report[0]["fingerprint"].as_str().map(str::len), Some(32));
    let log = world.run("validate -o sarif").expect(2).json();
    assert_eq!(log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"], 4);
    let rule = &log["runs"][0]["tool"]["driver"]["rules"][0];
    assert!(rule["helpUri"].as_str().is_some_and(|uri| uri.starts_with("https://")), "{rule}");
    let good = World::new(MANIFESTS);
    assert_eq!(good.run("validate -o github").expect(0).stdout, "");
    assert_eq!(good.run("validate -o gitlab").expect(0).stdout, "[]\n");
}

/// What a shell is answered for the last of the words.
fn completed(world: &World, shell: &str, words: &[&str]) -> Vec<String> {
    let last = (words.len() - 1).to_string();
    let mut asked = world.command("");
    asked.env("COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", last).env("_CLAP_IFS", "\n").arg("--").args(words);
    let ran = finish(&mut asked, "").expect(0);
    // zsh and fish have a description behind the word.
    ran.stdout.lines().map(|line| line.split(['\t', ':']).next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_shell_is_told_what_the_manifests_have() {
    let world = World::new(MANIFESTS);
    world.write("other.yaml", &MANIFESTS.replace("name: data", "name: stored"));
    for shell in ["bash", "zsh", "fish"] {
        let completed = |words: &[&str]| completed(&world, shell, words);
        assert_eq!(completed(&["landfall", "get", "dest"]), ["destination"], "{shell}");
        assert_eq!(completed(&["landfall", "get", "server", "edge"]), ["edge-2", "edge-10"], "{shell}");
        assert_eq!(
            completed(&["landfall", "describe", "dest", ""])[..3],
            ["data", "default/web", "far/web"],
            "{shell}"
        );
        assert_eq!(completed(&["landfall", "describe", "dest", "-n", "far", "w"]), ["web"], "{shell}");
        assert_eq!(completed(&["landfall", "get", "dest", "-f", "other.yaml", "st"]), ["stored"], "{shell}");
        let objects = ["destination/data", "destination/default/web"];
        assert_eq!(completed(&["landfall", "wait", "destination/d"]), objects, "{shell}");
        assert_eq!(completed(&["landfall", "get", "dest", "--server", "edge-2,edge-1"]), ["edge-2,edge-10"], "{shell}");
        assert_eq!(completed(&["landfall", "diff", "-n", "f"]), ["far"], "{shell}");
        assert_eq!(completed(&["landfall", "explain", "server.spec.prox"]), ["server.spec.proxy"], "{shell}");
        assert_eq!(completed(&["landfall", "explain", "ResourcesRem"]), ["ResourcesRemain"], "{shell}");
        // Manifests that do not parse are no reason for a shell to print anything.
        assert!(completed(&["landfall", "get", "dest", "-f", "/nowhere", "x"]).is_empty(), "{shell}");
    }
}

#[test]
fn bash_completes_with_the_script_that_is_printed() {
    let world = World::new(MANIFESTS);
    let program = command().get_program().to_string_lossy().into_owned();
    let directory = std::path::Path::new(&program).parent().expect("a directory").display().to_string();
    let script = "source <(landfall completion bash) && COMP_WORDS=(landfall get server edge-1) COMP_CWORD=3 COMP_TYPE=9 \
                  && _clap_complete_landfall landfall edge-1 server && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = std::process::Command::new("bash");
    let path = format!("{directory}:{}", std::env::var("PATH").unwrap_or_default());
    bash.args(["--norc", "-c", script]).current_dir(world.path()).env("PATH", path);
    assert_eq!(finish(&mut bash, "").expect(0).stdout, "edge-10\n");
}

/// A directory of this machine with that name would be the worst answer.
#[test]
fn what_looks_like_an_address_and_is_none_is_no_directory_for_archives() {
    let world = World::new(MANIFESTS);
    for (arguments, said) in [
        ("backup app/x --to ftp://host/backups", "archives are kept in a directory, on ssh://"),
        ("backup verify app/x --from ssh://host", "the path is missing"),
        ("restore app/x --from ssh://user:secret@host/backups", "a password does not belong in an address"),
    ] {
        let ran = world.run(arguments).expect(2);
        assert!(ran.stderr.contains(said), "{ran}");
        assert!(!ran.stderr.contains("secret"), "{ran}");
    }
    assert!(!world.path().join("ftp:").exists());
}

#[test]
fn where_a_number_is_expected_words_say_so() {
    let here = std::path::Path::new("/");
    for (arguments, expected) in [
        ("history abc", "error: invalid value 'abc' for '[PASS]': a whole number is expected"),
        ("history -1x", "unexpected argument '-1' found"),
        ("history --limit ten", "for '--limit <COUNT>': a whole number is expected"),
        ("history 99999999999999999999999", "for '[PASS]': the number is too large"),
        ("backup app shop --keep x", "for '--keep <N>': a whole number is expected"),
    ] {
        let ran = landfall(here, arguments.split(' ')).expect(2);
        assert!(ran.stderr.contains(expected), "{arguments}: {ran}");
        assert!(!ran.stderr.contains("invalid digit") && ran.stderr.contains("--help"), "{arguments}: {ran}");
    }
}

#[test]
fn a_scope_that_takes_nothing_is_told_and_nothing_is_called_done() {
    let world = World::new(MANIFESTS);
    let before = std::fs::read_dir(world.path()).unwrap().count();
    let ran = world.run("apply -n nope").expect(2);
    assert!(ran.stderr.starts_with("error: no object in the namespace \"nope\" is declared\nhint: "), "{ran}");
    let ran = world.run("apply -n fra").expect(2);
    assert!(ran.stderr.contains("hint: did you mean `far`?"), "{ran}");
    let ran = world.run("apply -l tier=nothing").expect(2);
    assert!(ran.stderr.contains("no object with the labels of `-l` is declared"), "{ran}");
    assert_eq!(std::fs::read_dir(world.path()).unwrap().count(), before, "nothing was begun");
    let ran = world.run("get destinations -n nope").expect(0);
    assert_eq!(ran.stderr, "No destinations found in the namespace \"nope\".\n");
}

#[test]
fn a_name_that_is_nearly_right_is_answered_with_the_right_one() {
    let world = World::new(MANIFESTS);
    for (arguments, hint) in [
        ("get destination wbe", "did you mean `web`?"),
        ("get destination wbe -n far", "did you mean `web`?"),
        ("describe destination far/wbe", "did you mean `far/web`?"),
        ("describe destination blog/web", "there is one in the namespace \"default\""),
        ("doctor wbe", "did you mean `web`?"),
        ("doctor destination/wbe", "did you mean `web`?"),
        ("get destination qqqqqq", "`landfall get destinations` lists what is declared"),
    ] {
        let ran = world.run(arguments).expect(2);
        assert!(ran.stderr.contains(&format!("hint: {hint}\n")), "{arguments}: {ran}");
    }
    let manifests = MANIFESTS.to_owned()
        + "---\napiVersion: landfall/v1\nkind: Application\nmetadata: { name: late }\nspec: { destination: wbe, containers: { names: [late] } }\n";
    let ran = World::new(&manifests).run("validate").expect(2);
    assert!(
        ran.stderr.contains("there is no destination `wbe`") || ran.stdout.contains("there is no destination `wbe`"),
        "{ran}"
    );
    assert!(ran.to_string().contains("did you mean `web`?"), "{ran}");
}
