//! Questions: connections that wait for an answer, and budgets.

#[path = "../../nft/tests/isolated/mod.rs"]
mod isolated;
mod world;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::base::iana::Rtype;
use terok_egress::{Bound, Event};
use terok_shield_policy::{Entry, Name, audit};
use world::{Fate, Operator, Worker, World, at, dns, in_world, send_within, tls, until};

const FORWARDER: &str = "127.0.0.1:53";
const PATIENCE: Duration = Duration::from_secs(8);

fn firewall(world: &World, settings: &str) -> (Bound, Worker, Rc<Operator>) {
    world.write("settings.json", settings);
    world.write("profile.domains", "good.test\n");
    world.name("good.test", &["198.51.100.7"]);
    world.name("undecided.test", &["198.51.100.30"]);
    let bound = Bound::bind(world.plan()).unwrap();
    let operator = Rc::new(Operator::default());
    let worker = Worker::start(&bound, &operator);
    (bound, worker, operator)
}

async fn waits(operator: &Operator) {
    *operator.answers.borrow_mut() = true;
    // The rule is changed by the next tick.
    tokio::time::sleep(Duration::from_millis(400)).await;
}

fn asked(operator: &Operator) -> Vec<(u64, String, u16)> {
    let events = operator.events.borrow();
    let question = |event: &Event| match event {
        Event::Asked(question) => Some((question.id, question.target.clone(), question.port)),
        _ => None,
    };
    events.iter().filter_map(question).collect()
}

// holds: firewall-held
#[test]
fn connection_to_an_undecided_name_waits_and_succeeds_after_an_allowance() {
    in_world("connection_to_an_undecided_name_waits_and_succeeds_after_an_allowance", async |world| {
        let (_bound, worker, operator) = firewall(&world, "{}");
        waits(&operator).await;
        let parked = world.inside(|| dns(FORWARDER, "undecided.test.", Rtype::A)).await.unwrap().addresses[0];
        let config = world.tls.clone();
        let waiting = world.inside(move || {
            let started = Instant::now();
            (tls(&config, (parked, 443).into(), "undecided.test"), started.elapsed())
        });
        until("the question", || !asked(&operator).is_empty()).await;
        let (id, target, port) = asked(&operator).remove(0);
        assert_eq!((target.as_str(), port), ("undecided.test", 443));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!waiting.is_finished(), "it waits");
        let answered = Instant::now();
        assert!(worker.engine.answer(id, true).unwrap().is_some());
        assert!(answered.elapsed() < Duration::from_millis(20), "{:?}", answered.elapsed());
        let (fate, _) = waiting.await.unwrap();
        assert_eq!(fate, Fate::Said("tls undecided.test hi".into()));
        isolated::figure(&format!("from the answer to success: {:.0?}", answered.elapsed()));
        assert!(answered.elapsed() < Duration::from_millis(1500), "{:?}", answered.elapsed());
        assert_eq!(worker.engine.answer(id, false).unwrap(), None, "one answer");
        assert_eq!(world.read("live.domains"), "undecided.test\n");
        let line = audit::tail(&world.state(), 50).into_iter().find(|line| line.action == "blocked").unwrap();
        assert_eq!((line.dest.as_str(), line.port, line.proto.as_str()), ("undecided.test", Some(443), "tcp"));
    });
}

#[test]
fn connection_fails_soon_after_a_denial_or_the_end_of_the_wait() {
    in_world("connection_fails_soon_after_a_denial_or_the_end_of_the_wait", async |world| {
        let (_bound, worker, operator) = firewall(&world, r#"{"hold_s": 2}"#);
        waits(&operator).await;
        let parked = world.inside(|| dns(FORWARDER, "undecided.test.", Rtype::A)).await.unwrap().addresses[0];
        let attempt = move || {
            let started = Instant::now();
            (send_within((parked, 443).into(), b"x", PATIENCE), started.elapsed())
        };
        // Nothing is answered: refused after two seconds, and asked about still.
        let (fate, took) = world.inside(attempt).await.unwrap();
        assert_eq!(fate, Fate::Failed(ErrorKind::ConnectionRefused));
        assert!((Duration::from_millis(1900)..Duration::from_secs(5)).contains(&took), "{took:?}");
        let (fate, took) = world.inside(attempt).await.unwrap();
        assert!(fate == Fate::Failed(ErrorKind::ConnectionRefused) && took < Duration::from_millis(500), "{took:?}");
        let id = asked(&operator)[0].0;
        // An allowance after that counts for the next attempt.
        worker.engine.answer(id, true).unwrap().unwrap();
        let config = world.tls.clone();
        let fate = world.inside(move || tls(&config, (parked, 443).into(), "undecided.test")).await.unwrap();
        assert_eq!(fate, Fate::Said("tls undecided.test hi".into()));
        // And a denial ends one that waits.
        let other = world.inside(|| dns(FORWARDER, "never.test.", Rtype::A)).await.unwrap().addresses[0];
        let waiting = world.inside(move || send_within((other, 22).into(), b"", PATIENCE));
        until("the question", || asked(&operator).len() == 2).await;
        let denied = Instant::now();
        worker.engine.answer(asked(&operator)[1].0, false).unwrap().unwrap();
        assert_eq!(waiting.await.unwrap(), Fate::Failed(ErrorKind::ConnectionRefused));
        isolated::figure(&format!("from the denial to failure: {:.0?}", denied.elapsed()));
        assert!(denied.elapsed() < Duration::from_millis(1500));
        assert_eq!(world.inside(|| dns(FORWARDER, "never.test.", Rtype::A)).await.unwrap().code, "NXDOMAIN");
    });
}

#[test]
fn connection_fails_at_once_while_no_answer_can_be_expected() {
    in_world("connection_fails_at_once_while_no_answer_can_be_expected", async |world| {
        let (_bound, _worker, operator) = firewall(&world, "{}");
        let took = world.inside(|| {
            let mut worst = Duration::ZERO;
            for place in ["203.0.113.9:443", "[2001:db8:9::9]:443"] {
                // The log takes fifty at once and twenty a second.
                std::thread::sleep(Duration::from_millis(300));
                for _ in 0..100 {
                    let started = Instant::now();
                    let fate = send_within(at(place), b"", PATIENCE);
                    assert!(
                        matches!(fate, Fate::Failed(ErrorKind::HostUnreachable | ErrorKind::ConnectionRefused)),
                        "{fate:?}"
                    );
                    worst = worst.max(started.elapsed());
                }
            }
            worst
        });
        let worst = took.await.unwrap();
        isolated::figure(&format!("the slowest of 200 refusals: {worst:.1?}"));
        assert!(worst < Duration::from_millis(300), "{worst:?}");
        until("the questions", || asked(&operator).len() == 2).await;
        let stored = world.read("questions.json");
        assert!(stored.contains("203.0.113.9") && stored.contains("2001:db8:9::9"), "{stored}");
    });
}

#[test]
fn questions_are_bounded_and_survive_a_worker() {
    in_world("questions_are_bounded_and_survive_a_worker", async |world| {
        let (bound, worker, operator) = firewall(&world, "{}");
        world
            .inside(|| {
                for number in 0..140u8 {
                    let _ = send_within((std::net::Ipv4Addr::new(203, 0, 113, number), 443).into(), b"", PATIENCE);
                    // The log takes twenty new targets a second.
                    std::thread::sleep(Duration::from_millis(if number > 45 { 52 } else { 1 }));
                }
            })
            .await
            .unwrap();
        until("the most questions", || asked(&operator).len() >= 128).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(asked(&operator).len(), 128);
        let first = asked(&operator)[0].clone();
        worker.kill().await;
        let next = Rc::new(Operator::default());
        let worker = Worker::start(&bound, &next);
        assert!(worker.engine.answer(first.0, true).unwrap().is_some());
        assert!(world.read("live.allowed").contains(&first.1));
        let entry = Entry::parse("10.9.0.0/30").unwrap();
        assert_eq!(worker.engine.decide(&entry, true).unwrap().targets, ["10.9.0.0/30"]);
    });
}

// holds: firewall-denied-flows
#[test]
fn denial_ends_open_connections_at_once() {
    in_world("denial_ends_open_connections_at_once", async |world| {
        let (_bound, worker, _operator) = firewall(&world, "{}");
        world.write("live.allowed", "203.0.113.50\n");
        until("the literal address", || world.read("ruleset.nft").contains("203.0.113.50")).await;
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        for (place, entry) in [("198.51.100.7:7", "good.test"), ("203.0.113.50:7", "203.0.113.50")] {
            let flow = world.inside(move || {
                let mut stream = TcpStream::connect(place).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
                let mut last = Instant::now();
                let deadline = Instant::now() + Duration::from_secs(3);
                while Instant::now() < deadline {
                    let moved = stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0; 1]));
                    match moved {
                        Ok(()) => last = Instant::now(),
                        Err(_) => return Some(last),
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                None
            });
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!flow.is_finished());
            let denied = Instant::now();
            worker.engine.decide(&Entry::parse(entry).unwrap(), false).unwrap();
            let last = flow.await.unwrap().unwrap_or_else(|| panic!("{entry} goes on"));
            assert!(last < denied + Duration::from_millis(100), "{entry}: {:?}", last.duration_since(denied));
        }
        assert_eq!(world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap().code, "NXDOMAIN");
        let below = Entry::parse("a.good.test").unwrap();
        assert!(
            worker.engine.decide(&below, true).unwrap_err().to_string().contains("the entry `good.test` denies it")
        );
    });
}

// holds: firewall-budget
#[test]
fn upload_stops_at_the_budget_and_goes_on_after_an_allowance_without_loss() {
    in_world("upload_stops_at_the_budget_and_goes_on_after_an_allowance_without_loss", async |world| {
        let (_bound, worker, operator) = firewall(&world, r#"{"upload_limit_mib": 2}"#);
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        const MIB: usize = 1024 * 1024;
        let upload = world.inside(|| {
            let mut stream = TcpStream::connect("198.51.100.7:9").unwrap();
            stream.write_all(&vec![7; 3 * MIB]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream.read(&mut [0; 1])
        });
        until("the question", || !asked(&operator).is_empty()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(world.uploaded.load(Ordering::SeqCst), 2 * MIB);
        let question = match &operator.events.borrow()[0] {
            Event::Asked(question) => question.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((question.target.as_str(), question.reason.as_str()), ("good.test", "sent 2 MiB"));
        worker.engine.answer(question.id, true).unwrap().unwrap();
        upload.await.unwrap().unwrap();
        until("the rest", || world.uploaded.load(Ordering::SeqCst) == 3 * MIB).await;
        worker.engine.save_traffic();
        let traffic: serde_json::Value = serde_json::from_str(&world.read("traffic.json")).unwrap();
        assert_eq!(traffic["good.test"]["up"], 3 * MIB);
        assert_eq!(worker.engine.standing(&Name::parse("good.test").unwrap()), terok_egress::Standing::Open);
    });
}
