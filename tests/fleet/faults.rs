//! Faults at random: `scripts/fleet-faults N`. The tests try some.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::controllers::Fleet;
use crate::support::etcd::{Etcd, Setup};
use crate::support::relay::Relay;

/// Faults that every run of the tests has.
const SAMPLE: usize = 6;
const SERVERS: usize = 12;

/// A generator whose numbers a seed brings back.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// What ends by itself.
enum Fault {
    Killed(usize),
    Stopped(usize),
    Isolated(usize),
    CutOff {
        controller: usize,
        server: usize,
    },
    MemberKilled(usize),
    MemberStopped(usize),
    /// Two members of etcd from each other; the third reaches both, and clients reach all.
    MembersParted(usize, usize),
    /// A member from both others.
    MemberAlone(usize),
}

impl Fault {
    /// Of the controller, all of it.
    fn is_of(&self, controller: usize) -> bool {
        matches!(self, Self::Killed(it) | Self::Stopped(it) | Self::Isolated(it) if *it == controller)
    }

    /// etcd has its quorum through one of these, and not through two.
    fn is_of_etcd(&self) -> bool {
        matches!(self, Self::MemberKilled(_) | Self::MemberStopped(_) | Self::MembersParted(..) | Self::MemberAlone(_))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Killed(_) => "kill -9 of a controller",
            Self::Stopped(_) => "SIGSTOP of a controller",
            Self::Isolated(_) => "controller cut off from etcd",
            Self::CutOff { .. } => "controller cut off from a server",
            Self::MemberKilled(_) => "kill -9 of a member of etcd",
            Self::MemberStopped(_) => "SIGSTOP of a member of etcd",
            Self::MembersParted(..) => "two members of etcd parted",
            Self::MemberAlone(_) => "a member of etcd cut off from the others",
        }
    }
}

struct Storm {
    fleet: Fleet,
    dice: Dice,
    under_way: Vec<(Instant, Fault)>,
    counts: BTreeMap<&'static str, usize>,
}

impl Storm {
    /// A fault that leaves somebody at work.
    fn pick(&mut self) -> Fault {
        let controller = self.dice.roll(3);
        let server = self.dice.roll(SERVERS);
        let member = self.dice.roll(3);
        let taken = self.under_way.iter().any(|(_, fault)| fault.is_of(controller));
        let down = self.under_way.iter().any(|(_, fault)| fault.is_of_etcd());
        let of_controller = |number| match number {
            0 => Fault::Killed(controller),
            1 => Fault::Stopped(controller),
            _ => Fault::Isolated(controller),
        };
        let of_etcd = |number| match number {
            0 => Fault::MemberKilled(member),
            1 => Fault::MemberStopped(member),
            2 => Fault::MembersParted(member, (member + 1) % 3),
            _ => Fault::MemberAlone(member),
        };
        match self.dice.roll(9) {
            number @ 0..3 if !taken => of_controller(number),
            number @ 3..7 if !down => of_etcd(number - 3),
            number if number % 2 == 0 && !taken => of_controller(number % 3),
            number if number % 2 == 1 && !down => of_etcd(number % 4),
            _ => Fault::CutOff { controller, server },
        }
    }

    /// Begins one, and says which.
    fn begin(&mut self) -> String {
        let fault = self.pick();
        let ends = Instant::now() + Duration::from_millis(500 + u64::try_from(self.dice.roll(11_500)).unwrap());
        let said = match &fault {
            Fault::Killed(controller) => {
                self.fleet.kill(*controller);
                format!("kill -9 of controller {controller}")
            }
            Fault::Stopped(controller) => {
                self.fleet.signal(*controller, Signal::STOP);
                format!("SIGSTOP of controller {controller}")
            }
            Fault::Isolated(controller) => {
                self.fleet.controllers[*controller].relays.iter().for_each(Relay::stall);
                format!("controller {controller} cut off from etcd")
            }
            Fault::CutOff { controller, server } => {
                self.fleet.engines[*server].cut(*controller, true);
                format!("controller {controller} cut off from server {server}")
            }
            Fault::MemberKilled(member) => {
                self.fleet.etcd.kill(*member);
                format!("kill -9 of member {member} of etcd")
            }
            Fault::MemberStopped(member) => {
                self.fleet.etcd.signal(*member, Signal::STOP);
                format!("SIGSTOP of member {member} of etcd")
            }
            Fault::MembersParted(one, other) => {
                self.fleet.etcd.part(*one, *other);
                format!("members {one} and {other} of etcd cut off from each other")
            }
            Fault::MemberAlone(member) => {
                (1..3).for_each(|step| self.fleet.etcd.part(*member, (*member + step) % 3));
                format!("member {member} of etcd cut off from the others")
            }
        };
        *self.counts.entry(fault.kind()).or_default() += 1;
        self.under_way.push((ends, fault));
        said
    }

    fn end(&mut self, all: bool) {
        let now = Instant::now();
        let (over, rest): (Vec<_>, Vec<_>) = self.under_way.drain(..).partition(|(ends, _)| all || *ends <= now);
        self.under_way = rest;
        for (_, fault) in over {
            match fault {
                Fault::Killed(controller) => self.fleet.run(controller),
                Fault::Stopped(controller) => self.fleet.signal(controller, Signal::CONT),
                Fault::Isolated(controller) => self.fleet.controllers[controller].relays.iter().for_each(Relay::resume),
                Fault::CutOff { controller, server } => self.fleet.engines[server].cut(controller, false),
                Fault::MemberKilled(member) => self.fleet.etcd.run(member),
                Fault::MemberStopped(member) => self.fleet.etcd.signal(member, Signal::CONT),
                Fault::MembersParted(one, other) => self.fleet.etcd.join(one, other),
                Fault::MemberAlone(member) => {
                    (1..3).for_each(|step| self.fleet.etcd.join(member, (member + step) % 3));
                }
            }
        }
    }

    /// Something is always amiss somewhere.
    fn disturb(&mut self) {
        let server = self.dice.roll(SERVERS);
        if self.fleet.engines[server].is_attached() {
            self.fleet.engines[server].disconnect();
        }
    }
}

#[test]
fn whatever_fails_no_server_is_changed_by_two_and_in_the_end_everything_is_as_declared() {
    let asked = std::env::var("FLEET_FAULTS").ok().and_then(|it| it.parse().ok());
    let seed = std::env::var("FLEET_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    let fleet = Fleet::start_on(Etcd::start_with(Setup { members: 3, apart: true, ..Setup::default() }), SERVERS, 3);
    let mut storm = Storm { fleet, dice: Dice(seed), under_way: Vec::new(), counts: BTreeMap::new() };
    let began = Instant::now();
    for number in 0..asked.unwrap_or(SAMPLE) {
        let said = storm.begin();
        if asked.is_some() {
            eprintln!("{:>6.1} s  fault {number}: {said}", began.elapsed().as_secs_f64());
        }
        let next = Instant::now() + Duration::from_millis(200 + u64::try_from(storm.dice.roll(1_800)).unwrap());
        while Instant::now() < next {
            storm.disturb();
            storm.end(false);
            std::thread::sleep(Duration::from_millis(50));
        }
        let wrong = storm.fleet.verdict();
        assert!(wrong.is_empty(), "seed {seed}, fault {number}: {wrong:#?}");
    }
    storm.end(true);
    let calm = Instant::now();
    for engine in &storm.fleet.engines {
        engine.disconnect();
    }
    let deadline = calm + Duration::from_secs(90);
    while !storm.fleet.engines.iter().all(|engine| engine.is_attached()) {
        assert!(Instant::now() < deadline, "seed {seed}: not everything is as declared");
        std::thread::sleep(Duration::from_millis(50));
    }
    let wrong = storm.fleet.verdict();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    let calls: usize = storm.fleet.engines.iter().map(|engine| engine.calls().len()).sum();
    let tokens: std::collections::BTreeSet<_> = storm
        .fleet
        .engines
        .iter()
        .enumerate()
        .flat_map(|(number, engine)| engine.calls().into_iter().map(move |call| (number, call.token)))
        .collect();
    for (kind, count) in &storm.counts {
        eprintln!("figure: {count} × {kind}");
    }
    eprintln!(
        "figure: {} faults, {calls} changes under {} locks, as declared {:.1} s after the last fault",
        asked.unwrap_or(SAMPLE),
        tokens.len(),
        calm.elapsed().as_secs_f64()
    );
    assert!(calls >= SERVERS);
}
