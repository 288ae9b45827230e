//! Who is who: identities, trial files and the device list, on disk but without a network.

use kachel::io::net::devices::{Device, DeviceList};
use kachel::io::net::identity::{DeviceKey, HostIdentity, IdentityError, KeyHash, host_id};
use kachel::io::net::tls::{check_host, device_verifier};
use kachel::io::net::trial::{TRIAL_LIFE, Trial, TrialError};
use rustls::pki_types::UnixTime;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn identity(dir: &Path) -> HostIdentity {
    HostIdentity::load_or_create(&dir.join("identity"), SystemTime::now()).expect("identity")
}

fn trial(identity: &HostIdentity, begin: SystemTime) -> Trial {
    let key = DeviceKey::generate().expect("key");
    let certificate = identity.certify_device(&key, "trial", begin, TRIAL_LIFE).expect("certificate");
    let addresses = vec!["127.0.0.1:7474".to_owned(), "[::1]:7474".to_owned(), "host.example:1".to_owned()];
    Trial::new(addresses, identity.host_id(), "demo", identity.ca_pem(), certificate, &key)
}

fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
}

#[test]
fn identity_stays_the_same_and_private() {
    let dir = TempDir::new().expect("dir");
    let (first, second) = (identity(dir.path()), identity(dir.path()));
    assert_eq!(first.host_id(), second.host_id());
    assert_eq!(first.ca(), second.ca());
    assert_eq!(first.leaf(), second.leaf());
    assert_eq!(first.reset_key(), second.reset_key());
    assert_eq!(host_id(first.ca()).as_deref(), Some(first.host_id()));
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("identity")), 0o700);
    for file in ["ca.key", "ca.pem", "host.key", "host.pem", "reset.key"] {
        assert_eq!(mode(&dir.path().join("identity").join(file)), 0o600, "{file}");
    }
}

#[test]
fn host_certificate_is_renewed_within_thirty_days_of_its_end() {
    let dir = TempDir::new().expect("dir");
    let first = identity(dir.path());
    let now = SystemTime::now();
    assert!(check_host(first.ca(), first.leaf(), first.host_id(), unix(now + 364 * DAY)).is_ok());
    assert!(check_host(first.ca(), first.leaf(), first.host_id(), unix(now + 366 * DAY)).is_err());
    assert!(check_host(first.ca(), first.leaf(), &"0".repeat(32), unix(now)).is_err(), "another host's name");
    for (later, renewed) in [(300 * DAY, false), (340 * DAY, true)] {
        let again = HostIdentity::load_or_create(&dir.path().join("identity"), now + later).expect("identity");
        assert_eq!(again.leaf() != first.leaf(), renewed, "{later:?}");
        assert_eq!(again.ca(), first.ca());
    }
}

#[test]
fn damaged_identity_is_never_replaced() {
    let cases: [(&str, Option<&str>); 5] = [
        ("ca.key", None),
        ("ca.pem", None),
        ("ca.pem", Some("x")),
        ("ca.key", Some("x")),
        ("reset.key", Some("short")),
    ];
    for (file, content) in cases {
        let dir = TempDir::new().expect("dir");
        identity(dir.path());
        let path = dir.path().join("identity").join(file);
        match content {
            Some(content) => fs::write(&path, content).expect("write"),
            None => fs::remove_file(&path).expect("remove"),
        }
        let result = HostIdentity::load_or_create(&dir.path().join("identity"), SystemTime::now());
        assert!(result.is_err(), "{file} {content:?}");
    }
    let (one, two) = (TempDir::new().expect("dir"), TempDir::new().expect("dir"));
    for dir in [&one, &two] {
        identity(dir.path());
    }
    fs::copy(one.path().join("identity/ca.key"), two.path().join("identity/ca.key")).expect("copy");
    let result = HostIdentity::load_or_create(&two.path().join("identity"), SystemTime::now());
    assert!(matches!(result, Err(IdentityError::Mismatch(_))), "{result:?}");
}

#[test]
fn trial_round_trips_and_hides_its_key() {
    let dir = TempDir::new().expect("dir");
    let identity = identity(dir.path());
    let trial = trial(&identity, SystemTime::now());
    let path = dir.path().join("trial.kachel");
    trial.write(&path).expect("write");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(Trial::load(&path).expect("good"), trial);
    assert!(!format!("{trial:?}").contains("KEY"));
}

#[test]
fn trial_that_is_not_good_says_why() {
    let dir = TempDir::new().expect("dir");
    let (identity, now) = (identity(dir.path()), SystemTime::now());
    let path = dir.path().join("trial.kachel");
    let good = toml::to_string(&trial(&identity, now)).expect("text");
    let other = TempDir::new().expect("dir");
    let stranger = self::identity(other.path());
    let mut strange_device = trial(&identity, now);
    strange_device.device_certificate = trial(&stranger, now).device_certificate;
    let with = |change: &dyn Fn(&mut Trial)| {
        let mut trial = trial(&identity, now);
        change(&mut trial);
        toml::to_string(&trial).expect("text")
    };
    type Expected = fn(&TrialError) -> bool;
    let cases: Vec<(&str, String, Expected)> = vec![
        ("empty", String::new(), |e| matches!(e, TrialError::Form { .. })),
        ("binary", "\u{0}\u{1}".repeat(50), |e| matches!(e, TrialError::Form { .. })),
        ("long", "#".repeat(70_000), |e| matches!(e, TrialError::TooLong(_))),
        ("cut", good[..good.len() / 2].to_owned(), |e| matches!(e, TrialError::Form { .. })),
        ("next format", good.replace("format = 1", "format = 2"), |e| {
            matches!(e, TrialError::Version { format: 2, .. })
        }),
        ("more fields", format!("surprise = 1\n{good}"), |e| matches!(e, TrialError::Form { .. })),
        ("no address", with(&|t| t.addresses.clear()), |e| matches!(e, TrialError::Field { field: "addresses", .. })),
        ("many addresses", with(&|t| t.addresses = vec!["a:1".to_owned(); 17]), |e| {
            matches!(e, TrialError::Field { field: "addresses", .. })
        }),
        ("no port", with(&|t| t.addresses = vec!["localhost".to_owned()]), |e| {
            matches!(e, TrialError::Field { field: "addresses", .. })
        }),
        ("odd host", with(&|t| t.addresses = vec!["a/b c:1".to_owned()]), |e| {
            matches!(e, TrialError::Field { field: "addresses", .. })
        }),
        ("control characters", with(&|t| t.session = "a\u{1b}[2J".to_owned()), |e| {
            matches!(e, TrialError::Field { field: "session", .. })
        }),
        ("other host id", with(&|t| t.host_id = "0".repeat(32)), |e| {
            matches!(e, TrialError::Field { field: "host_id", .. })
        }),
        ("no CA", with(&|t| t.ca_certificate = "none".to_owned()), |e| {
            matches!(e, TrialError::Field { field: "ca_certificate", .. })
        }),
        ("no key", with(&|t| t.device_key = t.ca_certificate.clone()), |e| {
            matches!(e, TrialError::Field { field: "device_key", .. })
        }),
        ("expired", toml::to_string(&trial(&identity, now - 2 * DAY)).expect("text"), |e| {
            matches!(e, TrialError::Expired(_))
        }),
        ("future", toml::to_string(&trial(&identity, now + DAY)).expect("text"), |e| {
            matches!(e, TrialError::NotYetValid(_))
        }),
        ("stranger's device", toml::to_string(&strange_device).expect("text"), |e| {
            matches!(e, TrialError::Certificate { .. })
        }),
    ];
    for (name, text, expected) in cases {
        fs::write(&path, text).expect("write");
        let error = Trial::load(&path).expect_err(name);
        assert!(expected(&error), "{name}: {error:?}");
    }
    fs::remove_file(&path).expect("remove");
    assert!(matches!(Trial::load(&path), Err(TrialError::Missing(_))));
    fs::write(&path, [0xff; 100]).expect("write");
    assert!(matches!(Trial::load(&path), Err(TrialError::File { .. })), "no UTF-8");
}

#[test]
fn device_list_lets_in_exactly_what_it_holds() {
    let dir = TempDir::new().expect("dir");
    let list = DeviceList::new(dir.path().join("devices.toml"));
    let now = SystemTime::now();
    let keys: Vec<KeyHash> = (0..3).map(|_| DeviceKey::generate().expect("key").hash()).collect();
    assert_eq!(list.find(&keys[0]).expect("no file is an empty list"), None);
    let device = Device::new(&keys[0], "one", "demo", now + DAY);
    list.insert(device.clone()).expect("insert");
    list.insert(Device::new(&keys[1], "two", "demo", now + Duration::from_secs(1))).expect("insert");
    assert_eq!(list.find(&keys[0]).expect("list"), Some(device.clone()));
    assert_eq!(list.find(&keys[2]).expect("list"), None);
    // Another process changes the file: the next look-up sees it.
    let other = DeviceList::new(dir.path().join("devices.toml"));
    assert_eq!(other.revoke(&device.id).expect("revoke"), 1);
    assert_eq!(list.find(&keys[0]).expect("list"), None);
    assert_eq!(other.revoke(&device.id).expect("revoke"), 0);
    // A device's time can be over before its certificate's.
    list.insert(Device::new(&keys[2], "three", "demo", now - DAY)).expect("insert");
    assert_eq!(list.find(&keys[2]).expect("list"), None);
    for damaged in ["format = 2\n", "format = 1\ndevice = 3\n", "\u{0}"] {
        fs::write(list.path(), damaged).expect("write");
        assert!(list.find(&keys[1]).is_err(), "{damaged:?} lets nobody in");
        assert!(list.insert(device.clone()).is_err(), "{damaged:?} is not overwritten");
    }
}

#[test]
fn device_certificates_are_for_clients_of_one_host_and_one_day() {
    let (one, two) = (TempDir::new().expect("dir"), TempDir::new().expect("dir"));
    let (host, stranger) = (identity(one.path()), identity(two.path()));
    let now = SystemTime::now();
    let trial = trial(&host, now);
    let certificate = trial.credentials().expect("good").certificate;
    let check = |ca, time| device_verifier(ca).expect("CA").verify_client_cert(&certificate, &[], unix(time)).is_ok();
    assert!(check(host.ca(), now));
    assert!(check(host.ca(), now + DAY - Duration::from_secs(60)));
    assert!(!check(host.ca(), now + DAY + Duration::from_secs(60)));
    assert!(!check(host.ca(), now - DAY));
    assert!(!check(stranger.ca(), now));
    let leaf = device_verifier(host.ca()).expect("CA").verify_client_cert(host.leaf(), &[], unix(now));
    assert!(leaf.is_err(), "the host's certificate is not a device's");
    assert!(check_host(host.ca(), &certificate, host.host_id(), unix(now)).is_err(), "nor the other way round");
}
