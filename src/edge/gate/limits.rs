//! Whose budgets a stream or a call needs: its address's, its subject's, its tenant's.
//!
//! What was counted lives in [`Usage`] and outlives the configuration, so a reload gives nobody
//! a fresh budget. Keys are digests under a random salt: a long name takes no more room than a
//! short one, and nobody can choose two that collide. Nodes that count together have keys without
//! a salt. Not here: the arithmetic (`rate`).

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::identity::Identity;
use super::ledger::{Changes, Ledger, Spend};
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
    /// Of keys. Where nodes count together, all have the same: none.
    salt: [u8; 32],
    /// Of names in logs.
    tag_salt: [u8; 32],
}

impl Usage {
    pub(super) fn new(ticks: Ticks) -> Self {
        let table = || Table::new(KEYS_MAX);
        let (address, subject, tenant) = (table(), table(), table());
        Self { address, subject, tenant, ticks, salt: rand::random(), tag_salt: rand::random() }
    }

    /// What is counted together with other nodes, which hear of changes.
    pub(super) fn shared(ticks: Ticks, changes: &Arc<Changes>) -> Self {
        let table = |policy| Table::shared(KEYS_MAX, policy, changes);
        Self {
            address: table(Policy::Address),
            subject: table(Policy::Subject),
            tenant: table(Policy::Tenant),
            ticks,
            salt: [0; 32],
            tag_salt: rand::random(),
        }
    }

    const fn table(&self, policy: Policy) -> &Arc<Table> {
        match policy {
            Policy::Address => &self.address,
            Policy::Subject => &self.subject,
            Policy::Tenant => &self.tenant,
        }
    }

    fn budget(&self, policy: Policy, limit: &Limit) -> Budget {
        Budget::new(policy, limit, self.table(policy).clone(), &self.ticks)
    }

    /// The subject as logs may show it; nobody has none.
    pub(super) fn tag(&self, identity: &Identity) -> Option<String> {
        let [kind, name] = identity.subject()?;
        let digest = digest(self.tag_salt, &["tag", &kind, &name]);
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
    pub(super) fn enter_address(
        &self,
        key: &Key,
        ledger: Option<&Ledger>,
    ) -> Result<Permit, Limited> {
        let opened = self.address.open(key, ledger);
        let entered = opened.and_then(|()| self.address.hold(key, ledger));
        self.tell(&self.address, entered.is_ok(), ledger);
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
        ledger: Option<&Ledger>,
        permits: &mut Permits,
    ) -> Result<(), Limited> {
        let budgets = self.budgets(identity, tenant);
        for (budget, key) in &budgets {
            let permit = budget.hold(key, ledger);
            permits.push(permit.inspect_err(|_| self.tell(budget, false, ledger))?);
        }
        for (budget, key) in &budgets {
            let opened = budget.open(key, ledger);
            self.tell(budget, opened.is_ok(), ledger);
            opened?;
        }
        Ok(())
    }

    /// Counts a passed-through call of an address, before anything costly is done for it.
    pub(super) fn enter_call_of_address(
        &self,
        key: &Key,
        ledger: Option<&Ledger>,
    ) -> Result<(), Limited> {
        let entered = self.address.call(key, ledger);
        self.tell(&self.address, entered.is_ok(), ledger);
        entered
    }

    /// Counts a passed-through call of a subject and a tenant, in this order: a subject that is
    /// refused costs its tenant nothing.
    pub(super) fn enter_call(
        &self,
        identity: &Identity,
        tenant: &str,
        ledger: Option<&Ledger>,
    ) -> Result<(), Limited> {
        for (budget, key) in self.budgets(identity, tenant) {
            let called = budget.call(&key, ledger);
            self.tell(budget, called.is_ok(), ledger);
            called?;
        }
        Ok(())
    }

    /// Tells what became of what is counted for all nodes: it was admitted up to the one at this
    /// place, which was refused.
    pub(super) fn on_counted_for_all(
        &self,
        spends: &[Spend],
        refused: Option<usize>,
        ledger: &Ledger,
    ) {
        for (place, spend) in spends.iter().enumerate() {
            let policy = spend.policy;
            let is_last = spends.iter().rposition(|other| other.policy == policy) == Some(place);
            let is_refused = refused == Some(place);
            if (is_last || is_refused) && !ledger.is_told(policy) {
                self.count(policy, !is_refused);
            }
            if is_refused {
                return;
            }
        }
    }

    /// Whose budgets count: the subject's, if there is one, then the tenant's.
    fn budgets(&self, identity: &Identity, tenant: &str) -> Vec<(&Budget, Key)> {
        let subject = identity.subject().map(|[kind, name]| {
            let own = identity.own_limit_label().and_then(|label| self.of_keys.get(label));
            let part = if identity.is_one_in_all_tenants() { "" } else { tenant };
            (own.unwrap_or(&self.subject), digest(self.usage.salt, &[&kind, &name, part]))
        });
        let tenant = (&self.tenant, digest(self.usage.salt, &["tenant", tenant]));
        subject.into_iter().chain([tenant]).collect()
    }

    /// What other nodes are asked about is told when they have answered.
    fn tell(&self, budget: &Budget, is_admitted: bool, ledger: Option<&Ledger>) {
        let policy = budget.policy();
        let is_asked = is_admitted && ledger.is_some_and(|ledger| ledger.has(policy));
        if budget.is_limiting() && !is_asked {
            self.count(policy, is_admitted);
            ledger.inspect(|ledger| ledger.on_told(policy));
        }
    }

    fn count(&self, policy: Policy, is_admitted: bool) {
        let outcome = if is_admitted { "admitted" } else { "refused" };
        self.metrics.on_limit(policy.as_str(), outcome, self.usage.table(policy).keys());
    }
}

/// A short name for these texts. With a random salt nobody can choose two that collide.
fn digest(salt: [u8; 32], texts: &[&str]) -> Key {
    let mut hash = Sha256::new();
    hash.update(salt);
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut key = Key::default();
    key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    key
}
