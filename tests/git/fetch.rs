//! What is fetched, over every transport, and what stays in force when there is nothing new to be had.

use landfall::shell::git::Signatures;

use super::{Copy, block_on, contents, fetch, files, pairs};
use crate::support::repository::{GitDaemon, Http, HttpForge, Upstream, signing_key};

#[test]
fn a_branch_is_followed_by_path_daemon_and_http() {
    let upstream = Upstream::with(&[("web.yaml", "one"), ("README.md", "not read")]);
    let daemon = GitDaemon::serve(&upstream.bare());
    let smart = HttpForge::serve(&upstream.bare(), Http::Smart, None);
    let dumb = HttpForge::serve(&upstream.bare(), Http::Dumb, None);
    let addresses = [upstream.bare().to_str().unwrap().to_owned(), daemon.url.clone(), smart.url(), dumb.url()];
    let mut followed: Vec<_> = addresses
        .iter()
        .map(|address| {
            crate::support::repository::git(&upstream.bare(), &["update-server-info"]);
            let mut repository = Copy::of(address).repository_kept();
            let checkout = fetch(&mut repository.1).unwrap_or_else(|error| panic!("{address}: {error}"));
            assert_eq!(files(&checkout), pairs(&[("web.yaml", "one")]), "{address}");
            assert_eq!(checkout.revision, upstream.head());
            repository
        })
        .collect();
    upstream.commit(&[("web.yaml", "two"), ("db/orders.yml", "new")]);
    let head = upstream.commit(&[("web.yaml", "three")]);
    crate::support::repository::git(&upstream.bare(), &["update-server-info"]);
    for (address, (_, repository)) in addresses.iter().zip(&mut followed) {
        let checkout = fetch(repository).unwrap_or_else(|error| panic!("{address}: {error}"));
        assert_eq!(checkout.revision, head);
        assert_eq!(files(&checkout), pairs(&[("db/orders.yml", "new"), ("web.yaml", "three")]), "{address}");
    }
}

#[test]
fn a_checkout_is_one_commit_whatever_happens_beside_it() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let copy = Copy::of_path(&upstream.bare());
    let mut repository = copy.repository();
    let first = fetch(&mut repository).unwrap();
    upstream.commit(&[("web.yaml", "two")]);
    // Another process of the same state directory, too.
    let second = fetch(&mut copy.repository()).unwrap();
    assert_eq!(files(&first), pairs(&[("web.yaml", "one")]));
    assert_eq!(files(&second), pairs(&[("web.yaml", "two")]));
}

#[test]
fn nothing_is_left_behind_but_one_copy_of_the_repository() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let copy = Copy::of_path(&upstream.bare());
    for _ in 0..3 {
        drop(fetch(&mut copy.repository()).unwrap());
        upstream.commit(&[]);
    }
    let [copy] = &std::fs::read_dir(copy.state().join("git")).unwrap().collect::<Vec<_>>()[..] else {
        panic!("one copy")
    };
    let checkouts = copy.as_ref().unwrap().path().join("checkouts");
    assert_eq!(std::fs::read_dir(checkouts).unwrap().count(), 0);
}

#[test]
fn the_part_that_path_names_is_read_and_nothing_else() {
    let upstream =
        Upstream::with(&[("clusters/prod/web.yaml", "prod"), ("clusters/test/web.yaml", "test"), ("broken.yaml", "{")]);
    let copy = Copy::of_path(&upstream.bare()).at("clusters/prod");
    let checkout = fetch(&mut copy.repository()).unwrap();
    assert_eq!(files(&checkout), pairs(&[("clusters/prod/web.yaml", "prod")]));
    let copy = Copy::of_path(&upstream.bare()).at("clusters/test/web.yaml");
    let one = fetch(&mut copy.repository()).unwrap();
    assert_eq!(files(&one), pairs(&[("clusters/test/web.yaml", "test")]));
}

#[test]
fn without_a_branch_the_repository_decides() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let copy = Copy::of_path(&upstream.bare()).with(|wanted| wanted.branch = None);
    assert_eq!(fetch(&mut copy.repository()).unwrap().revision, upstream.head());
}

#[test]
fn a_remote_that_is_gone_leaves_the_last_good_revision_also_after_a_restart() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let copy = Copy::of_path(&upstream.bare());
    let mut repository = copy.repository();
    let head = fetch(&mut repository).unwrap().revision.clone();
    std::fs::rename(upstream.bare(), upstream.path().join("moved.git")).unwrap();

    let error = fetch(&mut repository).unwrap_err();
    assert_eq!(error.reason(), "FetchFailed");
    assert!(error.to_string().contains("does not appear to be a git repository"), "{error}");

    let kept = block_on(copy.repository().last_good()).unwrap().unwrap();
    assert_eq!((kept.revision.clone(), files(&kept)), (head, pairs(&[("web.yaml", "one")])));

    std::fs::rename(upstream.path().join("moved.git"), upstream.bare()).unwrap();
    let head = upstream.commit(&[("web.yaml", "two")]);
    assert_eq!(fetch(&mut repository).unwrap().revision, head);
}

#[test]
fn a_rewritten_branch_is_not_followed_until_it_contains_the_former_revision_again() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let second = upstream.commit(&[("web.yaml", "two")]);
    let copy = Copy::of_path(&upstream.bare());
    let mut repository = copy.repository();
    assert_eq!(fetch(&mut repository).unwrap().revision, second);

    // Another history, and the former one without its end: an old revision that comes back is not what was agreed on either.
    upstream.work(&["commit", "--quiet", "--amend", "--message=rewritten"]);
    upstream.push(&["--force"]);
    assert_eq!(fetch(&mut repository).unwrap_err().reason(), "HistoryRewritten");
    upstream.work(&["reset", "--quiet", "--hard", &format!("{second}~1")]);
    upstream.push(&["--force"]);
    let error = fetch(&mut repository).unwrap_err();
    assert_eq!(error.reason(), "HistoryRewritten");
    assert!(error.to_string().contains(&second[..12]), "{error}");
    let kept = block_on(copy.repository().last_good()).unwrap().unwrap();
    assert_eq!(kept.revision, second);

    upstream.work(&["reset", "--quiet", "--hard", &second]);
    let third = upstream.commit(&[("web.yaml", "three")]);
    assert_eq!(fetch(&mut repository).unwrap().revision, third);

    upstream.work(&["commit", "--quiet", "--amend", "--message=rewritten"]);
    let rewritten = upstream.push(&["--force"]);
    let allowed = Copy {
        wanted: {
            let mut it = copy.wanted.clone();
            it.only_forward = false;
            it
        },
        ..copy
    };
    assert_eq!(fetch(&mut allowed.repository()).unwrap().revision, rewritten);
}

#[test]
fn a_branch_or_path_that_is_gone_is_an_error_and_not_an_empty_set() {
    let upstream = Upstream::with(&[("prod/web.yaml", "one")]);
    upstream.work(&["push", "--quiet", "origin", "HEAD:keep"]);
    let copy = Copy::of_path(&upstream.bare()).at("prod");
    let mut repository = copy.repository();
    let first = fetch(&mut repository).unwrap().revision.clone();

    upstream.work(&["mv", "prod", "elsewhere"]);
    upstream.commit(&[]);
    let error = fetch(&mut repository).unwrap_err();
    assert_eq!(error.reason(), "PathMissing");
    assert!(error.to_string().contains("has no \"prod\""), "{error}");

    crate::support::repository::git(&upstream.bare(), &["branch", "-D", "main"]);
    assert_eq!(fetch(&mut repository).unwrap_err().reason(), "BranchMissing");
    assert_eq!(block_on(repository.last_good()).unwrap().unwrap().revision, first);
}

#[test]
fn only_commits_signed_by_an_allowed_key_are_taken() {
    let upstream = Upstream::with(&[("web.yaml", "unsigned")]);
    let (key, line) = signing_key(upstream.path(), "ada");
    let (other, _) = signing_key(upstream.path(), "eve");
    let signers = upstream.path().join("allowed");
    std::fs::write(&signers, line).unwrap();
    let signed_with = |key: &std::path::Path| {
        let signing = format!("user.signingKey={}", key.display());
        upstream.work(&["-c", &signing, "commit", "--quiet", "--allow-empty", "--message=signed", "-S"]);
        upstream.push(&[])
    };
    let copy = Copy::of_path(&upstream.bare())
        .with(|wanted| wanted.signatures = Signatures::Required { allowed_signers: Some(signers.clone()) });
    let mut repository = copy.repository();

    let error = fetch(&mut repository).unwrap_err();
    assert_eq!(error.reason(), "SignatureInvalid");
    assert!(error.to_string().ends_with("it has no signature"), "{error}");
    assert!(block_on(repository.last_good()).is_none());

    let good = signed_with(&key);
    assert_eq!(fetch(&mut repository).unwrap().revision, good);
    signed_with(&other);
    let error = fetch(&mut repository).unwrap_err();
    assert_eq!(error.reason(), "SignatureInvalid", "{error}");
    upstream.commit(&[("web.yaml", "unsigned again")]);
    assert_eq!(fetch(&mut repository).unwrap_err().reason(), "SignatureInvalid");
    assert_eq!(block_on(repository.last_good()).unwrap().unwrap().revision, good);
    // A key that is no longer allowed takes its revisions along.
    std::fs::write(&signers, "").unwrap();
    assert_eq!(block_on(repository.last_good()).unwrap().unwrap_err().reason(), "SignatureInvalid");
}

#[test]
fn credentials_of_the_address_open_the_door_and_are_in_no_message() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let forge = HttpForge::serve(&upstream.bare(), Http::Smart, Some("deploy:s3cr3t-t0ken"));
    let with = |user: &str| format!("http://{user}@{}/shop.git", forge.authority);
    let copy = Copy::of(with("deploy:s3cr3t-t0ken"));
    assert_eq!(fetch(&mut copy.repository()).unwrap().revision, upstream.head());
    let error = fetch(&mut Copy::of(with("deploy:wr0ng-t0ken")).repository()).unwrap_err();
    let text = format!("{error} {error:?} {}", error.diagnostic().render(false));
    assert!(text.contains("Authentication failed") && !text.contains("wr0ng"), "{text}");
    // Nor in what is kept.
    let kept = std::process::Command::new("grep").args(["-r", "s3cr3t"]).arg(copy.state()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "");
}

#[test]
fn a_remote_that_does_not_answer_is_given_up_and_leaves_no_process() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    let forge = HttpForge::serve(&upstream.bare(), Http::Silent, None);
    let copy = Copy::of(forge.url());
    let mut repository = copy.repository();
    block_on(async {
        // Whoever waits has had enough: what was started ends with the wait.
        let patience = std::time::Duration::from_secs(2);
        assert!(tokio::time::timeout(patience, repository.fetch()).await.is_err());
    });
    let needle = forge.authority.clone();
    crate::support::wait_for("git has ended", || {
        let processes = std::process::Command::new("ps").args(["-eo", "args"]).output().unwrap();
        (!String::from_utf8_lossy(&processes.stdout).contains(&needle)).then_some(())
    });
}

#[test]
fn what_links_to_nothing_is_said_as_for_files() {
    let upstream = Upstream::with(&[("web.yaml", "one")]);
    std::os::unix::fs::symlink("nowhere", upstream.work_tree().join("db.yaml")).unwrap();
    std::os::unix::fs::symlink("web.yaml", upstream.work_tree().join("again.yaml")).unwrap();
    upstream.commit(&[]);
    let (files, problems) = contents(&fetch(&mut Copy::of_path(&upstream.bare()).repository()).unwrap());
    assert_eq!(files.len(), 1, "the same file by another name is read once: {files:?}");
    assert_eq!(
        problems,
        ["db.yaml: error: cannot read: no such file or directory (-f names a file, a directory or `-`)"]
    );
}
