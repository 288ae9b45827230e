//! The desktop and its programs, and what a person does with them: fixed scripts with a person's rhythm.
//! Programs run on the server's display; keys and pointer go in at the viewer's, so that they travel through the system.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::assets::Assets;
use super::peers::wait_for_manager;
use crate::support::display::{connect, grab, screenshot, wait_window};
use crate::support::input::{Button, Input};
use crate::support::picture::Picture;
use crate::support::process::Processes;

/// A piece of office work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// 200 characters into a letter.
    Typing,
    /// A report with photos in the PDF viewer: pages, lines, wheel.
    ScrollDocument,
    /// A long page with photos in the browser.
    ScrollWeb,
    /// A terminal over a photo.
    Drag,
    /// Menus and a dialog of the word processor.
    Menus,
    /// Numbers into a sheet full of formulas, then paging.
    Calc,
    /// A word processor in which nobody does anything for 20 seconds.
    Idle,
}

impl Scenario {
    /// All of them, in the order of the table.
    pub const ALL: [Scenario; 7] =
        [Self::Typing, Self::ScrollDocument, Self::ScrollWeb, Self::Drag, Self::Menus, Self::Calc, Self::Idle];

    /// The name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Typing => "typing",
            Self::ScrollDocument => "scroll-document",
            Self::ScrollWeb => "scroll-web",
            Self::Drag => "drag",
            Self::Menus => "menus",
            Self::Calc => "calc",
            Self::Idle => "idle",
        }
    }

    /// Whether it is part of a `--quick` run.
    pub const fn is_quick(self) -> bool {
        matches!(self, Self::Typing | Self::Drag)
    }

    /// Does the work at the keyboard and pointer of the viewer's display.
    pub fn play(self, desktop: &Desktop, input: &mut Input) {
        match self {
            Self::Typing => {
                input.press("ctrl+End");
                pause(500);
                input.type_text(&TEXT.chars().take(200).collect::<String>(), Duration::from_millis(65));
                pause(300);
            }
            Self::ScrollDocument => {
                input.move_to(900, 640);
                repeat(8, 600, || input.press("Page_Down"));
                repeat(24, 90, || input.press("Down"));
                repeat(30, 90, || input.click(Button::WheelDown));
            }
            Self::ScrollWeb => {
                input.move_to(760, 620);
                repeat(36, 140, || input.click(Button::WheelDown));
                repeat(6, 650, || input.press("Page_Down"));
                repeat(24, 110, || input.click(Button::WheelUp));
                pause(1000);
            }
            Self::Drag => {
                let title = wait_window(&desktop.display, TERMINAL, Duration::from_secs(5)).place;
                let mut place = (title.x + 240, title.y - 10);
                input.move_to(place.0, place.1);
                pause(300);
                input.button(Button::Left, true);
                pause(100);
                for corner in [(1250, 600), (330, 480), (900, 130)] {
                    for step in 1..=110_i64 {
                        let between =
                            |a: u32, b: u32| (i64::from(a) + (i64::from(b) - i64::from(a)) * step / 110) as u32;
                        input.move_to(between(place.0, corner.0), between(place.1, corner.1));
                        pause(25);
                    }
                    place = corner;
                }
                input.button(Button::Left, false);
                pause(500);
            }
            Self::Menus => {
                for _ in 0..2 {
                    input.press("alt+f");
                    repeat(9, 420, || input.press("Right"));
                    input.press("Escape");
                    input.press("Escape");
                    pause(400);
                    input.press("ctrl+h");
                    pause(1500);
                    input.press("Escape");
                    pause(700);
                }
            }
            Self::Calc => {
                for row in 0..16 {
                    input.type_text(&format!("{}\n", 1357 * (row + 3)), Duration::from_millis(60));
                }
                repeat(6, 350, || input.press("Page_Down"));
                pause(300);
            }
            Self::Idle => pause(20_000),
        }
    }
}

/// A desktop on a display: window manager, wallpaper, message bus, and the programs of one scenario.
pub struct Desktop {
    display: String,
    programs: Processes,
}

impl Desktop {
    /// Starts the desktop with the programs of `scenario` and waits until the picture is at rest.
    ///
    /// # Panics
    /// When a program does not come up.
    pub fn start(display: &str, scenario: Scenario, assets: &Assets) -> Self {
        let mut desktop = Self::empty(display);
        let wallpaper = assets.path("photo0.jpg");
        // A desktop has its wallpaper long before somebody opens a window over it.
        desktop.run("wallpaper", &["feh", "--no-fehbg", "--bg-fill", &wallpaper.display().to_string()]);
        desktop.settle();
        match scenario {
            Scenario::Typing | Scenario::Menus | Scenario::Idle => desktop.office("--writer", "letter.fodt", assets),
            Scenario::Calc => desktop.office("--calc", "budget.fods", assets),
            Scenario::ScrollDocument => {
                desktop.spawn("evince", &["evince", &assets.path("report.pdf").display().to_string()]);
                desktop.wait("report");
            }
            Scenario::ScrollWeb => desktop.browser("page.html", assets),
            Scenario::Drag => {
                let photo = assets.path("photo3.jpg").display().to_string();
                desktop.spawn("feh", &["feh", "--geometry", "960x640+800+300", &photo]);
                desktop.wait("feh");
                let text = "seq 100 131 | sed 's/.*/& Der Wochenmarkt zieht für drei Wochen auf den Kirchplatz um./'; exec cat";
                let look = ["-fa", "DejaVu Sans Mono", "-fs", "11", "-geometry", "96x32+200+150", "-T", TERMINAL];
                let all = [&["xterm"][..], &look, &["-e", "sh", "-c", text]].concat();
                desktop.spawn("xterm", &all);
                desktop.wait(TERMINAL);
            }
        }
        desktop.settle();
        desktop
    }

    /// Starts a desktop without programs.
    ///
    /// # Panics
    /// When the window manager or the message bus does not come up.
    pub fn empty(display: &str) -> Self {
        let mut programs = Processes::new("desktop");
        for folder in ["home", "run"] {
            fs::create_dir_all(programs.folder().join(folder)).expect("the group's folder is ours");
        }
        let settings = programs.folder().join("openbox.xml");
        fs::write(&settings, DESKTOP).expect("the group's folder is ours");
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--session", "--nofork", "--print-address=1"]);
        environment(&mut bus, display, &programs);
        let address = programs.spawn_until_line("dbus-daemon", &mut bus, Duration::from_secs(10));
        fs::write(programs.folder().join("bus"), address).expect("the group's folder is ours");
        let mut desktop = Self { display: display.to_owned(), programs };
        desktop.spawn("openbox", &["openbox", "--config-file", &settings.display().to_string()]);
        wait_for_manager(display);
        desktop
    }

    /// Stops all programs where they stand, so that the desktop's picture does not change any more.
    pub fn freeze(&self) {
        self.programs.freeze();
    }

    /// Waits until the picture has rested for a second (a caret may blink).
    pub fn settle(&self) {
        let (connection, root) = connect(&self.display);
        let mut last: Picture = grab(&connection, root, None);
        let (begin, mut changed) = (Instant::now(), Instant::now());
        while changed.elapsed() < Duration::from_millis(1200) && begin.elapsed() < Duration::from_secs(25) {
            pause(300);
            let now = grab(&connection, root, None);
            if now.diff(&last).count > 600 {
                changed = Instant::now();
            }
            last = now;
        }
    }

    /// The desktop's picture.
    pub fn picture(&self) -> Picture {
        screenshot(&self.display)
    }

    pub(super) fn office(&mut self, kind: &str, document: &str, assets: &Assets) {
        let profile = self.programs.folder().join("office");
        fs::create_dir_all(profile.join("user")).expect("the group's folder is ours");
        fs::write(profile.join("user/registrymodifications.xcu"), OFFICE).expect("the group's folder is ours");
        // A copy, so that no lock file of another run is in the way.
        let copy = self.programs.folder().join(document);
        fs::copy(assets.path(document), &copy).expect("the asset was just made");
        let profile = format!("-env:UserInstallation=file://{}", profile.display());
        self.spawn("soffice", &["soffice", &profile, "--nologo", "--norestore", kind, &copy.display().to_string()]);
        self.wait(document.split('.').next().expect("a name has a stem"));
    }

    pub(super) fn browser(&mut self, page: &str, assets: &Assets) {
        let profile = self.programs.folder().join("browser");
        fs::create_dir_all(&profile).expect("the group's folder is ours");
        let lines: String = BROWSER.iter().map(|(name, value)| format!("user_pref(\"{name}\", {value});\n")).collect();
        fs::write(profile.join("user.js"), lines).expect("the group's folder is ours");
        let page = format!("file://{}", assets.path(page).display());
        let profile = profile.display().to_string();
        self.spawn("firefox", &["firefox-esr", "--no-remote", "--profile", &profile, &page]);
        self.wait("Ährenfeld");
    }

    pub(super) fn spawn(&mut self, name: &str, words: &[&str]) {
        let mut command = self.command(words);
        self.programs.spawn(name, &mut command);
    }

    /// Runs a program that ends by itself.
    fn run(&mut self, name: &str, words: &[&str]) {
        let mut command = self.command(words);
        self.programs.run(name, &mut command);
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        environment(&mut command, &self.display, &self.programs);
        command
    }

    pub(super) fn wait(&self, window: &str) {
        wait_window(&self.display, window, Duration::from_secs(60));
    }
}

fn environment(command: &mut Command, display: &str, programs: &Processes) {
    let folder = programs.folder();
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LANG", "C.UTF-8").env("DISPLAY", display);
    command.env("HOME", folder.join("home")).env("XDG_RUNTIME_DIR", folder.join("run"));
    command.env("NO_AT_BRIDGE", "1").env("GDK_BACKEND", "x11").env("SAL_USE_VCLPLUGIN", "gtk3");
    command.env("MOZ_CRASHREPORTER_DISABLE", "1").env("LIBGL_ALWAYS_SOFTWARE", "1").env("GIO_USE_VFS", "local");
    command.env("GSETTINGS_BACKEND", "memory").current_dir(folder);
    if let Ok(address) = fs::read_to_string(folder.join("bus")) {
        command.env("DBUS_SESSION_BUS_ADDRESS", address.trim());
    }
}

fn repeat(count: u32, gap_ms: u64, mut action: impl FnMut()) {
    for _ in 0..count {
        action();
        pause(gap_ms);
    }
}

/// A person's pause; part of the work, never a way to wait for a program.
fn pause(ms: u64) {
    sleep(Duration::from_millis(ms));
}

const TERMINAL: &str = "kachel-bench-terminal";

const TEXT: &str = "Guten Tag, wir bestätigen den Eingang Ihrer Unterlagen und melden uns, sobald die Prüfung \
    abgeschlossen ist. Für Rückfragen erreichen Sie uns werktags von 8 bis 12 Uhr unter der Durchwahl 47. \
    Mit den besten Grüßen aus Ährenfeld";

const DESKTOP: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <theme><name>Clearlooks</name><titleLayout>NLIMC</titleLayout></theme>
  <desktops><number>1</number><popupTime>0</popupTime></desktops>
  <focus><focusNew>yes</focusNew></focus>
  <keyboard></keyboard>
  <mouse>
    <context name="Titlebar">
      <mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
      <mousebind button="Left" action="Drag"><action name="Move"/></mousebind>
    </context>
    <context name="Client">
      <mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
    </context>
  </mouse>
  <applications>
    <application class="libreoffice*" type="normal"><maximized>yes</maximized></application>
    <application class="Soffice" type="normal"><maximized>yes</maximized></application>
    <application class="firefox*" type="normal"><maximized>yes</maximized></application>
    <application class="Firefox*" type="normal"><maximized>yes</maximized></application>
    <application class="Evince" type="normal"><maximized>yes</maximized></application>
  </applications>
</openbox_config>
"#;

const OFFICE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Misc"><prop oor:name="FirstRun" oor:op="fuse"><value>false</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Misc"><prop oor:name="ShowTipOfTheDay" oor:op="fuse"><value>false</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Misc"><prop oor:name="LastTipOfTheDayShown" oor:op="fuse"><value>99999</value></prop></item>
<item oor:path="/org.openoffice.Setup/Product"><prop oor:name="ooSetupLastVersion" oor:op="fuse"><value>99.9</value></prop></item>
<item oor:path="/org.openoffice.Office.Recovery/RecoveryInfo"><prop oor:name="Enabled" oor:op="fuse"><value>false</value></prop></item>
</oor:items>
"#;

/// No first-run pages, no background network: the page is the only thing that happens.
const BROWSER: &[(&str, &str)] = &[
    ("app.update.enabled", "false"),
    ("browser.aboutwelcome.enabled", "false"),
    ("browser.discovery.enabled", "false"),
    ("browser.messaging-system.whatsNewPanel.enabled", "false"),
    ("browser.newtabpage.enabled", "false"),
    ("browser.preonboarding.enabled", "false"),
    ("browser.sessionstore.resume_from_crash", "false"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("browser.startup.homepage_override.mstone", "\"ignore\""),
    ("browser.tabs.firefox-view", "false"),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("datareporting.policy.dataSubmissionPolicyBypassNotification", "true"),
    ("extensions.getAddons.cache.enabled", "false"),
    ("extensions.systemAddon.update.enabled", "false"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("sidebar.revamp", "false"),
    ("termsofuse.bypassNotification", "true"),
    ("toolkit.telemetry.reportingpolicy.firstRun", "false"),
    ("trailhead.firstrun.didSeeAboutWelcome", "true"),
];
