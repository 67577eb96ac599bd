//! How many connections there are at once, and what becomes of one too many.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::Instant;

use server::Running;

use crate::stage::{Echo, MOMENT, Served, Wire, connect, connect_tcp};

#[test]
fn one_too_many_waits_in_the_queue_until_another_ends() {
    let served = Served::<false>::new();
    let open = [served.connect(), served.connect()];
    let mut third = connect(&served.socket);
    third.set_read_timeout(Some(MOMENT)).unwrap();
    assert!(!third.is_served(), "two are open");
    third.set_read_timeout(Some(MOMENT * 10)).unwrap();
    drop(open);
    let mut back = [0];
    third.read_exact(&mut back).unwrap();
    assert_eq!((back, served.told.most.load(Ordering::SeqCst)), (*b"x", 2));
}

#[test]
fn one_too_many_is_turned_away_after_a_moment() {
    let served = Served::<true>::new();
    let mut open = vec![served.connect(), served.connect()];
    let began = Instant::now();
    assert!(connect(&served.socket).is_closed());
    assert!(began.elapsed() >= MOMENT);
    // One that comes while another goes is served, whichever is seen first.
    for _ in 0..20 {
        let mut fresh = connect(&served.socket);
        drop(open.remove(0));
        assert!(fresh.is_served());
        open.push(fresh);
    }
    assert_eq!(served.told.most.load(Ordering::SeqCst), 2);
}

#[test]
fn connections_of_either_kind_are_named_and_not_inherited() {
    let served = Served::<false>::new();
    let tcp = Running::tcp(Echo::<false>(served.told.clone()), 0).unwrap();
    let (mut one, mut other) = (connect(&served.socket), connect_tcp(tcp.port().unwrap()));
    one.write_all(b"?").unwrap();
    other.write_all(b"?").unwrap();
    let mut name = [0; 200];
    let length = one.read(&mut name).unwrap();
    let text = String::from_utf8_lossy(&name[..length]).into_owned();
    assert!(text.starts_with(&format!("pid={} uid=", std::process::id())), "{text}");
    let length = other.read(&mut name).unwrap();
    assert_eq!(String::from_utf8_lossy(&name[..length]), other.local_addr().unwrap().to_string());
    assert!(!served.told.inheritable.load(Ordering::SeqCst));
}
