//! Confs of several files: what is merged, what is refused, where it is said to stand.

use super::include::{DEPTH_MAX, FILES_MAX};
use super::tests::{Folder, completed, read_in};
use super::{Config, Loaded};

const MAIN: &str = "include: [conf.d/*.yaml]
listen: [{address: '127.0.0.1:0'}]
auth:
  api_keys:
    - {label: main, sha256: 0000000000000000000000000000000000000000000000000000000000000001}
sources:
  desk: {backend: fake, url: 'https://a', token: '{query.token}'}
routes:
  - {path: /desk, sources: [desk]}
";
const MORE: &str = "auth:
  api_keys:
    - {label: more, sha256: 0000000000000000000000000000000000000000000000000000000000000002}
sources:
  care: {backend: other, url: 'https://b', org_id: x}
routes:
  - {path: /care, sources: [care, desk]}
";

fn load(files: &[(&str, &str)], main: &str) -> Result<Loaded, Vec<String>> {
    load_in(&Folder::new(files), main)
}

/// The folder's own name is taken out of what is said.
fn load_in(folder: &Folder, main: &str) -> Result<Loaded, Vec<String>> {
    read_in(folder, main).map_err(|errors| {
        let root = format!("{}/", folder.0.display());
        errors.to_string().replace(&root, "").lines().map(str::to_owned).collect()
    })
}

#[track_caller]
fn loaded(files: &[(&str, &str)], main: &str) -> Config {
    match load(files, main) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings, []);
            loaded.config
        }
        Err(errors) => panic!("{errors:#?}"),
    }
}

#[track_caller]
fn check(files: &[(&str, &str)], main: &str, want: &[&str]) {
    assert_eq!(load(files, main).err().expect("refused"), want);
}

#[test]
fn included_files_add_sources_routes_and_keys() {
    let config = loaded(&[("conf.d/b.yaml", MORE), ("conf.d/ignored.yml", "nonsense: 1")], MAIN);
    let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["desk", "care"]);
    let paths: Vec<_> = config.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/desk", "/care"]);
    let labels: Vec<_> = config.auth.api_keys.iter().map(|key| key.label.as_str()).collect();
    assert_eq!(labels, ["main", "more"]);
}

#[test]
fn the_first_file_may_hold_none_of_what_the_others_bring() {
    let bare = "include: [all.yaml, conf.d/*.yaml]\nlisten: [{address: '127.0.0.1:0'}]";
    let all = MAIN
        .replace("include: [conf.d/*.yaml]\n", "")
        .replace("listen: [{address: '127.0.0.1:0'}]\n", "version: 1\n");
    let config = loaded(&[("all.yaml", &all), ("conf.d/off.yaml", "# switched off\n")], bare);
    assert_eq!((config.sources.len(), config.auth.api_keys.len()), (1, 1));
}

#[test]
fn files_are_read_in_the_order_of_their_names_and_may_include_others() {
    let route = |path: &str| format!("routes: [{{path: {path}, sources: [desk]}}]");
    let (a, b) = (format!("include: [deep/*.yaml]\n{}", route("/a")), route("/b"));
    let (c, d) = (route("/c"), route("/d"));
    let files = [
        ("conf.d/20.yaml", b.as_str()),
        ("conf.d/10.yaml", a.as_str()),
        ("conf.d/.hidden.yaml", "no: 1"),
        // From the folder of the file that includes, not of the first.
        ("conf.d/deep/x.yaml", c.as_str()),
        ("deep/y.yaml", d.as_str()),
    ];
    let config = loaded(&files, MAIN);
    let paths: Vec<_> = config.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/desk", "/a", "/c", "/b"]);
}

#[test]
fn secrets_are_looked_for_beside_the_file_that_names_them() {
    let more = "sources:
  care: {backend: fake, url: 'https://b', token: '${file:key}'}
routes: [{path: /care, sources: [care]}]";
    loaded(&[("conf.d/a.yaml", more), ("conf.d/key", "of-conf-d")], MAIN);
    check(
        &[("conf.d/a.yaml", more), ("key", "of-the-first")],
        MAIN,
        &["conf.d/a.yaml:2:50: sources.care.token: cannot read the file \"key\": \
           No such file or directory (os error 2)"],
    );
}

#[test]
fn errors_name_the_included_file() {
    let more = "sources:
  care: {backend: othr, url: 'https://b'}
routes:
  - {path: /care, sources: [desk]}
  - {path: care, sources: [desc]}
limits: {event: 1MiB}
auth: {anonymous: true}
sorces: {}
";
    check(
        &[("conf.d/a.yaml", more)],
        &MAIN.replace("path: /desk", "path: desk"),
        &[
            "c:9:12: routes[0].path: a path starts with / and holds no spaces, no ?, # or {}, \
             and only ASCII",
            "conf.d/a.yaml:2:19: sources.care.backend: \"othr\" is none of fake, other; did you \
             mean \"other\"?",
            "conf.d/a.yaml:5:12: routes[1].path: a path starts with / and holds no spaces, no ?, \
             # or {}, and only ASCII",
            "conf.d/a.yaml:5:28: routes[1].sources[0]: no source is called \"desc\"; did you mean \
             \"desk\"?",
            "conf.d/a.yaml:6:1: limits: an included file takes version, include, sources, routes, \
             proxy, auth here; all else belongs into the first file",
            "conf.d/a.yaml:7:8: auth.anonymous: an included file takes api_keys, jwt here; all \
             else belongs into the first file",
            "conf.d/a.yaml:8:1: sorces: an included file takes version, include, sources, routes, \
             proxy, auth here; did you mean \"sources\"?; all else belongs into the first file",
        ],
    );
}

#[test]
fn a_name_twice_is_an_error_that_names_both_places() {
    let twins = MORE
        .replace("care:", "desk:")
        .replace("[care, desk]", "[desk]")
        .replace("label: more", "label: main")
        .replace("/care", "/desk");
    check(
        &[("conf.d/a.yaml", &twins)],
        MAIN,
        &[
            "conf.d/a.yaml:3:15: auth.api_keys[0].label: auth.api_keys[0] in c:5:15 has the same \
             label",
            "conf.d/a.yaml:5:3: sources.desk: this name is here twice; first: sources.desk in \
             c:7:3",
            "conf.d/a.yaml:7:5: routes[0]: no request ever comes here: routes[0] in c:9:5 has \
             the same path and match",
        ],
    );
}

#[test]
fn what_is_no_yaml_is_told_alone_with_its_file() {
    check(
        &[("conf.d/a.yaml", "sources: [1"), ("conf.d/b.yaml", "a: 1\na: 2")],
        MAIN,
        &[
            "conf.d/a.yaml:2:1: this is no YAML: while parsing a flow sequence, expected ',' or ']'",
            "conf.d/b.yaml:2:1: a: this key is here twice; first in line 1",
        ],
    );
    check(
        &[("conf.d/a.yaml", "- a")],
        MAIN,
        &["conf.d/a.yaml:1:1: this must be a table of key: value"],
    );
}

#[test]
fn includes_are_bounded() {
    let main = |include: &str| completed(&format!("include: {include}"));
    check(&[], &main("[no.yaml]"), &["c:1:11: include[0]: there is no file \"no.yaml\""]);
    check(
        &[],
        &main("['**/a']"),
        &["c:1:11: include[0]: ** has no meaning here; name the folders"],
    );
    check(
        &[],
        &main("['a[']"),
        &["c:1:11: include[0]: \"a[\" is no pattern: invalid range pattern"],
    );
    check(
        &[],
        &main("a.yaml"),
        &["c:1:10: include: this must be a list of files, such as [conf.d/*.yaml]"],
    );
    check(
        &[("a.yaml", "version: 1")],
        &main("[a.yaml, './a.yaml']"),
        &["c:1:19: include[1]: \"./a.yaml\" is in this conf already, as a.yaml"],
    );
    check(
        &[("a.yaml", "include: [b.yaml]"), ("b.yaml", "include: [a.yaml]")],
        &main("[a.yaml]"),
        &["b.yaml:1:11: include[0]: \"a.yaml\" is in this conf already, as a.yaml"],
    );

    let mut deep: Vec<(String, String)> = Vec::new();
    for level in 0..=DEPTH_MAX {
        deep.push((format!("{level}.yaml"), format!("include: [{}.yaml]", level + 1)));
    }
    let files: Vec<_> = deep.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    check(
        &files,
        &main("[0.yaml]"),
        &["3.yaml:1:11: include[0]: files include files more than 4 levels deep"],
    );

    let names: Vec<_> = (0..=FILES_MAX).map(|number| format!("{number:03}.yaml")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "version: 1")).collect();
    check(&files, &main("['*.yaml']"), &["c:1:11: include[0]: more than 256 files are included"]);

    let large = format!("# {}", "x".repeat(4 * 1024 * 1024 - 10));
    let files: Vec<_> = names.iter().take(5).map(|name| (name.as_str(), large.as_str())).collect();
    check(
        &files,
        &main("['*.yaml']"),
        &["c:1:11: include[0]: the included files are larger than 16777216 bytes in all"],
    );
}
