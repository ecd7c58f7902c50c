//! Conf files as an operator would write them: one route, any sources.

use chatmux::scripted::{Backend, Kind};
use sha2::{Digest as _, Sha256};

use super::{jane, source_name};

/// A key that opens tenant `acme`.
pub(crate) const KEY: &str = "cmx_a-key-of-the-tests";

/// The digest that stands in a conf file for a key.
pub(crate) fn sha256(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entry of a source that asks a scripted backend for Jane's events, with more options.
pub(crate) fn source(name: &str, backend: &Backend, more: &str) -> String {
    let chat = jane().conversation;
    let options = match backend.kind() {
        Kind::Openfire => "backend: openfire, token: openfire-token".to_owned(),
        Kind::Xians => "backend: xians, api_key: sk-Xnai-upstream".to_owned(),
        Kind::Salesforce => format!(
            "backend: salesforce, org_id: \"00D000000000001\", bearer: salesforce-token, \
             conversation: \"{chat}\""
        ),
        Kind::BrightPattern => format!(
            "backend: brightpattern, app_id: webchat, tenant_url: acme.example.com, \
             chat: \"{chat}\""
        ),
    };
    format!("{name}: {{{options}, url: \"{}\"{more}}}", backend.url())
}

/// A conf file in the making. Listens on free ports of loopback.
#[derive(Clone, Debug)]
pub(crate) struct Conf {
    listen: String,
    auth: String,
    sources: Vec<(String, String)>,
    route: String,
    routes: Vec<String>,
    more: Vec<String>,
}

impl Conf {
    /// One key, no sources yet; channels end soon after their last client.
    pub(crate) fn new() -> Self {
        let key = format!("{{label: tests, sha256: \"{}\", tenants: [acme]}}", sha256(KEY));
        Self {
            listen: "{address: \"127.0.0.1:0\"}".to_owned(),
            auth: format!("{{api_keys: [{key}]}}"),
            sources: Vec::new(),
            route: String::new(),
            routes: Vec::new(),
            more: Vec::new(),
        }
    }

    /// With a backend under the name of its kind.
    pub(crate) fn backend(self, backend: &Backend) -> Self {
        self.source(source_name(backend.kind()), backend, "")
    }

    /// With a backend under any name, and more options (`, name: value`).
    pub(crate) fn source(self, name: &str, backend: &Backend, more: &str) -> Self {
        let entry = source(name, backend, more);
        self.entry(name, entry)
    }

    /// With a source as it is written.
    pub(crate) fn entry(mut self, name: &str, entry: String) -> Self {
        self.sources.push((name.to_owned(), entry));
        self
    }

    /// With another `auth:`.
    pub(crate) fn auth(mut self, auth: &str) -> Self {
        auth.clone_into(&mut self.auth);
        self
    }

    /// With other listeners.
    pub(crate) fn listen(mut self, listen: &str) -> Self {
        listen.clone_into(&mut self.listen);
        self
    }

    /// With more options of the route (`, name: value`).
    pub(crate) fn route(mut self, more: &str) -> Self {
        self.route.push_str(more);
        self
    }

    /// With another route, which stands before `/events`.
    pub(crate) fn another_route(mut self, route: &str) -> Self {
        self.routes.push(route.to_owned());
        self
    }

    /// With another line of the top level.
    pub(crate) fn line(mut self, line: &str) -> Self {
        self.more.push(line.to_owned());
        self
    }

    pub(crate) fn yaml(&self) -> String {
        let is_said = |key: &str| self.more.iter().any(|more| more.starts_with(&format!("{key}:")));
        let mut yaml = format!("listen: [{}]\n", self.listen);
        let auth = format!("auth: {}", self.auth);
        let defaults = [
            "admin: {address: \"127.0.0.1:0\"}",
            &auth,
            "server: {threads: 1, drain: 1s}",
            "replay: {linger: 300ms}",
        ];
        for line in defaults {
            if !is_said(line.split(':').next().unwrap_or_default()) {
                yaml.push_str(&format!("{line}\n"));
            }
        }
        for line in &self.more {
            yaml.push_str(&format!("{line}\n"));
        }
        yaml.push_str("sources:\n");
        for (_, entry) in &self.sources {
            yaml.push_str(&format!("  {entry}\n"));
        }
        yaml.push_str("routes:\n");
        for route in &self.routes {
            yaml.push_str(&format!("  - {route}\n"));
        }
        let names: Vec<_> = self.sources.iter().map(|(name, _)| name.as_str()).collect();
        let (names, more) = (names.join(", "), &self.route);
        yaml.push_str(&format!("  - {{path: /events, sources: [{names}]{more}}}\n"));
        yaml
    }
}
