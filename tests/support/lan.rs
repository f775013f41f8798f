//! A network of test hosts: one bridge in a namespace of its own, and a cable from there to every host that was started on it.
//!
//! ```text
//!  whoever runs the commands ── 10.99.0.1 ─ bridge ─┬─ eth0 of a host, 10.99.0.2
//!                                                   └─ eth0 of a host, 10.99.0.3
//! ```
//!
//! The machine's own network has no part in it: several of them, of any tests, are there at once with the same addresses. What is to reach
//! the hosts runs inside ([`Lan::inside`]); files, Unix sockets and processes are those of the machine.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::wait_for;

/// The bridge's own address: where commands come from.
pub(crate) const COMMANDS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Gone when this and the last host on it are dropped, and when the test is killed.
#[derive(Clone, Debug)]
pub(crate) struct Lan(Arc<Bridge>);

#[derive(Debug)]
struct Bridge {
    /// Holds the namespace.
    keeper: Child,
    taken: AtomicU8,
}

/// Where a host is plugged in.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    lan: Lan,
    number: u8,
}

impl Lan {
    pub(crate) fn new() -> Self {
        let keeper = namespace(&format!(
            "ip link set lo up; ip link add lan type bridge; ip addr add {COMMANDS}/24 dev lan; ip link set lan up"
        ));
        Self(Arc::new(Bridge { keeper, taken: AtomicU8::new(1) }))
    }

    /// A command that will run in this network: it reaches every host by its address.
    pub(crate) fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace())).arg(program);
        command
    }

    /// The file that stands for the namespace.
    pub(super) fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.keeper.id())
    }

    pub(super) fn seat(&self) -> Seat {
        let number = self.0.taken.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number < 255, "the network is full");
        Seat { lan: self.clone(), number }
    }

    /// A namespace on this network, for as long as the process that is returned runs. What is to be there is started with nsenter.
    pub(super) fn machine(&self) -> (Child, Seat) {
        let keeper = namespace("ip link set lo up");
        let seat = self.seat();
        seat.plug(keeper.id());
        (keeper, seat)
    }

    fn ip(&self, arguments: &str) {
        let output = self.inside("ip").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A process in a network namespace of its own, made ready by a script. Gone with whoever runs the tests.
fn namespace(script: &str) -> Child {
    let script = format!("set -e; {script}; echo ready; exec cat");
    let mut keeper = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(
        line, "ready\n",
        "no network for test hosts (it takes root, unshare and ip; scripts/test installs them)"
    );
    keeper
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

impl Seat {
    pub(crate) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.number)
    }

    /// Runs a cable to `eth0` in the network namespace of a process.
    pub(super) fn plug(&self, process: u32) {
        let Self { lan, number } = self;
        // Its own after a reboot too, as real machines have it: the others remember it for half a minute.
        let hardware = format!("02:00:0a:63:00:{number:02x}");
        lan.ip(&format!("link add port{number} type veth peer name eth0 address {hardware} netns {process}"));
        lan.ip(&format!("link set port{number} master lan up"));
        let address = self.address();
        let script =
            format!("ip addr add {address}/24 dev eth0 && ip link set eth0 up && ip route add default via {COMMANDS}");
        let target = format!("--net=/proc/{process}/ns/net");
        let output = Command::new("nsenter").args([&target, "sh", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Nothing gets through any more, and nobody is told.
    pub(crate) fn cut(&self) {
        self.lan.ip(&format!("link set port{} down", self.number));
    }

    /// Waits until the host is found again: whoever asked for its address meanwhile remembers for a moment that nobody has it.
    pub(crate) fn mend(&self) {
        self.lan.ip(&format!("link set port{} up", self.number));
        let address = self.address().to_string();
        wait_for("the mended cable carries", || {
            let ping = self.lan.inside("busybox").args(["ping", "-c", "1", "-W", "1", &address]).output().unwrap();
            ping.status.success().then_some(())
        });
    }
}
