//! Tools of Node: their packages, installed once below `target`, and a way to run them.
//!
//! Needs `node` and `npm` (`make test` installs them). The packages are pinned by the lock file of
//! the folder that is asked for.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Installing takes some seconds; past this the registry is not to be reached.
const SECS_MAX: u32 = 300;

/// Runs a tool in a folder, bounded in time.
pub(crate) fn run(folder: &Path, command: &[&str], input: &str) -> Output {
    let mut child = Command::new("timeout")
        .arg(SECS_MAX.to_string())
        .args(command)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A tool that reads nothing may be gone by now.
    let _is_written = stdin.write_all(input.as_bytes()).is_ok();
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// A copy of a folder of `tests` with its packages installed, and other files beside them.
/// For one caller: it does not wait for another that makes the same.
pub(crate) fn workshop(name: &str, more: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let samples = std::fs::read_dir(root.join("tests").join(name)).expect("a folder");
    let files = samples.map(|entry| entry.expect("an entry").path());
    for file in files.chain(more.iter().map(|file| root.join(file))) {
        std::fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("a copy");
    }
    let lock = std::fs::read_to_string(folder.join("package-lock.json")).expect("a lock");
    let stamp = folder.join("installed");
    if std::fs::read_to_string(&stamp).unwrap_or_default() != lock {
        let install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        let said = run(&folder, &install, "");
        let err = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "npm ci (Debian: nodejs, npm): {err}");
        std::fs::write(&stamp, lock).expect("a stamp");
    }
    folder
}
