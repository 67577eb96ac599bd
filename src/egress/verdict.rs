//! Blocked connections become questions, and answers become policy.
//!
//! A verdict is taken by one answer, written to the files, put into the kernel and only then told. A connection whose
//! question has no answer in time is refused; the question stays, and a later answer counts for the next attempt.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use terok_nft::LoggedPacket;
use terok_shield_policy::audit::AuditLine;
use terok_shield_policy::packet::protocol;
use terok_shield_policy::ruleset::{DNS_PORT, prefix};
use terok_shield_policy::{Entry, Name, NameVerdict, ShieldError, ShieldState, Target, parse_range};

use crate::engine::{Engine, Standing};
use crate::event::Event;
use crate::fault::EgressError;
use crate::question::Asked;

/// One target is audited once in this time.
const AUDIT_WINDOW: Duration = Duration::from_secs(30);
const MAX_AUDITED: usize = 4096;
const HTTPS_PORT: u16 = 443;

/// What an answer led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Entries and addresses that are open or closed now.
    pub targets: Vec<String>,
}

impl Engine {
    /// Takes a logged packet.
    pub fn take_packet(&self, packet: &LoggedPacket) {
        if packet.prefix.trim_end() != prefix::BLOCKED.trim_end() || is_noise(packet) {
            return;
        }
        let target = self.target_of(packet.destination);
        self.audit_blocked(packet, &target);
        if self.state() == ShieldState::Up && packet.protocol != protocol::ICMP && packet.protocol != protocol::ICMP6 {
            self.ask(&target, packet.port, packet.protocol, "", Some(packet.destination));
        }
    }

    fn target_of(&self, address: IpAddr) -> Target {
        let inner = self.inner.borrow();
        let name = inner.parking.name_of(address).cloned();
        name.or_else(|| inner.learned.names_of(address).first().cloned()).map_or(Target::Address(address), Target::Name)
    }

    /// Asks about a target, or counts one more attempt.
    pub(crate) fn ask(&self, target: &Target, port: u16, proto: u8, reason: &str, waits: Option<IpAddr>) {
        let mut inner = self.inner.borrow_mut();
        let asked = inner.questions.ask(target, port, proto, reason);
        let id = match &asked {
            Asked::New(question) => question.id,
            Asked::Again(id) => *id,
            Asked::Full => return,
        };
        if let Some(address) = waits.filter(|_| inner.hold && proto == protocol::TCP) {
            let until = Instant::now() + self.hold_time();
            let (_, addresses) = inner.waiting.entry(id).or_insert_with(|| (until, Vec::new()));
            if !addresses.contains(&address) && addresses.len() < 16 {
                addresses.push(address);
            }
        }
        if let Err(error) = inner.questions.save(&self.directory) {
            tracing::warn!("{error}");
        }
        drop(inner);
        if let Asked::New(question) = asked {
            self.clearance.publish(&Event::Asked(question));
        }
    }

    fn audit_blocked(&self, packet: &LoggedPacket, target: &Target) {
        let dest = target.to_string();
        {
            let mut inner = self.inner.borrow_mut();
            let now = Instant::now();
            if inner.audited.len() >= MAX_AUDITED {
                inner.audited.retain(|_, at| now.duration_since(*at) < AUDIT_WINDOW);
            }
            let recent = inner.audited.get(&dest).is_some_and(|at| now.duration_since(*at) < AUDIT_WINDOW);
            if recent || inner.audited.len() >= MAX_AUDITED {
                return;
            }
            inner.audited.insert(dest.clone(), now);
        }
        let proto = match packet.protocol {
            protocol::TCP => "tcp".to_owned(),
            protocol::UDP => "udp".to_owned(),
            number => number.to_string(),
        };
        let domain = if matches!(target, Target::Name(_)) { dest.clone() } else { String::new() };
        let line = AuditLine { dest, domain, proto, port: Some(packet.port), ..self.line("blocked") };
        self.audit(line);
    }

    fn line(&self, action: &str) -> AuditLine {
        AuditLine::new(&self.container(), action)
    }

    /// Answers a question. The first answer counts; a later one finds no question.
    ///
    /// # Errors
    /// [`EgressError`]; the question is open again then. `Ok(None)` when there is no such question.
    pub fn answer(&self, id: u64, allow: bool) -> Result<Option<Applied>, EgressError> {
        let Some(question) = self.inner.borrow_mut().questions.take(id) else { return Ok(None) };
        let applied = Entry::parse(&question.target)
            .map_err(EgressError::from)
            .and_then(|entry| self.decide_entry(&entry, allow, &question.reason));
        match applied {
            Ok(applied) => {
                self.inner.borrow_mut().waiting.remove(&id);
                self.save_questions();
                let action = if allow { "allow" } else { "deny" };
                self.clearance.publish(&Event::Closed { question, action });
                Ok(Some(applied))
            }
            Err(error) => {
                self.inner.borrow_mut().questions.put_back(question);
                Err(error)
            }
        }
    }

    /// Allows or denies a target from now on, and closes its questions.
    ///
    /// # Errors
    /// [`EgressError`].
    pub fn decide(&self, entry: &Entry, allow: bool) -> Result<Applied, EgressError> {
        let applied = self.decide_entry(entry, allow, "")?;
        self.close_answered();
        Ok(applied)
    }

    fn decide_entry(&self, entry: &Entry, allow: bool, reason: &str) -> Result<Applied, EgressError> {
        if allow && !reason.is_empty() {
            return Ok(self.replenish(entry));
        }
        self.directory.record(entry, allow)?;
        self.reload()?;
        if allow {
            self.refuse_if_still_denied(entry)?;
        }
        let (action, dest) = (if allow { "allowed" } else { "denied" }, entry.to_string());
        let detail = format!("target={dest}");
        self.audit(AuditLine { dest: dest.clone(), detail, ..self.line(action) });
        Ok(Applied { targets: vec![dest] })
    }

    /// Gives a name or direct destination its budget once more.
    fn replenish(&self, entry: &Entry) -> Applied {
        let dest = entry.to_string();
        if let Some(budget) = self.settings.budget() {
            self.inner.borrow_mut().traffic.replenish(&dest, budget);
        }
        if let Entry::Range(range) = entry {
            self.reset_quotas(*range);
        }
        self.audit(AuditLine { dest: dest.clone(), detail: "budget".into(), ..self.line("allowed") });
        Applied { targets: vec![dest] }
    }

    /// An allowance below a denial changes nothing, and that has to be said.
    fn refuse_if_still_denied(&self, entry: &Entry) -> Result<(), EgressError> {
        let inner = self.inner.borrow();
        let by = match entry {
            Entry::Name(name) => match inner.policy.judge_name(name) {
                NameVerdict::Denied(entry) => Some(entry.name.to_string()),
                _ => None,
            },
            Entry::Range(range) => inner.policy.denied_entry(range.first()).map(|entry| entry.range.to_string()),
            Entry::Symbol(_) => None,
        };
        match by {
            Some(by) => Err(ShieldError::StillDenied { target: entry.to_string(), by }.into()),
            None => Ok(()),
        }
    }

    /// Closes questions that the policy or the state has answered meanwhile.
    pub(crate) fn close_answered(&self) {
        let down = self.is_down();
        let closed = {
            let mut inner = self.inner.borrow_mut();
            let policy = inner.policy.clone();
            let decided = |target: &str| {
                if down {
                    return true;
                }
                match Name::parse(target) {
                    Ok(name) => policy.judge_name(&name) != NameVerdict::Undecided,
                    Err(_) => parse_range(target).is_some_and(|range| {
                        let address = range.first();
                        policy.allowed_entry(address).is_some() || policy.denied_entry(address).is_some()
                    }),
                }
            };
            // A budget is no matter of policy.
            let reasons: Vec<u64> = inner.questions.open().filter(|q| !q.reason.is_empty()).map(|q| q.id).collect();
            let kept: Vec<_> = reasons.iter().filter_map(|id| inner.questions.take(*id)).collect();
            let closed = inner.questions.close(decided);
            kept.into_iter().for_each(|question| inner.questions.put_back(question));
            closed.iter().for_each(|question| drop(inner.waiting.remove(&question.id)));
            closed
        };
        self.save_questions();
        for question in closed {
            let name = Name::parse(&question.target).ok();
            let denied = name.is_some_and(|name| matches!(self.standing(&name), Standing::Denied(_)));
            let action = if denied { "deny" } else { "allow" };
            self.clearance.publish(&Event::Closed { question, action });
        }
    }

    pub(crate) fn save_questions(&self) {
        if let Err(error) = self.inner.borrow_mut().questions.save(&self.directory) {
            tracing::warn!("{error}");
        }
    }

    /// Refuses connections that have waited long enough.
    ///
    /// # Errors
    /// [`EgressError::Kernel`].
    pub fn end_waits(&self) -> Result<(), EgressError> {
        let now = Instant::now();
        let over: Vec<(u64, Vec<IpAddr>)> = {
            let inner = self.inner.borrow();
            let ended = inner.waiting.iter().filter(|(_, (until, _))| *until <= now);
            ended.map(|(id, (_, addresses))| (*id, addresses.clone())).collect()
        };
        for (id, addresses) in over {
            self.inner.borrow_mut().waiting.remove(&id);
            for address in addresses {
                self.refuse(address)?;
            }
        }
        Ok(())
    }

    /// Asks about direct destinations whose quota is used up.
    ///
    /// # Errors
    /// [`EgressError::Kernel`].
    pub fn look_at_quotas(&self) -> Result<(), EgressError> {
        let Some(budget) = self.settings.budget() else { return Ok(()) };
        let spent: Vec<Target> = {
            let mut inner = self.inner.borrow_mut();
            if inner.state == ShieldState::Quarantine {
                return Ok(());
            }
            let quotas = inner.firewall.quotas()?;
            let spent = |name: &str| quotas.iter().any(|q| q.name == name && q.consumed >= q.bytes);
            let mut found = Vec::new();
            for family in terok_nft::Family::BOTH {
                for (number, range) in inner.policy.allowed_ranges(family).into_iter().enumerate() {
                    if spent(&format!("direct_{}_{number}", family.suffix())) {
                        found.push(Target::Address(range.first()));
                    }
                }
            }
            found
        };
        let reason = format!("sent {} MiB", budget / (1024 * 1024));
        spent.iter().for_each(|target| self.ask(target, 0, 0, &reason, None));
        Ok(())
    }

    fn reset_quotas(&self, range: terok_nft::Range) {
        let mut inner = self.inner.borrow_mut();
        for family in terok_nft::Family::BOTH {
            for (number, allowed) in inner.policy.allowed_ranges(family).into_iter().enumerate() {
                if allowed.overlaps(&range) {
                    let name = format!("direct_{}_{number}", family.suffix());
                    if let Err(error) = inner.firewall.reset_quota(&name) {
                        tracing::warn!("{error}");
                    }
                }
            }
        }
    }
}

/// Packets about which nobody needs to be asked: multicast, the fallback of QUIC, and our own probe.
fn is_noise(packet: &LoggedPacket) -> bool {
    let quic = packet.protocol == protocol::UDP && packet.port == HTTPS_PORT;
    let probe = packet.destination == IpAddr::from(terok_shield_policy::address::parking(0));
    packet.destination.is_multicast() || quic || probe || packet.protocol == protocol::UDP && packet.port == DNS_PORT
}
