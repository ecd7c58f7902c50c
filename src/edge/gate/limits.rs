//! Whose budgets a stream or a call needs: its address's, its subject's, its tenant's.
//!
//! What was counted lives in [`Usage`] and outlives the configuration, so a reload gives nobody
//! a fresh budget. Keys are digests under a random salt: a long name takes no more room than a
//! short one, and nobody can choose two that collide. Not here: the arithmetic (`rate`).

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::identity::Identity;
use super::rate::{Budget, KEYS_MAX, Key, Permit, Table};
use crate::config::{Config, Limit};
use crate::edge::clock::Ticks;
use crate::edge::refusal::{Limited, Policy};
use crate::telemetry::Metrics;

/// What was counted so far.
pub(super) struct Usage {
    address: Arc<Table>,
    subject: Arc<Table>,
    tenant: Arc<Table>,
    ticks: Ticks,
    salt: [u8; 32],
}

impl Usage {
    pub(super) fn new(ticks: Ticks) -> Self {
        Self {
            address: Table::new(KEYS_MAX),
            subject: Table::new(KEYS_MAX),
            tenant: Table::new(KEYS_MAX),
            ticks,
            salt: rand::random(),
        }
    }

    fn budget(&self, policy: Policy, limit: &Limit) -> Budget {
        let table = match policy {
            Policy::Address => &self.address,
            Policy::Subject => &self.subject,
            Policy::Tenant => &self.tenant,
        };
        Budget::new(policy, limit, table.clone(), &self.ticks)
    }

    /// A short name for these texts, that only this process can make.
    fn digest(&self, texts: &[&str]) -> Key {
        let mut hash = Sha256::new();
        hash.update(self.salt);
        for text in texts {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut key = Key::default();
        key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        key
    }

    /// The subject as logs may show it; nobody has none.
    pub(super) fn tag(&self, identity: &Identity) -> Option<String> {
        let [kind, name] = identity.subject()?;
        let digest = self.digest(&["tag", &kind, &name]);
        Some(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The budgets of one stream, until dropped.
#[must_use]
#[derive(Default)]
pub(crate) struct Permits(Vec<Permit>);

impl Permits {
    pub(super) fn push(&mut self, permit: Permit) {
        self.0.push(permit);
    }
}

/// The budgets of a configuration.
pub(super) struct Limiter {
    usage: Arc<Usage>,
    address: Budget,
    subject: Budget,
    /// In place of `subject`, by label of the key.
    of_keys: HashMap<String, Budget>,
    tenant: Budget,
    metrics: Arc<Metrics>,
}

impl Limiter {
    pub(super) fn new(config: &Config, usage: Arc<Usage>, metrics: Arc<Metrics>) -> Self {
        let limits = &config.limits;
        let own = config.auth.api_keys.iter();
        let own = own.filter_map(|key| {
            let budget = usage.budget(Policy::Subject, key.limits.as_ref()?);
            Some((key.label.clone(), budget))
        });
        Self {
            of_keys: own.collect(),
            address: usage.budget(Policy::Address, &limits.address),
            subject: usage.budget(Policy::Subject, &limits.subject),
            tenant: usage.budget(Policy::Tenant, &limits.tenant),
            usage,
            metrics,
        }
    }

    pub(super) const fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// Counts a request of an address. It counts as a new stream, whatever becomes of it.
    pub(super) fn enter_address(&self, key: &Key) -> Result<Permit, Limited> {
        let entered = self.address.open(key).and_then(|()| self.address.hold(key));
        self.tell(&self.address, entered.is_ok());
        entered
    }

    /// Counts a stream of a subject and a tenant. Room is asked for before budgets are spent,
    /// the subject before the tenant: what is refused costs the tenant nothing, and on refusal
    /// nothing stays counted as open.
    ///
    /// A key has a budget in each tenant: one tenant's flood under a shared key does not refuse
    /// another's. A token's subject is one person, who has one budget whatever tenant is named,
    /// unless the token itself says which.
    pub(super) fn enter_stream(
        &self,
        identity: &Identity,
        tenant: &str,
        permits: &mut Permits,
    ) -> Result<(), Limited> {
        let budgets = self.budgets(identity, tenant);
        for (budget, key) in &budgets {
            let permit = budget.hold(key).inspect_err(|_| self.tell(budget, false))?;
            permits.push(permit);
        }
        for (budget, key) in &budgets {
            let opened = budget.open(key);
            self.tell(budget, opened.is_ok());
            opened?;
        }
        Ok(())
    }

    /// Counts a passed-through call of an address, before anything costly is done for it.
    pub(super) fn enter_call_of_address(&self, key: &Key) -> Result<(), Limited> {
        let entered = self.address.call(key);
        self.tell(&self.address, entered.is_ok());
        entered
    }

    /// Counts a passed-through call of a subject and a tenant, in this order: a subject that is
    /// refused costs its tenant nothing.
    pub(super) fn enter_call(&self, identity: &Identity, tenant: &str) -> Result<(), Limited> {
        for (budget, key) in self.budgets(identity, tenant) {
            let called = budget.call(&key);
            self.tell(budget, called.is_ok());
            called?;
        }
        Ok(())
    }

    /// Whose budgets count: the subject's, if there is one, then the tenant's.
    fn budgets(&self, identity: &Identity, tenant: &str) -> Vec<(&Budget, Key)> {
        let subject = identity.subject().map(|[kind, name]| {
            let own = identity.own_limit_label().and_then(|label| self.of_keys.get(label));
            let part = if identity.is_one_in_all_tenants() { "" } else { tenant };
            (own.unwrap_or(&self.subject), self.usage.digest(&[&kind, &name, part]))
        });
        let tenant = (&self.tenant, self.usage.digest(&["tenant", tenant]));
        subject.into_iter().chain([tenant]).collect()
    }

    fn tell(&self, budget: &Budget, is_admitted: bool) {
        if budget.is_limiting() {
            let outcome = if is_admitted { "admitted" } else { "refused" };
            self.metrics.on_limit(budget.policy().as_str(), outcome, budget.keys());
        }
    }
}
