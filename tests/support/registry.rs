//! A registry on a host's own loopback address, which its daemon trusts without certificates.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Host, wait_for};

pub(crate) const ADDRESS: &str = "127.0.0.1:5000";
/// The user `shop` with the password `correct-horse`.
const PASSWORDS: &str = "shop:$2y$05$7WPN8KOiHKV9AboZYDP6nOfq4mTajqBXle35v9ihMAV3O/ytINDI2\n";
/// `{"username":"shop","password":"correct-horse"}`, as a request to the daemon carries it.
const AUTH: &str = "eyJ1c2VybmFtZSI6InNob3AiLCJwYXNzd29yZCI6ImNvcnJlY3QtaG9yc2UifQ==";

pub(crate) struct Registry<'a> {
    host: &'a Host,
    directory: tempfile::TempDir,
    /// What has started it in the host.
    serve: Child,
}

impl<'a> Registry<'a> {
    /// `password`: nobody is let in without.
    pub(crate) fn start(host: &'a Host, password: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::write(path("passwords"), PASSWORDS).unwrap();
        let auth = match password {
            true => format!("auth: {{ htpasswd: {{ realm: shop, path: {} }} }}\n", path("passwords")),
            false => String::new(),
        };
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ enabled: true }} }}\nhttp: {{ addr: '{ADDRESS}' }}\n{auth}",
            path("data")
        );
        fs::write(path("config.yml"), config).unwrap();
        // It ends with the host, whose process 1 takes everything with it.
        let mut serve = host.inside(&["docker-registry", "serve", &path("config.yml")]);
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let serve = serve.spawn().expect("scripts/test installs it");
        let registry = Self { host, directory, serve };
        wait_for("the registry", || {
            let asked = host.run(&["curl", "--silent", "--output", "/dev/null", &format!("http://{ADDRESS}/v2/")]);
            asked.status.success().then_some(())
        });
        registry
    }

    /// Gives the registry an image of the host under another name, such as `shop:latest`. The host keeps what it had under that name.
    pub(crate) fn push(&self, image: &str, name: &str) {
        let (repository, tag) = name.split_once(':').unwrap();
        let full = format!("{ADDRESS}/{repository}");
        let before = self.host.api("GET", &format!("/images/{full}:{tag}/json"), &serde_json::Value::Null);
        let tag_as = |image: &str| {
            let path = format!("/images/{image}/tag?repo={full}&tag={tag}");
            self.host.api("POST", &path, &serde_json::Value::Null).expect_success(&path);
        };
        tag_as(image);
        let url = format!("http://docker/images/{full}/push?tag={tag}");
        let pushed = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--request", "POST", "--header"])
            .arg(format!("X-Registry-Auth: {AUTH}"))
            .arg("--unix-socket")
            .arg(self.host.socket())
            .arg(url)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&pushed.stdout).into_owned() + &String::from_utf8_lossy(&pushed.stderr);
        assert!(pushed.status.success() && !said.contains("\"error\""), "{said}");
        match before.status {
            200 => tag_as(before.body["Id"].as_str().unwrap()),
            _ => self.forget(&format!("{full}:{tag}")),
        }
    }

    /// Takes a name, and what nothing else names, off the host.
    pub(crate) fn forget(&self, name: &str) {
        self.host.api("DELETE", &format!("/images/{name}"), &serde_json::Value::Null);
    }

    /// The digest that a tag stands for.
    pub(crate) fn digest(&self, repository: &str, tag: &str) -> String {
        let link = self.data().join(format!("repositories/{repository}/_manifests/tags/{tag}/current/link"));
        fs::read_to_string(link).unwrap()
    }

    /// Loses the largest of the blobs: manifests and small ones stay.
    pub(crate) fn lose_largest_blob(&self) {
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        for prefix in fs::read_dir(self.data().join("blobs/sha256")).unwrap().flatten() {
            for blob in fs::read_dir(prefix.path()).unwrap().flatten() {
                let data = blob.path().join("data");
                found.push((fs::metadata(&data).map_or(0, |it| it.len()), data));
            }
        }
        let (_, largest) = found.into_iter().max().unwrap();
        fs::remove_file(largest).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data/docker/registry/v2")
    }
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        let _ = self.serve.kill();
        let _ = self.serve.wait();
    }
}
