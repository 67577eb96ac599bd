//! Real packets through the rules in a real kernel, compared with the oracle: verdict, log and the rule that counted.

#[path = "../../nft/tests/isolated/mod.rs"]
mod isolated;
mod policies;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use isolated::{isolated, nft_json, run};
use policies::{address, image, overlapping};
use terok_nft::{Firewall, NetworkNamespace, PacketLog, Reading, Rejection, Ruleset};
use terok_shield_policy::judge::{Decision, judge};
use terok_shield_policy::packet::{Packet, protocol};
use terok_shield_policy::ruleset::{LISTENER_PORT, LOG_GROUP, TABLE};
use terok_shield_policy::{ShieldState, classify, interpret};

const PORTS: [u16; 5] = [53, 9416, 443, 80, 8080];
const HOLD: Duration = Duration::from_millis(150);

/// A namespace in which every address is its own, so that whatever passes is answered.
struct Internet {
    child: Child,
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

impl Internet {
    fn start() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let own = NetworkNamespace::current().unwrap();
        let pid = child.id();
        let deadline = Instant::now() + Duration::from_secs(10);
        while NetworkNamespace::of_process(pid.cast_signed()).unwrap().is_same(&own).unwrap() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = pid.to_string();
        run("ip", &["link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", &pid]);
        for line in [
            "addr add 192.0.2.1/24 dev v0",
            "addr add 2001:db8:f::1/64 dev v0 nodad",
            "link set v0 up",
            "route add default via 192.0.2.2",
            "route add default via 2001:db8:f::2",
        ] {
            run("ip", &line.split(' ').collect::<Vec<_>>());
        }
        for line in [
            "addr add 192.0.2.2/24 dev v1",
            "addr add 2001:db8:f::2/64 dev v1 nodad",
            "link set v1 up",
            "link set lo up",
            "route add local 0.0.0.0/1 dev lo table main",
            "route add local 128.0.0.0/1 dev lo table main",
            "-6 route add local ::/1 dev lo table main",
            "-6 route add local 8000::/1 dev lo table main",
            "-6 route add 2001:db8:f::1/128 dev v1",
            "route add 192.0.2.1/32 dev v1",
        ] {
            let mut words = vec!["-t", &pid, "--net", "ip"];
            words.extend(line.split(' '));
            run("nsenter", &words);
        }
        let inside = NetworkNamespace::of_process(child.id().cast_signed()).unwrap();
        let sockets = inside.run(|| {
            let tcp = PORTS.map(|port| TcpListener::bind(("::", port)).unwrap());
            let udp = PORTS.map(|port| UdpSocket::bind(("::", port)).unwrap());
            (tcp, udp)
        });
        let (tcp, udp) = sockets.unwrap();
        tcp.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        udp.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        Self { child, tcp: tcp.into(), udp: udp.into() }
    }

    /// True when a datagram or connection has arrived there.
    fn received(&self, number: u8) -> bool {
        let deadline = Instant::now() + Duration::from_millis(if number == protocol::UDP { 40 } else { 0 });
        loop {
            let arrived = if number == protocol::TCP {
                self.tcp.iter().any(|socket| socket.accept().is_ok())
            } else {
                self.udp.iter().any(|socket| socket.recv(&mut [0; 16]).is_ok())
            };
            if arrived || Instant::now() >= deadline {
                return arrived;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The supervisor's sockets inside.
struct Inside {
    tcp: Vec<(u16, TcpListener)>,
    udp: Vec<UdpSocket>,
}

impl Inside {
    fn bind() -> Self {
        let mut tcp = Vec::new();
        let mut udp = Vec::new();
        for at in ["127.0.0.1", "::1"].map(address) {
            for port in [53, LISTENER_PORT] {
                let listener = TcpListener::bind((at, port)).unwrap();
                listener.set_nonblocking(true).unwrap();
                tcp.push((port, listener));
            }
            let socket = UdpSocket::bind((at, 53)).unwrap();
            socket.set_nonblocking(true).unwrap();
            udp.push(socket);
        }
        Self { tcp, udp }
    }

    fn received(&self) -> Option<u16> {
        let connection = self.tcp.iter().find(|(_, listener)| listener.accept().is_ok()).map(|(port, _)| *port);
        connection.or_else(|| self.udp.iter().any(|socket| socket.recv(&mut [0; 16]).is_ok()).then_some(53))
    }
}

/// Sends a real packet and tells what became of it.
fn send(packet: &Packet, internet: &Internet, inside: &Inside) -> Decision {
    let target = SocketAddr::new(packet.destination, packet.port);
    let error = if packet.protocol == protocol::TCP {
        TcpStream::connect_timeout(&target, HOLD).err()
    } else {
        let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        UdpSocket::bind(any).unwrap().send_to(b"x", target).err()
    };
    match (error, inside.received()) {
        (None, Some(port)) => Decision::Steer(port),
        (None, None) if internet.received(packet.protocol) => Decision::Accept,
        (None, None) => Decision::Discard,
        (Some(error), _) if error.kind() == ErrorKind::TimedOut => Decision::Hold,
        (Some(error), _) if error.kind() == ErrorKind::ConnectionRefused => Decision::Refuse(Rejection::Reset),
        (Some(error), _) => match error.raw_os_error() {
            // Sent datagrams that are dropped or refused fail in the same way.
            Some(113 | 1) => Decision::Refuse(Rejection::Prohibited),
            _ => panic!("{packet:?}: {error}"),
        },
    }
}

fn counters() -> BTreeMap<String, u64> {
    let listed = nft_json();
    let rules = listed["nftables"].as_array().unwrap().iter().filter_map(|object| object.get("rule"));
    let counted = rules.filter_map(|rule| {
        let counter = rule["expr"].as_array()?.iter().find_map(|step| step["counter"]["packets"].as_u64())?;
        Some((rule["comment"].as_str()?.to_owned(), counter))
    });
    counted.collect()
}

fn logged(log: &PacketLog) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        match log.read() {
            Reading::Packets(packets) => found.extend(packets.into_iter().map(|packet| packet.prefix)),
            Reading::Lost => {}
            Reading::Empty => return found,
        }
    }
}

fn targets() -> Vec<IpAddr> {
    [
        "198.51.100.1",
        "198.51.100.7",
        "198.51.100.200",
        "203.0.113.7",
        "203.0.113.9",
        "203.0.113.20",
        "203.0.113.50",
        "10.1.0.1",
        "10.1.2.3",
        "10.9.9.9",
        "169.254.169.254",
        "198.18.0.9",
        "2001:db8:1::1",
        "2001:db8:1:9::1",
        "2001:db8:7::7",
        "2001:db8:7::20",
        "2001:db8:8::8",
        "fd00:1::1",
        "fd00:2::1",
        "fd00:9::9",
    ]
    .map(address)
    .into()
}

// holds: firewall-real-packets
#[test]
fn real_packets_do_what_the_oracle_says() {
    isolated("real_packets_do_what_the_oracle_says", || {
        let internet = Internet::start();
        let inside = Inside::bind();
        let log = PacketLog::open(LOG_GROUP).unwrap();
        let mut firewall = Firewall::open(TABLE).unwrap();
        let mut sent = 0;
        for (state, hold) in [
            (ShieldState::Up, true),
            (ShieldState::Up, false),
            (ShieldState::Down, false),
            (ShieldState::Disengaged, false),
            (ShieldState::Quarantine, false),
        ] {
            let (policy, mut dynamic) = overlapping(hold);
            for element in dynamic.learned.iter_mut().chain(&mut dynamic.refused) {
                element.expires = None;
            }
            let rules = image(&policy, state, &dynamic);
            for target in targets() {
                for (number, port) in [protocol::TCP, protocol::UDP].iter().flat_map(|n| PORTS.map(|port| (*n, port))) {
                    // One table for each packet: counters and the log's rate start again.
                    firewall.apply(&rules).unwrap();
                    logged(&log);
                    let packet = Packet::first(target, number, port);
                    let expected = judge(&policy, state, &dynamic, &packet);
                    let found = send(&packet, &internet, &inside);
                    let same = match (expected.decision, found) {
                        // A dropped SYN only ever waits, a dropped datagram fails at once.
                        (Decision::Discard, Decision::Hold) => number == protocol::TCP,
                        (Decision::Discard, Decision::Refuse(_)) => number == protocol::UDP,
                        (expected, found) => expected == found,
                    };
                    assert!(same, "{}: {packet:?}: {found:?} instead of {:?}", state.word(), expected.decision);
                    let trace = interpret::run(&rules, &packet);
                    let logs = logged(&log);
                    assert_eq!(logs.first().map(String::as_str), expected.logs.first().copied(), "{packet:?}");
                    if port == 443 && number == protocol::TCP {
                        let counters = counters();
                        for (rule, count) in counters {
                            // The kernel's own multicast goes to private space at any moment.
                            if rule == "private-v6" && packet.family() == terok_nft::Family::V4 {
                                continue;
                            }
                            assert_eq!(count > 0, trace.counted.contains(&rule), "{rule} counts {packet:?}: {count}");
                        }
                    }
                    sent += 1;
                }
            }
        }
        isolated::figure(&format!("{sent} real packets agree with the oracle"));
    });
}

#[test]
fn connections_from_outside_reach_published_ports_only() {
    isolated("connections_from_outside_reach_published_ports_only", || {
        let internet = Internet::start();
        let outside = NetworkNamespace::of_process(internet.child.id().cast_signed()).unwrap();
        let (policy, dynamic) = overlapping(true);
        let mut firewall = Firewall::open(TABLE).unwrap();
        firewall.apply(&image(&policy, ShieldState::Up, &dynamic)).unwrap();
        for (at, port, open) in [
            ("192.0.2.1", 3000, true),
            ("192.0.2.1", 3002, false),
            ("2001:db8:f::1", 3000, true),
            ("2001:db8:f::1", 3002, false),
        ] {
            let _listener = TcpListener::bind((address(at), port)).unwrap();
            let target = SocketAddr::new(address(at), port);
            let connected = outside.run(|| TcpStream::connect_timeout(&target, Duration::from_millis(400))).unwrap();
            assert_eq!(connected.is_ok(), open, "{target}: {connected:?}");
        }
    });
}

#[test]
fn state_is_read_from_the_kernel() {
    isolated("state_is_read_from_the_kernel", || {
        let (policy, mut dynamic) = overlapping(true);
        dynamic.learned.clear();
        let mut firewall = Firewall::open(TABLE).unwrap();
        assert_eq!(classify(&policy, &Ruleset::default()).0, ShieldState::Offline);
        for state in [ShieldState::Up, ShieldState::Down, ShieldState::Disengaged, ShieldState::Quarantine] {
            firewall.apply(&image(&policy, state, &dynamic)).unwrap();
            let (found, hold, differences) = classify(&policy, &firewall.read().unwrap());
            assert_eq!((found, hold), (state, state == ShieldState::Up), "{differences:?}");
        }
        isolated::nft("insert rule inet terok_shield output accept");
        let (found, _, differences) = classify(&policy, &firewall.read().unwrap());
        assert_eq!(found, ShieldState::Error);
        assert!(!differences.is_empty());
    });
}
