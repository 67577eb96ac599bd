//! Network and capability options of a launch that no firewall guards.
//!
//! Invariants:
//! - The capabilities to change the network are always dropped.
//! - The host's loopback is reachable only when the caller explicitly bypasses the firewall. In TCP mode the supervisor
//!   listens inside the container's own network.

use podman::info::{Info, RootlessNetwork};

/// Name by which programs in the container know the services' address in TCP mode.
const HOST_ALIAS: &str = "host.containers.internal";
/// Where the supervisor listens inside the container's network.
const OWN_LOOPBACK: &str = "127.0.0.1";
/// Address under which slirp4netns shows the host's loopback.
pub const SLIRP_HOST: &str = "10.0.2.2";
/// Address under which pasta shows the host's loopback.
pub const PASTA_HOST: &str = "169.254.1.2";

/// The container's access to its services and to the host's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loopback {
    /// No way to the host's loopback; its services are sockets.
    Closed,
    /// No way to the host's loopback; its services are ports of its own loopback (TCP mode).
    Services,
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
    [vec!["--network".to_owned(), mode], alias(host)].concat()
}

fn alias(address: &str) -> Vec<String> {
    vec!["--add-host".to_owned(), format!("{HOST_ALIAS}:{address}")]
}

/// The network mode without a way to the host's loopback, whatever podman's and the site's defaults are.
fn closed_args(rootless: bool, network: Option<RootlessNetwork>) -> Vec<String> {
    let mode = match network {
        _ if !rootless => "bridge",
        Some(RootlessNetwork::Slirp4netns) => "slirp4netns:allow_host_loopback=false",
        // Pasta refuses to start rather than to follow a site's options that say otherwise.
        Some(RootlessNetwork::Pasta) => "pasta:-T,none,-U,none,--no-map-gw",
        None => "private",
    };
    ["--network", mode].map(str::to_owned).into()
}

/// Capability options that every container gets.
pub fn capability_args() -> Vec<String> {
    ["--cap-drop", "NET_ADMIN", "--cap-drop", "NET_RAW"].map(str::to_owned).into()
}

/// All network options of an unfiltered launch.
pub fn unfiltered_args(loopback: Loopback, rootless: bool, info: impl FnOnce() -> Option<Info>) -> Vec<String> {
    let network = if rootless { info().map(|info| info.network) } else { None };
    let mut args = match loopback {
        Loopback::Open if rootless => loopback_args(true, network.unwrap_or(RootlessNetwork::Slirp4netns)),
        Loopback::Services => [closed_args(rootless, network), alias(OWN_LOOPBACK)].concat(),
        _ => closed_args(rootless, network),
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

    // holds: tcp-mode-own-ports-only
    #[test]
    fn the_network_mode_is_always_said() {
        let mode = |loopback, rootless, info: Option<Info>| unfiltered_args(loopback, rootless, || info)[1].clone();
        let info = |network| {
            Some(Info { version: "4.3.1".into(), network, rootless: true, uid_rows: 2, cdi_specs: Vec::new() })
        };
        let (slirp, pasta) = (info(RootlessNetwork::Slirp4netns), info(RootlessNetwork::Pasta));
        assert_eq!(mode(Loopback::Closed, true, slirp.clone()), "slirp4netns:allow_host_loopback=false");
        assert_eq!(mode(Loopback::Closed, true, pasta.clone()), "pasta:-T,none,-U,none,--no-map-gw");
        assert_eq!(mode(Loopback::Closed, true, None), "private");
        assert_eq!(mode(Loopback::Services, true, slirp.clone()), "slirp4netns:allow_host_loopback=false");
        assert_eq!(mode(Loopback::Services, true, pasta.clone()), "pasta:-T,none,-U,none,--no-map-gw");
        let services = unfiltered_args(Loopback::Services, true, || slirp).join(" ");
        assert!(services.contains(" --add-host host.containers.internal:127.0.0.1 "), "{services}");
        assert_eq!(mode(Loopback::Open, true, pasta), "pasta:--map-host-loopback,169.254.1.2");
        assert_eq!(mode(Loopback::Open, true, None), "slirp4netns:allow_host_loopback=true");
        for loopback in [Loopback::Open, Loopback::Closed] {
            let args = unfiltered_args(loopback, false, || panic!("podman was called"));
            assert_eq!(args.join(" "), "--network bridge --cap-drop NET_ADMIN --cap-drop NET_RAW");
        }
    }
}
