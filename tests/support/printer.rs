//! A real printer that speaks IPP, on the viewer's side: `ippeveprinter`, with the message bus and the announcer that it
//! insists on, all private. What it prints lies in a folder with the options it was printed with.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::Processes;
use super::wait::wait_until;

/// Bus, announcer and printer are there within this.
const READY: Duration = Duration::from_secs(20);

/// A running printer.
pub struct IppPrinter {
    processes: Processes,
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
        let mut processes = Processes::new("ipp");
        let folder = processes.folder().to_owned();
        let (out, bus) = (folder.join("out"), folder.join("bus"));
        for dir in [&out, &folder.join("spool")] {
            fs::create_dir_all(dir).expect("the group's folder is ours");
        }
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>system</type>\
             <listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>\n",
            bus.display()
        );
        fs::write(folder.join("bus.conf"), text).expect("the group's folder is ours");
        // A sheet comes out when `empty` is not there: until then it says that the paper is out.
        let script = format!(
            "#!/bin/sh\nwhile [ -e '{0}/empty' ]; do echo 'STATE: +media-empty-error' >&2; sleep 0.1; done\n\
             echo 'STATE: -media-empty-error' >&2\nn=$(mktemp -u XXXXXXXX)\nenv | grep ^IPP_ > '{0}'/$n.options\n\
             cp \"$1\" '{0}'/$n.part && mv '{0}'/$n.part '{0}'/$n.pdf\n",
            out.display()
        );
        let print = folder.join("print.sh");
        fs::write(&print, script).expect("the group's folder is ours");
        fs::set_permissions(&print, fs::Permissions::from_mode(0o755)).expect("it is ours");

        processes.spawn("dbus", Command::new("dbus-daemon").arg("--nofork").arg(config_argument(&folder)));
        wait_until(READY, "the message bus", || bus.exists().then_some(()));
        let address = format!("unix:path={}", bus.display());
        // It keeps its number in a file that all of a machine share; a mount of its own lets several run.
        let avahi = "mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && \
             exec avahi-daemon --no-drop-root --no-rlimits --no-chroot -f /dev/null";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", avahi]).env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        processes.spawn("avahi", &mut command);
        // The printer ends with a failed assertion where the announcer is not there yet.
        wait_until(READY, "the announcer", || {
            processes.log_tail("avahi").contains("Server startup complete").then_some(())
        });
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let mut printer = IppPrinter { processes, port, out };
        let mut started = false;
        wait_until(READY, "the printer", || {
            if !started
                || printer
                    .processes
                    .pid("ippeveprinter")
                    .is_none_or(|pid| !Path::new(&format!("/proc/{pid}/exe")).exists())
            {
                printer.launch(name, &address, &print);
                started = true;
            }
            answers(port).then_some(())
        });
        printer
    }

    fn launch(&mut self, name: &str, bus: &str, print: &Path) {
        let mut command = Command::new("ippeveprinter");
        command.args(["-p", &self.port.to_string(), "-f", "application/pdf", "-2", "-c"]).arg(print);
        command.arg("-d").arg(self.processes.folder().join("spool")).args(["-n", "localhost", name]);
        self.processes.spawn("ippeveprinter", command.env("DBUS_SYSTEM_BUS_ADDRESS", bus));
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

    /// Switches it off.
    pub fn stop(&mut self) {
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

fn config_argument(folder: &Path) -> String {
    format!("--config-file={}", folder.join("bus.conf").display())
}

/// Whether something answers HTTP there.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(READY))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        Ok(stream.read(&mut [0; 16])? > 0)
    };
    ask().unwrap_or(false)
}
