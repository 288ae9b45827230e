//! Private files: directories that only their owner enters, files that are there whole or not at all.
//!
//! Used for keys, certificates, device lists, trials and what the viewer keeps. Rights are set where the system has them
//! (Unix). On Windows a user's profile is that user's alone by its access list, which what is made in it inherits.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Where this user's programs keep what is to outlive them, in a directory for this one: `$XDG_STATE_HOME` or what stands
/// for it, on Windows `%LOCALAPPDATA%`, on macOS `~/Library/Application Support`. None where the environment names none.
pub fn user_state() -> Option<PathBuf> {
    user_state_of(env::consts::OS, |name| env::var_os(name))
}

fn user_state_of(system: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = match system {
        // Shells on Windows may set HOME, and mean something else.
        "windows" => absolute("LOCALAPPDATA"),
        "macos" => absolute("HOME").map(|home| home.join("Library/Application Support")),
        _ => absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state"))),
    };
    base.map(|base| base.join("kachel"))
}

/// Makes a directory, and those above it, that only its owner can enter (0700).
///
/// # Errors
/// What the system says.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Replaces a file in one step with one that only its owner can read (0600).
///
/// A reader sees the old or the new content, also after a power cut.
///
/// # Errors
/// What the system says; the old file is then untouched.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new: PathBuf = parent.join(format!(".{name}.{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let written = options.open(&new).and_then(|mut file| {
        // A left-over of a crashed process may have other rights than those asked for at creation.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&new, path)) {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    #[cfg(unix)]
    fs::File::open(parent)?.sync_all()?;
    Ok(())
}

/// Reads a text file of at most `bytes_max` bytes.
///
/// # Errors
/// What the system says; [`io::ErrorKind::FileTooLarge`] above the limit, [`io::ErrorKind::InvalidData`] if it is no
/// UTF-8.
pub fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// Whether others than the owner have any right to the file. Never where the system has no such rights.
///
/// # Errors
/// What the system says.
pub fn open_to_others(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        fs::metadata(path)?;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_has_its_own_place_for_what_outlives_a_program() {
        // Absolute on whatever runs this.
        let root = env::temp_dir();
        let variables = |names: &'static [&str]| {
            let root = root.clone();
            move |name: &str| names.contains(&name).then(|| root.join(name).into_os_string())
        };
        let all = variables(&["HOME", "LOCALAPPDATA", "XDG_STATE_HOME"]);
        let of = |system| user_state_of(system, &all);
        assert_eq!(of("linux"), Some(root.join("XDG_STATE_HOME/kachel")));
        assert_eq!(of("windows"), Some(root.join("LOCALAPPDATA/kachel")));
        assert_eq!(of("macos"), Some(root.join("HOME/Library/Application Support/kachel")));
        assert_eq!(user_state_of("linux", variables(&["HOME"])), Some(root.join("HOME/.local/state/kachel")));
        assert_eq!(user_state_of("windows", variables(&["HOME"])), None);
        assert_eq!(user_state_of("linux", |_| Some("relative".into())), None);
    }
}
