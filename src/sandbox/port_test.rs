//! Claims in real directories against real sockets.

use super::*;
use crate::service_port::{self, Request};
use rustix::net::listen;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{chown, symlink};
use std::sync::atomic::{AtomicU16, Ordering};

/// Ranges of different tests must not meet, since they bind real ports.
static NEXT: AtomicU16 = AtomicU16::new(0);
/// Below the ports that the system gives out by itself, and apart from those that launches take.
const FIRST: u16 = 10_000;
const BLOCK: u16 = 20;
const BLOCKS: u16 = 400;

struct Place {
    temp: tempfile::TempDir,
    first: u16,
}

impl Place {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap(), first: free_block() }
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("ports")
    }

    fn ground(&self, size: u16) -> Ground {
        Ground { dir: self.dir(), range: (self.first, self.first + size - 1) }
    }

    fn port(&self, offset: u16) -> u16 {
        self.first + offset
    }

    fn own(&self) -> Claims {
        let name = format!("{}.json", user_label(user::effective_uid()));
        read_claims(&self.dir(), &name, user::effective_uid()).unwrap_or_default()
    }

    /// A claim file of another user; needs root to give it away.
    fn foreign(&self, name: &str, uid: u32, text: &str) -> bool {
        let path = self.dir().join(name);
        std::fs::create_dir_all(self.dir()).unwrap();
        std::fs::write(&path, text).unwrap();
        chown(&path, Some(uid), None).is_ok()
    }
}

/// The first of twenty ports that nobody has: another run of these tests may be at work on this machine.
fn free_block() -> u16 {
    let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap();
    (0..BLOCKS)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS * BLOCK)
        .find(|first| (*first..first + BLOCK).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()))
        .expect("a free block of ports")
}

fn listener(port: u16) -> OwnedFd {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port)).unwrap();
    listen(&fd, 1).unwrap();
    fd
}

fn code<T: std::fmt::Debug>(result: Result<T, PortError>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn the_search_passes_over_busy_ports_and_wraps() {
    let place = Place::new();
    let (ground, registry) = (place.ground(4), Registry::default());
    let _busy = [listener(place.port(0)), listener(place.port(1))];
    let from = Some(i64::from(place.port(0)));
    assert_eq!(registry.claim(&ground, "a", from, Wish::Any).unwrap(), place.port(2));
    assert_eq!(registry.claim(&ground, "a", Some(1), Wish::Fixed).unwrap(), place.port(2));
    let late = Some(i64::from(place.port(3)));
    assert_eq!(registry.claim(&ground, "b", late, Wish::Any).unwrap(), place.port(3));
    assert_eq!(code(registry.claim(&ground, "c", late, Wish::Any)), "port-exhausted");
    registry.release(&ground, "a");
    assert_eq!(registry.claim(&ground, "c", late, Wish::Any).unwrap(), place.port(2));
    assert_eq!(place.own(), Claims::from([("b".into(), place.port(3)), ("c".into(), place.port(2))]));
}

// improves: 31-5.2-own-claim
#[test]
fn a_recorded_port_is_kept_while_its_own_container_listens() {
    let place = Place::new();
    let ground = place.ground(4);
    let port = Registry::default().claim(&ground, "web:p/t", None, Wish::Any).unwrap();
    let _container = listener(port);
    // A process that starts later knows the claim from the file alone.
    let kept = |key, wanted: Option<u16>| Registry::default().claim(&ground, key, wanted.map(i64::from), Wish::Kept);
    assert_eq!(kept("web:p/t", Some(port)).unwrap(), port);
    assert_eq!(kept("web:p/t", None).unwrap(), port);
    assert_ne!(kept("web:p/other", Some(port)).unwrap(), port);
}

#[test]
fn fixed_ports_are_judged() {
    let place = Place::new();
    let (ground, registry) = (place.ground(4), Registry::default());
    for bad in [0, -1, 65536, 70000] {
        assert_eq!(code(registry.claim(&ground, "a", Some(bad), Wish::Fixed)), "port-invalid");
    }
    let _busy = listener(place.port(9));
    let outside = Some(i64::from(place.port(9)));
    assert_eq!(code(registry.claim(&ground, "a", outside, Wish::Fixed)), "port-busy");
    assert_eq!(registry.claim(&ground, "a", outside, Wish::Ours).unwrap(), place.port(9));
    let held = registry.claim(&ground, "b", outside, Wish::Ours).unwrap_err();
    assert!(held.to_string().contains("already held by a") && held.kind() == Kind::Usage);
}

#[test]
fn another_process_of_ours_counts_and_can_be_released() {
    let place = Place::new();
    let ground = place.ground(8);
    let (first, second) = (Registry::default(), Registry::default());
    let port = first.claim(&ground, "web:p/1", None, Wish::Any).unwrap();
    let other = second.claim(&ground, "web:p/2", Some(i64::from(port)), Wish::Any).unwrap();
    assert_ne!(port, other);
    assert_eq!(code(second.claim(&ground, "web:p/3", Some(i64::from(port)), Wish::Fixed)), "port-held");
    second.release(&ground, "web:p/1");
    assert_eq!(place.own(), Claims::from([("web:p/2".into(), other)]));
    let third = Registry::default();
    assert_eq!(third.claim(&ground, "web:p/2", None, Wish::Any).unwrap(), other, "a key finds its port again");
}

#[test]
fn parallel_claims_lose_nothing() {
    let place = Place::new();
    let ground = place.ground(20);
    let ports: HashSet<u16> = std::thread::scope(|threads| {
        let claims: Vec<_> = (0..20)
            .map(|n| {
                let ground = &ground;
                // A registry each, as separate processes have.
                threads.spawn(move || Registry::default().claim(ground, &format!("k{n}"), None, Wish::Any).unwrap())
            })
            .collect();
        claims.into_iter().map(|claim| claim.join().unwrap()).collect()
    });
    assert_eq!((ports.len(), place.own().len()), (20, 20));
}

#[test]
fn files_are_readable_by_others_in_a_directory_for_all() {
    let place = Place::new();
    Registry::default().claim(&place.ground(4), "a", None, Wish::Any).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
    let name = format!("{}.json", user_label(user::effective_uid()));
    assert_eq!((mode(&place.dir()), mode(&place.dir().join(name))), (0o1777, 0o644));
}

#[test]
fn unsafe_directories_are_refused() {
    let place = Place::new();
    std::fs::write(place.dir(), "").unwrap();
    let error = Registry::default().claim(&place.ground(4), "a", None, Wish::Any).unwrap_err();
    assert!(error.to_string().contains("not a directory"), "{error}");
    std::fs::remove_file(place.dir()).unwrap();
    symlink(place.temp.path(), place.dir()).unwrap();
    let error = Registry::default().claim(&place.ground(4), "a", None, Wish::Any).unwrap_err();
    assert!(error.to_string().contains("symlinked"), "{error}");
}

#[test]
fn odd_claim_files_do_not_count() {
    let place = Place::new();
    let text = format!("{{\"x\": {}}}", place.port(0));
    if !place.foreign("daemon.json", 1, &text) {
        return; // Only root can make files of other users.
    }
    let (ground, from) = (place.ground(4), Some(i64::from(place.port(0))));
    let registry = Registry::default();
    assert_eq!(code(registry.claim(&ground, "a", from, Wish::Fixed)), "port-foreign");
    assert_eq!(code(registry.claim(&ground, "a", from, Wish::Ours)), "port-foreign");
    assert_eq!(registry.claim(&ground, "a", from, Wish::Any).unwrap(), place.port(1));
    registry.release(&ground, "a");
    let daemon = place.dir().join("daemon.json");
    let counts = || code_or_port(&ground, from) != "port-foreign";
    place.foreign("daemon.json", 2, &text);
    assert!(counts(), "a file counts only when its owner is the user it is named after");
    place.foreign("daemon.json", 1, &format!("{text}{}", " ".repeat(17_000)));
    assert!(counts(), "large files do not count");
    place.foreign("daemon.json", 1, "[]");
    assert!(counts());
    std::fs::remove_file(&daemon).unwrap();
    std::fs::write(place.temp.path().join("real"), &text).unwrap();
    symlink(place.temp.path().join("real"), &daemon).unwrap();
    std::os::unix::fs::lchown(&daemon, Some(1), None).unwrap();
    assert!(counts(), "links do not count");
    std::fs::remove_file(&daemon).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &daemon, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    chown(&daemon, Some(1), None).unwrap();
    assert!(counts(), "pipes do not count and do not block");
    std::fs::remove_file(&daemon).unwrap();
    for n in 0..300 {
        place.foreign(&format!("fake{n}.json"), 1, "{}");
    }
    place.foreign("daemon.json", 1, &text);
    assert!(!counts(), "planted files take no place away from real ones");
}

fn code_or_port(ground: &Ground, port: Option<i64>) -> String {
    let registry = Registry::default();
    match registry.claim(ground, "probe", port, Wish::Fixed) {
        Ok(port) => {
            registry.release(ground, "probe");
            port.to_string()
        }
        Err(error) => error.code().to_owned(),
    }
}

#[test]
fn users_without_a_name_have_a_label() {
    assert_eq!(user_label(0), "root");
    assert_eq!(user_label(3_999_999_999), "uid-3999999999");
}

#[test]
fn service_ports_are_kept_from_run_to_run() {
    let place = Place::new();
    let (ground, state) = (place.ground(8), tempfile::tempdir().unwrap());
    let resolve = |requests| service_port::resolve(&Registry::default(), &ground, requests, state.path());
    let first = resolve([Request::default(); 3]).unwrap();
    assert_eq!(HashSet::from([first.gate, first.proxy, first.ssh_agent]).len(), 3);
    let record = std::fs::read_to_string(state.path().join("port-claims.json")).unwrap();
    let wanted = format!("{{\"gate\":{},\"proxy\":{},\"ssh_agent\":{}}}", first.gate, first.proxy, first.ssh_agent);
    assert_eq!(record, wanted);
    let _running = listener(first.gate);
    assert_eq!(resolve([Request::default(); 3]).unwrap(), first, "our own service may be running");
    let fixed = Request { port: Some(i64::from(place.port(7))), explicit: true };
    let moved = resolve([Request::default(), fixed, Request::default()]).unwrap();
    assert_eq!((moved.gate, moved.proxy), (first.gate, place.port(7)));
    std::fs::write(state.path().join("port-claims.json"), "{").unwrap();
    assert!(resolve([Request::default(); 3]).is_ok(), "a damaged record does not count");
}

#[test]
fn a_recorded_port_is_never_given_up_silently() {
    let place = Place::new();
    let (ground, state) = (place.ground(8), tempfile::tempdir().unwrap());
    let registry = Registry::default();
    std::fs::write(state.path().join("port-claims.json"), "{\"proxy\": 70000}").unwrap();
    let error = service_port::resolve(&registry, &ground, [Request::default(); 3], state.path()).unwrap_err();
    let text = base::fault::explain(&error);
    for part in ["70000", "proxy", "port-claims.json", "delete"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(place.own().is_empty(), "the gate's claim is released again");
}
