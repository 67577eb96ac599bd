//! A service on a thread of its own.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use base::socket::{Listener, bind_tcp};
use server::{Running, ServerError};

use crate::stage::{Echo, Wire, connect, connect_tcp};

#[test]
fn the_socket_is_private_and_its_name_goes_or_stays_as_the_service_says() {
    let dir = tempfile::tempdir().unwrap();
    let (goes, stays) = (dir.path().join("goes"), dir.path().join("stays"));
    let first = Running::unix(Echo::<false>::default(), &goes).unwrap();
    let mut second = Running::unix(Echo::<true>::default(), &stays).unwrap();
    assert_eq!((first.port(), second.port()), (None, None));
    for socket in [&goes, &stays] {
        assert_eq!(std::fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(connect(socket).is_served());
    }
    drop(first);
    second.stop();
    second.stop();
    assert!(!goes.exists() && stays.exists());
    assert!(UnixStream::connect(&stays).is_err(), "nobody listens");
    drop(Running::unix(Echo::<false>::default(), &stays).unwrap());
    assert!(!stays.exists(), "a dead socket is replaced");
}

#[test]
fn a_port_is_free_again_afterwards() {
    let running = Running::tcp(Echo::<false>::default(), 0).unwrap();
    let port = running.port().unwrap();
    assert!(connect_tcp(port).is_served());
    assert!(matches!(Running::tcp(Echo::<false>::default(), port), Err(ServerError::Bind(_))));
    drop(running);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn port_is_served_on_the_host_and_in_the_container() {
    let (host, container) = (bind_tcp(0).unwrap(), bind_tcp(0).unwrap());
    let ports = [&host, &container].map(|listener| listener.local_addr().unwrap().port());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stopped = async { drop(stopped.await) };
        runtime.block_on(server::serve(Echo::<false>::default(), Listener::Ports { host, container }, stopped))
    });
    for port in ports {
        assert!(connect_tcp(port).is_served());
    }
    stop.send(()).unwrap();
    served.join().unwrap().unwrap();
}
