//! What is made for Prometheus, judged by Prometheus's own tool; and what a scrape says.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use chatmux::scripted::Kind;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::{Ask, Client, Four, One, Scratch, say, soon};

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path)
}

/// Runs `promtool`, which must find nothing wrong. Gives what it says.
async fn promtool(args: &[&str], folder: &Path, input: &str) -> String {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("promtool is there (.ci/setup test)");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = soon("promtool ends", child.wait_with_output()).await.expect("output");
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "promtool {args:?}: {}", said.join("\n"));
    said.join("\n")
}

#[tokio::test]
async fn a_busy_binary_has_clean_metrics_in_both_forms() {
    let four = Four::start().await;
    let mut client = four.edge.open(&Client::new("jane")).await;
    client.all_up(&Four::NAMES).await;
    for backend in &four.backends {
        say(backend, "busy");
        client.chat("busy").await;
    }
    four.check_law().await;

    let plain = four.edge.admin("/metrics").await;
    assert_eq!(plain.head.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let scratch = Scratch::new();
    let said = promtool(&["check", "metrics"], scratch.path(), &plain.text()).await;
    assert_eq!(said.trim(), "", "promtool finds nothing");
    assert!(four.edge.metrics().await.sum("chatmux_frames_received_total", &[]) >= 4);
    assert!(plain.text().contains("\nprocess_open_fds "), "process metrics");

    let asked = Ask::get("/metrics").header("Accept", "application/openmetrics-text;version=1.0.0");
    let open = asked.send(four.edge.admin_address()).await;
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.head.header("content-type"), Some(media));
    let text = open.text();
    assert!(text.ends_with("\n# EOF\n") && text.contains("# TYPE chatmux_gaps counter\n"));
    // The tool reads OpenMetrics with Prometheus's own reader, if each sample has its time.
    let timed: String = text
        .lines()
        .map(|line| match line.starts_with('#') {
            true => format!("{line}\n"),
            false => format!("{line} 1700000000.000\n"),
        })
        .collect();
    let file = scratch.write("metrics.om", &timed);
    let file = file.to_str().expect("a path");
    let args = ["tsdb", "create-blocks-from", "openmetrics", file, "blocks"];
    promtool(&args, scratch.path(), "").await;
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    let plain_samples = plain.text().lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples, plain_samples, "both forms tell the same");
}

#[tokio::test]
async fn the_alert_rules_do_what_their_cases_say() {
    let folder = packaging("prometheus");
    let said = promtool(&["check", "rules", "alerts.yaml"], &folder, "").await;
    assert!(said.contains("SUCCESS: 12 rules found"), "{said}");
    let said = promtool(&["test", "rules", "alerts_test.yaml"], &folder, "").await;
    assert!(said.contains("SUCCESS"), "{said}");
    let rules = std::fs::read_to_string(folder.join("alerts.yaml")).expect("rules");
    let cases = std::fs::read_to_string(folder.join("alerts_test.yaml")).expect("cases");
    for line in rules.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            let case = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels");
            assert!(cases.contains(&case), "{name} is never seen to fire");
        }
    }
}

#[tokio::test]
async fn every_query_of_the_dashboard_can_be_parsed() {
    let text = std::fs::read_to_string(packaging("grafana/chatmux.json")).expect("a dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut count = 0;
    for target in targets {
        let query = target["expr"].as_str().expect("a query").replace("$__rate_interval", "5m");
        let query = serde_json::Value::from(query);
        rules.push_str(&format!("  - {{record: \"query:{count}\", expr: {query}}}\n"));
        count += 1;
    }
    assert!(count >= 30, "{count} queries");
    let scratch = Scratch::new();
    scratch.write("dashboard.yaml", &rules);
    let said = promtool(&["check", "rules", "dashboard.yaml"], scratch.path(), "").await;
    assert!(said.contains(&format!("SUCCESS: {count} rules found")), "{said}");
}

#[tokio::test]
async fn a_conf_that_was_refused_shows_until_one_is_taken() {
    let one = One::start(Kind::Xians).await;
    let name = "chatmux_config_last_reload_successful";
    let good = one.edge.metrics().await;
    assert_eq!(good.sum(name, &[]), 1, "that of the start is in force");
    assert!(good.sum("chatmux_config_last_reload_success_timestamp_seconds", &[]) > 1_700_000_000);
    assert_eq!(good.sum("chatmux_config_reloads_total", &[]), 0, "a start is no reload");
    one.edge.reload("version: 1\nnonsense: true\n").await;
    one.edge.until("the refusal shows", |metrics| metrics.sum(name, &[]) == 0).await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_draining_process_is_alive_and_not_ready() {
    let one =
        One::start_with(Kind::Xians, |conf| conf.line("server: {threads: 1, drain: 20s}")).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    one.edge.signal("TERM").await;
    one.edge.logged("draining: ").await;
    let ready = async {
        loop {
            let reply = one.edge.admin("/ready").await;
            if reply.head.status == 503 {
                return reply.json();
            }
        }
    };
    let why = soon("/ready says why", ready).await;
    assert_eq!((&why["ready"], &why["reason"]), (&false.into(), &"draining".into()));
    assert_eq!(why["routes"][0]["sources"][0]["state"], "up", "{why}");
    assert_eq!(one.edge.admin("/live").await.head.status, 200);
    one.edge.signal("TERM").await;
}
