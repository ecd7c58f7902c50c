//! The style guide's rules of rooms and sizes (S1 to S4), held by reading the sources.
//!
//! Not here: what the compiler and clippy hold.

use std::path::{Path, PathBuf};

/// What the floor that decides may not know of.
const NOT_IN_PROTO: [&str; 15] = [
    "tokio",
    "pingora",
    "async_trait",
    "prometheus",
    "log",
    "std::net",
    "std::fs",
    "std::io",
    "std::thread",
    "std::process",
    "std::time::SystemTime",
    "std::time::Instant::now",
    "Instant::now",
    "SystemTime",
    "async fn",
];
/// From the top floor down; a room imports from those after it alone.
const FLOORS: [(&str, &[&str]); 5] = [
    ("cli", &["cli", "edge", "config", "telemetry", "proto", "scripted"]),
    ("edge", &["edge", "config", "telemetry", "proto"]),
    ("config", &["config", "proto"]),
    ("telemetry", &["telemetry", "proto"]),
    ("proto", &["proto"]),
];
/// Files stop here, tests apart.
const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder, with their text.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a text");
                files.push((path, text));
            }
        }
    }
    assert!(!files.is_empty(), "nothing in {}", folder.display());
    files
}

fn is_test(path: &Path) -> bool {
    let is_test = |part: &std::ffi::OsStr| {
        let part = part.to_string_lossy();
        part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs") || part == "golden.rs"
    };
    path.iter().any(is_test)
}

/// The text without comments and without the test module at its end.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().map(|line| match line.trim_start() {
        comment if comment.starts_with("//") => "",
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a name stands in the code as a word of its own.
fn names(code: &str, name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    code.match_indices(name).any(|(at, _)| {
        let before = at.checked_sub(1).and_then(|at| code.as_bytes().get(at));
        let after = code.as_bytes().get(at + name.len());
        !before.is_some_and(|byte| is_word(*byte)) && !after.is_some_and(|byte| is_word(*byte))
    })
}

/// Whether a path of the code begins with this crate.
fn names_path(code: &str, crate_name: &str) -> bool {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let start = format!("{crate_name}::");
    code.split(|c| !is_path(c)).any(|path| path.trim_start_matches(':').starts_with(&start))
}

#[test]
fn the_floor_that_decides_knows_no_sockets_files_clocks_or_logs() {
    let mut found = Vec::new();
    for (path, text) in files(&root().join("src/proto")) {
        if is_test(&path) {
            continue;
        }
        let code = code(&text);
        for name in NOT_IN_PROTO {
            // A crate is known by its paths, everything else by its name.
            let is_crate = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let is_named = match is_crate {
                true => names(&code, &format!("use {name}")) || names_path(&code, name),
                false => names(&code, name),
            };
            if is_named {
                found.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn imports_go_down_only() {
    let mut found = Vec::new();
    for (floor, below) in FLOORS {
        for (path, text) in files(&root().join("src").join(floor)) {
            if is_test(&path) {
                continue;
            }
            for word in code(&text).split("crate::").skip(1) {
                let room: String =
                    word.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let is_room = FLOORS.iter().any(|(name, _)| *name == room) || room == "scripted";
                if is_room && !below.contains(&room.as_str()) {
                    found.push(format!("{}: crate::{room}", path.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "examples", "fuzz/fuzz_targets"] {
        for (path, text) in files(&root().join(folder)) {
            let first = text.lines().next().unwrap_or_default();
            if !first.starts_with("//! ") {
                found.push(path.display().to_string());
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_file_is_longer_than_can_be_read() {
    let mut found = Vec::new();
    for (path, text) in files(&root().join("src")) {
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = text.lines().count();
        if !is_test(&path) && lines > LINES_MAX {
            found.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let (mut is_inside, mut before, mut count, mut found) = (false, "", 0, Vec::new());
    for line in text.lines() {
        if line.starts_with('[') {
            is_inside = line.ends_with("dependencies]");
        } else if is_inside && let Some((name, rest)) = line.split_once(" = ") {
            count += 1;
            let has_reason = rest.contains(" # ") || before.starts_with("# ");
            if !has_reason {
                found.push(name);
            }
        }
        before = line;
    }
    assert!(count > 20, "{count} dependencies were read");
    assert!(found.is_empty(), "no reason beside {found:?}");
}
