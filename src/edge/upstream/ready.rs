//! From an event to what a log holds: encoded once, for each log that wants it.
//!
//! Not here: who wants it (`cell`), where it goes on from (`covered`).

use std::time::Instant;

use super::covered::{Covered, When};
use crate::config::Source;
use crate::edge::channel::ChannelCell;
use crate::edge::clock::Moment;
use crate::proto::event::{Encoded, Envelope, Event, MessageType};
use crate::telemetry::SourceMetrics;

/// What the events of one frame are encoded with.
pub(super) struct Minting<'a> {
    pub(super) mint: &'a str,
    pub(super) frame: u64,
    pub(super) arrived: Moment,
    pub(super) source: &'a Source,
}

/// An event that is ready for its log.
pub(super) struct Ready {
    pub(super) encoded: Encoded,
    pub(super) message_type: MessageType,
    pub(super) when: Option<When>,
    pub(super) arrived: Instant,
}

impl Minting<'_> {
    pub(super) fn encode(&self, event: &Event<'_>, channel: &ChannelCell) -> Ready {
        let mut minted = || format!("{}-{}", self.mint, self.frame);
        let encoded = Encoded::new(
            event,
            &mut Envelope {
                subscription: &channel.subscription,
                source: &self.source.name,
                backend: self.source.dialect.name,
                arrived: self.arrived.wall,
                minted: &mut minted,
            },
        );
        let message_type = event.message_type();
        // Of what comes without a time, histories tell only what was said.
        let came = (message_type == MessageType::Chat).then_some(When::Came(self.arrived.wall));
        Ready {
            message_type,
            when: event.created_at.map(|_| When::Happened(encoded.label.at)).or(came),
            encoded,
            arrived: self.arrived.at,
        }
    }
}

impl Ready {
    pub(super) fn publish(
        self,
        (channel, index): (&ChannelCell, usize),
        replay_id: &str,
        covered: &mut Covered,
        metrics: &SourceMetrics,
    ) {
        metrics.on_event(self.message_type);
        covered.on_told(self.when);
        channel.append(index, replay_id, self.encoded, self.arrived);
    }
}
