//! The host's list of devices that may come in, by the hash of their public key.
//!
//! One TOML file, replaced as a whole. Every look-up sees the file as it is at that moment, so that taking a device off
//! the list is enough; an unreadable list lets nobody in. Who checks live connections: `host::front`.

use crate::io::net::files::{read_bounded, write_private};
use crate::io::net::identity::KeyHash;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Longest list that is read: some ten thousand devices.
const LIST_BYTES_MAX: u64 = 8 << 20;
/// Version of the file's form.
const FORMAT: u32 = 1;

/// Why the list cannot be used.
#[derive(Debug, Error)]
pub enum ListError {
    /// The file cannot be read or written.
    #[error("{path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is not a list.
    #[error("{path} is not a device list")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The file is of a version that this program does not know.
    #[error("{path} has format {format}, this program knows 1")]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        format: u32,
    },
}

/// A device that may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Short name for people, the first digits of `key`.
    pub id: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER), in hexadecimal.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// The session it sees.
    pub session: String,
    /// An X display that the session attaches to, instead of one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<String>,
    /// The directory of the trial that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<PathBuf>,
    /// End of its time, in seconds since 1970.
    pub expires: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct ListFile {
    format: u32,
    #[serde(default)]
    device: Vec<Device>,
}

/// The list, as its file says at each look-up.
#[derive(Debug)]
pub struct DeviceList {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<[Device]>)>>,
}

/// Tells one version of a file from another without reading it; a replaced file has another inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    file: u64,
}

impl DeviceList {
    /// Uses the file at `path`; a missing one is an empty list.
    pub fn new(path: PathBuf) -> DeviceList {
        DeviceList { path, read: Mutex::new(None) }
    }

    /// All devices.
    ///
    /// # Errors
    /// [`ListError`] if there is a file and it is not a list.
    pub fn devices(&self) -> Result<Arc<[Device]>, ListError> {
        let stamp = match std::fs::metadata(&self.path) {
            Ok(metadata) => Stamp::from(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::from([])),
            Err(source) => return Err(self.file_error(source)),
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, devices)) = &*read
            && *known == stamp
        {
            return Ok(Arc::clone(devices));
        }
        let devices: Arc<[Device]> = self.load()?.into();
        *read = Some((stamp, Arc::clone(&devices)));
        Ok(devices)
    }

    /// The device with this key, if it may come in now.
    ///
    /// # Errors
    /// [`ListError`] if there is a file and it is not a list.
    pub fn find(&self, key: &KeyHash) -> Result<Option<Device>, ListError> {
        let (key, now) = (key.to_string(), SystemTime::now());
        Ok(self.devices()?.iter().find(|d| d.key == key && d.time_left(now).is_some()).cloned())
    }

    /// Puts a device on the list, in place of one with the same key, and drops those whose time is over.
    ///
    /// # Errors
    /// [`ListError`] if the file cannot be read or written.
    pub fn insert(&self, device: Device) -> Result<(), ListError> {
        self.change(|devices| {
            let now = SystemTime::now();
            devices.retain(|d| d.key != device.key && d.time_left(now).is_some());
            devices.push(device);
        })
    }

    /// Takes the devices with this id off the list and says how many there were.
    ///
    /// # Errors
    /// [`ListError`] if the file cannot be read or written.
    pub fn revoke(&self, id: &str) -> Result<usize, ListError> {
        self.change(|devices| {
            let before = devices.len();
            devices.retain(|d| d.id != id);
            before - devices.len()
        })
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Vec<Device>) -> T) -> Result<T, ListError> {
        // The list itself is replaced, so the lock between processes needs a file of its own.
        let lock = File::options().create(true).append(true).open(self.path.with_extension("lock"));
        let lock = lock.map_err(|e| self.file_error(e))?;
        lock.lock().map_err(|e| self.file_error(e))?;
        let mut devices = self.load()?;
        let result = edit(&mut devices);
        let text = toml::to_string(&ListFile { format: FORMAT, device: devices }).expect("plain texts and numbers");
        write_private(&self.path, text.as_bytes()).map_err(|e| self.file_error(e))?;
        Ok(result)
    }

    fn load(&self) -> Result<Vec<Device>, ListError> {
        let text = match read_bounded(&self.path, LIST_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.file_error(source)),
        };
        let list: ListFile = toml::from_str(&text)
            .map_err(|source| ListError::Form { path: self.path.clone(), source: Box::new(source) })?;
        if list.format != FORMAT {
            return Err(ListError::Version { path: self.path.clone(), format: list.format });
        }
        Ok(list.device)
    }

    fn file_error(&self, source: io::Error) -> ListError {
        ListError::File { path: self.path.clone(), source }
    }

    /// Where the list lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Device {
    /// Describes a device with this key.
    pub fn new(key: &KeyHash, name: &str, session: &str, expires: SystemTime) -> Device {
        let key = key.to_string();
        Device {
            id: key[..12].to_owned(),
            key,
            name: name.to_owned(),
            session: session.to_owned(),
            attach: None,
            trial: None,
            expires: seconds(expires),
        }
    }

    /// How long it may stay; none if its time is over.
    pub fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let left = self.expires.saturating_sub(seconds(now));
        (left > 0).then(|| Duration::from_secs(left))
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Stamp {
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let file = 0;
        Stamp { modified: metadata.modified().ok(), bytes: metadata.len(), file }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
