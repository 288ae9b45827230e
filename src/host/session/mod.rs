//! The session process: one desktop, as its user.

use std::path::PathBuf;
use thiserror::Error;

/// What a session process is started with.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The session's directory, see `host::place::SessionPlace`.
    pub place: PathBuf,
    /// Its name.
    pub name: String,
    /// An X display to attach to instead of starting one.
    pub attach: Option<String>,
}

/// Why a session process ended.
#[derive(Debug, Error)]
pub enum SessionError {
    /// There is no desktop to serve.
    #[error("session {name} has no desktop")]
    NoDesktop {
        /// Its name.
        name: String,
    },
}

/// Runs the session process.
///
/// # Errors
/// [`SessionError`].
pub fn run(options: SessionOptions) -> Result<(), SessionError> {
    // lead
    Err(SessionError::NoDesktop { name: options.name })
}
