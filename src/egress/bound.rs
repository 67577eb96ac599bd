//! Brings the firewall up before the container runs: checks, rules, verification, sockets inside.
//!
//! Runs in a process with one thread, before any runtime. Whatever fails here keeps the container from starting. The
//! sockets are made on a thread that enters the container's network and ends, because rootless there is no way back.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use terok_nft::{
    ChangeWatch, Firewall, Image, NetworkNamespace, PacketLog, Ruleset, add_loopback_address, differences,
};
use terok_shield_policy::directory::{Settings, StateDirectory, file, short_id};
use terok_shield_policy::ruleset::{DNS_PORT, Dynamic, LISTENER_PORT, LOG_GROUP, TABLE, build, quarantine};
use terok_shield_policy::{Policy, ShieldState};

use crate::fault::EgressError;
use crate::probe::ProbeSockets;

/// The address of the forwarder for a krun guest.
const KRUN_DNS: &str = "169.254.1.3";
/// Connecting sockets send their first packet once a second for the first minute, so that a late answer is noticed soon.
const LINEAR_SYN: (&str, &str) = ("/proc/sys/net/ipv4/tcp_syn_linear_timeouts", "60");
/// "Unreachable" is not among the messages whose number per second is limited: the fiftieth refused connection in a
/// row would fail a second later than the first.
const UNLIMITED_REFUSALS: (&str, &str) = ("/proc/sys/net/ipv4/icmp_ratemask", "6160");
const BACKLOG: i32 = 1024;

/// What to bring up.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The container's state directory.
    pub directory: PathBuf,
    /// The container's id.
    pub container: String,
    /// The container's first process and its start time.
    pub init: (i32, u64),
    /// The resolvers of the host.
    pub resolvers: PathBuf,
}

/// The firewall of one container, in force, with the sockets inside.
#[derive(Debug)]
pub struct Bound {
    pub(crate) plan: Plan,
    pub(crate) sockets: Sockets,
}

#[derive(Debug)]
pub(crate) struct Sockets {
    pub firewall: Firewall,
    pub watch: ChangeWatch,
    pub log: PacketLog,
    pub dns_udp: Vec<UdpSocket>,
    pub dns_tcp: Vec<TcpListener>,
    pub listeners: Vec<TcpListener>,
    pub probes: ProbeSockets,
}

impl Bound {
    /// Checks the place, applies and verifies the rules, and makes the sockets.
    ///
    /// # Errors
    /// [`EgressError`]: the container must not start.
    pub fn bind(plan: Plan) -> Result<Self, EgressError> {
        let directory = StateDirectory::open(&plan.directory)?;
        let container = short_id(&plan.container)?;
        let _lock = directory.lock()?;
        let (mut policy, malformed) = directory.policy()?;
        policy.container.clone_from(&container);
        for error in malformed {
            tracing::warn!("{error}");
        }
        let settings = directory.settings()?;
        let state = directory.wanted_state()?;
        let network = NetworkNamespace::of_process(plan.init.0)?;
        if network.is_same(&NetworkNamespace::current()?)? {
            return Err(EgressError::Network("the container has the host's network"));
        }
        let sockets = network.run(|| enter(&policy, state, &settings))??;
        // A refused start leaves the files of the container that has the network.
        directory.write(file::CONTAINER, &format!("{container}\n"))?;
        directory.write(file::INIT, &format!("{}:{}\n", plan.init.0, plan.init.1))?;
        directory.remove_obsolete();
        Ok(Self { plan, sockets })
    }

    /// The container's state directory.
    pub fn directory(&self) -> &Path {
        &self.plan.directory
    }
}

/// Everything that is done inside the container's network.
fn enter(policy: &Policy, state: ShieldState, settings: &Settings) -> Result<Sockets, EgressError> {
    let mut firewall = Firewall::open(TABLE)?;
    refuse_strangers(&firewall.read()?, &policy.container)?;
    // Kernels that lack a setting are slower to notice an answer or a refusal, and no less safe.
    for (setting, value) in [LINEAR_SYN, UNLIMITED_REFUSALS] {
        let _ = std::fs::write(setting, value);
    }
    let dynamic = Dynamic { hold: settings.hold_s > 0 && settings.hold_always, ..Dynamic::default() };
    let table = build(policy, state, &dynamic).unwrap_or_else(quarantine);
    let image = Image::of(&table);
    firewall.apply(&image)?;
    let found = firewall.read()?;
    let differing = differences(&image, &found, |_, _| false);
    if !differing.is_empty() {
        return Err(EgressError::Unverified(differing.join("; ")));
    }
    firewall.accept_generation(found.generation);
    let mut places: Vec<IpAddr> = terok_nft::Family::BOTH.map(terok_nft::Family::loopback).into();
    if settings.krun
        && let Ok(address) = KRUN_DNS.parse()
    {
        add_loopback_address(address)?;
        places.push(address);
    }
    let mut sockets = Sockets {
        firewall,
        watch: ChangeWatch::open()?,
        log: PacketLog::open(LOG_GROUP)?,
        dns_udp: Vec::new(),
        dns_tcp: Vec::new(),
        listeners: Vec::new(),
        probes: ProbeSockets::open(),
    };
    for place in places {
        bind_place(place, &mut sockets)?;
    }
    Ok(sockets)
}

fn bind_place(place: IpAddr, sockets: &mut Sockets) -> Result<(), EgressError> {
    let failed = |what| move |source| EgressError::Bind { what, source };
    let dns = SocketAddr::new(place, DNS_PORT);
    let udp = bind_udp(dns);
    // A container without IPv6 has nothing to ask or to redirect there.
    if place.is_ipv6() && udp.as_ref().is_err_and(is_no_address) {
        return Ok(());
    }
    sockets.dns_udp.push(udp.map_err(failed("the DNS forwarder's UDP socket"))?);
    sockets.dns_tcp.push(bind_tcp(dns).map_err(failed("the DNS forwarder's TCP socket"))?);
    if place.is_loopback() {
        let listener = bind_tcp(SocketAddr::new(place, LISTENER_PORT));
        sockets.listeners.push(listener.map_err(failed("the listener"))?);
    }
    Ok(())
}

fn is_no_address(error: &io::Error) -> bool {
    let kinds = [rustix::io::Errno::ADDRNOTAVAIL, rustix::io::Errno::AFNOSUPPORT];
    kinds.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn bind_udp(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_tcp(at: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(at)?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A network namespace that has rules already belongs to another container, or to another program.
fn refuse_strangers(found: &Ruleset, container: &str) -> Result<(), EgressError> {
    for table in &found.tables {
        if table.name != TABLE {
            return Err(EgressError::ForeignRules(format!("table `{}`", table.name)));
        }
        let owner = table.comment().unwrap_or_default();
        if owner != container {
            let owner = if owner.is_empty() { "unknown".to_owned() } else { base::text::sanitize_tty(&owner) };
            return Err(EgressError::Foreign(owner));
        }
    }
    Ok(())
}
