//! A real printer that speaks IPP, on the viewer's side: `ippeveprinter`, with the message bus and the announcer that it
//! insists on, all private. What it prints lies in a folder with the options it was printed with.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::process::Processes;
use super::wait::wait_until;

/// Bus, announcer and printer are there within this.
const READY: Duration = Duration::from_secs(20);

/// A running printer.
pub struct IppPrinter {
    processes: Processes,
    prefix: Vec<String>,
    name: String,
    port: u16,
    out: PathBuf,
}

/// One job that came out.
#[derive(Debug)]
pub struct Sheet {
    /// The document's bytes.
    pub document: Vec<u8>,
    /// The job's options: `IPP_COPIES` and the like.
    pub options: Vec<(String, String)>,
}

impl Sheet {
    /// An option by its IPP name.
    pub fn option(&self, name: &str) -> Option<&str> {
        let wanted = format!("IPP_{}", name.to_uppercase().replace('-', "_"));
        self.options.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str())
    }
}

impl IppPrinter {
    /// Starts a printer of this name.
    ///
    /// # Panics
    /// When it is not there after 20 seconds.
    pub fn start(name: &str) -> IppPrinter {
        IppPrinter::start_at(name, &[])
    }

    /// The same, where these words before a command lead, like `ip netns exec NAME`.
    ///
    /// # Panics
    /// As `start`.
    pub fn start_at(name: &str, prefix: &[String]) -> IppPrinter {
        let mut processes = Processes::new("ipp");
        let folder = processes.folder().to_owned();
        let (out, bus) = (folder.join("out"), folder.join("bus"));
        for dir in [&out, &folder.join("spool")] {
            fs::create_dir_all(dir).expect("the group's folder is ours");
        }
        // Whom the announcer takes itself for in its namespace is not whom the bus sees: it says nothing of who it is.
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>system</type>\
             <listen>unix:path={}</listen><auth>EXTERNAL</auth><auth>ANONYMOUS</auth>\
             <allow_anonymous/><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>\n",
            bus.display()
        );
        fs::write(folder.join("bus.conf"), text).expect("the group's folder is ours");
        // A sheet comes out when `empty` is not there: until then it says that the paper is out. None does after it was
        // switched off.
        let script = format!(
            "#!/bin/sh\nwhile [ -e '{0}/empty' ]; do echo 'STATE: +media-empty-error' >&2; sleep 0.1; done\n\
             kill -0 $PPID || exit 1\n\
             echo 'STATE: -media-empty-error' >&2\nn=$(mktemp -u XXXXXXXX)\nenv | grep ^IPP_ > '{0}'/$n.options\n\
             cp \"$1\" '{0}'/$n.part && mv '{0}'/$n.part '{0}'/$n.pdf\n",
            out.display()
        );
        let print = folder.join("print.sh");
        fs::write(&print, script).expect("the group's folder is ours");
        fs::set_permissions(&print, fs::Permissions::from_mode(0o755)).expect("it is ours");

        processes.spawn("dbus", Command::new("dbus-daemon").arg("--nofork").arg(config_argument(&folder)));
        wait_until(READY, "the message bus", || bus.exists().then_some(()));
        // It keeps its number in a file that all of a machine share; mounts of its own let several run. That needs to be root,
        // at least within, and as nobody else is known there, its own user is root too.
        let (users, groups) = (folder.join("passwd"), folder.join("group"));
        fs::write(&users, "root:x:0:0::/:/bin/sh\navahi:x:0:0::/:/bin/sh\n").expect("the group's folder is ours");
        fs::write(&groups, "root:x:0:\navahi:x:0:\n").expect("the group's folder is ours");
        let avahi = format!(
            "mount -t tmpfs none /run && mkdir /run/avahi-daemon && mount --bind '{}' /etc/passwd && \
             mount --bind '{}' /etc/group && exec avahi-daemon --no-drop-root --no-rlimits --no-chroot -f /dev/null",
            users.display(),
            groups.display()
        );
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c", &avahi])
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus_address(&folder));
        processes.spawn("avahi", &mut command);
        // The printer ends with a failed assertion where the announcer is not there yet.
        wait_until(READY, "the announcer", || {
            processes.log_tail("avahi").contains("Server startup complete").then_some(())
        });
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let mut printer = IppPrinter { processes, prefix: prefix.to_vec(), name: name.to_owned(), port, out };
        printer.switch_on();
        printer
    }

    /// Switches it on (again), and waits until it answers.
    ///
    /// # Panics
    /// When it does not within 20 seconds.
    pub fn switch_on(&mut self) {
        self.launch();
        wait_until(READY, "the printer", || {
            let pid = self.processes.pid("ippeveprinter").expect("it was started");
            // Now and then it ends at once, of a failed assertion.
            if !Path::new(&format!("/proc/{pid}/exe")).exists() {
                self.launch();
            }
            self.answers().then_some(())
        });
    }

    fn launch(&mut self) {
        let mut command = self.command("ippeveprinter");
        let folder = self.processes.folder();
        command.args(["-p", &self.port.to_string(), "-f", "application/pdf", "-2", "-c"]).arg(folder.join("print.sh"));
        command.arg("-d").arg(folder.join("spool")).args(["-n", "localhost", &self.name]);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", bus_address(folder));
        self.processes.spawn("ippeveprinter", &mut command);
    }

    /// Whether it answers a question.
    fn answers(&self) -> bool {
        let mut command = self.command("ipptool");
        command.args(["-q", "-T", "5", &self.uri(), "get-printer-attributes.test"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn command(&self, program: &str) -> Command {
        let Some((first, rest)) = self.prefix.split_first() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(rest).arg(program);
        command
    }

    /// Where it is reached.
    pub fn uri(&self) -> String {
        format!("ipp://localhost:{}/ipp/print", self.port)
    }

    /// Takes the paper out, or puts it in.
    pub fn set_paper(&self, there: bool) {
        let file = self.out.join("empty");
        if there { fs::remove_file(file).expect("the paper was out") } else { fs::write(file, b"").expect("ours") }
    }

    /// Prints a document of somebody else's, who uses the printer directly.
    ///
    /// # Panics
    /// When it is not taken.
    pub fn take(&self, document: &[u8]) {
        let file = self.out.join("theirs");
        fs::write(&file, document).expect("ours");
        let mut command = self.command("ipptool");
        command.arg("-f").arg(&file).args(["-d", "filetype=application/pdf", &self.uri(), "print-job.test"]);
        let output = command.stdin(Stdio::null()).output().expect("ipptool runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Switches it off.
    pub fn switch_off(&mut self) {
        self.processes.end("ippeveprinter", rustix::process::Signal::KILL);
    }

    /// What came out so far.
    pub fn sheets(&self) -> Vec<Sheet> {
        let files = fs::read_dir(&self.out).into_iter().flatten().flatten().map(|entry| entry.path());
        files
            .filter(|path| path.extension().is_some_and(|e| e == "pdf"))
            .map(|path| Sheet {
                document: fs::read(&path).expect("it is whole when it has this name"),
                options: fs::read_to_string(path.with_extension("options"))
                    .expect("it was written before")
                    .lines()
                    .filter_map(|line| line.split_once('='))
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
            })
            .collect()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.processes.log_tail("ippeveprinter")
    }
}

/// A PDF of about this many bytes with a marker in it.
pub fn pdf(bytes: usize, marker: &str) -> Vec<u8> {
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    let mut object = |out: &mut Vec<u8>, body: &[u8]| {
        places.push(out.len());
        out.extend_from_slice(format!("{} 0 obj\n", places.len()).as_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(b"\nendobj\n");
    };
    object(&mut out, b"<</Type/Catalog/Pages 2 0 R>>");
    object(&mut out, b"<</Type/Pages/Kids[3 0 R]/Count 1>>");
    object(
        &mut out,
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R\
          /Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
    );
    let text = format!("BT /F 40 Tf 72 700 Td ({marker}) Tj ET");
    object(&mut out, format!("<</Length {}>>stream\n{text}\nendstream", text.len()).as_bytes());
    let mut seed = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    })
    .take(bytes)
    .collect();
    object(&mut out, &[format!("<</Length {bytes}>>stream\n").as_bytes(), &noise, b"\nendstream"].concat());
    let start = out.len();
    out.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1).as_bytes());
    for place in &places {
        out.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
    }
    out.extend_from_slice(
        format!("trailer<</Size {}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n", places.len() + 1).as_bytes(),
    );
    out
}

fn config_argument(folder: &Path) -> String {
    format!("--config-file={}", folder.join("bus.conf").display())
}

fn bus_address(folder: &Path) -> String {
    format!("unix:path={}", folder.join("bus").display())
}
