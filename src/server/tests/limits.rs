//! How many connections there are at once, and what becomes of one too many.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::Instant;

use server::Running;

use crate::stage::{Echo, MOMENT, Wire, connect, connect_tcp};

#[test]
fn one_too_many_waits_in_the_queue_until_another_ends() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let echo = Echo::<false>::default();
    let _running = Running::unix(echo.clone(), &socket).unwrap();
    let mut open = [connect(&socket), connect(&socket)];
    assert!(open.iter_mut().all(Wire::is_served));
    let mut third = connect(&socket);
    third.set_read_timeout(Some(MOMENT)).unwrap();
    assert!(!third.is_served(), "two are open");
    third.set_read_timeout(Some(MOMENT * 10)).unwrap();
    drop(open);
    let mut back = [0];
    third.read_exact(&mut back).unwrap();
    assert_eq!((back, echo.0.most.load(Ordering::SeqCst)), (*b"x", 2));
}

#[test]
fn one_too_many_is_turned_away_after_a_moment() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let echo = Echo::<true>::default();
    let _running = Running::unix(echo.clone(), &socket).unwrap();
    let mut open = vec![connect(&socket), connect(&socket)];
    assert!(open.iter_mut().all(Wire::is_served));
    let began = Instant::now();
    assert!(connect(&socket).is_closed());
    assert!(began.elapsed() >= MOMENT);
    // One that comes while another goes is served, whichever is seen first.
    for _ in 0..20 {
        let mut fresh = connect(&socket);
        drop(open.remove(0));
        assert!(fresh.is_served());
        open.push(fresh);
    }
    assert_eq!(echo.0.most.load(Ordering::SeqCst), 2);
}

#[test]
fn connections_of_either_kind_are_named_and_not_inherited() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let echo = Echo::<false>::default();
    let _unix = Running::unix(echo.clone(), &socket).unwrap();
    let tcp = Running::tcp(echo.clone(), 0).unwrap();
    let (mut one, mut other) = (connect(&socket), connect_tcp(tcp.port().unwrap()));
    one.write_all(b"?").unwrap();
    other.write_all(b"?").unwrap();
    let mut name = [0; 200];
    let length = one.read(&mut name).unwrap();
    let text = String::from_utf8_lossy(&name[..length]).into_owned();
    assert!(text.starts_with(&format!("pid={} uid=", std::process::id())), "{text}");
    let length = other.read(&mut name).unwrap();
    assert_eq!(String::from_utf8_lossy(&name[..length]), other.local_addr().unwrap().to_string());
    assert!(!echo.0.inheritable.load(Ordering::SeqCst));
}
