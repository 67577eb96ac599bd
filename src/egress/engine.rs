//! The policy at run time: one value that every service of a container asks and changes.
//!
//! Invariants: files first, kernel second, answer third; an address is open in the kernel before a name's answer is
//! told; every change is followed by a check of the generation, and a difference by one repair and then quarantine.
//! All of it runs on one thread; no borrow lives across an await.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use terok_nft::image::RuleImage;
use terok_nft::{Element, Family, Firewall, Image, NftError, RouteKind, Routes};
use terok_shield_policy::address::{is_parking, is_private};
use terok_shield_policy::audit::{self, AuditLine};
use terok_shield_policy::directory::{Settings, StateDirectory, file};
use terok_shield_policy::ruleset::{Dynamic, HOLD_RULE, build, set_name, undecided_tcp};
use terok_shield_policy::{Name, NameVerdict, Policy, ShieldState};
use tokio::sync::Notify;

use crate::event::{Clearance, Event};
use crate::fault::EgressError;
use crate::learned::{self, Learned, Need};
use crate::parking::Parking;
use crate::question::Questions;
use crate::resolver::Resolver;
use crate::traffic::Traffic;

/// What becomes of a name in the present state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may be reached.
    Open,
    /// It is denied by this entry.
    Denied(String),
    /// Nothing decides about it, and that closes it.
    Undecided,
    /// Nothing passes at all.
    Shut,
}

/// The policy at run time.
pub struct Engine {
    pub(crate) directory: StateDirectory,
    pub(crate) settings: Settings,
    pub(crate) resolver: Resolver,
    pub(crate) clearance: Rc<dyn Clearance>,
    pub(crate) inner: RefCell<Inner>,
    /// Flows look whether they may go on when it is notified.
    pub(crate) flows: Notify,
    /// True while a changed policy could not be read.
    pub(crate) policy_is_due: Cell<bool>,
    routes: RefCell<Routes>,
}

pub(crate) struct Inner {
    pub policy: Policy,
    pub state: ShieldState,
    pub hold: bool,
    pub firewall: Firewall,
    pub learned: Learned,
    pub parking: Parking,
    pub refused: HashMap<IpAddr, Instant>,
    pub questions: Questions,
    /// Questions whose connections wait, and until when.
    pub waiting: HashMap<u64, (Instant, Vec<IpAddr>)>,
    pub traffic: Traffic,
    pub audited: HashMap<String, Instant>,
}

impl Engine {
    /// Continues with what the kernel and the files have.
    ///
    /// # Errors
    /// [`EgressError`] when either cannot be read.
    pub fn start(
        directory: StateDirectory,
        firewall: Firewall,
        resolver: Resolver,
        clearance: Rc<dyn Clearance>,
    ) -> Result<Rc<Self>, EgressError> {
        let (policy, _) = directory.policy()?;
        let traffic = Traffic::restore(directory.json(file::TRAFFIC)?.0);
        let inner = Inner {
            state: directory.wanted_state()?,
            policy,
            hold: false,
            firewall,
            learned: Learned::default(),
            parking: Parking::default(),
            refused: HashMap::new(),
            questions: Questions::load(&directory)?,
            waiting: HashMap::new(),
            traffic,
            audited: HashMap::new(),
        };
        let settings = directory.settings()?;
        let routes = RefCell::new(Routes::open()?);
        let inner = RefCell::new(inner);
        let engine = Self {
            directory,
            settings,
            resolver,
            clearance,
            inner,
            flows: Notify::new(),
            policy_is_due: Cell::new(false),
            routes,
        };
        engine.take_over()?;
        engine.check(true)?;
        Ok(Rc::new(engine))
    }

    /// Reads the names of open addresses back from the kernel.
    fn take_over(&self) -> Result<(), EgressError> {
        let mut inner = self.inner.borrow_mut();
        let now = Instant::now();
        let sets = Family::BOTH.map(|family| set_name("learn", family));
        for set in sets {
            let elements = match inner.firewall.elements(&set) {
                Ok(elements) => elements,
                // Quarantine has no sets.
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            for element in elements {
                inner.learned.restore(&element, now);
                if let (Some(IpAddr::V4(address)), Some(comment)) = (element.address(), element.comment())
                    && is_parking(address.into())
                    && let Ok(name) = Name::parse(&comment)
                {
                    inner.parking.restore(&name, address);
                }
            }
        }
        Ok(())
    }

    /// What becomes of a name.
    pub fn standing(&self, name: &Name) -> Standing {
        let inner = self.inner.borrow();
        inner.standing(name)
    }

    /// True when connections to undecided names and addresses pass.
    pub fn is_down(&self) -> bool {
        matches!(self.inner.borrow().state, ShieldState::Down | ShieldState::Disengaged)
    }

    /// The state.
    pub fn state(&self) -> ShieldState {
        self.inner.borrow().state
    }

    /// The stand-in address of an undecided name.
    pub fn park(&self, name: &Name) -> std::net::Ipv4Addr {
        self.inner.borrow_mut().parking.park(name)
    }

    /// The names that a redirected connection may be meant for, the likeliest first.
    pub fn candidates(&self, address: IpAddr) -> Vec<Name> {
        let inner = self.inner.borrow();
        if let Some(name) = inner.parking.name_of(address) {
            return vec![name.clone()];
        }
        inner.learned.names_of(address)
    }

    /// Opens addresses for a name and returns those that the container must not learn.
    ///
    /// # Errors
    /// [`EgressError::Kernel`]: the answer must not be told then.
    pub fn learn(&self, name: &Name, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, EgressError> {
        let mut hidden = Vec::new();
        for address in addresses {
            let literal = self.inner.borrow().policy.allowed_entry(*address).is_some();
            if literal {
                continue;
            }
            if !self.may_connect(*address) {
                hidden.push(*address);
                continue;
            }
            self.open(*address, name)?;
        }
        Ok(hidden)
    }

    /// Opens one address in the kernel for a name.
    ///
    /// # Errors
    /// [`EgressError::Kernel`].
    pub fn open(&self, address: IpAddr, name: &Name) -> Result<(), EgressError> {
        let mut inner = self.inner.borrow_mut();
        let now = Instant::now();
        let Need::Put { exists } = inner.learned.need(address, name, now) else { return Ok(()) };
        let set = set_name("learn", Family::of(address));
        let element = learned::element(address, name);
        let existing = if exists { vec![element.clone()] } else { Vec::new() };
        let elements = [element];
        let put = inner.firewall.put_elements(&set, &existing, &elements);
        if let Err(error) = put {
            // The set is full: the address that would end first makes room, once.
            let oldest = inner.learned.oldest(Family::of(address));
            let (Some(oldest), true) = (oldest, is_full(&error)) else { return Err(error.into()) };
            inner.firewall.remove_elements(&set, &[learned::element(oldest, name)])?;
            inner.learned.remove(oldest);
            inner.firewall.put_elements(&set, &[], &elements)?;
        }
        inner.learned.opened(address, name, now);
        Ok(())
    }

    /// True for an address that names may lead to: public, and not one of this host's.
    pub fn may_connect(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if is_private(address) || is_parking(address) {
            return false;
        }
        // No answer of the routing table is no permission.
        matches!(self.routes.borrow_mut().kind_of(address), Ok(RouteKind::Unicast | RouteKind::Other))
    }

    /// Reads the files again and puts them into force.
    ///
    /// # Errors
    /// [`EgressError`]; what was in force stays in force.
    pub fn reload(&self) -> Result<(), EgressError> {
        let (policy, malformed) = self.directory.policy()?;
        for error in malformed {
            tracing::warn!("{error}");
        }
        let state = self.directory.wanted_state()?;
        let changed = {
            let mut inner = self.inner.borrow_mut();
            let before = (inner.static_image(), inner.state);
            let known_before = (inner.policy.allowed_names.clone(), inner.policy.denied_names.clone());
            (inner.policy, inner.state) = (policy, state);
            let now = (inner.static_image(), inner.state);
            let names = known_before != (inner.policy.allowed_names.clone(), inner.policy.denied_names.clone());
            (before != now, names)
        };
        if changed.0 {
            self.apply()?;
        } else if changed.1 {
            self.close_undecided()?;
        }
        if changed.0 || changed.1 {
            self.open_parked()?;
            self.close_answered();
            self.flows.notify_waiters();
        }
        Ok(())
    }

    /// Reads the files again after a command has changed the rules: what it has put into force is not put there again.
    ///
    /// # Errors
    /// [`EgressError`].
    pub fn reload_after_change(&self) -> Result<(), EgressError> {
        let (policy, _) = self.directory.policy()?;
        let state = self.directory.wanted_state()?;
        let changed = {
            let mut inner = self.inner.borrow_mut();
            let changed = inner.policy != policy || inner.state != state;
            (inner.policy, inner.state) = (policy, state);
            changed
        };
        self.close_undecided()?;
        if changed {
            self.after_state_change();
        }
        Ok(())
    }

    /// Takes addresses out of the kernel whose names are not open any more.
    fn close_undecided(&self) -> Result<(), EgressError> {
        let mut inner = self.inner.borrow_mut();
        let closed = inner.forget_closed();
        for address in closed {
            let set = set_name("learn", Family::of(address));
            inner.firewall.remove_elements(&set, &[key_only(address)])?;
        }
        Ok(())
    }

    /// Lets waiting connections through whose names have become open, and refuses those of denied names.
    fn open_parked(&self) -> Result<(), EgressError> {
        let parked: Vec<(Name, IpAddr)> =
            self.inner.borrow().parking.iter().map(|(name, address)| (name.clone(), address.into())).collect();
        for (name, address) in parked {
            match self.standing(&name) {
                Standing::Open => {
                    self.unrefuse(address)?;
                    self.open(address, &name)?;
                }
                Standing::Denied(_) => self.refuse(address)?,
                Standing::Undecided | Standing::Shut => {}
            }
        }
        Ok(())
    }

    /// Refuses an address for a while, without a question.
    pub(crate) fn refuse(&self, address: IpAddr) -> Result<(), EgressError> {
        let mut inner = self.inner.borrow_mut();
        let now = Instant::now();
        inner.refused.retain(|_, until| *until > now);
        if inner.state != ShieldState::Up || inner.refused.contains_key(&address) {
            return Ok(());
        }
        let set = set_name("refuse", Family::of(address));
        match inner.firewall.put_elements(&set, &[], &[key_only(address)]) {
            // A full set refuses nothing more; the connections run into their own limits.
            Err(error) if is_full(&error) => {}
            other => other?,
        }
        inner.refused.insert(address, now + terok_shield_policy::ruleset::REFUSE_TIMEOUT);
        Ok(())
    }

    fn unrefuse(&self, address: IpAddr) -> Result<(), EgressError> {
        let mut inner = self.inner.borrow_mut();
        if inner.refused.remove(&address).is_some() {
            let set = set_name("refuse", Family::of(address));
            inner.firewall.remove_elements(&set, &[key_only(address)])?;
        }
        Ok(())
    }

    /// Puts policy and state into force as a whole, and verifies it.
    ///
    /// # Errors
    /// [`EgressError`].
    pub fn apply(&self) -> Result<(), EgressError> {
        let text = {
            let mut inner = self.inner.borrow_mut();
            inner.forget_closed();
            let Some(table) = inner.table() else { return Ok(()) };
            inner.firewall.apply(&Image::of(&table))?;
            terok_nft::render::table(&table)
        };
        if let Err(error) = self.directory.write(file::RULESET, &text) {
            tracing::warn!("{error}");
        }
        self.check(true)
    }

    /// Changes the state: file, kernel, audit, event.
    ///
    /// # Errors
    /// [`EgressError`].
    pub fn set_state(&self, state: ShieldState) -> Result<(), EgressError> {
        self.directory.want_state(state)?;
        self.inner.borrow_mut().state = state;
        self.apply()?;
        let action = match state {
            ShieldState::Up => "shield_up",
            ShieldState::Quarantine => "shield_quarantine",
            _ => "shield_down",
        };
        let detail = if state == ShieldState::Disengaged { "allow_all=True" } else { "" };
        self.audit(AuditLine { detail: detail.to_owned(), ..AuditLine::new(&self.container(), action) });
        self.after_state_change();
        Ok(())
    }

    pub(crate) fn after_state_change(&self) {
        self.clearance.publish(&Event::State(self.state().word()));
        if let Err(error) = self.open_parked() {
            tracing::warn!("{error}");
        }
        self.close_answered();
        self.flows.notify_waiters();
    }

    /// Lets connections wait, or fail at once, as answers can be expected or not.
    ///
    /// # Errors
    /// [`EgressError::Kernel`].
    pub fn adjust_hold(&self) -> Result<(), EgressError> {
        let answerable = self.settings.hold_always || self.clearance.can_answer();
        let wanted = self.settings.hold_s > 0 && answerable;
        let mut inner = self.inner.borrow_mut();
        if inner.hold == wanted || inner.state != ShieldState::Up {
            return Ok(());
        }
        inner.firewall.replace_rule("output", HOLD_RULE, &RuleImage::of(&undecided_tcp(wanted)))?;
        inner.hold = wanted;
        Ok(())
    }

    /// The container's id.
    pub fn container(&self) -> String {
        self.inner.borrow().policy.container.clone()
    }

    /// Appends to the audit log, when it is wanted.
    pub fn audit(&self, line: AuditLine) {
        if self.settings.audit_enabled
            && let Err(error) = audit::append(&self.directory, line)
        {
            tracing::warn!("cannot write the firewall's audit log: {error}");
        }
    }

    /// The time for which a connection waits.
    pub(crate) fn hold_time(&self) -> Duration {
        self.settings.hold()
    }
}

impl Inner {
    pub fn standing(&self, name: &Name) -> Standing {
        if self.state == ShieldState::Quarantine {
            return Standing::Shut;
        }
        match self.policy.judge_name(name) {
            NameVerdict::Denied(entry) => Standing::Denied(entry.name.to_string()),
            NameVerdict::Allowed(_) => Standing::Open,
            NameVerdict::Undecided if self.state == ShieldState::Up => Standing::Undecided,
            NameVerdict::Undecided => Standing::Open,
        }
    }

    pub fn table(&self) -> Option<terok_nft::Table> {
        let now = Instant::now();
        let refused = self.refused.iter().filter(|(_, until)| **until > now);
        let refused = refused.map(|(address, until)| Element {
            expires: Some(until.saturating_duration_since(now)),
            ..Element::new(terok_nft::Range::single(*address))
        });
        let dynamic = Dynamic { learned: self.learned.elements(now), refused: refused.collect(), hold: self.hold };
        build(&self.policy, self.state, &dynamic)
    }

    /// The rules without what comes and goes.
    pub fn static_image(&self) -> Option<Image> {
        let dynamic = Dynamic { hold: self.hold, ..Dynamic::default() };
        build(&self.policy, self.state, &dynamic).map(|table| Image::of(&table))
    }

    /// Forgets names that are not open in the present state; the addresses that lost their last name.
    fn forget_closed(&mut self) -> Vec<IpAddr> {
        let (policy, state) = (&self.policy, self.state);
        let keep = |name: &Name| match policy.judge_name(name) {
            NameVerdict::Allowed(_) => true,
            NameVerdict::Denied(_) => false,
            // Kept through quarantine, so that they are open again afterwards.
            NameVerdict::Undecided => state != ShieldState::Up,
        };
        self.learned.retain(keep, Instant::now())
    }
}

fn key_only(address: IpAddr) -> terok_nft::ElementImage {
    terok_nft::ElementImage { key: terok_nft::octets(address), ..terok_nft::ElementImage::default() }
}

fn is_missing(error: &NftError) -> bool {
    error.errno() == Some(rustix::io::Errno::NOENT.raw_os_error())
}

/// True when a set has no place left.
fn is_full(error: &NftError) -> bool {
    error.errno() == Some(rustix::io::Errno::NFILE.raw_os_error())
}
