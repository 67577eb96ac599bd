//! Serves a firewall that is in force: names, connections, questions, verification, figures.
//!
//! Everything runs on the worker's one thread. A worker that ends leaves rules and sockets as they are; the next one
//! continues with what the kernel and the files have.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::inotify;
use terok_nft::{ChangeWatch, PacketLog, Reading};
use terok_shield_policy::directory::{StateDirectory, file};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::bound::Bound;
use crate::dns::Forwarder;
use crate::engine::Engine;
use crate::event::Clearance;
use crate::fault::EgressError;
use crate::listener::Gatekeeper;
use crate::polled::polled;
use crate::probe;
use crate::resolver::Resolver;

/// Waits that are over and answers that can be expected are looked at this often.
const TICK: Duration = Duration::from_millis(250);
const QUOTAS_EVERY: Duration = Duration::from_secs(2);
/// The generation is looked at this often even without a notification, and the figures are written.
const MINUTE: Duration = Duration::from_secs(60);
/// Files whose change is a change of the policy.
const POLICY: [&str; 11] = [
    file::PROFILE_ALLOWED,
    file::PROFILE_DOMAINS,
    file::LIVE_ALLOWED,
    file::LIVE_DOMAINS,
    file::DENY_LIST,
    file::DENIED_DOMAINS,
    file::LOOPBACK_PORTS,
    file::PUBLISHED_PORTS,
    file::PROVENANCE,
    file::SYMBOLS,
    file::STATE,
];

impl Bound {
    /// Makes the engine and a future that serves until it is dropped. Must be called inside a `LocalSet`.
    ///
    /// # Errors
    /// [`EgressError`] when the service cannot begin.
    pub fn serve(
        &self,
        clearance: Rc<dyn Clearance>,
    ) -> Result<(Rc<Engine>, impl Future<Output = ()> + use<>), EgressError> {
        let failed = |what| move |source| EgressError::Serve { what, source };
        let directory = StateDirectory::open(&self.plan.directory)?;
        let sockets = &self.sockets;
        let resolver = Resolver::new(self.plan.resolvers.clone());
        let engine = Engine::start(directory, sockets.firewall.continued()?, resolver, clearance)?;
        let mut tasks = JoinSet::new();
        let forwarder = Forwarder::new(Rc::clone(&engine));
        for socket in &sockets.dns_udp {
            let socket = socket.try_clone().and_then(tokio::net::UdpSocket::from_std);
            let socket = socket.map_err(failed("the DNS forwarder"))?;
            tasks.spawn_local(forwarder.clone().serve_udp(socket));
        }
        for socket in &sockets.dns_tcp {
            let socket = socket.try_clone().and_then(tokio::net::TcpListener::from_std);
            let socket = socket.map_err(failed("the DNS forwarder"))?;
            tasks.spawn_local(forwarder.clone().serve_tcp(socket));
        }
        let gatekeeper = Gatekeeper::new(Rc::clone(&engine));
        for listener in &sockets.listeners {
            let listener = listener.try_clone().and_then(tokio::net::TcpListener::from_std);
            tasks.spawn_local(gatekeeper.clone().serve(listener.map_err(failed("the listener"))?));
        }
        let log = sockets.log.try_clone().and_then(|log| polled(log, Interest::READABLE));
        tasks.spawn_local(read_log(Rc::clone(&engine), log.map_err(failed("the packet log"))?));
        let watch = sockets.watch.try_clone().and_then(|watch| polled(watch, Interest::READABLE));
        tasks.spawn_local(watch_rules(Rc::clone(&engine), watch.map_err(failed("changes of the rules"))?));
        let files = watch_files(&self.plan.directory).map_err(failed("changes of the policy"))?;
        tasks.spawn_local(follow_files(Rc::clone(&engine), files));
        tasks.spawn_local(keep_time(Rc::clone(&engine)));
        let probes = sockets.probes.try_clone().map_err(failed("the start probes"))?;
        let probed = Rc::clone(&engine);
        tasks.spawn_local(async move { probe::run(&probed, probes).await });
        let saved = Rc::clone(&engine);
        let served = async move {
            let _save = SaveAtEnd(saved);
            while tasks.join_next().await.is_some() {}
        };
        Ok((engine, served))
    }
}

/// Writes the figures when the service ends.
struct SaveAtEnd(Rc<Engine>);

impl Drop for SaveAtEnd {
    fn drop(&mut self) {
        self.0.save_traffic();
    }
}

async fn read_log(engine: Rc<Engine>, log: AsyncFd<PacketLog>) {
    loop {
        let Ok(mut ready) = log.readable().await else { return };
        match log.get_ref().read() {
            Reading::Packets(packets) => packets.iter().for_each(|packet| engine.take_packet(packet)),
            // More may be there: to take this for the end would leave the reader asleep for good.
            Reading::Lost => {}
            Reading::Empty => ready.clear_ready(),
        }
        tokio::task::yield_now().await;
    }
}

async fn watch_rules(engine: Rc<Engine>, watch: AsyncFd<ChangeWatch>) {
    loop {
        let Ok(mut ready) = watch.readable().await else { return };
        watch.get_ref().drain();
        ready.clear_ready();
        look_at_rules(&engine).await;
    }
}

/// Compares the rules when something else has changed them. A command holds the lock while it changes files and rules.
async fn look_at_rules(engine: &Engine) {
    match engine.is_unchanged() {
        Ok(true) => return,
        Ok(false) => {}
        Err(error) => return tracing::error!("cannot ask for the generation of the rules: {error}"),
    }
    let _lock = lock(engine).await;
    let looked = engine.reload_after_change().and_then(|()| engine.check(false));
    if let Err(error) = looked {
        tracing::error!("{error}");
    }
}

async fn lock(engine: &Engine) -> Option<base::lock::Lock> {
    let path = engine.directory.path().join(file::LOCK);
    for _ in 0..200 {
        match base::lock::Lock::try_acquire(&path) {
            Ok(Some(lock)) => return Some(lock),
            Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(_) => return None,
        }
    }
    None
}

fn watch_files(directory: &Path) -> io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let flags = inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::CLOSE_WRITE
        | inotify::WatchFlags::DELETE
        | inotify::WatchFlags::ATTRIB;
    inotify::add_watch(&fd, directory, flags)?;
    polled(fd, Interest::READABLE)
}

async fn follow_files(engine: Rc<Engine>, files: AsyncFd<std::os::fd::OwnedFd>) {
    loop {
        let Ok(mut ready) = files.readable().await else { return };
        let changed = changed_policy(files.get_ref());
        ready.clear_ready();
        if !changed {
            continue;
        }
        take_policy(&engine).await;
    }
}

/// Puts a changed policy into force. One that cannot be read now is tried again with the next tick.
async fn take_policy(engine: &Engine) {
    let _lock = lock(engine).await;
    let taken = engine.is_unchanged().and_then(|ours| {
        // A command that changed the rules too has done what there is to do.
        if ours { engine.reload() } else { engine.reload_after_change().and_then(|()| engine.check(false)) }
    });
    let failed_before = engine.policy_is_due.replace(taken.is_err());
    if let Err(error) = taken
        && !failed_before
    {
        tracing::error!("cannot apply the changed policy: {error}");
    }
}

fn changed_policy(fd: impl AsFd) -> bool {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(fd, &mut buffer);
    let mut changed = false;
    while let Ok(event) = reader.next() {
        let name = event.file_name().and_then(|name| name.to_str().ok());
        // Without a name the queue was full, and anything may have changed.
        changed |= name.is_none_or(|name| POLICY.contains(&name));
    }
    changed
}

async fn keep_time(engine: Rc<Engine>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut quotas, mut minutes) = (Duration::ZERO, Duration::ZERO);
    loop {
        ticks.tick().await;
        let warn = |result: Result<(), EgressError>| {
            if let Err(error) = result {
                tracing::warn!("{error}");
            }
        };
        warn(engine.end_waits());
        warn(engine.adjust_hold());
        if engine.policy_is_due.get() {
            take_policy(&engine).await;
        }
        (quotas, minutes) = (quotas + TICK, minutes + TICK);
        if quotas >= QUOTAS_EVERY {
            quotas = Duration::ZERO;
            warn(engine.look_at_quotas());
        }
        if minutes >= MINUTE {
            minutes = Duration::ZERO;
            look_at_rules(&engine).await;
            engine.save_traffic();
            engine.save_questions();
        }
    }
}

impl Engine {
    /// True when nothing but this worker has changed the rules.
    ///
    /// # Errors
    /// [`EgressError::Kernel`].
    pub fn is_unchanged(&self) -> Result<bool, EgressError> {
        Ok(self.inner.borrow_mut().firewall.is_unchanged()?)
    }

    /// The kernel's rules as text, without what comes and goes: for `rules`, and to compare.
    ///
    /// # Errors
    /// [`EgressError::Kernel`].
    pub fn rules(&self) -> Result<String, EgressError> {
        let found = self.inner.borrow_mut().firewall.read()?;
        let mut tables = found.tables;
        for table in &mut tables {
            table.sets.iter_mut().filter(|set| set.is_dynamic()).for_each(|set| set.elements.clear());
            table.sets.iter_mut().for_each(|set| set.elements.sort_by(|a, b| a.key.cmp(&b.key)));
            table.chains.iter_mut().flat_map(|chain| &mut chain.rules).for_each(|rule| rule.handle = 0);
        }
        Ok(format!("{tables:#?}"))
    }

    /// Writes the figures of names, when they have changed.
    pub fn save_traffic(&self) {
        let mut inner = self.inner.borrow_mut();
        if let Some(figures) = inner.traffic.changed()
            && let Err(error) = self.directory.write_json(file::TRAFFIC, &figures)
        {
            tracing::warn!("{error}");
        }
    }
}
