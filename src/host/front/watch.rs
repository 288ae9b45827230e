//! Hears when a file in the state directory is replaced, by inotify, so that nothing has to look again and again.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
use std::path::Path;
use tokio::net::unix::pipe::Receiver;

/// Room for some dozens of events; what they say does not matter, only that they came.
const EVENT_BYTES: usize = 4 << 10;

/// Watches one directory.
pub(super) struct Watch {
    /// Not a pipe, but read like one.
    inotify: Receiver,
}

impl Watch {
    /// Starts watching.
    pub(super) fn new(dir: &Path) -> io::Result<Watch> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&inotify, dir, WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::CLOSE_WRITE)?;
        Ok(Watch { inotify: Receiver::from_owned_fd_unchecked(inotify)? })
    }

    /// Waits for the next changes.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        let mut events = [0; EVENT_BYTES];
        loop {
            self.inotify.readable().await?;
            match self.inotify.try_read(&mut events) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
