//! The contracts for those who read a stream or a self-test, made of the tables of both: JSON
//! Schema, AsyncAPI 3, TypeScript.
//!
//! They are committed under `docs/schema` and printed by `chatmux schema`; the tests hold them
//! to what is written on the wire. Not here: the tables (`event::describe`,
//! `selftest`), the contract of conf files (`config`).

mod asyncapi;
mod calls;
mod request;
mod schema;
mod selftest;
#[cfg(test)]
mod tests;
mod typescript;

pub use asyncapi::asyncapi;
pub use request::{Kind, PARAMETERS, Parameter, SELF_TEST_PARAMETERS};
pub use schema::schema;
pub use typescript::typescript;

use std::collections::BTreeMap;

use super::backend::ROSTER;
use super::event::describe::{CONTROLS, Field, MESSAGE, MESSAGES, Record, Words};
use super::selftest::EVENTS as SELF_TEST_EVENTS;

/// The version of the vocabulary.
const VERSION: &str = "1";

/// The dialect whose messages leave with free `data`.
const PASSED_BACKEND: &str = "xians";

/// What a `gap` names as its backend in the `core` vocabulary, where it is of the whole stream.
const OWN_BACKEND: &str = "chatmux";

/// The event that tells why there is no stream; a self-test has it, too.
const REFUSED: &str = "refused";

/// The names of the dialects.
fn backends() -> Vec<&'static str> {
    ROSTER.iter().map(|dialect| dialect.name).collect()
}

/// Every object and every set of words that the vocabulary or a self-test names, by name.
#[derive(Default)]
struct Named {
    records: BTreeMap<&'static str, &'static Record>,
    words: BTreeMap<&'static str, &'static Words>,
}

impl Named {
    fn collect() -> Self {
        let mut named = Self::default();
        named.fields(MESSAGE);
        for data in MESSAGES.iter().filter_map(|message| message.data) {
            named.record(data);
        }
        for control in CONTROLS {
            named.record(control.data);
        }
        for (_, data) in SELF_TEST_EVENTS {
            named.record(data);
        }
        named
    }

    fn record(&mut self, record: &'static Record) {
        self.records.insert(record.name, record);
        self.fields(record.fields);
    }

    fn fields(&mut self, fields: &'static [Field]) {
        for field in fields {
            if let Some(words) = field.shape.words() {
                self.words.insert(words.name, words);
            }
            if let Some(record) = field.shape.record() {
                self.record(record);
            }
        }
    }
}
