//! Network and capability options of a launch that no firewall guards.
//!
//! Invariants: the capabilities to change the network are always dropped; the host's loopback is reachable only when
//! the services listen there (TCP mode) or when the caller explicitly bypasses the firewall.

use podman::info::{Info, RootlessNetwork};

/// Address under which slirp4netns shows the host's loopback.
pub const SLIRP_HOST: &str = "10.0.2.2";
/// Address under which pasta shows the host's loopback.
pub const PASTA_HOST: &str = "169.254.1.2";

/// What the container needs of the host's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loopback {
    /// Nothing: its services are sockets.
    Closed,
    /// The host's loopback, under the name `host.containers.internal`.
    Open,
}

/// The options that let a rootless container reach the host's loopback; none for root, whose bridge has a gateway.
pub fn loopback_args(rootless: bool, network: RootlessNetwork) -> Vec<String> {
    if !rootless {
        return Vec::new();
    }
    let (mode, host) = match network {
        RootlessNetwork::Slirp4netns => ("slirp4netns:allow_host_loopback=true".to_owned(), SLIRP_HOST),
        RootlessNetwork::Pasta => (format!("pasta:--map-host-loopback,{PASTA_HOST}"), PASTA_HOST),
    };
    ["--network".to_owned(), mode, "--add-host".to_owned(), format!("host.containers.internal:{host}")].into()
}

/// Capability options that every container gets.
pub fn capability_args() -> Vec<String> {
    ["--cap-drop", "NET_ADMIN", "--cap-drop", "NET_RAW"].map(str::to_owned).into()
}

/// All network options of an unfiltered launch.
pub fn unfiltered_args(loopback: Loopback, rootless: bool, info: impl FnOnce() -> Option<Info>) -> Vec<String> {
    let mut args = match loopback {
        Loopback::Closed => Vec::new(),
        Loopback::Open if !rootless => Vec::new(),
        Loopback::Open => loopback_args(true, info().map_or(RootlessNetwork::Slirp4netns, |i| i.network)),
    };
    args.extend(capability_args());
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_stacks_and_root() {
        assert_eq!(
            loopback_args(true, RootlessNetwork::Slirp4netns).join(" "),
            "--network slirp4netns:allow_host_loopback=true --add-host host.containers.internal:10.0.2.2"
        );
        assert_eq!(
            loopback_args(true, RootlessNetwork::Pasta).join(" "),
            "--network pasta:--map-host-loopback,169.254.1.2 --add-host host.containers.internal:169.254.1.2"
        );
        assert!(loopback_args(false, RootlessNetwork::Pasta).is_empty());
    }

    #[test]
    fn sockets_need_no_loopback_and_no_question_to_podman() {
        let args = unfiltered_args(Loopback::Closed, true, || panic!("podman was asked"));
        assert_eq!(args, ["--cap-drop", "NET_ADMIN", "--cap-drop", "NET_RAW"]);
        assert_eq!(unfiltered_args(Loopback::Open, true, || None).len(), 8);
        assert_eq!(unfiltered_args(Loopback::Open, false, || panic!("podman was asked")).len(), 4);
    }
}
