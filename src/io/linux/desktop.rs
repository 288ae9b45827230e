//! The desktop of a session: message bus, window manager, panel and programs, which outlive whoever started them.
//!
//! XFCE where it is installed, else openbox. Settings that suit a remote screen are *defaults* below the user's own;
//! only [`ConfigHome::Private`] (trial, demo) keeps the user's files out. The X server comes from `xserver`.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    ewmh::Hints,
    process::{ProcessId, find_program, spawn_detached},
    x11::{self, X11Error},
};

/// Which desktop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DesktopKind {
    /// XFCE 4.
    Xfce,
    /// openbox with a menu and no panel.
    Openbox,
}

/// Whose settings programs read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigHome {
    /// The user's own.
    OfUser,
    /// Fresh ones inside the session's directory, so that a trial leaves nothing behind and looks the same everywhere.
    Private,
}

/// A running desktop, enough to find it again after our own death.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desktop {
    /// Which one it is.
    pub kind: DesktopKind,
    session: ProcessId,
    bus: Option<ProcessId>,
    dir: PathBuf,
    environment: BTreeMap<String, String>,
}

/// A desktop or a program in it could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DesktopError {
    /// The program is not there.
    #[error("{program} is not installed (Debian package {package})")]
    Missing {
        /// The program.
        program: String,
        /// What to install.
        package: &'static str,
    },
    /// A socket's name cannot be that long.
    #[error("the directory {0} has too long a name for the sockets in it")]
    DirectoryName(PathBuf),
    /// A file could not be written.
    #[error("the desktop could not be set up in {dir}")]
    Setup {
        /// Where its files are.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("{program} could not be started")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended, or no window manager took the screen in time; its log says why.
    #[error("{program} did not get ready, see {log}")]
    NotReady {
        /// The program.
        program: String,
        /// Its log.
        log: PathBuf,
    },
    /// The X server failed.
    #[error(transparent)]
    X11(#[from] X11Error),
}

impl Desktop {
    /// Starts a desktop on a display with its files (defaults, sockets, logs) in `dir`, which must exist and be private.
    ///
    /// Without a `choice` XFCE is taken where it is installed. Returns when the window manager has the screen, after
    /// some seconds, at most a minute.
    ///
    /// # Errors
    /// See [`DesktopError`].
    pub fn start(
        display: &str,
        xauthority: Option<&Path>,
        dir: &Path,
        config: ConfigHome,
        choice: Option<DesktopKind>,
    ) -> Result<Self, DesktopError> {
        let kind = choice.unwrap_or(if find_program("xfce4-session").is_some() && find_program("xfwm4").is_some() {
            DesktopKind::Xfce
        } else {
            DesktopKind::Openbox
        });
        let (name, package) = kind.program();
        let missing = || DesktopError::Missing { program: name.into(), package };
        let program = find_program(name).ok_or_else(missing)?;
        if dir.as_os_str().len() > DIRECTORY_BYTES_MAX {
            return Err(DesktopError::DirectoryName(dir.into()));
        }
        write_defaults(dir, config).map_err(|source| DesktopError::Setup { dir: dir.into(), source })?;
        let environment = environment(display, xauthority, dir, config, kind);
        let bus = start_bus(&environment, dir)?;
        let log = dir.join("desktop.log");
        let session = spawn(&mut Command::new(program), &environment, &log)?;
        let desktop = Self { kind, session, bus, dir: dir.into(), environment };
        let ready = wait_for_window_manager(display, xauthority, kind, session);
        if !matches!(ready, Ok(true)) {
            desktop.stop();
            ready?;
            return Err(DesktopError::NotReady { program: name.into(), log });
        }
        tracing::info!(?kind, pid = session.pid, "Desktop started");
        Ok(desktop)
    }

    /// Whether the session's main program still runs; when it ends the user has logged out.
    pub fn running(&self) -> bool {
        self.session.alive()
    }

    /// The session's main process and its message bus.
    pub fn processes(&self) -> Vec<ProcessId> {
        std::iter::once(self.session).chain(self.bus).collect()
    }

    /// What programs inside the session have in their environment beyond ours.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Gives a command the session's environment, for `kachel-host exec` and the like.
    pub fn enter(&self, command: &mut Command) {
        enter(command, &self.environment);
    }

    /// Starts a program inside the session that outlives us; its output goes to a log in the session's directory.
    ///
    /// # Errors
    /// [`DesktopError::Start`].
    pub fn spawn(&self, program: &Path, arguments: &[String]) -> Result<ProcessId, DesktopError> {
        spawn(Command::new(program).args(arguments), &self.environment, &self.dir.join("programs.log"))
    }

    /// Opens one of each kind of everyday program that is installed, side by side; tells what it opened.
    ///
    /// The editor gets the keyboard. Returns when all have their windows, after some seconds.
    ///
    /// # Errors
    /// [`DesktopError::Start`] if one that is installed does not start, [`DesktopError::X11`] if the display is gone.
    pub fn open_default_programs(&self) -> Result<Vec<String>, DesktopError> {
        let mut opened = Vec::new();
        for choices in DEFAULT_PROGRAMS {
            let Some((name, program)) = choices.iter().find_map(|name| Some((*name, find_program(name)?))) else {
                continue;
            };
            let arguments =
                self.default_arguments(name).map_err(|source| DesktopError::Setup { dir: self.dir.clone(), source })?;
            self.spawn(&program, &arguments)?;
            opened.push(name.to_owned());
        }
        let display = self.environment.get("DISPLAY").map_or("", String::as_str);
        let (conn, screen) = x11::connect(display, self.environment.get("XAUTHORITY").map(Path::new))?;
        let editor = opened.iter().position(|name| DEFAULT_PROGRAMS[EDITOR].contains(&name.as_str())).unwrap_or(0);
        Hints::new(conn, screen)?.tile(&opened, editor, Instant::now() + WINDOWS_LIMIT)?;
        Ok(opened)
    }

    /// Ends the desktop and its message bus. Programs end with the X server.
    pub fn stop(&self) {
        self.session.stop(STOP_GRACE);
        if let Some(bus) = self.bus {
            bus.stop(STOP_GRACE);
        }
    }

    /// Keeps browsers away from the user's own profile and from their first-start pages.
    fn default_arguments(&self, program: &str) -> io::Result<Vec<String>> {
        let profile = self.dir.join("browser");
        let path = profile.to_string_lossy().into_owned();
        Ok(match program {
            "firefox" | "firefox-esr" => {
                fs::create_dir_all(&profile)?;
                fs::write(profile.join("user.js"), FIREFOX_PREFERENCES)?;
                vec!["--profile".into(), path, "--new-instance".into(), "about:blank".into()]
            }
            "chromium" => {
                let mut arguments = vec![format!("--user-data-dir={path}"), "--no-first-run".into()];
                if rustix::process::geteuid().is_root() {
                    arguments.push("--no-sandbox".into());
                }
                arguments.push("about:blank".into());
                arguments
            }
            _ => Vec::new(),
        })
    }
}

impl DesktopKind {
    /// Its main program and the Debian package that has it.
    fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Xfce => ("xfce4-session", "xfce4-session"),
            Self::Openbox => ("openbox", "openbox"),
        }
    }
}

/// Starts a message bus at a known place, so that programs started later find it too; `None` where there is none.
fn start_bus(environment: &BTreeMap<String, String>, dir: &Path) -> Result<Option<ProcessId>, DesktopError> {
    let Some(program) = find_program("dbus-daemon") else {
        tracing::warn!("dbus-daemon is not installed (Debian package dbus-daemon)");
        return Ok(None);
    };
    let socket = dir.join("run/bus");
    // Left behind by a bus that was killed.
    let _ = fs::remove_file(&socket);
    let mut command = Command::new(program);
    command.args(["--session", "--nofork", "--nopidfile"]).arg(format!("--address=unix:path={}", socket.display()));
    Ok(Some(spawn(&mut command, environment, &dir.join("bus.log"))?))
}

fn spawn(command: &mut Command, environment: &BTreeMap<String, String>, log: &Path) -> Result<ProcessId, DesktopError> {
    enter(command, environment);
    if let Some(home) = env::var_os("HOME").filter(|home| Path::new(home).is_dir()) {
        command.current_dir(home);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    spawn_detached(command, log).map_err(|source| DesktopError::Start { program, source })
}

fn enter(command: &mut Command, environment: &BTreeMap<String, String>) {
    for name in FOREIGN_VARIABLES {
        command.env_remove(name);
    }
    command.envs(environment);
}

fn environment(
    display: &str,
    xauthority: Option<&Path>,
    dir: &Path,
    config: ConfigHome,
    kind: DesktopKind,
) -> BTreeMap<String, String> {
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let inherited = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let desktop = match kind {
        DesktopKind::Xfce => "XFCE",
        DesktopKind::Openbox => "openbox",
    };
    let config_dirs = inherited("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".into());
    let mut variables = BTreeMap::from([
        ("DISPLAY", display.to_owned()),
        ("XDG_RUNTIME_DIR", path("run")),
        ("PULSE_SERVER", format!("unix:{}", path("pulse"))),
        ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", path("run/bus"))),
        ("XDG_SESSION_TYPE", "x11".into()),
        ("XDG_CURRENT_DESKTOP", desktop.into()),
        ("DESKTOP_SESSION", desktop.to_lowercase()),
        ("XDG_CONFIG_DIRS", format!("{}:{config_dirs}", path("xdg"))),
        ("LANG", inherited("LANG").unwrap_or_else(|| "C.UTF-8".into())),
        ("NO_AT_BRIDGE", "1".into()),
        ("GDK_BACKEND", "x11".into()),
        ("QT_QPA_PLATFORM", "xcb".into()),
    ]);
    if let Some(files) = AlsaFiles::in_dir(dir) {
        variables.insert("ALSA_CONFIG_PATH", files.entry);
    }
    if let Some(file) = xauthority {
        variables.insert("XAUTHORITY", file.to_string_lossy().into_owned());
    }
    if kind == DesktopKind::Xfce {
        variables.insert("XDG_MENU_PREFIX", "xfce-".into());
    }
    if config == ConfigHome::Private {
        let homes = [("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache"), ("XDG_DATA_HOME", "data")];
        variables.extend(homes.map(|(name, sub)| (name, path(sub))));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Waits until a window manager has the screen; false if none came.
fn wait_for_window_manager(
    display: &str,
    xauthority: Option<&Path>,
    kind: DesktopKind,
    session: ProcessId,
) -> Result<bool, X11Error> {
    let (conn, screen) = x11::connect(display, xauthority)?;
    let hints = Hints::new(conn, screen)?;
    if kind == DesktopKind::Openbox {
        hints.paint_root(BACKGROUND)?;
    }
    hints.wait_for_manager(Instant::now() + READY_LIMIT, || session.alive())
}

/// Writes the defaults for a remote screen, and the private directories.
fn write_defaults(dir: &Path, config: ConfigHome) -> io::Result<()> {
    for name in ["run", "config", "cache", "data", "xdg/autostart", "xdg/openbox", XFCONF_DIR] {
        fs::create_dir_all(dir.join(name))?;
    }
    fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o700))?;
    for (channel, properties) in XFCE_DEFAULTS {
        fs::write(dir.join(XFCONF_DIR).join(format!("{channel}.xml")), xfconf_channel(channel, properties))?;
    }
    fs::write(dir.join("xdg/openbox/menu.xml"), openbox_menu())?;
    if let Some(files) = AlsaFiles::in_dir(dir) {
        fs::write(&files.entry, alsa_entry(&files.default))?;
        fs::write(&files.default, ALSA_DEFAULT)?;
    }
    for entry in fs::read_dir("/etc/xdg/autostart").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let (text, private) = (name.to_string_lossy(), config == ConfigHome::Private);
        if is_unwanted(&text) || private && text.contains("user-dirs") {
            fs::write(dir.join("xdg/autostart").join(&name), HIDDEN_ENTRY)?;
        }
    }
    if config == ConfigHome::Private {
        // Else desktop and browser would make folders in the user's home.
        let files = dir.join("files");
        fs::create_dir_all(&files)?;
        let lines = ["DESKTOP", "DOWNLOAD"].map(|name| format!("XDG_{name}_DIR=\"{}\"\n", files.display()));
        fs::write(dir.join("config/user-dirs.dirs"), lines.concat())?;
    }
    Ok(())
}

/// Whether an autostart entry makes no sense on a screen without a seat: lockers, power, radio, removable hardware.
fn is_unwanted(entry: &str) -> bool {
    UNWANTED_AUTOSTART.iter().any(|word| entry.to_lowercase().contains(word))
}

/// Where a session's settings for ALSA lie: programs that speak ALSA are heard like all others.
struct AlsaFiles {
    /// What `ALSA_CONFIG_PATH` names.
    entry: String,
    /// What comes after the system's files and the user's own, which mean the host's sound card.
    default: String,
}

impl AlsaFiles {
    /// `None` in a directory whose name ALSA would take apart (at spaces and colons) or expand as a shell does.
    fn in_dir(dir: &Path) -> Option<AlsaFiles> {
        let dir = dir.to_str()?;
        let plain = dir.chars().all(|c| c.is_alphanumeric() || "/._-+@,=".contains(c));
        plain.then(|| AlsaFiles { entry: format!("{dir}/alsa.conf"), default: format!("{dir}/alsa-default.conf") })
    }
}

/// The system's settings, as without us; its hook 0 loads what the administrator and the user wrote, and ours is after it.
fn alsa_entry(default: &str) -> String {
    format!("<confdir:alsa.conf>\n@hooks.1 {{\n    func load\n    files [ \"{default}\" ]\n    errors false\n}}\n")
}

fn openbox_menu() -> String {
    let mut items = String::new();
    for choices in DEFAULT_PROGRAMS {
        if let Some(program) = choices.iter().find(|name| find_program(name).is_some()) {
            items += &format!(
                "    <item label=\"{program}\"><action name=\"Execute\"><command>{program}</command></action></item>\n"
            );
        }
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<openbox_menu xmlns=\"http://openbox.org/3.4/menu\">\n  \
         <menu id=\"root-menu\" label=\"Kachel\">\n{items}  </menu>\n</openbox_menu>\n"
    )
}

/// One setting: its path in the channel and its value.
type Property = (&'static str, Value);

/// A value as xfconf knows it.
#[derive(Clone, Copy, Debug)]
enum Value {
    Bool(bool),
    Int(i32),
    Uint(u32),
    Text(&'static str),
    Ints(&'static [i32]),
    Doubles(&'static [f64]),
}

#[derive(Default)]
struct Node {
    value: Option<Value>,
    children: BTreeMap<String, Node>,
}

/// A channel file of xfconf: paths become nested elements.
fn xfconf_channel(channel: &str, properties: &[Property]) -> String {
    let mut root = Node::default();
    for (path, value) in properties {
        let leaf = path.split('/').fold(&mut root, |node, name| node.children.entry(name.to_owned()).or_default());
        leaf.value = Some(*value);
    }
    let mut text =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<channel name=\"{channel}\" version=\"1.0\">\n");
    for (name, node) in &root.children {
        write_node(&mut text, name, node, 1);
    }
    text + "</channel>\n"
}

fn write_node(text: &mut String, name: &str, node: &Node, depth: usize) {
    let indent = "  ".repeat(depth);
    let list = |kind: &str, items: Vec<String>| {
        items
            .into_iter()
            .map(|item| format!("{indent}  <value type=\"{kind}\" value=\"{item}\"/>\n"))
            .collect::<String>()
    };
    let (kind, value, mut inner) = match node.value {
        None => ("empty", String::new(), String::new()),
        Some(Value::Bool(v)) => ("bool", format!(" value=\"{v}\""), String::new()),
        Some(Value::Int(v)) => ("int", format!(" value=\"{v}\""), String::new()),
        Some(Value::Uint(v)) => ("uint", format!(" value=\"{v}\""), String::new()),
        Some(Value::Text(v)) => ("string", format!(" value=\"{v}\""), String::new()),
        Some(Value::Ints(v)) => ("array", String::new(), list("int", v.iter().map(i32::to_string).collect())),
        Some(Value::Doubles(v)) => ("array", String::new(), list("double", v.iter().map(f64::to_string).collect())),
    };
    for (name, child) in &node.children {
        write_node(&mut inner, name, child, depth + 1);
    }
    *text += &format!("{indent}<property name=\"{name}\" type=\"{kind}\"{value}>\n{inner}{indent}</property>\n");
}

const XFCONF_DIR: &str = "xdg/xfce4/xfconf/xfce-perchannel-xml";

/// No compositor, no animation, grey anti-aliasing, one calm panel: little changes that nobody asked for.
const XFCE_DEFAULTS: &[(&str, &[Property])] = &[
    (
        "xfwm4",
        &[
            ("general/use_compositing", Value::Bool(false)),
            ("general/theme", Value::Text("Default")),
            ("general/title_font", Value::Text("Sans Bold 9")),
            ("general/workspace_count", Value::Int(1)),
            ("general/wrap_windows", Value::Bool(false)),
            ("general/zoom_desktop", Value::Bool(false)),
        ],
    ),
    (
        "xsettings",
        &[
            ("Net/ThemeName", Value::Text("Adwaita")),
            ("Net/IconThemeName", Value::Text("Adwaita")),
            ("Net/CursorBlink", Value::Bool(false)),
            ("Net/EnableEventSounds", Value::Bool(false)),
            ("Xft/DPI", Value::Int(96)),
            ("Xft/Antialias", Value::Int(1)),
            ("Xft/Hinting", Value::Int(1)),
            ("Xft/HintStyle", Value::Text("hintslight")),
            ("Xft/RGBA", Value::Text("none")),
            ("Gtk/FontName", Value::Text("Sans 10")),
            ("Gtk/MonospaceFontName", Value::Text("Monospace 10")),
            ("Gtk/CursorThemeName", Value::Text("Adwaita")),
            ("Gtk/EnableAnimations", Value::Bool(false)),
        ],
    ),
    (
        "xfce4-session",
        &[
            ("general/SaveOnExit", Value::Bool(false)),
            ("general/LockCommand", Value::Text("")),
            ("shutdown/LockScreen", Value::Bool(false)),
            ("startup/ssh-agent/enabled", Value::Bool(false)),
            ("startup/gpg-agent/enabled", Value::Bool(false)),
        ],
    ),
    (
        "xfce4-panel",
        &[
            ("configver", Value::Int(2)),
            ("panels", Value::Ints(&[1])),
            ("panels/dark-mode", Value::Bool(false)),
            ("panels/panel-1/position", Value::Text("p=10;x=0;y=0")),
            ("panels/panel-1/length", Value::Uint(100)),
            ("panels/panel-1/size", Value::Uint(30)),
            ("panels/panel-1/icon-size", Value::Uint(16)),
            ("panels/panel-1/position-locked", Value::Bool(true)),
            ("panels/panel-1/plugin-ids", Value::Ints(&[1, 2, 3, 4, 5])),
            ("plugins/plugin-1", Value::Text("applicationsmenu")),
            ("plugins/plugin-2", Value::Text("tasklist")),
            ("plugins/plugin-2/grouping", Value::Uint(0)),
            ("plugins/plugin-3", Value::Text("separator")),
            ("plugins/plugin-3/expand", Value::Bool(true)),
            ("plugins/plugin-3/style", Value::Uint(0)),
            ("plugins/plugin-4", Value::Text("systray")),
            ("plugins/plugin-5", Value::Text("clock")),
        ],
    ),
    (
        "xfce4-desktop",
        &[
            ("desktop-icons/style", Value::Int(2)),
            ("desktop-icons/file-icons/show-removable", Value::Bool(false)),
            ("desktop-icons/file-icons/show-filesystem", Value::Bool(false)),
            ("backdrop/single-workspace-mode", Value::Bool(true)),
            ("backdrop/screen0/monitorDUMMY0/workspace0/color-style", Value::Int(0)),
            ("backdrop/screen0/monitorDUMMY0/workspace0/image-style", Value::Int(0)),
            ("backdrop/screen0/monitorDUMMY0/workspace0/rgba1", Value::Doubles(&BACKDROP)),
            ("backdrop/screen0/monitorscreen/workspace0/color-style", Value::Int(0)),
            ("backdrop/screen0/monitorscreen/workspace0/image-style", Value::Int(0)),
            ("backdrop/screen0/monitorscreen/workspace0/rgba1", Value::Doubles(&BACKDROP)),
        ],
    ),
    // Repeats come from the viewer, see `keyboard`.
    ("keyboards", &[("Default/KeyRepeat", Value::Bool(false)), ("Default/RestoreNumlock", Value::Bool(false))]),
    ("xfce4-power-manager", &[("xfce4-power-manager/show-tray-icon", Value::Bool(false))]),
    ("xfce4-screensaver", &[("saver/enabled", Value::Bool(false)), ("lock/enabled", Value::Bool(false))]),
];

/// The first of each row that is installed is taken: terminal, editor, files, browser.
const DEFAULT_PROGRAMS: &[&[&str]] = &[
    &["xfce4-terminal", "mate-terminal", "gnome-terminal", "konsole", "xterm"],
    &["mousepad", "pluma", "gedit", "kate", "featherpad"],
    &["thunar", "caja", "nautilus", "pcmanfm", "dolphin"],
    &["firefox-esr", "firefox", "chromium"],
];

/// The editors' row in [`DEFAULT_PROGRAMS`].
const EDITOR: usize = 1;

/// Plain, nobody's taste and nobody's trouble: 0x3b5060.
const BACKGROUND: u32 = 0x3b_5060;
/// The same as red, green, blue, alpha.
const BACKDROP: [f64; 4] = [0.231, 0.314, 0.376, 1.0];

const UNWANTED_AUTOSTART: &[&str] = &[
    "at-spi",
    "blueman",
    "geoclue",
    "light-locker",
    "nm-applet",
    "power-manager",
    "print-applet",
    "screensaver",
    "tracker",
    "update-notifier",
    "xiccd",
    "xss-lock",
];

const HIDDEN_ENTRY: &str = "[Desktop Entry]\nType=Application\nName=hidden\nExec=true\nHidden=true\n";
/// ALSA's default device: the session's sound server, by the plugin of `libasound2-plugins`.
const ALSA_DEFAULT: &str = r#"pcm.!default {
    type pulse
    hint {
        show on
        description "Kachel"
    }
}
ctl.!default {
    type pulse
}
"#;

const FIREFOX_PREFERENCES: &str = r#"user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("trailhead.firstrun.didSeeAboutWelcome", true);
"#;

/// What belongs to the session we were started from and would mislead programs in the new one.
const FOREIGN_VARIABLES: &[&str] = &[
    "DBUS_STARTER_ADDRESS",
    "DBUS_STARTER_BUS_TYPE",
    "DESKTOP_AUTOSTART_ID",
    "GIO_LAUNCHED_DESKTOP_FILE",
    "SESSION_MANAGER",
    "SSH_ASKPASS",
    "WAYLAND_DISPLAY",
    "WAYLAND_SOCKET",
    "WINDOWID",
    "XAUTHORITY",
    "XDG_SEAT",
    "XDG_SESSION_CLASS",
    "XDG_SESSION_ID",
    "XDG_VTNR",
];

/// A socket's path has at most 107 bytes; ours need up to forty behind the directory's.
const DIRECTORY_BYTES_MAX: usize = 64;
/// A cold XFCE on a busy machine was seen to need fifteen seconds.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// A browser's first start is the slowest.
const WINDOWS_LIMIT: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xfconf_paths_become_nested_elements() {
        let text = xfconf_channel("c", &[("a/b", Value::Int(1)), ("a", Value::Ints(&[7])), ("z", Value::Bool(true))]);
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<channel name="c" version="1.0">
  <property name="a" type="array">
    <value type="int" value="7"/>
    <property name="b" type="int" value="1">
    </property>
  </property>
  <property name="z" type="bool" value="true">
  </property>
</channel>
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn lockers_and_power_do_not_start_but_settings_do() {
        assert!(is_unwanted("xfce4-power-manager.desktop") && is_unwanted("light-locker.desktop"));
        assert!(!is_unwanted("xfsettingsd.desktop"));
    }

    #[test]
    fn private_settings_stay_in_the_session() {
        let variables = |config| environment(":7", None, Path::new("/s"), config, DesktopKind::Xfce);
        assert_eq!(variables(ConfigHome::Private)["XDG_CONFIG_HOME"], "/s/config");
        assert!(!variables(ConfigHome::OfUser).contains_key("XDG_CONFIG_HOME"));
        assert!(variables(ConfigHome::OfUser)["XDG_CONFIG_DIRS"].starts_with("/s/xdg:"));
    }

    #[test]
    fn alsa_is_told_only_of_a_place_that_it_can_name() {
        let told = |dir| environment(":7", None, Path::new(dir), ConfigHome::OfUser, DesktopKind::Xfce);
        assert_eq!(told("/home/jörg/.local/s")["ALSA_CONFIG_PATH"], "/home/jörg/.local/s/alsa.conf");
        for dir in ["/home/a b/s", "/a:b", "/$HOME/s", "/`id`", "/a\"b", "/~/s"] {
            assert!(!told(dir).contains_key("ALSA_CONFIG_PATH"), "{dir}");
        }
    }
}
