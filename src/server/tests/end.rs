//! The end: at once for who is idle, a second for who is not, and everybody is told.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use server::GRACE;

use crate::stage::{Served, Wire, connect};

/// Less than it takes when somebody is waited for.
const AT_ONCE: Duration = Duration::from_millis(900);

/// Whether one of three stops is at once: a busy machine may make any single one late, waiting would make all of them so.
fn at_once(mut stop: impl FnMut() -> Duration) -> bool {
    (0..3).any(|_| stop() < AT_ONCE)
}

#[test]
fn who_is_idle_is_not_waited_for_and_everybody_is_told() {
    assert!(at_once(|| {
        let mut served = Served::<false>::new();
        let mut client = served.connect();
        assert!(served.told.meanwhile_began.load(Ordering::SeqCst) && !served.told.end_called.load(Ordering::SeqCst));
        let took = served.stop();
        assert!(client.is_closed());
        for (what, happened) in [
            ("work beside", &served.told.meanwhile_dropped),
            ("end called", &served.told.end_called),
            ("end awaited", &served.told.end_awaited),
        ] {
            assert!(happened.load(Ordering::SeqCst), "{what}");
        }
        took
    }));
}

#[test]
fn work_that_does_not_end_gets_a_second() {
    let mut served = Served::<false>::new();
    let mut client = served.connect();
    client.write_all(b"!").unwrap();
    while !served.told.at_work.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = served.stop();
    assert!(took >= GRACE && took < GRACE * 10, "{took:?}");
    assert!(client.is_closed());
    assert_eq!(served.told.open.load(Ordering::SeqCst), 0);
    assert!(!served.told.end_awaited.load(Ordering::SeqCst), "connections go first");
}

#[test]
fn a_service_that_is_full_ends_as_well() {
    assert!(at_once(|| {
        let mut served = Served::<true>::new();
        let _open = [served.connect(), served.connect()];
        let mut waiting = connect(&served.socket);
        let took = served.stop();
        assert!(waiting.is_closed());
        took
    }));
}
