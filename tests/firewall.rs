//! The firewall in the real supervisor: the daemon's processes, the small program's verbs, kills under load.

#[path = "../src/nft/tests/isolated/mod.rs"]
mod isolated;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use isolated::{figure, isolated, run};

const ID: &str = "0123456789abcdef0123456789abcdef";

struct Space(Child);

impl Space {
    fn start() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "900"]).spawn().unwrap();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let path = format!("/proc/{}/ns/net", child.id());
        wait("the namespace", || std::fs::read_link(&path).is_ok_and(|link| link != own));
        let space = Self(child);
        space.run("ip", "link set lo up");
        space
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "--net", program]);
        command
    }

    fn run(&self, program: &str, line: &str) -> String {
        let output = self.command(program).args(line.split(' ')).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn nft(&self, text: &str) -> String {
        let output = self.command("nft").arg(text).output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs work on a thread inside.
    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
        let file = std::fs::File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap();
        std::thread::spawn(move || {
            use std::os::fd::AsRawFd as _;
            // SAFETY: a call with a descriptor that is open.
            assert_eq!(unsafe { setns(file.as_raw_fd(), 0x4000_0000) }, 0);
            work()
        })
    }
}

unsafe extern "C" {
    fn setns(fd: i32, kind: i32) -> i32;
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A container with its supervisor, and an internet behind it.
struct Site {
    container: Space,
    internet: Space,
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Site {
    fn start() -> Self {
        let (container, internet) = (Space::start(), Space::start());
        let pid = internet.0.id().to_string();
        let far = container.0.id().to_string();
        run("ip", &["link", "add", "c0", "netns", &far, "type", "veth", "peer", "name", "i0", "netns", &pid]);
        for line in ["addr add 10.9.0.2/24 dev c0", "link set c0 up", "route add default via 10.9.0.1"] {
            container.run("ip", line);
        }
        for line in [
            "addr add 10.9.0.1/24 dev i0",
            "link set i0 up",
            "route add local 0.0.0.0/1 dev lo table main",
            "route add local 128.0.0.0/1 dev lo table main",
        ] {
            internet.run("ip", line);
        }
        let site = Self { container, internet, dir: tempfile::tempdir().unwrap(), daemon: None };
        for path in [site.state(), site.dir.path().join("sidecar"), site.dir.path().join("run")] {
            std::fs::create_dir_all(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        std::fs::create_dir(site.dir.path().join("vault")).unwrap();
        std::fs::write(site.dir.path().join("vault/routes.json"), "{}").unwrap();
        std::fs::write(site.state().join("live.allowed"), "203.0.113.50\n").unwrap();
        std::fs::write(site.state().join("profile.domains"), "good.test\n").unwrap();
        let sidecar = serde_json::json!({
            "container_name": "c1", "db_path": site.dir.path().join("vault/credentials.db"),
            "runtime_dir": site.dir.path().join("run"), "shield_state_dir": site.state(),
        });
        std::fs::write(site.sidecar(), sidecar.to_string()).unwrap();
        std::fs::set_permissions(site.sidecar(), std::fs::Permissions::from_mode(0o600)).unwrap();
        site
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("shield")
    }

    fn sidecar(&self) -> PathBuf {
        self.dir.path().join("sidecar/c1.json")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn launch(&mut self) {
        let pid = self.container.0.id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start = stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(19).unwrap();
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_terok-supervisord"));
        command.args(["supervisor", ID, self.sidecar().to_str().unwrap(), &format!("{pid}:{start}")]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
    }

    /// The worker, once the services are up.
    fn worker(&mut self) -> u32 {
        let mut found = None;
        let socket = self.dir.path().join("run/run/c1/vault.sock");
        wait("the worker", || {
            let daemon = self.daemon.as_mut().unwrap();
            if daemon.try_wait().unwrap().is_some() {
                // The worker of a killed watchdog holds the lock for a moment longer.
                let log = self.log();
                assert!(log.contains("another supervisor serves it"), "{log}");
                self.launch();
                return false;
            }
            let daemon = daemon.id();
            let children = std::fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children"));
            found = children.ok().and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
            socket.exists() && found.is_some()
        });
        found.unwrap()
    }

    fn shield(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_terok-supervisor"));
        command.arg("shield").args(words).args(["--state-dir", self.state().to_str().unwrap()]).output().unwrap()
    }

    fn says(&self, words: &[&str]) -> String {
        let output = self.shield(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn connects(site: &Site, place: &str) -> Result<(), std::io::ErrorKind> {
    let place: SocketAddr = place.parse().unwrap();
    let attempt = site.container.inside(move || TcpStream::connect_timeout(&place, Duration::from_millis(700)));
    attempt.join().unwrap().map(drop).map_err(|error| error.kind())
}

// holds: firewall-small-program
#[test]
fn small_program_shows_changes_and_explains_the_rules() {
    isolated("small_program_shows_changes_and_explains_the_rules", || {
        let mut site = Site::start();
        let _listener = site.internet.inside(|| TcpListener::bind("0.0.0.0:80").unwrap()).join().unwrap();
        assert_eq!(site.shield(&["state"]).status.code(), Some(1), "there is no process yet");
        site.launch();
        let worker = site.worker();
        assert_eq!(site.says(&["state"]), "up\n");
        assert_eq!(site.says(&["verify"]), "the rules are those of `up`\n");
        let rules = site.says(&["rules"]);
        assert!(rules.starts_with("State: up\ntable inet terok_shield {") && rules.contains("203.0.113.50"), "{rules}");
        for (target, outcome, rule) in [
            ("203.0.113.50:80", "direct", "allow-v4"),
            ("198.51.100.7:80", "refused", "undecided"),
            ("169.254.169.254:80", "refused", "private-v4"),
            ("www.good.test", "by-name", "allowed-name good.test"),
        ] {
            let told: serde_json::Value = serde_json::from_str(&site.says(&["explain", target, "--json"])).unwrap();
            assert_eq!((told["outcome"].as_str(), told["rule"].as_str()), (Some(outcome), Some(rule)), "{told}");
        }
        // What it says is what happens.
        assert_eq!(connects(&site, "203.0.113.50:80"), Ok(()));
        assert_eq!(connects(&site, "198.51.100.7:80"), Err(std::io::ErrorKind::HostUnreachable));
        assert_eq!(connects(&site, "169.254.169.254:80"), Err(std::io::ErrorKind::HostUnreachable));
        assert_eq!(site.says(&["down", "--all"]), "disengaged\n");
        wait("the worker's notice", || {
            std::fs::read_to_string(site.state().join("audit.jsonl")).is_ok_and(|text| text.contains("allow_all=True"))
        });
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(site.says(&["state"]), "disengaged\n", "{}", site.log());
        assert_eq!(connects(&site, "169.254.169.254:80"), Ok(()));
        assert_eq!(site.says(&["up"]), "up\n");
        assert_eq!(connects(&site, "169.254.169.254:80"), Err(std::io::ErrorKind::HostUnreachable));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(site.says(&["state"]), "up\n");
        assert!(!site.log().contains("not ours"), "{}", site.log());
        // The worker has the one right that it needs, and what it starts has none.
        let status =
            std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap_or_else(|e| panic!("{e}: {}", site.log()));
        let sets = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert_eq!(sets("CapPrm:"), "CapPrm:\t0000000000001000");
        assert_eq!(sets("CapBnd:"), "CapBnd:\t0000000000000000");
    });
}

// holds: firewall-quarantine-alone
#[test]
fn quarantine_needs_neither_supervisor_nor_files() {
    isolated("quarantine_needs_neither_supervisor_nor_files", || {
        let mut site = Site::start();
        let echo = site.internet.inside(|| TcpListener::bind("0.0.0.0:80").unwrap()).join().unwrap();
        std::thread::spawn(move || {
            for stream in echo.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let mut byte = [0; 1];
                    while stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte)).is_ok() {}
                });
            }
        });
        site.launch();
        let worker = site.worker();
        let daemon = site.daemon.as_ref().unwrap().id();
        let pid = site.container.0.id().to_string();
        for case in ["worker stopped", "killed", "files gone"] {
            let flow = site.container.inside(|| {
                let mut stream = TcpStream::connect("203.0.113.50:80").unwrap();
                let mut last = Instant::now();
                loop {
                    let moved = stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0; 1]));
                    match moved {
                        Ok(()) => last = Instant::now(),
                        Err(error) => return (last, Instant::now(), error.kind()),
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            std::thread::sleep(Duration::from_millis(100));
            match case {
                "worker stopped" => run("kill", &["-STOP", &worker.to_string(), &daemon.to_string()]),
                "killed" => run("kill", &["-KILL", &worker.to_string(), &daemon.to_string()]),
                _ => run("rm", &["-r", site.state().to_str().unwrap()]),
            };
            let ordered = Instant::now();
            let output = Command::new(env!("CARGO_BIN_EXE_terok-supervisor"))
                .args(["shield", "quarantine", "--pid", &pid])
                .output()
                .unwrap();
            let took = ordered.elapsed();
            assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
            let (last, ended, kind) = flow.join().unwrap();
            assert!(last < ordered + Duration::from_millis(100), "{case}");
            assert_eq!(kind, std::io::ErrorKind::ConnectionAborted, "{case}: the program notices");
            assert!(ended < ordered + Duration::from_millis(500), "{case}");
            figure(&format!("quarantine, {case}: {took:.1?}"));
            assert_eq!(connects(&site, "203.0.113.50:80"), Err(std::io::ErrorKind::TimedOut), "{case}");
            // Back, for the next case: without its supervisor.
            if case == "worker stopped" {
                assert_eq!(site.says(&["up"]), "up\n");
            } else if case == "killed" {
                let _ = site.daemon.as_mut().unwrap().wait();
                assert_eq!(site.says(&["up"]), "up\n");
            }
        }
    });
}

/// Sends to closed destinations as fast as it goes.
fn attack(site: &Site, stop: &Arc<AtomicBool>, tries: &Arc<AtomicUsize>) -> Vec<std::thread::JoinHandle<()>> {
    let spawn = |work: fn()| {
        let (stop, tries) = (Arc::clone(stop), Arc::clone(tries));
        site.container.inside(move || {
            while !stop.load(Ordering::Relaxed) {
                work();
                tries.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    vec![
        spawn(|| drop(TcpStream::connect_timeout(&"198.51.100.7:443".parse().unwrap(), Duration::from_millis(20)))),
        spawn(|| drop(TcpStream::connect_timeout(&"169.254.169.254:80".parse().unwrap(), Duration::from_millis(20)))),
        spawn(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            for place in ["198.51.100.8:443", "8.8.8.8:53", "8.8.4.4:5353", "10.77.0.1:123"] {
                let _ = socket.send_to(b"leak", place);
            }
        }),
    ]
}

// holds: firewall-kill-no-leak
#[test]
fn killed_supervisors_let_no_closed_packet_out() {
    isolated("killed_supervisors_let_no_closed_packet_out", || {
        let mut site = Site::start();
        // Everything that reaches the far end, but for the one open address and the neighbours' own talk.
        site.internet.nft(concat!(
            "add table ip far; add chain ip far in { type filter hook input priority 0; }; ",
            "add rule ip far in ip daddr 203.0.113.50 accept; add rule ip far in counter comment \"leak\""
        ));
        site.launch();
        site.worker();
        let (stop, tries) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let attackers = attack(&site, &stop, &tries);
        let mut seed = std::env::var("TEROK_KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7u64) | 1;
        let mut kills = 0;
        for round in 0..24 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            std::thread::sleep(Duration::from_millis(seed % 60));
            // The watchdog at any moment, also while it starts.
            let ends_all = round % 3 == 2;
            let target = if ends_all { site.daemon.as_ref().unwrap().id() } else { site.worker() };
            if Command::new("kill").args(["-KILL", &target.to_string()]).status().unwrap().success() {
                kills += 1;
            }
            if ends_all {
                let _ = site.daemon.as_mut().unwrap().wait();
                site.launch();
            }
        }
        stop.store(true, Ordering::Relaxed);
        attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
        site.worker();
        let counted = site.internet.nft("list table ip far");
        assert!(counted.contains("counter packets 0 bytes 0"), "{counted}");
        let tries = tries.load(Ordering::Relaxed);
        assert!(tries > 1000, "{tries}");
        figure(&format!("{kills} kills during {tries} attempts: 0 packets out"));
        wait("the state", || site.says(&["verify"]).contains("`up`"));
    });
}

// holds: firewall-no-start
#[test]
fn daemon_ends_with_one_cause_when_the_firewall_cannot_be_applied() {
    isolated("daemon_ends_with_one_cause_when_the_firewall_cannot_be_applied", || {
        let mut site = Site::start();
        site.container.nft("add table ip other");
        site.launch();
        let status = site.daemon.take().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(3), "{}", site.log());
        let log = site.log();
        assert!(log.contains("cannot start the firewall") && log.contains("foreign rules: table `other`"), "{log}");
        assert!(!site.dir.path().join("run/run/c1/vault.sock").exists());
    });
}
