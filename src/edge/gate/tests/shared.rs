//! With other nodes: what they are asked, and what their answers make of a decision.

use super::ledger::Pace;
use super::*;

const TICKET: &str = "/events/ticket";

fn limited() -> Bench {
    Bench::new(|config| {
        config.limits.address = limit(Some("60/m"), Some(3), None);
        config.limits.subject = limit(Some("30/m"), None, Some(5));
        config.limits.tenant = limit(Some("9/s"), None, None);
    })
}

impl Bench {
    /// What the others are asked, after this.
    fn spent(&self, ask: &Ask<'_>, query: &str) -> (Decided, Ledger, Vec<Spend>) {
        let ledger = Ledger::default();
        let decided = self.ask_with(ask, query, Some(&ledger), Past::default());
        let decided = decided.unwrap_or_else(|_| panic!("nothing to wait for"));
        let spends = ledger.take();
        (decided, ledger, spends)
    }
}

#[test]
fn what_was_spent_is_asked_of_the_others_in_its_order() {
    let bench = limited();
    let query = format!("{ASK}&apikey=sk-any");
    let (decided, ledger, spends) = bench.spent(&Ask::default(), &query);
    assert_eq!(show(&decided.decision), "stream");
    let asked: Vec<_> = spends.iter().map(|spend| (spend.policy, spend.taken)).collect();
    let pace = |interval_millis, count| {
        let interval = Duration::from_millis(interval_millis);
        Taken::Once(Pace { interval, whole: interval * count })
    };
    let ninth = Duration::from_secs(1) / 9;
    assert_eq!(
        asked,
        [
            (Policy::Address, pace(1000, 3)),
            (Policy::Subject, Taken::Stream { count: 1, max: 5 }),
            (Policy::Subject, pace(2000, 30)),
            (Policy::Tenant, Taken::Once(Pace { interval: ninth, whole: ninth * 9 })),
        ]
    );
    // Nothing is told before the others have answered, and each once then.
    bench.check_metric("chatmux_rate_limit_total{outcome=\"admitted\",policy=\"subject\"} 0");
    assert!(bench.gate.counted_for_all(&spends, None, &ledger).is_none());
    for policy in ["address", "subject", "tenant"] {
        let line =
            format!("chatmux_rate_limit_total{{outcome=\"admitted\",policy=\"{policy}\"}} 1");
        bench.check_metric(&line);
    }
    // Whatever becomes of a request, its address has spent something.
    let (decided, _, spends) = bench.spent(&Ask::default(), ASK);
    assert_eq!((show(&decided.decision).as_str(), spends.len()), ("401", 1));
    let (decided, _, spends) = bench.spent(&Ask { path: "/nowhere", ..Ask::default() }, ASK);
    assert_eq!((show(&decided.decision).as_str(), spends.len()), ("404", 0));
}

#[test]
fn what_the_others_refuse_takes_the_place_of_the_decision() {
    let bench = limited();
    let query = format!("{ASK}&apikey=sk-any");
    let refuse = |place: usize, secs: u64| {
        let (decided, ledger, spends) = bench.spent(&Ask::default(), &query);
        let refused = Some((place, Duration::from_millis(secs * 1000 - 1)));
        let limited = bench.gate.counted_for_all(&spends, refused, &ledger).expect("too much");
        let turned = bench.with_asked(&Ask::default(), &query, None, |asked| {
            bench.gate.turned(asked, decided, limited)
        });
        (show(&turned.decision), limited.retry_secs, turned.route.is_some())
    };
    let (shown, secs, has_route) = refuse(2, 10);
    assert!(shown == "429 subject opens" && (10..=20).contains(&secs) && has_route, "{shown}");
    assert_eq!(refuse(1, 1).0, "429 subject concurrent");
    for line in [
        "chatmux_rate_limit_total{outcome=\"refused\",policy=\"subject\"} 2",
        "chatmux_rate_limit_total{outcome=\"admitted\",policy=\"address\"} 2",
        "chatmux_rate_limit_total{outcome=\"admitted\",policy=\"tenant\"} 0",
    ] {
        bench.check_metric(line);
    }
    // What is refused here is asked of nobody, and told at once.
    let (decided, ledger, spends) = bench.spent(&Ask::default(), &query);
    assert!(show(&decided.decision) == "stream" && ledger.take().is_empty() && spends.len() == 4);
    let (decided, _, spends) = bench.spent(&Ask::default(), &query);
    assert_eq!((show(&decided.decision).as_str(), spends.len()), ("429 address opens", 0));
}

#[test]
fn a_ticket_that_is_not_known_here_is_asked_for() {
    let bench = limited();
    let key = [("x-api-key", "sk-any")];
    let ask = Ask { method: Method::POST, path: TICKET, headers: &key, ..Ask::default() };
    let Decision::Ticket(warrant) = bench.ask(&ask, ASK).decision else { panic!("no ticket") };
    let text = warrant.to_text();
    let query = format!("{ASK}&ticket=cmt_of-another-node");
    let ledger = Ledger::default();
    let decide = |ticket: Option<Option<Redeemed>>| {
        let past = Past { ticket, counted: Some(Permits::default()), ..Past::default() };
        bench.ask_with(&Ask::default(), &query, Some(&ledger), past)
    };
    let Err(Later { wait: Wait::Ticket(shown), .. }) = decide(None) else { panic!("not asked") };
    assert!(shown.is_used && shown.ticket.reveal() == "cmt_of-another-node");
    let outcome = |ticket| match decide(Some(ticket)) {
        Ok(decided) => show(&decided.decision),
        Err(_) => panic!("asked twice"),
    };
    let redeemed = |revoked| Redeemed::parse(&text, revoked);
    let whose = |participant: &str| Whose {
        tenant: Some("acme".to_owned()),
        participant: Some(participant.to_owned()),
        ..Whose::default()
    };
    assert_eq!(outcome(None), "401");
    assert_eq!(outcome(redeemed(vec![])), "stream");
    assert_eq!(outcome(redeemed(vec![whose("somebody-else")])), "stream");
    assert_eq!(
        outcome(redeemed(vec![Whose { key: Some("sk-any".to_owned()), ..Whose::default() }])),
        "401"
    );
    // Alone nobody is asked.
    bench.check_get(&query, "401");
}
