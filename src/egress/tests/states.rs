//! States, verification, starts that must fail, workers that end, probes.

#[path = "../../nft/tests/isolated/mod.rs"]
mod isolated;
mod world;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use domain::base::iana::Rtype;
use terok_egress::{Bound, EgressError, Event, Plan};
use terok_nft::Firewall;
use terok_shield_policy::ruleset::{TABLE, quarantine};
use terok_shield_policy::{ShieldState, audit};
use world::{Fate, Operator, Worker, World, at, dns, in_world, send, send_within, tls, until};

const FORWARDER: &str = "127.0.0.1:53";

fn firewall(world: &World) -> (Bound, Worker, Rc<Operator>) {
    world.write("profile.domains", "good.test\n");
    world.write("profile.allowed", "203.0.113.50\n");
    world.name("good.test", &["198.51.100.7"]);
    world.name("undecided.test", &["198.51.100.30"]);
    let bound = Bound::bind(world.plan()).unwrap();
    let operator = Rc::new(Operator::default());
    let worker = Worker::start(&bound, &operator);
    (bound, worker, operator)
}

/// Opens a flow that echoes without end; the moment of its last byte when it stops.
fn flow(world: &World, place: &'static str) -> tokio::task::JoinHandle<Instant> {
    world.inside(move || {
        let mut stream = TcpStream::connect(place).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        let mut last = Instant::now();
        loop {
            match stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0; 1])) {
                Ok(()) => last = Instant::now(),
                Err(_) => return last,
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    })
}

// holds: firewall-states
#[test]
fn states_change_what_passes_and_learned_names_survive() {
    in_world("states_change_what_passes_and_learned_names_survive", async |world| {
        let (_bound, worker, _) = firewall(&world);
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        let speak = async |place: &'static str, name: &'static str| {
            let config = world.tls.clone();
            world.inside(move || tls(&config, at(place), name)).await.unwrap()
        };
        let good = Fate::Said("tls good.test hi".into());
        assert_eq!(speak("198.51.100.7:443", "good.test").await, good);
        worker.engine.set_state(ShieldState::Down).unwrap();
        let reply = world.inside(|| dns(FORWARDER, "undecided.test.", Rtype::A)).await.unwrap();
        assert_eq!(reply.addresses[0].to_string(), "198.51.100.30");
        assert_eq!(speak("198.51.100.30:443", "undecided.test").await, Fate::Said("tls undecided.test hi".into()));
        let by_address = world.inside(|| send(at("203.0.113.99:7"), b"ping")).await.unwrap();
        assert_eq!(by_address, Fate::Said("ping".into()));
        let private = world.inside(|| send(at("169.254.169.254:80"), b"")).await.unwrap();
        assert_eq!(private, Fate::Failed(ErrorKind::HostUnreachable));
        worker.engine.set_state(ShieldState::Up).unwrap();
        assert_eq!(speak("198.51.100.7:443", "good.test").await, good, "without another look-up");
        let closed = speak("198.51.100.30:443", "undecided.test").await;
        assert_eq!(closed, Fate::Failed(ErrorKind::HostUnreachable));
        let actions: Vec<String> = audit::tail(&world.state(), 9).into_iter().map(|line| line.action).collect();
        assert!(actions.contains(&"shield_down".to_owned()) && actions.contains(&"shield_up".to_owned()));
    });
}

// holds: firewall-quarantine
#[test]
fn quarantine_from_outside_stops_every_flow_at_once_and_stays() {
    in_world("quarantine_from_outside_stops_every_flow_at_once_and_stays", async |world| {
        let (bound, worker, operator) = firewall(&world);
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        let flows = ["198.51.100.7:7", "203.0.113.50:7"].map(|place| flow(&world, place));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let namespace = world.container.namespace();
        let ordered = Instant::now();
        // What the small program does, without the worker's knowledge.
        tokio::task::spawn_blocking(move || {
            namespace.run(|| {
                let mut firewall = Firewall::open(TABLE).unwrap();
                firewall.apply(&terok_nft::Image::of(&quarantine())).unwrap();
            })
        })
        .await
        .unwrap()
        .unwrap();
        for flow in flows {
            let last = flow.await.unwrap();
            assert!(last < ordered + Duration::from_millis(100), "{:?} later", last.duration_since(ordered));
        }
        until("the worker's notice", || worker.engine.state() == ShieldState::Quarantine).await;
        assert_eq!(world.read("state"), "quarantine\n");
        assert!(operator.events.borrow().contains(&Event::State("quarantine")));
        assert!(!operator.events.borrow().iter().any(|event| matches!(event, Event::VerifyFailed(_))));
        // Another worker, and another start, leave it in force.
        worker.kill().await;
        let worker = Worker::start(&bound, &operator);
        assert_eq!(worker.engine.state(), ShieldState::Quarantine);
        let fate = world.inside(|| send_within(at("203.0.113.50:7"), b"x", Duration::from_millis(300))).await.unwrap();
        assert_eq!(fate, Fate::Failed(ErrorKind::TimedOut));
        worker.engine.set_state(ShieldState::Up).unwrap();
        let fate = world.inside(|| send(at("203.0.113.50:7"), b"ping")).await.unwrap();
        assert_eq!(fate, Fate::Said("ping".into()));
    });
}

// holds: firewall-healed
#[test]
fn foreign_change_is_healed_within_a_second_and_audited() {
    in_world("foreign_change_is_healed_within_a_second_and_audited", async |world| {
        let (_bound, worker, operator) = firewall(&world);
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        let good = worker.engine.rules().unwrap();
        for change in [
            "insert rule inet terok_shield output accept",
            "flush chain inet terok_shield input",
            "add chain inet terok_shield output { policy accept; }",
            "add element inet terok_shield allow_v4 { 8.8.8.8 }",
            "add element inet terok_shield learn_v4 { 8.8.8.8 comment \"evil.test\" }",
            "delete element inet terok_shield private_v4 { 10.0.0.0/8 }",
            "add table inet other; add chain inet other c { type filter hook output priority -5; policy accept; }",
            "delete table inet terok_shield",
            "flush ruleset",
        ] {
            let before = operator.events.borrow().len();
            let changed = Instant::now();
            world.container.nft(change);
            until(change, || {
                let failed = |event: &Event| matches!(event, Event::VerifyFailed(_));
                operator.events.borrow().iter().skip(before).any(failed)
            })
            .await;
            assert!(changed.elapsed() < Duration::from_secs(1), "{change}: {:?}", changed.elapsed());
            assert_eq!(worker.engine.rules().unwrap(), good, "{change}");
        }
        let actions: Vec<String> = audit::tail(&world.state(), 50).into_iter().map(|line| line.action).collect();
        assert_eq!(actions.iter().filter(|action| *action == "shield_healed").count(), 9, "{actions:?}");
        let config = world.tls.clone();
        let fate = world.inside(move || tls(&config, at("198.51.100.7:443"), "good.test")).await.unwrap();
        assert_eq!(fate, Fate::Said("tls good.test hi".into()), "learned names survive the repair");
    });
}

#[test]
fn policy_files_are_in_force_soon_after_they_change() {
    in_world("policy_files_are_in_force_soon_after_they_change", async |world| {
        let (_bound, worker, operator) = firewall(&world);
        let parked = world.inside(|| dns(FORWARDER, "undecided.test.", Rtype::A)).await.unwrap().addresses[0];
        assert!(terok_shield_policy::address::is_parking(parked));
        let directory = terok_shield_policy::directory::StateDirectory::open(&world.state()).unwrap();
        directory.record(&terok_shield_policy::Entry::parse("undecided.test").unwrap(), true).unwrap();
        let name = terok_shield_policy::Name::parse("undecided.test").unwrap();
        until("the allowance", || worker.engine.standing(&name) == terok_egress::Standing::Open).await;
        let config = world.tls.clone();
        let fate = world.inside(move || tls(&config, (parked, 443).into(), "undecided.test")).await.unwrap();
        assert_eq!(fate, Fate::Said("tls undecided.test hi".into()), "the parking address leads there now");
        directory.want_state(ShieldState::Down).unwrap();
        until("the state", || worker.engine.state() == ShieldState::Down).await;
        assert!(!operator.events.borrow().iter().any(|event| matches!(event, Event::VerifyFailed(_))));
        world.write("provenance.json", "{");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(worker.engine.state(), ShieldState::Down, "a damaged file changes nothing");
        directory.want_state(ShieldState::Up).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(worker.engine.state(), ShieldState::Down);
        // Repaired in place, without an event of its own.
        std::fs::rename(world.state().join("provenance.json"), world.state().join("damaged")).unwrap();
        until("the repaired policy", || worker.engine.state() == ShieldState::Up).await;
    });
}

// holds: firewall-worker-killed
#[test]
fn connections_wait_for_the_next_worker_and_names_are_read_back() {
    in_world("connections_wait_for_the_next_worker_and_names_are_read_back", async |world| {
        let (bound, worker, operator) = firewall(&world);
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        worker.kill().await;
        let config = world.tls.clone();
        let waiting = world.inside(move || tls(&config, at("198.51.100.7:443"), "good.test"));
        let refused = world.inside(|| send(at("203.0.113.99:443"), b"")).await.unwrap();
        assert_eq!(refused, Fate::Failed(ErrorKind::HostUnreachable), "the rules stay");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!waiting.is_finished());
        let worker = Worker::start(&bound, &operator);
        assert_eq!(waiting.await.unwrap(), Fate::Said("tls good.test hi".into()));
        let named = worker.engine.candidates("198.51.100.7".parse().unwrap());
        assert_eq!(named[0].as_str(), "good.test");
    });
}

fn refusal(plan: Plan) -> EgressError {
    Bound::bind(plan).map(drop).unwrap_err()
}

// holds: firewall-start-refused
#[test]
fn start_is_refused_where_the_firewall_cannot_be() {
    in_world("start_is_refused_where_the_firewall_cannot_be", async |world| {
        let own = Plan { init: (std::process::id().cast_signed(), 1), ..world.plan() };
        assert!(refusal(own).to_string().contains("the host's network"));
        assert!(matches!(refusal(Plan { init: (i32::MAX, 1), ..world.plan() }), EgressError::Kernel(_)));
        assert!(matches!(refusal(Plan { container: "x".into(), ..world.plan() }), EgressError::Policy(_)));
        world.write("provenance.json", "{");
        assert!(matches!(refusal(world.plan()), EgressError::Policy(_)), "a damaged policy");
        world.write("provenance.json", "{}");
        world.container.nft("add table ip other");
        assert!(matches!(refusal(world.plan()), EgressError::ForeignRules(_)));
        world.container.nft("flush ruleset");
        let bound = Bound::bind(world.plan()).unwrap();
        drop(bound);
        // The same container again, as after a start that was cut short; and another one in the same network.
        drop(Bound::bind(world.plan()).unwrap());
        let other = Plan { container: "f".repeat(64), ..world.plan() };
        assert!(refusal(other).to_string().contains("0123456789ab"));
        // The port of the forwarder is taken.
        let taken = world.inside(|| std::net::UdpSocket::bind("127.0.0.1:53").unwrap()).await.unwrap();
        assert!(matches!(refusal(world.plan()), EgressError::Bind { .. }));
        drop(taken);
        assert_eq!(world.read("container.id"), "0123456789ab\n");
    });
}

#[test]
fn start_probes_find_what_they_should() {
    in_world("start_probes_find_what_they_should", async |world| {
        let (_bound, _worker, operator) = firewall(&world);
        until("the probes", || !world.read("probes.json").is_empty()).await;
        let probes: terok_egress::Probes = serde_json::from_str(&world.read("probes.json")).unwrap();
        let found: Vec<_> = probes.probes.iter().map(|probe| (probe.name.as_str(), probe.found.as_str())).collect();
        let expected = [
            ("allowed", "open"),
            ("undecided", "refused"),
            ("metadata", "refused"),
            ("host-alias", "refused"),
            ("dns", "answered"),
        ];
        assert!(probes.ok, "{probes:?}");
        assert_eq!(found, expected);
        isolated::figure(&format!("start probes: {} ms", probes.duration_ms));
        assert!(probes.duration_ms < 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(operator.events.borrow().is_empty(), "probes ask nothing: {:?}", operator.events.borrow());
    });
}

// holds: firewall-leaks-nothing
#[test]
fn two_hundred_rounds_leave_no_descriptor_behind() {
    in_world("two_hundred_rounds_leave_no_descriptor_behind", async |world| {
        world.write("profile.domains", "good.test\n");
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let operator = Rc::new(Operator::default());
        let mut first = 0;
        let mut slowest = Duration::ZERO;
        for round in 0..200 {
            let started = Instant::now();
            let bound = Bound::bind(world.plan()).unwrap();
            slowest = slowest.max(started.elapsed());
            let worker = Worker::start(&bound, &operator);
            tokio::time::sleep(Duration::from_millis(2)).await;
            worker.kill().await;
            drop(bound);
            tokio::time::sleep(Duration::from_millis(1)).await;
            if round == 10 {
                first = count();
            }
        }
        until("the descriptors", || count() <= first).await;
        isolated::figure(&format!("slowest start of 200: {slowest:.1?}"));
    });
}
