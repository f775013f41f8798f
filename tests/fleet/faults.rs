//! Faults at random: `scripts/fleet-faults N`. The tests try some.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::controllers::Fleet;
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
    CutOff { controller: usize, server: usize },
    MemberKilled(usize),
    MemberStopped(usize),
}

struct Storm {
    fleet: Fleet,
    dice: Dice,
    under_way: Vec<(Instant, Fault)>,
}

impl Storm {
    /// Begins a fault that leaves somebody at work, and says which.
    fn begin(&mut self) -> String {
        let controller = self.dice.roll(3);
        let ends = Instant::now() + Duration::from_millis(500 + u64::try_from(self.dice.roll(11_500)).unwrap());
        let busy = |fault: &Fault| match fault {
            Fault::Killed(it) | Fault::Stopped(it) | Fault::Isolated(it) => *it == controller,
            Fault::CutOff { .. } | Fault::MemberKilled(_) | Fault::MemberStopped(_) => false,
        };
        let taken = self.under_way.iter().any(|(_, fault)| busy(fault));
        let down =
            self.under_way.iter().any(|(_, fault)| matches!(fault, Fault::MemberKilled(_) | Fault::MemberStopped(_)));
        let (fault, said) = match self.dice.roll(6) {
            0 if !taken => {
                self.fleet.kill(controller);
                (Fault::Killed(controller), format!("kill -9 of controller {controller}"))
            }
            1 if !taken => {
                self.fleet.signal(controller, Signal::STOP);
                (Fault::Stopped(controller), format!("SIGSTOP of controller {controller}"))
            }
            2 if !taken => {
                self.fleet.controllers[controller].relays.iter().for_each(Relay::stall);
                (Fault::Isolated(controller), format!("controller {controller} cut off from etcd"))
            }
            3 if !down => {
                let member = self.dice.roll(3);
                self.fleet.etcd.kill(member);
                (Fault::MemberKilled(member), format!("kill -9 of member {member} of etcd"))
            }
            4 if !down => {
                let member = self.dice.roll(3);
                self.fleet.etcd.signal(member, Signal::STOP);
                (Fault::MemberStopped(member), format!("SIGSTOP of member {member} of etcd"))
            }
            _ => {
                let server = self.dice.roll(SERVERS);
                self.fleet.engines[server].cut(controller, true);
                (Fault::CutOff { controller, server }, format!("controller {controller} cut off from server {server}"))
            }
        };
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
    let mut storm = Storm { fleet: Fleet::start(SERVERS, 3, 3), dice: Dice(seed), under_way: Vec::new() };
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
    eprintln!(
        "{} faults, {calls} changes under {} locks, as declared {:.1} s after the last fault",
        asked.unwrap_or(SAMPLE),
        tokens.len(),
        calm.elapsed().as_secs_f64()
    );
    assert!(calls >= SERVERS);
}
