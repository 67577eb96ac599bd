//! Names: which leave the host, what they resolve to, and that only they decide where a connection goes.

#[path = "../../nft/tests/isolated/mod.rs"]
mod isolated;
mod world;

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use domain::base::iana::Rtype;
use terok_egress::Bound;
use terok_shield_policy::address::is_parking;
use world::{Fate, Operator, Worker, World, at, dns, in_world, send, tls, tls_in_pieces};

const FORWARDER: &str = "127.0.0.1:53";

/// A firewall that allows `good.test` and `shared.test`, and denies `bad.good.test`.
fn firewall(world: &World) -> (Bound, Worker, Rc<Operator>) {
    world.write("profile.domains", "good.test\nshared.test\nprivate.test\nmixed.test\nhost.test\nalias.test\n");
    world.write("denied.domains", "bad.good.test\n");
    world.name("good.test", &["198.51.100.7", "2001:db8:7::7"]);
    world.name("www.good.test", &["198.51.100.8"]);
    world.name("bad.good.test", &["198.51.100.9"]);
    world.name("shared.test", &["198.51.100.7"]);
    world.name("other.test", &["198.51.100.7"]);
    let bound = Bound::bind(world.plan()).unwrap();
    let operator = Rc::new(Operator::default());
    let worker = Worker::start(&bound, &operator);
    (bound, worker, operator)
}

// holds: firewall-names-stay
#[test]
fn only_allowed_names_leave_the_host() {
    in_world("only_allowed_names_leave_the_host", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        let ask = async |name: &'static str, kind| world.inside(move || dns(FORWARDER, name, kind)).await.unwrap();
        let good = ask("good.test.", Rtype::A).await;
        assert_eq!((good.code.as_str(), good.addresses[0].to_string()), ("NOERROR", "198.51.100.7".to_owned()));
        assert_eq!(ask("WWW.Good.Test.", Rtype::A).await.addresses[0].to_string(), "198.51.100.8");
        assert_eq!(ask("good.test.", Rtype::AAAA).await.addresses[0].to_string(), "2001:db8:7::7");
        let denied = ask("bad.good.test.", Rtype::A).await;
        assert_eq!((denied.code.as_str(), denied.addresses.len()), ("NXDOMAIN", 0));
        assert!(denied.reason.contains("bad.good.test"), "{denied:?}");
        let parked = ask("secret-data.tunnel.test.", Rtype::A).await;
        assert!(parked.addresses.len() == 1 && is_parking(parked.addresses[0]), "{parked:?}");
        for kind in [Rtype::AAAA, Rtype::TXT, Rtype::HTTPS, Rtype::ANY, Rtype::SRV] {
            let empty = ask("secret-data.tunnel.test.", kind).await;
            assert_eq!((empty.code.as_str(), empty.addresses.len()), ("NOERROR", 0), "{kind}");
        }
        assert_eq!(ask("good.test.", Rtype::HTTPS).await.addresses.len(), 0);
        for name in ["intranet.", "1.0.0.10.in-addr.arpa.", "1.2.3.4.", "a\\000b.test."] {
            assert_eq!(ask(name, Rtype::A).await.code, "NXDOMAIN", "{name}");
        }
        assert_eq!(ask("missing.good.test.", Rtype::A).await.code, "NXDOMAIN");
        let asked = world.asked.lock().unwrap().clone();
        assert!(asked.iter().all(|question| question.contains("good.test")), "{asked:?}");
        assert!(!asked.iter().any(|question| question.contains("bad.good.test")), "{asked:?}");
    });
}

// holds: firewall-any-resolver
#[test]
fn every_resolver_is_the_forwarder_over_udp_and_tcp() {
    in_world("every_resolver_is_the_forwarder_over_udp_and_tcp", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        for server in ["8.8.8.8:53", "[2001:db8:53::53]:53", "[::1]:53", "10.9.0.1:53"] {
            let reply = world.inside(move || dns(server, "undecided.test.", Rtype::A)).await.unwrap();
            assert!(is_parking(reply.addresses[0]), "{server}: {reply:?}");
        }
        let by_tcp = world.inside(|| {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect("8.8.8.8:53").unwrap();
            let question = world::question("good.test.", Rtype::A);
            let mut pieces = u16::try_from(question.len()).unwrap().to_be_bytes().to_vec();
            pieces.extend_from_slice(&question);
            for byte in pieces {
                stream.write_all(&[byte]).unwrap();
            }
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut reply = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut reply).unwrap();
            world::parse_reply(&reply)
        });
        assert_eq!(by_tcp.await.unwrap().addresses[0].to_string(), "198.51.100.7");
    });
}

// holds: firewall-name-decides
#[test]
fn name_in_the_connection_decides_and_not_the_address() {
    in_world("name_in_the_connection_decides_and_not_the_address", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::AAAA)).await.unwrap();
        for place in ["198.51.100.7:443", "[2001:db8:7::7]:443"] {
            let config = world.tls.clone();
            let speak = async |name: &'static str, piece: usize| {
                let config = config.clone();
                world.inside(move || tls_in_pieces(&config, at(place), name, piece)).await.unwrap()
            };
            assert_eq!(speak("good.test", usize::MAX).await, Fate::Said("tls good.test hi".into()), "{place}");
            assert_eq!(speak("GOOD.test", 1).await, Fate::Said("tls good.test hi".into()));
            // Another allowed name that lives elsewhere is reached where it lives.
            assert_eq!(speak("www.good.test", usize::MAX).await, Fate::Said("tls www.good.test hi".into()));
            for refused in ["other.test", "bad.good.test", "evil.test", "198.51.100.7"] {
                let fate = speak(refused, usize::MAX).await;
                assert!(matches!(&fate, Fate::Alert(text) if text.contains("AccessDenied")), "{refused}: {fate:?}");
            }
        }
    });
}

#[test]
fn address_without_a_name_is_refused_even_with_an_allowed_name_inside() {
    in_world("address_without_a_name_is_refused_even_with_an_allowed_name_inside", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        let config = world.tls.clone();
        let fate = world.inside(move || tls(&config, at("198.51.100.7:443"), "good.test")).await.unwrap();
        assert_eq!(fate, Fate::Failed(ErrorKind::HostUnreachable));
    });
}

// holds: firewall-http-hosts
#[test]
fn every_request_of_clear_http_is_checked() {
    in_world("every_request_of_clear_http_is_checked", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        let ask = async |bytes: &'static [u8]| match world
            .inside(move || send(at("198.51.100.7:80"), bytes))
            .await
            .unwrap()
        {
            Fate::Said(text) => text,
            other => format!("{other:?}"),
        };
        let good = ask(b"GET /a HTTP/1.1\r\nHost: good.test\r\nConnection: close\r\n\r\n").await;
        assert!(good.starts_with("HTTP/1.1 200") && good.contains("GET /a HTTP/1.1 | host: good.test"), "{good}");
        let absolute = ask(b"GET http://good.test/b HTTP/1.1\r\nHost: good.test:80\r\nConnection: close\r\n\r\n").await;
        assert!(absolute.contains("GET /b HTTP/1.1"), "{absolute}");
        for (bytes, status, words) in [
            (&b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"[..], "403", "terok-shield allow CONTAINER evil.test"),
            (b"GET / HTTP/1.1\r\nHost: bad.good.test\r\n\r\n", "403", "denies the host"),
            (b"GET / HTTP/1.1\r\n\r\n", "400", "no `Host`"),
            (b"GET / HTTP/1.1\r\nHost: good.test\r\nHost: evil.test\r\n\r\n", "400", "more than one"),
            (b"GET http://evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n", "400", "is not its `Host`"),
            (b"GET / HTTP/1.1\r\nHost : evil.test\r\nHost: good.test\r\n\r\n", "400", ""),
            (b"CONNECT evil.test:443 HTTP/1.1\r\nHost: good.test\r\n\r\n", "400", "no proxy"),
            (b"GET / HTTP/1.1\r\nHost: 198.51.100.7\r\n\r\n", "400", "no host name"),
        ] {
            let reply = ask(bytes).await;
            assert!(reply.starts_with(&format!("HTTP/1.1 {status}")) && reply.contains(words), "{words}: {reply}");
        }
        // The second request of a connection goes its own way, pipelined or not.
        let both = world.inside(|| {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect("198.51.100.7:80").unwrap();
            let requests = b"GET /1 HTTP/1.1\r\nHost: good.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: evil.test\r\n\r\n";
            stream.write_all(requests).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let both = both.await.unwrap();
        assert!(both.contains("GET /1") && both.contains("403") && !both.contains("GET /2"), "{both}");
        let preface = ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(preface.contains("ConnectionReset"), "{preface}");
    });
}

#[test]
fn other_protocols_go_by_the_name_that_opened_the_address() {
    in_world("other_protocols_go_by_the_name_that_opened_the_address", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        let greeting = world.inside(|| send(at("198.51.100.7:22"), b"")).await.unwrap();
        assert_eq!(greeting, Fate::Said("220 hello\r\n".into()));
        let echo = world.inside(|| send(at("198.51.100.7:7"), b"ping")).await.unwrap();
        assert_eq!(echo, Fate::Said("ping".into()));
        // On the ports of the web only what has a name inside goes on.
        for port in [80, 443] {
            let fate = world
                .inside(move || {
                    send(
                        (["198.51.100.7:443", "198.51.100.7:80"][usize::from(port == 80)]).parse().unwrap(),
                        b"\x00\x01raw",
                    )
                })
                .await;
            assert_eq!(fate.unwrap(), Fate::Failed(ErrorKind::ConnectionReset), "{port}");
        }
        // A server that speaks first, and a client that then asks for another name.
        let config = world.tls.clone();
        let fate = world.inside(move || {
            std::thread::sleep(Duration::from_millis(10));
            late_tls(&config, "198.51.100.7:22", "evil.test")
        });
        assert!(!fate.await.unwrap(), "a name that is not allowed went through");
    });
}

/// True when a hello got through that comes after the server has spoken.
fn late_tls(_config: &world::Tls, place: &str, name: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(place).unwrap();
    let mut greeting = [0; 64];
    let _ = stream.read(&mut greeting).unwrap();
    // A minimal hello with that server name.
    let mut extension =
        vec![0, 0, 0, u8::try_from(name.len() + 5).unwrap(), 0, u8::try_from(name.len() + 3).unwrap(), 0, 0];
    extension.push(u8::try_from(name.len()).unwrap());
    extension.extend_from_slice(name.as_bytes());
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend_from_slice(&u16::try_from(extension.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&extension);
    let mut hello = vec![0x16, 3, 1];
    hello.extend_from_slice(&u16::try_from(body.len() + 4).unwrap().to_be_bytes());
    hello.extend_from_slice(&[1, 0]);
    hello.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    hello.extend_from_slice(&body);
    stream.write_all(&hello).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    matches!(stream.read(&mut greeting), Ok(1..))
}

// holds: firewall-rebinding
#[test]
fn name_never_leads_to_private_space_or_to_this_host() {
    in_world("name_never_leads_to_private_space_or_to_this_host", async |world| {
        let (_bound, worker, _) = firewall(&world);
        world.name("private.test", &["10.9.0.1", "fd09::1"]);
        world.name("mixed.test", &["127.0.0.1", "198.51.100.20"]);
        world.name("host.test", &["192.0.2.1"]);
        world.name("alias.test", &["-> private.test", "169.254.169.254"]);
        let ask = async |name: &'static str| world.inside(move || dns(FORWARDER, name, Rtype::A)).await.unwrap();
        for name in ["private.test.", "host.test.", "alias.test."] {
            let reply = ask(name).await;
            assert_eq!((reply.code.as_str(), reply.addresses.len()), ("NXDOMAIN", 0), "{name}: {reply:?}");
        }
        let mixed = ask("mixed.test.").await;
        assert_eq!(mixed.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["198.51.100.20"]);
        // The same after the answer, when the name changes between look-up and connection.
        world.name("mixed.test", &["10.9.0.1", "192.0.2.1"]);
        let config = world.tls.clone();
        world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        let fate = world.inside(move || tls(&config, at("198.51.100.7:443"), "mixed.test")).await.unwrap();
        assert!(matches!(fate, Fate::Failed(ErrorKind::ConnectionReset)), "{fate:?}");
        for place in
            ["127.0.0.1", "10.9.0.1", "192.0.2.1", "169.254.169.254", "::1", "fd09::1", "198.18.0.9", "::ffff:10.0.0.1"]
        {
            assert!(!worker.engine.may_connect(place.parse().unwrap()), "{place}");
        }
    });
}

#[test]
fn listener_serves_only_what_was_redirected() {
    in_world("listener_serves_only_what_was_redirected", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        for place in ["127.0.0.1:9416", "[::1]:9416"] {
            let config = world.tls.clone();
            let fate = world.inside(move || tls(&config, at(place), "good.test")).await.unwrap();
            assert!(matches!(fate, Fate::Failed(_)), "{place}: {fate:?}");
        }
        // From the host's side the port is closed by the rules.
        let fate =
            tokio::task::spawn_blocking(|| world::send_within(at("10.9.0.2:9416"), b"x", Duration::from_millis(400)));
        assert_eq!(fate.await.unwrap(), Fate::Failed(ErrorKind::TimedOut));
    });
}

// holds: firewall-learn-first
#[test]
fn address_is_open_before_its_name_is_answered() {
    in_world("address_is_open_before_its_name_is_answered", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        for number in 0..60 {
            let name = format!("h{number}.good.test");
            world.name(&name, &[&format!("203.0.113.{number}")]);
        }
        let connected = world.inside(|| {
            (0..60)
                .filter(|number| {
                    let address = dns(FORWARDER, &format!("h{number}.good.test."), Rtype::A).addresses[0];
                    std::net::TcpStream::connect((address, 7)).is_ok()
                })
                .count()
        });
        assert_eq!(connected.await.unwrap(), 60);
    });
}

#[test]
fn questions_beyond_the_rate_are_dropped_and_the_next_are_answered() {
    in_world("questions_beyond_the_rate_are_dropped_and_the_next_are_answered", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        let flood = world.inside(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            for number in 0..2000 {
                let _ = socket.send_to(&world::question(&format!("h{number}.test."), Rtype::A), FORWARDER);
            }
            let mut answers = 0;
            while socket.recv(&mut [0; 512]).is_ok() {
                answers += 1;
            }
            answers
        });
        let answers = flood.await.unwrap();
        assert!((1..900).contains(&answers), "{answers}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let started = Instant::now();
        let reply = world.inside(|| dns(FORWARDER, "good.test.", Rtype::A)).await.unwrap();
        assert!(reply.code == "NOERROR" && started.elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn malformed_dns_is_answered_with_an_error_or_not_at_all() {
    in_world("malformed_dns_is_answered_with_an_error_or_not_at_all", async |world| {
        let (_bound, _worker, _) = firewall(&world);
        let codes = world.inside(|| {
            let good = world::question("good.test.", Rtype::A);
            let mut two = good.clone();
            two[5] = 2;
            let mut none = good.clone();
            none[5] = 0;
            let mut response = good.clone();
            response[2] |= 0x80;
            let mut status = good.clone();
            status[2] |= 0x10;
            // A name that points to itself.
            let mut circle = good[..12].to_vec();
            circle.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
            circle[11] = 0;
            [two, none, response, status, circle, good[..20].to_vec(), good[..5].to_vec()].map(|bytes| {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                socket.send_to(&bytes, FORWARDER).unwrap();
                let mut buffer = [0; 512];
                socket.recv(&mut buffer).ok().map(|_| buffer[3] & 15)
            })
        });
        let codes = codes.await.unwrap();
        assert_eq!(codes, [Some(1), Some(1), None, Some(4), Some(1), Some(1), None]);
    });
}
