//! Salesforce. Not spoken yet: every frame is unmapped.

use super::{Answer, Dialect, Input, Outbox, Plan, Reject, Session, SessionStart, Transport};

/// The dialect.
pub static DIALECT: Dialect = Dialect {
    name: "salesforce",
    title: "Salesforce",
    transport: Transport::Stream,
    events: &[],
    options: &[],
    plan: |_| Ok(Plan::default()),
    answer: |_, _| Answer::Bad,
    session: |_| Box::new(Silent),
};

struct Silent;

impl Session for Silent {
    fn on_frame(&mut self, _: Input<'_>, _: &mut Outbox<'_>) -> Result<(), Reject> {
        Err(Reject::Unmapped {
            conversation_id: None,
        })
    }

    fn fork(&self, _: &SessionStart<'_>) -> Box<dyn Session> {
        Box::new(Self)
    }
}
