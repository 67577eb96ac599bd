//! Keeps proving that the kernel has our rules: compare, repair once, else quarantine.
//!
//! A quarantine that is found in the kernel always counts, whoever ordered it, and is never repaired away.

use terok_nft::{Image, differences};
use terok_shield_policy::audit::AuditLine;
use terok_shield_policy::{ShieldState, element_is_known};

use crate::engine::{Engine, Inner};
use crate::event::Event;
use crate::fault::EgressError;

/// The most differences that are logged.
const MAX_DIFFERENCES: usize = 8;

impl Engine {
    /// Compares the kernel with the model when the generation says that something else changed it, or always.
    ///
    /// # Errors
    /// [`EgressError::Kernel`] when the kernel cannot be asked; [`EgressError::Unverified`] after quarantine.
    pub fn check(&self, always: bool) -> Result<(), EgressError> {
        {
            let mut inner = self.inner.borrow_mut();
            if !always && inner.firewall.is_unchanged()? {
                return Ok(());
            }
            let found = inner.compare()?;
            if found.is_empty() {
                return Ok(());
            }
            if inner.adopt_quarantine()? {
                drop(inner);
                let _ = self.directory.want_state(ShieldState::Quarantine);
                self.after_state_change();
                return Ok(());
            }
            let found: Vec<String> = found.into_iter().take(MAX_DIFFERENCES).collect();
            drop(inner);
            self.report_differences(&found);
        }
        self.repair()
    }

    fn report_differences(&self, found: &[String]) {
        let text = found.join("; ");
        tracing::error!("the kernel's rules are not ours: {text}");
        self.audit(AuditLine { detail: text, ..AuditLine::new(&self.container(), "shield_verify_failed") });
        self.clearance.publish(&Event::VerifyFailed(found.to_vec()));
    }

    /// Applies the rules once more; quarantine when they still differ.
    fn repair(&self) -> Result<(), EgressError> {
        let mut inner = self.inner.borrow_mut();
        inner.remove_foreign_tables();
        let repaired = inner.reapply().and_then(|()| inner.compare());
        let why = match repaired {
            Ok(found) if found.is_empty() => {
                drop(inner);
                self.audit(AuditLine::new(&self.container(), "shield_healed"));
                return Ok(());
            }
            Ok(found) => found.join("; "),
            Err(error) => error.to_string(),
        };
        inner.state = ShieldState::Quarantine;
        let shut = inner.reapply();
        drop(inner);
        let _ = self.directory.want_state(ShieldState::Quarantine);
        self.audit(AuditLine { detail: why.clone(), ..AuditLine::new(&self.container(), "shield_quarantine") });
        self.after_state_change();
        shut?;
        Err(EgressError::Unverified(why))
    }
}

impl Inner {
    /// The differences between kernel and model; without any, the generation is the one to count from.
    fn compare(&mut self) -> Result<Vec<String>, EgressError> {
        let found = self.firewall.read()?;
        let own = self.hold;
        let mut first = None;
        // A command that changed the state does not know whether connections wait.
        for hold in [own, !own] {
            self.hold = hold;
            let Some(image) = self.static_image() else { return Ok(Vec::new()) };
            let known = |set: &str, element: &_| element_is_known(&self.policy, self.state, set, element);
            let differing = differences(&image, &found, known);
            if differing.is_empty() {
                self.firewall.accept_generation(found.generation);
                return Ok(differing);
            }
            first.get_or_insert(differing);
        }
        self.hold = own;
        Ok(first.unwrap_or_default())
    }

    /// True when the kernel is in quarantine, which anything may order at any time and which always counts.
    fn adopt_quarantine(&mut self) -> Result<bool, EgressError> {
        let found = self.firewall.read()?;
        let image = Image::of(&terok_shield_policy::ruleset::quarantine());
        if !differences(&image, &found, |_, _| true).is_empty() {
            return Ok(false);
        }
        self.state = ShieldState::Quarantine;
        self.firewall.accept_generation(found.generation);
        Ok(true)
    }

    fn reapply(&mut self) -> Result<(), EgressError> {
        if let Some(table) = self.table() {
            self.firewall.apply(&Image::of(&table))?;
        }
        Ok(())
    }

    /// A table of another program in the container's own namespace is nobody's business there.
    fn remove_foreign_tables(&mut self) {
        if let Err(error) = self.firewall.remove_foreign_tables() {
            tracing::warn!("cannot remove foreign rules: {error}");
        }
    }
}
