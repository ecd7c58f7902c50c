//! From one configuration to the next: what is taken, what is not, and what it brings along.
//!
//! Not here: the reload itself (`proxy`, `server`).

use super::upstream::{Dialer, Trusts};
use crate::config::{Config, IssuerKey, Listen};
use crate::telemetry::Metrics;

/// What of a configuration is not taken while the process runs, where it differs. Listeners are
/// named one by one.
pub(super) fn differing(old: &Config, new: &Config) -> Vec<String> {
    let moved = |a: &[Listen], b: &[Listen]| {
        let is_in_b = |one: &Listen| b.iter().any(|other| other.is_same_socket(one));
        let only_in_a = a.iter().filter(|one| !is_in_b(one));
        only_in_a.map(|one| format!("listen {}", one.address)).collect::<Vec<_>>()
    };
    let mut names = moved(&old.listen, &new.listen);
    names.extend(moved(&new.listen, &old.listen));
    let others = [
        ("admin", old.admin != new.admin),
        ("server", old.server != new.server),
        ("log", old.log != new.log),
        ("cluster", old.cluster != new.cluster),
    ];
    let differing = others.iter().filter(|(_, differs)| *differs);
    names.extend(differing.map(|(name, _)| (*name).to_owned()));
    names.dedup();
    names
}

/// Makes the series of everything that is configured exist.
pub(super) fn touch(metrics: &Metrics, config: &Config) {
    metrics.route("none");
    for route in &config.routes {
        metrics.route(&route.path);
    }
    for route in &config.proxy {
        metrics.touch_requests(&route.path);
    }
    for source in &config.sources {
        metrics.source(&source.name, source.dialect);
    }
}

/// Takes the series of issuers away that publish no keys to us any more.
pub(super) fn forget_issuers(metrics: &Metrics, old: &Config, new: &Config) {
    let publishes =
        |config: &Config, name: &str| {
            config.auth.jwt.iter().any(|issuer| {
                issuer.issuer == name && matches!(issuer.key, IssuerKey::KeySetUrl(_))
            })
        };
    let issuers = old.auth.jwt.iter().map(|issuer| issuer.issuer.as_str());
    for name in issuers.filter(|name| publishes(old, name) && !publishes(new, name)) {
        metrics.forget_jwks(name);
    }
}

/// Reads anew whom sources and issuers are trusted by, and what they are shown.
pub(super) fn renew(dialer: &Dialer, config: &Config) -> Result<Trusts, String> {
    let mut trusts = Trusts::default();
    for source in &config.sources {
        let renewed = dialer.renew(source, &mut trusts);
        renewed.map_err(|error| format!("sources.{}.tls.{error}", source.name))?;
    }
    for (index, issuer) in config.auth.jwt.iter().enumerate() {
        if let IssuerKey::KeySetUrl(from) = &issuer.key {
            let renewed = dialer.renew(from, &mut trusts);
            renewed.map_err(|error| format!("auth.jwt[{index}].jwks_tls.{error}"))?;
        }
    }
    if let Some(redis) = &config.cluster {
        let renewed = dialer.renew((redis, &redis.url), &mut trusts);
        renewed.map_err(|error| format!("cluster.redis.tls.{error}"))?;
    }
    Ok(trusts)
}
