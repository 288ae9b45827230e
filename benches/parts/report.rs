//! Tables to read and JSON to keep: `target/bench/NAME.json` holds every value that a table shows.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

/// The folder for results and for the documents of the scenarios.
pub fn folder() -> PathBuf {
    // The bench runs with the package as its working directory.
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let folder = std::path::absolute(target.join("bench")).expect("the working directory exists");
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder
}

/// Writes the results and says where.
///
/// # Panics
/// When the file cannot be written.
pub fn save(name: &str, results: &Value) {
    let path = folder().join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(results).expect("a value is always JSON");
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    println!("\nAll values: {}", path.display());
}

/// A Markdown table with columns as wide as their widest cell, the first to the left, the others to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| -> String {
        let padded = cells.iter().zip(&widths).enumerate().map(|(index, (cell, width))| {
            if index == 0 { format!(" {cell:<width$} |") } else { format!(" {cell:>width$} |") }
        });
        format!("|{}\n", padded.collect::<String>())
    };
    let rule = widths.iter().enumerate().map(|(index, width)| {
        if index == 0 { format!("{}|", "-".repeat(width + 2)) } else { format!("{}:|", "-".repeat(width + 1)) }
    });
    let mut out = line(head.to_vec());
    out += &format!("|{}\n", rule.collect::<String>());
    for row in rows {
        out += &line(row.iter().map(String::as_str).collect());
    }
    out
}

/// The value at a share (0 to 1) of sorted ones; `None` when there are none.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1))).copied()
}

/// A time in a table.
pub fn ms(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.1} ms"))
}

/// Says of each claim of the project whether it holds in this run, and returns the same to be kept. A machine that does
/// something else meanwhile proves nothing, so nothing fails.
pub fn verdicts(claims: &[(String, bool)]) -> Value {
    if !claims.is_empty() {
        println!("\nIn this run:");
    }
    for (claim, holds) in claims {
        println!("- {} {claim}", if *holds { "holds:" } else { "DOES NOT HOLD:" });
    }
    claims.iter().map(|(claim, holds)| serde_json::json!({ "claim": claim, "holds": holds })).collect()
}

/// Load of the machine over the last minute; figures taken beside other work are worth less.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Names what could not be measured and makes the run a failure then. The caller returns it from `main`, so that
/// everything it holds is dropped first.
pub fn exit_code(failures: &[String]) -> ExitCode {
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nNot measured:");
    for failure in failures {
        println!("- {failure}");
    }
    ExitCode::FAILURE
}

/// Measures one thing; where that panics, says so, and keeps under `label` the first line of why.
pub fn attempt<T>(label: &str, failures: &mut Vec<String>, measure: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(measure)) {
        Ok(measured) => Some(measured),
        Err(panic) => {
            println!(" failed");
            let text = panic_text(panic.as_ref());
            failures.push(format!("{label}: {}", text.lines().next().unwrap_or_default()));
            None
        }
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}
