//! A real browser: Debian's Chromium, driven by its chromedriver over WebDriver, which is JSON over HTTP and no more.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use serde_json::{Value, json};

use crate::web::client;

/// Ends, and its driver with it, when dropped.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    // Its profile.
    _directory: tempfile::TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

impl Browser {
    pub fn start() -> Self {
        Self::with(Scheme::Light, true)
    }

    pub fn with(scheme: Scheme, javascript: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts (scripts/test installs it)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.split_once("successfully on port ").map(|(_, port)| port.to_owned()));
        let port: u16 = port.expect("chromedriver says its port").trim_end_matches('.').parse().unwrap();
        // It must not wait for somebody to read what else it says.
        std::thread::spawn(move || lines.for_each(drop));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", directory.path().join("profile").display()),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        } } });
        let mut browser = Self { driver, address, session: String::new(), _directory: directory };
        let created = browser.call("POST /session", &capabilities);
        browser.session = created["sessionId"].as_str().expect("a session").to_owned();
        let scheme = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.emulate("Emulation.setEmulatedMedia", &features);
        browser.emulate("Emulation.setScriptExecutionDisabled", &json!({ "value": !javascript }));
        browser
    }

    fn emulate(&self, command: &str, parameters: &Value) {
        self.of_session("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    fn call(&self, line: &str, body: &Value) -> Value {
        let host = self.address.to_string();
        let body = if line.starts_with("POST") { body.to_string() } else { String::new() };
        let headers = [("Host", host.as_str()), ("Content-Type", "application/json")];
        let answer = client::send(client::connect(self.address), line, &headers, &body);
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
        answer.json()["value"].take()
    }

    fn of_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(&format!("{method} /session/{}{path}", self.session), body)
    }

    pub fn open(&self, url: &str) {
        self.of_session("POST", "/url", &json!({ "url": url }));
    }

    pub fn resize(&self, width: u32, height: u32) {
        self.of_session("POST", "/window/rect", &json!({ "width": width, "height": height }));
    }

    /// What the body of a function gives back.
    pub fn run(&self, script: &str) -> Value {
        self.of_session("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the first element that the selector finds, as it is shown.
    pub fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.innerText ?? null");
        self.run(&script).as_str().unwrap_or_else(|| panic!("no {selector} on the page")).to_owned()
    }

    /// Waits until the script gives something true.
    #[track_caller]
    pub fn until(&self, what: &str, script: &str) {
        super::wait_for(what, || (self.run(script) == true).then_some(()));
    }

    pub fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })])
            .collect();
        self.of_session(
            "POST",
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }),
        );
    }

    /// What the console says that is worse than information, a breach of the page's policy included.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.of_session("POST", "/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        let bad = entries.iter().filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        bad.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The whole page as a PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let height = self.run("return document.documentElement.scrollHeight").as_u64().unwrap_or(800);
        let width = self.run("return window.innerWidth").as_u64().unwrap_or(1280);
        self.shot(u32::try_from(width).unwrap(), u32::try_from(height + 160).unwrap())
    }

    /// What is to be seen of it in a window of that size.
    pub fn shot(&self, width: u32, height: u32) -> Vec<u8> {
        self.resize(width, height);
        let picture = self.of_session("GET", "/screenshot", &Value::Null);
        base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, and only with that: so also when the test has failed, and whatever is answered.
        if !self.session.is_empty()
            && let Ok(stream) = std::net::TcpStream::connect(self.address)
        {
            let host = self.address.to_string();
            let line = format!("DELETE /session/{}", self.session);
            let _ = std::panic::catch_unwind(|| client::send(stream, &line, &[("Host", host.as_str())], ""));
        }
        let _ = std::process::Command::new("kill").arg(self.driver.id().to_string()).status();
        let _ = self.driver.wait();
    }
}
