//! The layer rule of ARCHITECTURE.md, held by reading `src/`: every path into the crate points down, none up or sideways.
//! Comments and strings are not code. A `super` chain is followed to the module that it means.
//! Two more guards: shaders and the CPU's stages have the same names, and the walks of ARCHITECTURE.md lead to files that
//! are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Shaders that only draw what is decoded already and so have no stage on the CPU.
const DRAW_ONLY_SHADERS: &[&str] = &["present"];

/// The modules of `proto` that every feature may use: the messages.
const SHARED_IN_PROTO: &[&str] = &["wire"];

#[test]
fn every_path_in_src_points_down() {
    let files = rust_files(&root().join("src"));
    assert!(!files.is_empty(), "src/ has no source file");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file is text");
        let inside = file.strip_prefix(root().join("src")).expect("the file was found there").to_owned();
        wrong.extend(violations(&inside, &text));
    }
    assert!(wrong.is_empty(), "the layer rule is broken:\n{}", wrong.join("\n"));
}

#[test]
fn shaders_and_stages_have_the_same_stems() {
    let shaders = stems(&root().join("shaders"), "wgsl");
    let stages = stems(&root().join("src/codec/stage"), "rs");
    assert_eq!(
        shaders.iter().filter(|stem| !DRAW_ONLY_SHADERS.contains(&stem.as_str())).collect::<Vec<_>>(),
        stages.iter().filter(|stem| *stem != "mod").collect::<Vec<_>>(),
        "left the shaders, right the stages in src/codec/stage"
    );
}

#[test]
fn every_file_on_a_walk_is_there() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let walks =
        text.split_once("## Walks").and_then(|(_, rest)| rest.split_once("\n## ")).expect("a chapter on walks").0;
    let words = walks.split(|c: char| c.is_whitespace() || ":,;?()".contains(c));
    let paths: Vec<&str> = words.map(|word| word.trim_end_matches("'s")).filter(|word| word.contains('/')).collect();
    assert!(paths.len() > 40, "the walks name only {} paths", paths.len());
    let lost: Vec<_> = paths.iter().filter(|path| !root().join("src").join(path).exists()).collect();
    assert!(lost.is_empty(), "ARCHITECTURE.md walks to what is not there: {lost:?}");
}

#[test]
fn paths_that_break_the_rule_are_found() {
    check("geom.rs", "use crate::codec::Tile;", 1);
    check("codec/mod.rs", "use crate::{geom::Rect, proto::wire};", 1);
    check("codec/plan.rs", "fn f() { let x = crate::io::gpu::Device::new(); }", 1);
    check("proto/screen/host.rs", "use crate::proto::input::Keyboard;", 1);
    check("proto/screen/host.rs", "use super::super::input::Keyboard;", 1);
    check("proto/input.rs", "use super::session;", 1);
    check("proto/wire.rs", "use crate::proto::screen::Assembler;", 1);
    check("io/net/mod.rs", "use crate::io::{linux, net::Endpoint};", 1);
    check("io/gpu/device.rs", "mod tests { use super::super::super::net::Endpoint; }", 1);
    check("io/gpu/device.rs", "pub(in crate::viewer) fn f() {}", 1);
    check("viewer/link.rs", "use crate::host::front::Front;", 1);
    check("host/front/mod.rs", "use super::super::viewer::app;", 1);
    check("host/mod.rs", "use crate :: viewer;", 1);
    check("io/net.rs", "use crate::{\n    codec::{self, format},\n    viewer::{app, config},\n    host,\n};", 3);
    check("viewer/mod.rs", "use crate::Everything;", 1);
    check("viewer/mod.rs", "use crate::*;", 1);
    check("lib.rs", "use crate::viewer::run;", 1);
    check("bin/kachel.rs", "use kachel::unknown::x;", 1);
}

#[test]
fn paths_that_keep_the_rule_pass() {
    check("codec/mod.rs", "use crate::geom::{Rect, Size};\nuse super::geom::Point;", 0);
    check("proto/screen/host.rs", "use crate::proto::wire::Tile;\nuse super::assembler;\nuse crate::codec::plan;", 0);
    check("proto/session/client.rs", "use crate::limits::STREAMS;\nuse crate::proto::session::shared;", 0);
    check("io/gpu/device.rs", "mod tests { use super::super::layout; use super::*; }\nuse crate::codec::plan;", 0);
    check("viewer/app.rs", "use crate::{io::net, io::gpu, proto::input, viewer::keymap};", 0);
    check("bin/kachel.rs", "fn main() { kachel::viewer::run() }", 0);
    check("bin/kachel.rs", "fn main() { my_kachel::nothing(); crate::local(); }", 0);
    check("geom.rs", "// crate::viewer\n/* crate::host /* nested */ */\nconst A: &str = \"crate::io\";", 0);
    check("geom.rs", "const A: &str = r#\"a \" crate::io\"#; const B: char = '\"'; fn f<'a>(x: &'a str) {}", 0);
    check("lib.rs", "#[cfg(feature = \"viewer\")]\npub mod viewer;", 0);
}

fn check(file: &str, source: &str, expected: usize) {
    let found = violations(Path::new(file), source);
    assert_eq!(found.len(), expected, "{file}: {source}\n{found:#?}");
}

/// Every path of `source` that the rule forbids, as a line to print. `file` is its place under `src/`.
fn violations(file: &Path, source: &str) -> Vec<String> {
    let is_bin = file.starts_with("bin");
    let home = module_of(file);
    let code = tokens(&without_comments_and_strings(source));
    let mut wrong = Vec::new();
    let mut inline = Vec::new();
    let mut depth = 0;
    let mut index = 0;
    while index < code.len() {
        match code[index].as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.retain(|(_, opened)| *opened <= depth);
            }
            "mod" if code.get(index + 2).is_some_and(|next| next == "{") => {
                inline.push((code[index + 1].clone(), depth + 1))
            }
            word @ ("crate" | "super" | "kachel") if index == 0 || code[index - 1] != "::" => {
                let mut base: Vec<String> =
                    home.iter().cloned().chain(inline.iter().map(|(name, _)| name.clone())).collect();
                let mut next = index;
                match word {
                    "super" => {
                        while code.get(next).is_some_and(|token| token == "super") {
                            base.pop();
                            next += if code.get(next + 1).is_some_and(|token| token == "::") { 2 } else { 1 };
                        }
                    }
                    "crate" if is_bin => next = code.len(),
                    "kachel" if !is_bin => next = code.len(),
                    _ => {
                        base.clear();
                        next += if code.get(index + 1).is_some_and(|token| token == "::") { 2 } else { code.len() };
                        // `pub(crate)` names no module.
                    }
                }
                let mut targets = Vec::new();
                if next < code.len() {
                    path_tree(&code, next, base, &mut targets);
                }
                for target in targets.into_iter().collect::<BTreeSet<_>>() {
                    if let Err(reason) = allowed(&home, &target) {
                        wrong.push(format!("src/{}: {} {reason}", file.display(), target.join("::")));
                    }
                }
            }
            _ => {}
        }
        index += 1;
    }
    wrong
}

/// Collects the leaves of a path that may branch in braces, from `at` on; returns the index after it.
fn path_tree(code: &[String], mut at: usize, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    loop {
        match code.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while code.get(at).is_some_and(|token| token != "}") {
                    at = path_tree(code, at, path.clone(), found);
                    if code.get(at).is_some_and(|token| token == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some("self") => {
                found.push(path);
                return at + 1;
            }
            Some(word) if word == "*" || word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push(word.to_owned());
                at += 1;
            }
            _ => {
                found.push(path);
                return at + 1;
            }
        }
        if code.get(at).is_some_and(|token| token == "::") {
            at += 1;
            continue;
        }
        found.push(path);
        // `as name` of an import belongs to this leaf.
        while code.get(at).is_some_and(|token| token != "," && token != "}" && token != ";" && token != "{") {
            at += 1;
        }
        return at;
    }
}

/// Says whether code in module `from` may name `to`; both without `crate`.
fn allowed(from: &[String], to: &[String]) -> Result<(), &'static str> {
    let part = |path: &[String], index: usize| path.get(index).cloned().unwrap_or_default();
    let (from_top, to_top) = (part(from, 0), part(to, 0));
    let Some(target) = layer(&to_top) else {
        return Err("is no module of the layer rule (lib.rs holds nothing but modules)");
    };
    // lib.rs itself only lists the modules.
    let Some(own) = layer(&from_top) else { return Err("is named in lib.rs, which holds nothing but `pub mod` lines") };
    let (from_next, to_next) = (part(from, 1), part(to, 1));
    match (target.cmp(&own), from_top == to_top) {
        (std::cmp::Ordering::Less, _) => Ok(()),
        (std::cmp::Ordering::Greater, _) => Err("points up"),
        (std::cmp::Ordering::Equal, false) => Err("points sideways"),
        (std::cmp::Ordering::Equal, true) if from_next.is_empty() || from_next == to_next => Ok(()),
        _ if from_top == "io" => Err("points sideways: adapters do not see each other"),
        _ if from_top == "proto" && !SHARED_IN_PROTO.contains(&to_next.as_str()) => {
            Err("points sideways: features talk only through proto::wire")
        }
        _ => Ok(()),
    }
}

fn layer(module: &str) -> Option<u8> {
    match module {
        "geom" => Some(0),
        "codec" => Some(1),
        "limits" => Some(2),
        "proto" => Some(3),
        "io" => Some(4),
        "viewer" | "host" => Some(5),
        "bin" => Some(6),
        _ => None,
    }
}

/// The module that a file of `src/` is: `proto/screen/mod.rs` is `proto::screen`, `lib.rs` the empty path.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> = file.iter().map(|part| part.to_string_lossy().replace(".rs", "")).collect();
    if parts.last().is_some_and(|last| last == "mod" || (last == "lib" && parts.len() == 1)) {
        parts.pop();
    }
    parts
}

/// Words, `::`, and every other sign on its own.
fn tokens(code: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("::") {
            2
        } else if word(first) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            found.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    found
}

/// The source with every comment, string and character literal replaced by a space.
fn without_comments_and_strings(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let starts = |at: usize, text: &str| text.chars().enumerate().all(|(index, c)| chars.get(at + index) == Some(&c));
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let word_before = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") {
                    (depth, at) = (depth + 1, at + 2);
                } else if starts(at, "*/") {
                    (depth, at) = (depth - 1, at + 2);
                } else {
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if let Some(end) = raw_string_end(&chars, at).filter(|_| !word_before) {
            at = end;
        } else if chars[at] == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if chars[at] == '\'' && (starts(at + 1, "\\") || chars.get(at + 2) == Some(&'\'')) {
            // A character literal; a lifetime has no closing quote there.
            at += if chars[at + 1] == '\\' { 3 } else { 2 };
            while at < chars.len() && chars[at] != '\'' {
                at += 1;
            }
            at += 1;
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.push(' ');
    }
    out
}

/// The index after a raw string (`r"…"`, `br#"…"#`) that starts at `at`.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let mut open = at + usize::from(chars[at] == 'b' || chars[at] == 'c');
    if chars.get(open) != Some(&'r') {
        return None;
    }
    open += 1;
    let hashes = chars[open..].iter().take_while(|c| **c == '#').count();
    if chars.get(open + hashes) != Some(&'"') {
        return None;
    }
    let mut end = open + hashes + 1;
    while end < chars.len() {
        if chars[end] == '"' && chars[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(end)
}

fn stems(folder: &Path, extension: &str) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    let paths =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == extension));
    paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
