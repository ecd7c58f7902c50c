//! Benchmarks of what runs for each event, each client and each request. `make bench`.
//!
//! Times are of the machine that measures; what holds everywhere is how they grow: linear in
//! events, constant in channels and keys. Instructions are counted by the benchmark of that name.

#![allow(clippy::expect_used, reason = "a benchmark fails by panicking")]

mod cases;
mod requests;

use cases::{CASES, Case, Log, Pipe, Stage};
use chatmux::proto::channel::Reader;
use chatmux::proto::event::{Encoded, Envelope, Event, Payload, Subscription};
use chatmux::proto::time::UnixMillis;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Frames of one measured run: each run starts a new stream, so that none is a repeat.
const FRAMES: usize = 500;

/// All frames of a case through a new stream.
fn run(criterion: &mut Criterion, group: &str, name: &str, case: &Case, to: (Stage, usize)) {
    let (stage, frames) = to;
    let reads = case.reads(frames);
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(frames as u64));
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_batched(
            || (Pipe::new(case, stage), reads.clone()),
            |(mut pipe, reads)| {
                let taken: usize = reads.into_iter().map(|read| pipe.take(read)).sum();
                assert_eq!(taken, frames, "every frame is news");
                pipe
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Decoding, mapping, encoding, logging: each with those before it.
fn stages(criterion: &mut Criterion) {
    for case in CASES {
        for stage in Stage::ALL {
            let group = format!("{stage:?}").to_lowercase();
            run(criterion, &group, case.name, case, (stage, FRAMES));
        }
    }
}

/// Cost for each event, as events become more.
fn events(criterion: &mut Criterion) {
    for times in [1, 10, 100] {
        for case in CASES.iter().take(1) {
            let name = (times * 100).to_string();
            run(criterion, "growth: events", &name, case, (Stage::Log, times * 100));
        }
    }
}

fn encoded() -> Encoded {
    let mut event = Event::new("Chat", Payload::Chat(Box::default()));
    event.text = Some("Your order left our warehouse and arrives on Thursday.".into());
    let subscription = Subscription::new("acme", "support", "jane");
    Encoded::new(
        &event,
        &mut Envelope {
            subscription: &subscription,
            source: "desk",
            backend: "xians",
            arrived: UnixMillis(1_710_849_283_714),
            minted: &mut || "0123456789abcdef-1".to_owned(),
        },
    )
}

/// Cost for each event, as logs become more.
fn channels(criterion: &mut Criterion) {
    let event = encoded();
    let mut group = criterion.benchmark_group("growth: channels");
    for count in [1, 10, 100] {
        let mut logs: Vec<Log> = (0..count).map(|_| Log::new()).collect();
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % count;
                if let Some(log) = logs.get_mut(turn) {
                    log.append(event.clone());
                    std::hint::black_box(log.read());
                }
            });
        });
    }
    group.finish();
}

/// One event to many clients of one log.
fn fan_out(criterion: &mut Criterion) {
    let event = encoded();
    let mut group = criterion.benchmark_group("fan-out");
    for clients in [1, 10, 100, 1000] {
        let mut log = Log::new();
        let mut readers: Vec<Reader> = (0..clients).map(|_| log.reader()).collect();
        group.throughput(Throughput::Elements(clients as u64));
        group.bench_function(BenchmarkId::from_parameter(clients), |bencher| {
            bencher.iter(|| {
                log.append(event.clone());
                for reader in &mut readers {
                    std::hint::black_box(log.read_as(reader));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, stages, events, channels, fan_out, requests::bench);
criterion_main!(benches);
