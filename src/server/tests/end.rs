//! The end: at once for who is idle, a second for who is not, and everybody is told.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use server::{GRACE, Running};

use crate::stage::{Echo, Wire, connect};

#[test]
fn who_is_idle_is_not_waited_for_and_everybody_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let echo = Echo::<false>::default();
    let mut running = Running::unix(echo.clone(), &socket).unwrap();
    let mut client = connect(&socket);
    assert!(client.is_served());
    let told = &echo.0;
    assert!(told.meanwhile_began.load(Ordering::SeqCst) && !told.end_called.load(Ordering::SeqCst));
    let began = Instant::now();
    running.stop();
    assert!(began.elapsed() < GRACE - Duration::from_millis(100));
    assert!(client.is_closed());
    for (what, happened) in
        [("work beside", &told.meanwhile_dropped), ("end called", &told.end_called), ("end awaited", &told.end_awaited)]
    {
        assert!(happened.load(Ordering::SeqCst), "{what}");
    }
}

#[test]
fn work_that_does_not_end_gets_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let echo = Echo::<false>::default();
    let mut running = Running::unix(echo.clone(), &socket).unwrap();
    let mut client = connect(&socket);
    assert!(client.is_served());
    client.write_all(b"!").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    running.stop();
    let took = began.elapsed();
    assert!(took >= GRACE && took < GRACE * 3, "{took:?}");
    assert!(client.is_closed());
    assert_eq!(echo.0.open.load(Ordering::SeqCst), 0);
    assert!(!echo.0.end_awaited.load(Ordering::SeqCst), "connections go first");
}

#[test]
fn a_service_that_is_full_ends_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let mut running = Running::unix(Echo::<true>::default(), &socket).unwrap();
    let mut open = [connect(&socket), connect(&socket)];
    assert!(open.iter_mut().all(Wire::is_served));
    let mut waiting = connect(&socket);
    let began = Instant::now();
    running.stop();
    assert!(began.elapsed() < GRACE - Duration::from_millis(100));
    assert!(waiting.is_closed());
}
