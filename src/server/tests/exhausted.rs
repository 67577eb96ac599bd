//! A process without a free descriptor cannot accept; it does when there is one again.

#[path = "stage.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod stage;

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stage::{Served, Wire, connect};

#[test]
fn want_of_descriptors_ends_nothing() {
    let served = Served::<false>::new();
    let mut first = served.connect();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
    let mut second = {
        let null = File::open("/dev/null").unwrap();
        let mut taken = Vec::new();
        while let Ok(copy) = null.as_fd().try_clone_to_owned() {
            taken.push(copy);
        }
        drop(taken.pop());
        // Takes the last one, so that its other end finds none.
        let mut second = connect(&served.socket);
        second.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        assert!(!second.is_served());
        assert!(first.is_served(), "who is there goes on");
        second
    };
    let mut back = [0];
    second.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    std::io::Read::read_exact(&mut second, &mut back).unwrap();
    assert_eq!(back, *b"x");
}
