//! What a self-test is asked: how long a silence to try.
//!
//! Not here: the probes (`proto::selftest`), sending them (`edge::selftest`).

use super::parameters::read_integer;
use super::query::Query;
use crate::edge::refusal::Refusal;
use crate::proto::selftest::{ClientFrom, IDLE_DEFAULT_SECS, Plan};

/// The parameter: seconds of the longest silence. Of the self-test alone; a source's template of
/// this name is filled, and nothing is asked of the source.
pub(super) const IDLE: &str = "idle";

/// A self-test that may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SelfTest {
    /// What is sent when.
    pub(crate) plan: Plan,
    /// Whom the edge takes for the client.
    pub(crate) client_from: ClientFrom,
}

impl SelfTest {
    pub(super) fn read(query: Query<'_>, client_from: ClientFrom) -> Result<Self, Refusal> {
        let idle_secs = read_integer(query, IDLE)?;
        // What is less than none is none.
        let idle_secs =
            idle_secs.map_or(IDLE_DEFAULT_SECS, |secs| u64::try_from(secs).unwrap_or(0));
        Ok(Self { plan: Plan::new(idle_secs), client_from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::gate::parameters::bad;
    use crate::edge::refusal::Fault;
    use crate::proto::contract::{Kind, SELF_TEST_PARAMETERS};
    use crate::proto::selftest::IDLE_MAX_SECS;

    #[test]
    fn the_contract_tells_of_what_is_read_here() {
        let [told] = SELF_TEST_PARAMETERS else { panic!("{SELF_TEST_PARAMETERS:?}") };
        assert_eq!((told.name, told.is_required), (IDLE, false));
        let Kind::Int { min, max } = told.kind else { panic!("{told:?}") };
        let read = |idle: i64| {
            let query = format!("{IDLE}={idle}");
            let read = SelfTest::read(Query::new(&query), ClientFrom::Connection);
            read.expect("a number").plan.idle_secs()
        };
        assert_eq!((read(i64::MIN), read(i64::MAX)), (min, max));
        let default = format!(": {IDLE_DEFAULT_SECS} without it");
        assert!(told.doc.contains(&default), "{}", told.doc);
    }

    #[test]
    fn the_longest_silence_is_a_bounded_whole_number() {
        for (query, want) in [
            ("", Some(IDLE_DEFAULT_SECS)),
            ("idle=0", Some(0)),
            ("idle=-7", Some(0)),
            ("idle=60", Some(60)),
            ("idle=9999999999999999999999", Some(IDLE_MAX_SECS)),
            ("idle=", None),
            ("idle=5s", None),
            ("idle=%zz", None),
        ] {
            let got = SelfTest::read(Query::new(query), ClientFrom::Connection);
            let fault = if query.contains('%') { Fault::Unreadable } else { Fault::NotInteger };
            match (got, want) {
                (Ok(got), Some(want)) => assert_eq!(got.plan.idle_secs(), want, "{query}"),
                (Err(refusal), None) => assert_eq!(refusal, bad(IDLE, fault), "{query}"),
                (got, _) => panic!("{query}: {got:?}"),
            }
        }
    }
}
