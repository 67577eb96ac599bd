//! Packets, sockets and namespaces in a real kernel: the log, redirection, the ending of sockets, entering from outside.

mod isolated;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use isolated::{isolated, nft, run};
use terok_nft::{
    Chain, Family, Firewall, Hook, Image, NetworkNamespace, PacketLog, Protocol, Reading, Rejection, RouteKind, Routes,
    Rule, Table, Term, add_loopback_address, destroy_outward_sockets, original_destination,
};

/// A second namespace behind a veth: 192.0.2.1 and 2001:db8::1 here, 192.0.2.2 and 2001:db8::2 there.
struct Peer(Child);

impl Peer {
    fn start() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "600"]).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id().to_string();
        let own = NetworkNamespace::current().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        // unshare needs a moment until it is inside.
        while NetworkNamespace::of_process(child.id().cast_signed()).unwrap().is_same(&own).unwrap() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
        run("ip", &["link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", &pid]);
        for line in [
            "addr add 192.0.2.1/24 dev v0",
            "addr add 2001:db8::1/64 dev v0 nodad",
            "link set v0 up",
            "route add default via 192.0.2.2",
            "route add default via 2001:db8::2",
        ] {
            run("ip", &line.split(' ').collect::<Vec<_>>());
        }
        let peer = Self(child);
        for line in ["addr add 192.0.2.2/24 dev v1", "addr add 2001:db8::2/64 dev v1 nodad", "link set v1 up"] {
            let mut words = vec!["-t", &pid, "--net", "ip"];
            words.extend(line.split(' '));
            run("nsenter", &words);
        }
        peer
    }

    fn namespace(&self) -> NetworkNamespace {
        NetworkNamespace::of_process(self.0.id().cast_signed()).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn table(hook: Hook, terms: Vec<Term>) -> Table {
    let rules = vec![Rule { name: "r".into(), terms }];
    let chains = vec![Chain { name: "c".into(), hook, accepts: true, rules }];
    Table { name: "t".into(), comment: String::new(), quotas: vec![], sets: vec![], chains }
}

fn apply(table: &Table) -> Firewall {
    let mut firewall = Firewall::open("t").unwrap();
    firewall.apply(&Image::of(table)).unwrap();
    firewall
}

fn log() -> Term {
    Term::Log { group: 100, prefix: "TEROK_SHIELD_BLOCKED: ".into(), snaplen: 128 }
}

fn read(log: &PacketLog, limit: Duration) -> Vec<terok_nft::LoggedPacket> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        match log.read() {
            Reading::Packets(packets) => return packets,
            Reading::Lost => {}
            Reading::Empty => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    Vec::new()
}

#[test]
fn logged_packet_arrives_at_once_with_its_destination() {
    isolated("logged_packet_arrives_at_once_with_its_destination", || {
        let _peer = Peer::start();
        let log_reader = PacketLog::open(100).unwrap();
        assert!(PacketLog::open(100).is_err(), "one reader per group");
        apply(&table(Hook::Output, vec![Term::Protocol(Protocol::Tcp), log(), Term::Reject(Rejection::Prohibited)]));
        for (target, refused) in [("198.51.100.9:443", true), ("[2001:db8:9::9]:8443", true)] {
            let target: SocketAddr = target.parse().unwrap();
            let started = Instant::now();
            assert_eq!(TcpStream::connect_timeout(&target, Duration::from_secs(5)).is_err(), refused);
            let packets = read(&log_reader, Duration::from_secs(2));
            assert_eq!((packets[0].destination, packets[0].port), (target.ip(), target.port()));
            assert_eq!((packets[0].protocol, packets[0].prefix.as_str()), (6, "TEROK_SHIELD_BLOCKED: "));
            assert!(started.elapsed() < Duration::from_secs(2));
        }
    });
}

#[test]
fn full_log_is_lost_events_and_not_the_end() {
    isolated("full_log_is_lost_events_and_not_the_end", || {
        let _peer = Peer::start();
        let log_reader = PacketLog::open(100).unwrap();
        apply(&table(Hook::Output, vec![Term::Protocol(Protocol::Udp), log(), Term::Drop]));
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..20_000 {
            let _ = socket.send_to(&[0; 100], "198.51.100.9:9");
        }
        let mut lost = false;
        while match log_reader.read() {
            Reading::Empty => false,
            Reading::Lost => {
                lost = true;
                true
            }
            Reading::Packets(_) => true,
        } {}
        assert!(lost, "the queue was never full");
        let _ = socket.send_to(&[0; 100], "198.51.100.10:10");
        let packets = read(&log_reader, Duration::from_secs(2));
        assert_eq!(packets.last().unwrap().port, 10);
    });
}

#[test]
fn redirected_connection_knows_where_it_was_going() {
    isolated("redirected_connection_knows_where_it_was_going", || {
        let _peer = Peer::start();
        let redirect = |family| vec![Term::Family(family), Term::Protocol(Protocol::Tcp), Term::Redirect(9416)];
        for (family, listen, target) in
            [(Family::V4, "127.0.0.1:9416", "198.51.100.9:443"), (Family::V6, "[::1]:9416", "[2001:db8:9::9]:8443")]
        {
            apply(&table(Hook::Steer, redirect(family)));
            let listener = TcpListener::bind(listen).unwrap();
            let mut client = TcpStream::connect_timeout(&target.parse().unwrap(), Duration::from_secs(5)).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            assert_eq!(original_destination(&server, family == Family::V6), Some(target.parse().unwrap()));
            client.write_all(b"hi").unwrap();
            let mut word = [0; 2];
            server.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"hi");
        }
    });
}

// holds: firewall-quarantine-cuts
#[test]
fn outward_sockets_end_at_once_and_loopback_ones_stay() {
    isolated("outward_sockets_end_at_once_and_loopback_ones_stay", || {
        let peer = Peer::start();
        let inner = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut kept = TcpStream::connect(inner.local_addr().unwrap()).unwrap();
        let (mut kept_server, _) = inner.accept().unwrap();
        for address in ["192.0.2.2:7000", "[2001:db8::2]:7000"] {
            let address: SocketAddr = address.parse().unwrap();
            let listener = peer.namespace().run(|| TcpListener::bind(address)).unwrap().unwrap();
            let mut client = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
            let _server = listener.accept().unwrap();
            assert_eq!(destroy_outward_sockets().unwrap(), 1);
            assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
        }
        kept.write_all(b"x").unwrap();
        kept_server.read_exact(&mut [0; 1]).unwrap();
    });
}

#[test]
fn sockets_made_inside_work_from_outside() {
    isolated("sockets_made_inside_work_from_outside", || {
        let peer = Peer::start();
        let inside = peer.namespace();
        assert!(!inside.is_same(&NetworkNamespace::current().unwrap()).unwrap());
        let mut firewall = inside.run(|| Firewall::open("t")).unwrap().unwrap();
        firewall.apply(&Image::of(&table(Hook::Input, vec![Term::InputLoopback, Term::Accept]))).unwrap();
        assert_eq!(firewall.read().unwrap().tables.len(), 1);
        assert!(Firewall::open("t").unwrap().read().unwrap().tables.is_empty(), "the own namespace has no table");
        // The thread that entered is gone and we are where we were.
        assert!(NetworkNamespace::current().unwrap().identity().unwrap() != inside.identity().unwrap());
        assert!(NetworkNamespace::of_process(0).is_err());
    });
}

#[test]
fn routes_tell_local_addresses_from_others() {
    isolated("routes_tell_local_addresses_from_others", || {
        let _peer = Peer::start();
        let mut routes = Routes::open().unwrap();
        let mut kind = |text: &str| routes.kind_of(text.parse::<IpAddr>().unwrap()).unwrap();
        assert_eq!(kind("192.0.2.1"), RouteKind::Local);
        assert_eq!(kind("2001:db8::1"), RouteKind::Local);
        assert_eq!(kind("127.9.9.9"), RouteKind::Local);
        assert_eq!(kind("198.51.100.1"), RouteKind::Unicast);
        assert_eq!(kind("2001:db8:7::1"), RouteKind::Unicast);
        assert_eq!(kind("192.0.2.255"), RouteKind::Other);
        assert_eq!(kind("224.0.0.1"), RouteKind::Other);
        let krun: IpAddr = "169.254.1.3".parse().unwrap();
        assert_ne!(kind("169.254.1.3"), RouteKind::Local);
        add_loopback_address(krun).unwrap();
        add_loopback_address(krun).unwrap();
        assert_eq!(kind("169.254.1.3"), RouteKind::Local);
        run("ip", &["route", "del", "default"]);
        assert_eq!(kind("198.51.100.1"), RouteKind::Other);
    });
}

#[test]
fn quota_lets_its_bytes_pass_and_no_more() {
    isolated("quota_lets_its_bytes_pass_and_no_more", || {
        let peer = Peer::start();
        let mut limited =
            table(Hook::Output, vec![Term::Protocol(Protocol::Udp), Term::NamedQuotaSpent("q".into()), Term::Drop]);
        limited.quotas.push(terok_nft::Quota { name: "q".into(), bytes: 100_000 });
        let mut firewall = apply(&limited);
        let receiver = peer.namespace().run(|| UdpSocket::bind("192.0.2.2:7")).unwrap().unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let sender = UdpSocket::bind("192.0.2.1:0").unwrap();
        let send = || {
            (0..300).for_each(|_| drop(sender.send_to(&[0; 1000], "192.0.2.2:7")));
            let mut bytes = 0;
            while let Ok(length) = receiver.recv(&mut [0; 2000]) {
                bytes += length;
            }
            bytes
        };
        let first = send();
        assert!((90_000..=100_000).contains(&first), "{first}");
        assert_eq!(send(), 0);
        assert_eq!(firewall.read().unwrap().tables[0].quotas[0].consumed, 100_000);
        firewall.reset_quota("q").unwrap();
        let second = send();
        assert!((90_000..=100_000).contains(&second), "{second}");
        assert!(firewall.is_unchanged().unwrap() && firewall.reset_quota("none").is_err());
    });
}

#[test]
fn own_table_survives_beside_a_foreign_one() {
    isolated("own_table_survives_beside_a_foreign_one", || {
        nft("table inet other { chain c { type filter hook input priority 0;\n }\n}");
        let mut firewall = apply(&table(Hook::Input, vec![Term::InputLoopback, Term::Accept]));
        firewall.remove().unwrap();
        assert_eq!(firewall.read().unwrap().tables[0].name, "other");
    });
}
