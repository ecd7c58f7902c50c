//! What `/ready` says when there is nobody to ask yet. What it says of sources is in `tests/it`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{Admin, Edge};
use crate::config;

fn edge() -> Arc<Edge> {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/debian/chatmux.yaml");
    let text = std::fs::read_to_string(conf).expect("a conf");
    let folder = std::env::temp_dir().join(format!("chatmux-admin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = text.replace("/run/chatmux", &folder.display().to_string());
    let conf = folder.join("chatmux.yaml");
    std::fs::write(&conf, text).expect("a file");
    let loaded = config::load(&conf, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    std::fs::remove_dir_all(&folder).expect("it is ours");
    Edge::new(Arc::new(loaded.config)).expect("an edge")
}

#[tokio::test]
async fn a_process_is_ready_from_when_clients_can_come_in_until_it_leaves() {
    let edge = edge();
    let is_started = Arc::new(AtomicBool::new(false));
    let admin = Admin::new(edge.clone(), is_started.clone(), ([127, 0, 0, 1], 9090).into());
    let sources = json!([{"source": "agent", "state": "unused", "streams": 0}]);
    let routes = json!([{"route": "/events", "usable": true, "sources": sources}]);
    let not = |reason| (false, json!({"ready": false, "reason": reason, "routes": routes}));
    assert_eq!(admin.ready(), not("starting"));
    is_started.store(true, Ordering::SeqCst);
    let ready = (true, json!({"ready": true, "routes": routes}));
    assert_eq!(admin.ready(), ready, "a source that nobody has asked for is usable");
    edge.drain(Duration::ZERO);
    assert_eq!(admin.ready(), not("draining"));
}
