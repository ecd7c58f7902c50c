//! The room for newcomers: one file (or folder) per dialect.
//!
//! A dialect says how its stream is asked for ([`Plan`]) and what its frames mean
//! ([`Session`]); [`Mapper`] adds what all share: numbering, `Raw`, the counting of every frame
//! as mapped or discarded. To add a backend: its file, and the two roster lines below.

mod dialect;
mod call;
mod credentials;
mod history;
mod pass;
mod files;
mod url;
mod mapper;
mod memory;

#[cfg(test)]
mod golden;

pub mod brightpattern;
pub mod openfire;
pub mod salesforce;
pub mod xians;

pub use call::{Call, CallPlan, Message, Method, Piece};
pub use credentials::{
    Conduct, Credential, Due, Keyring, Obtained, RENEW_RETRY, Recipe, RecipePlan, jwt_expiry,
};
pub use dialect::{
    Answer, Dialect, OptionKind, OptionSpec, OptionValue, Options, Plan, Request, SessionValues,
    SplitAnswer, Transport,
};
pub use files::{FILES, Files, describe as describe_files};
pub use history::{
    History, HistoryCalls, HistoryPlan, KEY, KEYS_MAX, PAGE, Page, Past, PastKeys, ReadPage, Wanted,
};
pub use mapper::{
    Discard, Input, Keep, Mapper, Outbox, Policy, Reject, Session, SessionStart, Verdict,
};
pub use memory::{Handover, Memory};
pub use pass::{Dress, Pass, PassPlan};

/// All dialects.
pub static ROSTER: &[&Dialect] =
    &[&openfire::DIALECT, &xians::DIALECT, &salesforce::DIALECT, &brightpattern::DIALECT];

/// The dialect of a name.
#[must_use]
pub fn dialect(name: &str) -> Option<&'static Dialect> {
    ROSTER.iter().copied().find(|dialect| dialect.name == name)
}
