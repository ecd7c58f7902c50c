//! What is sent when: back to back, at a steady pace, with padding, with growing silences.

use std::time::Duration;

use crate::proto::event::words;

/// The longest silence that is tried where nobody says: as long as a stream is by default.
pub const IDLE_DEFAULT_SECS: u64 = 5;
/// Longer than this no stream is silent: it is the longest heartbeat.
pub const IDLE_MAX_SECS: u64 = 300;
/// The longest a plan takes: silences that double up to the longest, and the rest.
pub const TAKES_MAX: Duration = Duration::from_secs(560);

/// Probes that follow one another without a pause: what joins them does no harm.
const BURST: usize = 3;
/// Probes at a steady pace.
const PACED: usize = 5;
/// The pace: long enough to stand out from the jitter of a network, short enough to wait for.
const PACE: Duration = Duration::from_millis(250);
/// Past the buffers that proxies have: 4 to 8 KiB are usual, 64 KiB is the most one sees.
const PADDINGS: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Back to back.
    Burst,
    /// Small ones, at a pace.
    Paced,
    /// Large ones, at a pace.
    Padded,
    /// A silence follows.
    Silence,
}

words!(Phase { Burst = "burst", Paced = "paced", Padded = "padded", Silence = "silence" });

/// A probe, and the pause after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is for.
    pub phase: Phase,
    /// Bytes that are there to fill buffers.
    pub padding: usize,
    /// How long nothing is sent after it.
    pub pause: Duration,
}

/// A whole self-test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    steps: Vec<Step>,
    idle_secs: u64,
}

impl Plan {
    /// A plan whose longest silence is so long; longer than [`IDLE_MAX_SECS`] counts as that, 0
    /// tries no silence.
    #[must_use]
    pub fn new(idle_secs: u64) -> Self {
        let idle_secs = idle_secs.min(IDLE_MAX_SECS);
        let step = |phase, padding, pause| Step { phase, padding, pause };
        let mut steps = vec![step(Phase::Burst, 0, Duration::ZERO); BURST - 1];
        steps.push(step(Phase::Burst, 0, PACE));
        steps.extend([step(Phase::Paced, 0, PACE); PACED]);
        steps.extend(PADDINGS.map(|padding| step(Phase::Padded, padding, PACE)));
        let silences = silences(idle_secs);
        steps.extend(silences.map(|secs| step(Phase::Silence, 0, Duration::from_secs(secs))));
        Self { steps, idle_secs }
    }

    /// The probes in their order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The longest silence.
    #[must_use]
    pub const fn idle_secs(&self) -> u64 {
        self.idle_secs
    }

    /// How long it takes, where nothing is in the way.
    #[must_use]
    pub fn takes(&self) -> Duration {
        self.steps.iter().map(|step| step.pause).sum()
    }
}

/// 1, 2, 4, ... seconds up to half of the longest, and the longest.
fn silences(longest: u64) -> impl Iterator<Item = u64> {
    let doubling = std::iter::successors(Some(1_u64), |secs| Some(secs * 2));
    let shorter = doubling.take_while(move |secs| *secs <= longest / 2);
    shorter.chain((longest > 0).then_some(longest))
}
