//! The viewer's code is for more systems than the one that runs these tests: what only one of them has stays in `src/io`,
//! and there under a `cfg` that says so. Read from the sources as rustfmt lays them out, since no other system's compiler
//! is here.

use std::fs;
use std::path::{Path, PathBuf};

/// What names a system, or what only some of them have.
const PLATFORM_WORDS: &[&str] = &[
    "target_os",
    "(unix",
    "(windows",
    "std::os::",
    "winit::platform::",
    "rustix::",
    "x11rb::",
    "windows_sys::",
    "tokio::net::Unix",
];
/// Those that are crates or modules, and the `cfg` lines that let them in.
const GUARDED: &[(&str, &[&str])] = &[
    ("std::os::unix", &["unix", "target_os = \"linux\""]),
    ("std::os::linux", &["target_os = \"linux\""]),
    ("tokio::net::Unix", &["unix", "target_os = \"linux\""]),
    ("rustix::", &["target_os = \"linux\""]),
    ("x11rb::", &["target_os = \"linux\""]),
    ("winit::platform::windows", &["windows"]),
    ("winit::platform::x11", &["target_os = \"linux\""]),
    ("windows_sys::", &["windows"]),
];
/// The host's files: it runs on Linux only, and `lib.rs`, `io/mod.rs` and `io/ipp/mod.rs` say so.
const HOST_ONLY: &[&str] = &["host/", "io/linux/", "io/ipp/printer", "bin/kachel-host.rs"];

#[test]
fn platform_code_is_in_io_alone() {
    let mut wrong = Vec::new();
    for (name, text) in viewer_files() {
        if name.starts_with("io/") || name == "lib.rs" {
            continue;
        }
        wrong.extend(platform_words(&text).into_iter().map(|line| format!("src/{name}: {line}")));
    }
    assert!(wrong.is_empty(), "platform code outside src/io:\n{}", wrong.join("\n"));
}

#[test]
fn what_one_system_has_is_under_its_cfg() {
    let mut wrong = Vec::new();
    let files = viewer_files();
    for (name, text) in &files {
        let parent = files.iter().find(|(other, _)| *other == parent_of(name)).map_or("", |(_, text)| text);
        let outer = declared_under(parent, name);
        wrong.extend(unguarded(text, &outer).into_iter().map(|line| format!("src/{name}:{line}")));
    }
    assert!(wrong.is_empty(), "not under a cfg that lets it in:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_wrong_is_found_and_what_is_right_is_not() {
    assert_eq!(platform_words("#[cfg(unix)]\nfn f() {}\n").len(), 1);
    assert_eq!(
        platform_words("// std::os::unix\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use std::os::unix;\n}\n").len(),
        0
    );

    assert_eq!(unguarded("use std::os::unix::fs::OpenOptionsExt;\n", &[]).len(), 1);
    assert_eq!(unguarded("#[cfg(windows)]\nuse std::os::unix::fs::OpenOptionsExt;\n", &[]).len(), 1);
    assert_eq!(unguarded("#[cfg(not(unix))]\nuse std::os::unix::fs::OpenOptionsExt;\n", &[]).len(), 1);
    assert_eq!(unguarded("#[cfg(unix)]\nfn f() {}\n\nfn g() {\n    std::os::unix::f();\n}\n", &[]).len(), 1);
    assert_eq!(unguarded("#[cfg(unix)]\nuse std::os::unix::fs::OpenOptionsExt;\n", &[]).len(), 0);
    assert_eq!(
        unguarded(
            "#[cfg(target_os = \"linux\")]\n#[inline]\nmod x11 {\n    fn f() {\n        x11rb::connect();\n    }\n}\n",
            &[]
        )
        .len(),
        0
    );
    assert_eq!(
        unguarded("fn f() {\n    #[cfg(unix)]\n    {\n        g();\n\n        std::os::unix::h();\n    }\n}\n", &[])
            .len(),
        0
    );
    // A file whose `mod` line is under a `cfg`.
    let parent = "mod a;\n#[cfg(windows)]\n#[path = \"x.rs\"]\nmod b;\nmod c;\n";
    let text = "use windows_sys::Win32::Media;\n";
    let wrong = |name: &str| unguarded(text, &declared_under(parent, name)).len();
    assert_eq!([wrong("io/x/a.rs"), wrong("io/x/b.rs"), wrong("io/x/c.rs"), wrong("io/x/d.rs")], [1, 0, 1, 1]);
    assert_eq!(
        [parent_of("io/x/b.rs"), parent_of("io/x/mod.rs"), parent_of("io/x.rs")],
        ["io/x/mod.rs", "io/mod.rs", "io/mod.rs"]
    );
}

/// Lines of code, tests left out, that name a system.
fn platform_words(text: &str) -> Vec<&str> {
    code(text).filter(|(_, line)| PLATFORM_WORDS.iter().any(|word| line.contains(word))).map(|(_, line)| line).collect()
}

/// Lines that name what only one system has, without a `cfg` above them, or above a block around them, that lets it in.
/// `outer`: the `cfg` that the whole file is under.
fn unguarded(text: &str, outer: &[&str]) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in code(text) {
        for (word, systems) in GUARDED {
            let is_let_in = systems.iter().any(|system| outer.contains(system));
            if line.contains(word) && !is_let_in && !is_guarded(&lines, at, systems) {
                found.push(format!("{}: {}", at + 1, line.trim()));
            }
        }
    }
    found
}

/// The file that has the `mod` line of this one, where folders have a `mod.rs`.
fn parent_of(name: &str) -> String {
    let path = Path::new(name);
    let folder = path.parent().expect("a file is in a folder");
    let is_root = path.file_name().is_some_and(|file| file == "mod.rs");
    let folder = if is_root { folder.parent().unwrap_or(folder) } else { folder };
    folder.join("mod.rs").to_string_lossy().replace('\\', "/")
}

/// The `cfg` lines above the `mod` line of this file, in its parent's text.
fn declared_under<'a>(parent: &'a str, name: &str) -> Vec<&'a str> {
    let stem = Path::new(name).file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let lines: Vec<&str> = parent.lines().collect();
    let is_it = |line: &&str| line.trim_start_matches("pub ").strip_prefix("mod ") == Some(&format!("{stem};"));
    let Some(at) = lines.iter().position(is_it) else { return Vec::new() };
    let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
    attributes.filter_map(|line| line.strip_prefix("#[cfg(")?.strip_suffix(")]")).collect()
}

fn is_guarded(lines: &[&str], mut at: usize, systems: &[&str]) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lets_in = |line: &str| systems.iter().any(|system| line.trim() == format!("#[cfg({system})]"));
    loop {
        // The attributes of what begins in this line.
        let attributes = lines[..at].iter().rev().take_while(|line| line.trim_start().starts_with("#["));
        if attributes.clone().any(|line| lets_in(line)) {
            return true;
        }
        // The line that the block around it begins in.
        let around = |line: &str| !line.trim().is_empty() && indent(line) < indent(lines[at]);
        match lines[..at].iter().rposition(|line| around(line)) {
            Some(outer) => at = outer,
            None => return false,
        }
    }
}

/// The lines that are no comment, with their indices, up to the module of tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The sources that the viewer is made of: their paths below `src`, and what they say.
fn viewer_files() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![src.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("a folder of sources");
        let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        for path in paths {
            let name = path.strip_prefix(&src).expect("it was found there").to_string_lossy().replace('\\', "/");
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !HOST_ONLY.iter().any(|host| name.starts_with(host)) {
                found.push((name, fs::read_to_string(&path).expect("a source is text")));
            }
        }
    }
    assert!(found.len() > 80, "only {} files", found.len());
    found
}
