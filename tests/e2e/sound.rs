//! Sound with real programs and real devices: a tone that a program plays in the session is heard at the viewer's
//! loudspeaker, one at its microphone is recorded in the session, and a policy holds against a patched viewer.

use std::path::Path;
use std::time::{Duration, Instant};

use kachel::geom::Size;
use kachel::io::net::trial::Trial;
use kachel::io::net::{Connector, Received};
use kachel::proto::sound::packet::{SoundKind, SoundPacket};
use kachel::proto::wire::{Hello, HostMessage, SoundWish, VERSION, ViewerMessage};
use kachel::viewer::ui::Palette;
use rustix::process::Signal;
use serde_json::Value;

use crate::seat::{Desk, PATIENCE, WindowManager, has, host_program};
use crate::support::link::{Host, HostOptions, Viewer, ViewerOptions};
use crate::support::process::{send, wake_ups};
use crate::support::tone::{PIPEWIRE, SoundSystem, Tone, amplitudes, find, peak, read_raw, write_wav};
use crate::support::wait::{wait_for, wait_until};

const PROGRAMS: &[&str] = &["Xvfb", "openbox", "setxkbmap", "pulseaudio", "paplay", "parec", "pactl"];
/// Length of the tones.
const TONE: Duration = Duration::from_secs(3);
/// Amplitude of the tones.
const LEVEL: f32 = 0.4;
/// Power beside a tone, in dB below it: less than this. What came through Opus was at -37 dB or less, where the jitter
/// buffer changes the speed most; one with an eighth of the bits was at -26 dB.
const PURE_DB: f32 = -30.0;
/// A recording is over when nothing was heard for so long.
const QUIET: Duration = Duration::from_millis(700);

/// A session whose sound can be heard.
struct Room {
    // Ended in this order.
    viewer: Viewer,
    host: Host,
    sound: SoundSystem,
    desk: Desk,
    window: u32,
}

impl Room {
    fn new(arguments: &[&str]) -> Room {
        Room::with(SoundSystem::start(), arguments)
    }

    fn with(sound: SoundSystem, arguments: &[&str]) -> Room {
        let desk = Desk::new(WindowManager::Openbox);
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        let host = Host::start(&host_program(), &HostOptions { arguments, ..HostOptions::default() });
        let viewer = start_viewer(&host, &sound, &desk, &[], None);
        let mut room = Room { viewer, host, sound, desk, window: 0 };
        room.begin();
        room
    }

    /// Ends the viewer and starts another with these arguments, its window in front. Each has another home than the one
    /// before; `state` is what is to outlive it.
    fn restart(&mut self, arguments: &[&str], state: Option<&Path>) {
        self.viewer.processes().end("kachel", Signal::TERM);
        self.viewer = start_viewer(&self.host, &self.sound, &self.desk, arguments, state);
        self.begin();
        self.desk.focus(self.window);
    }

    fn begin(&mut self) {
        self.window = self.viewer.window(PATIENCE).id;
        wait_until(2 * PATIENCE, "the picture is there", || {
            (self.viewer.stats().last()?["frames"].as_u64()? > 0).then_some(())
        });
    }

    /// What the session's sound process says.
    fn status(&self) -> Option<Value> {
        self.host.status()?["sessions"][0].get("sound").filter(|s| !s.is_null()).cloned()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.status()?.get(key)?.as_u64()
    }
}

fn start_viewer(host: &Host, sound: &SoundSystem, desk: &Desk, arguments: &[&str], state: Option<&Path>) -> Viewer {
    let mut options = ViewerOptions { environment: sound.environment(), ..ViewerOptions::on(desk.name()) };
    options.environment.extend(state.map(|state| ("XDG_STATE_HOME".to_owned(), state.display().to_string())));
    options.arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
    Viewer::start(Path::new(env!("CARGO_BIN_EXE_kachel")), &host.trial_file(), &options)
}

/// Waits until a tone has come and gone in a recording.
fn wait_tone(file: &Path) -> Option<Tone> {
    wait_tone_after(file, 0)
}

/// The same, without what stands before this sample.
fn wait_tone_after(file: &Path, start: usize) -> Option<Tone> {
    let over = wait_for(PATIENCE, || {
        let samples = read_raw(file).split_off(start);
        let quiet = (QUIET.as_secs_f64() * 48_000.0) as usize;
        let end = samples.len().checked_sub(quiet)?;
        (peak(&samples[end..]) < 0.02 && peak(&samples[..end]) > 0.1).then_some(samples)
    });
    over.and_then(|samples| find(&samples))
}

/// Plays something: it is heard to its end without a fault. Where a fault came from is told by what the parts counted.
fn assert_clean(room: &mut Room, program: &[&str], hertz: f32) {
    let name = program[0];
    let heard = room.sound.record("ear.monitor", name);
    room.host.exec(program);
    let tone = wait_tone(&heard);
    room.sound.processes().end(name, Signal::TERM);
    if tone.as_ref().is_none_or(|tone| tone.gaps > 0) {
        eprintln!("{}\n{}", room.viewer.processes().log_tail("kachel"), room.host.processes().log_tail("exec"));
        eprintln!("{:?}\n{:?}", room.status(), room.viewer.stats().last());
    }
    assert_tone(tone, hertz, name);
}

/// A tone that was heard to its end while processes were killed and started: there may be short dropouts.
fn assert_whole(tone: Option<Tone>, who: &str) {
    let tone = tone.unwrap_or_else(|| panic!("{who}: nothing was heard"));
    eprintln!("{who}: {tone:?}");
    assert!((tone.amplitude - LEVEL).abs() < LEVEL * 0.2, "{who}: level {tone:?}");
    assert!(tone.length.abs_diff(TONE) < Duration::from_millis(400), "{who}: length {tone:?}");
    assert!(tone.gaps < 20, "{who}: {tone:?}");
}

/// Whether a tone was heard in the last half second.
fn loud(recording: &Path) -> Option<()> {
    (last_peak(recording) > 0.3).then_some(())
}

fn last_peak(recording: &Path) -> f32 {
    let samples = read_raw(recording);
    peak(&samples[samples.len().saturating_sub(24_000)..])
}

fn assert_tone(tone: Option<Tone>, hertz: f32, who: &str) {
    assert_tone_of(tone, (hertz, LEVEL, TONE), who);
}

fn assert_tone_of(tone: Option<Tone>, (hertz, level, length): (f32, f32, Duration), who: &str) {
    let tone = tone.unwrap_or_else(|| panic!("{who}: nothing was heard"));
    eprintln!("{who}: {tone:?}");
    assert!((tone.hertz - hertz).abs() < hertz * 0.005, "{who}: pitch {tone:?}");
    assert!((tone.amplitude - level).abs() < level * 0.15, "{who}: level {tone:?}");
    assert!(tone.length.abs_diff(length) < Duration::from_millis(150), "{who}: length {tone:?}");
    assert_eq!(tone.gaps, 0, "{who}: {tone:?}");
    assert!(tone.purity_db < PURE_DB, "{who}: {tone:?}");
}

#[test]
fn two_programs_that_play_at_once_are_both_heard() {
    if !has(PROGRAMS) {
        return;
    }
    let mut room = Room::new(&[]);
    let heard = room.sound.record("ear.monitor", "both");
    let tones = [(1_000.0, 0.3), (1_700.0, 0.2)];
    for (hertz, level) in tones {
        let file = room.host.state().with_file_name(format!("{hertz}.wav"));
        write_wav(&file, hertz, level, Duration::from_secs(60));
        room.host.exec(&["paplay", &file.to_string_lossy()]);
    }
    // A whole second in which both are there at their levels, all the time.
    let mut last = Vec::new();
    let both = wait_for(2 * PATIENCE, || {
        let samples = read_raw(&heard);
        last = samples[samples.len().checked_sub(48_000)?..].to_vec();
        let is_there = |(hertz, level): (f32, f32)| {
            amplitudes(&last, hertz).iter().all(|amplitude| (amplitude - level).abs() < 0.15 * level)
        };
        tones.into_iter().all(is_there).then_some(())
    });
    let found = tones.map(|(hertz, _)| amplitudes(&last, hertz));
    assert!(both.is_some(), "{found:?}\n{:?}", room.status());
    assert_eq!(room.number("playing"), Some(2));
}

#[test]
fn tones_of_programs_are_heard_without_a_gap_and_silence_costs_nothing() {
    if !has(PROGRAMS) {
        return;
    }
    let mut room = Room::new(&[]);
    let file = room.host.state().with_file_name("tone.wav");
    write_wav(&file, 1_000.0, LEVEL, TONE);
    let path = file.to_string_lossy().into_owned();
    let mut players = vec![vec!["paplay", &path]];
    // One that knows ALSA only, and nothing of us.
    if has(&["aplay"]) {
        players.push(vec!["aplay", "-q", &path]);
    }
    if has(&["mpv"]) {
        players.push(vec!["mpv", "--no-config", "--no-video", "--ao=pulse", "--really-quiet", &path]);
    }
    for player in players {
        assert_clean(&mut room, &player, 1_000.0);
    }
    let last = room.viewer.stats();
    let delay = last.iter().filter_map(|l| l["sound_delay_us"].as_u64()).next_back();
    eprintln!("sound: delay {delay:?} us, last line {:?}", last.last());
    assert!(delay.is_some_and(|us| us < 150_000), "the delay is known and bounded: {delay:?}");

    // Silence: nothing is sent and nothing wakes up.
    let pid = u32::try_from(room.number("pid").expect("the sound process answers")).expect("a process id");
    wait_until(PATIENCE, "nothing plays", || (room.number("playing")? == 0).then_some(()));
    let (sent, cpu) = (room.number("packets_sent"), wake_ups(pid));
    let begin = Instant::now();
    wait_until(PATIENCE, "three seconds are over", || (begin.elapsed() > Duration::from_secs(3)).then_some(()));
    let woken = wake_ups(pid) - cpu;
    assert!(woken <= 3, "the sound process was woken {woken} times in silence");
    assert_eq!(room.number("packets_sent"), sent);
}

#[test]
#[ignore = "needs firefox-esr, which is large: cargo test --test e2e a_browser -- --ignored"]
fn a_browser_is_heard_without_a_gap() {
    assert!(has(PROGRAMS) && has(&["firefox-esr"]), "nothing to look at");
    let mut room = Room::new(&[]);
    let folder = room.host.state().with_file_name("browser");
    std::fs::create_dir_all(&folder).expect("the group's folder is ours");
    write_wav(&folder.join("tone.wav"), 1_000.0, LEVEL, TONE);
    // It plays by itself, and not while the browser is still busy with its start.
    let page = "<title>Tone</title><audio id=a src=tone.wav></audio><script>setTimeout(() => a.play(), 4000)</script>";
    std::fs::write(folder.join("tone.html"), page).expect("the group's folder is ours");
    let lines = [
        ("media.autoplay.default", "0"),
        ("browser.aboutwelcome.enabled", "false"),
        ("browser.shell.checkDefaultBrowser", "false"),
        ("datareporting.policy.dataSubmissionPolicyBypassNotification", "true"),
        ("network.captive-portal-service.enabled", "false"),
        ("termsofuse.bypassNotification", "true"),
        ("toolkit.telemetry.reportingpolicy.firstRun", "false"),
    ];
    let lines: String = lines.iter().map(|(name, value)| format!("user_pref(\"{name}\", {value});\n")).collect();
    std::fs::write(folder.join("user.js"), lines).expect("the group's folder is ours");
    let (profile, page) = (folder.display().to_string(), format!("file://{}/tone.html", folder.display()));
    assert_clean(&mut room, &["firefox-esr", "--no-remote", "--profile", &profile, &page], 1_000.0);
}

#[test]
fn sound_goes_on_while_session_process_and_front_are_replaced() {
    if !has(PROGRAMS) {
        return;
    }
    let mut room = Room::new(&[]);
    let file = room.host.state().with_file_name("tone.wav");
    write_wav(&file, 1_000.0, LEVEL, TONE);
    let path = file.to_string_lossy().into_owned();
    let session = u32::try_from(room.host.status().expect("status")["sessions"][0]["pid"].as_u64().expect("a pid"));
    let sound = room.number("pid");
    let heard = room.sound.record("ear.monitor", "heard");
    room.host.exec(&["paplay", &path]);
    wait_until(PATIENCE, "the tone is heard", || (peak(&read_raw(&heard)) > 0.1).then_some(()));
    send(session.expect("a process id"), Signal::KILL);
    // The sound process is another one than the session's: the tone goes on.
    assert_whole(wait_tone(&heard), "session killed");
    wait_until(PATIENCE, "another session process", || {
        (room.host.status()?["sessions"][0]["viewers"].as_u64()? == 1).then_some(())
    });
    assert_eq!(room.number("pid"), sound, "the sound process is the same");

    // A sound process that is killed comes back, and what plays next is heard.
    send(u32::try_from(sound.expect("a pid")).expect("a pid"), Signal::KILL);
    wait_until(PATIENCE, "another sound process", || (room.number("pid")? != sound?).then_some(()));
    room.sound.processes().end("heard", Signal::TERM);
    let heard = room.sound.record("ear.monitor", "again");
    room.host.exec(&["paplay", &path]);
    assert_whole(wait_tone(&heard), "sound process killed");
}

#[test]
fn the_microphone_is_recorded_in_the_session_after_a_click_and_not_before() {
    if !has(PROGRAMS) {
        return;
    }
    assert_microphone(&mut Room::new(&[]));
}

#[test]
fn a_tone_goes_on_while_microphones_are_opened_and_closed() {
    if !has(PROGRAMS) {
        return;
    }
    let mut room = Room::new(&[]);
    let source = "source_name=webcam master=mouth.monitor channels=1";
    room.sound.control(&["load-module", "module-remap-source", source]);
    let length = Duration::from_secs(20);
    let file = room.host.state().with_file_name("tone.wav");
    write_wav(&file, 1_000.0, LEVEL, length);
    let heard = room.sound.record("ear.monitor", "heard");
    room.host.exec(&["paplay", &file.to_string_lossy()]);
    wait_until(PATIENCE, "the tone is heard", || loud(&heard));
    click_microphone(&mut room);
    // Each choice closes one and opens another.
    for (choice, opened) in ["webcam", "microphone", "webcam"].into_iter().zip(2..) {
        room.sound.control(&["set-default-source", choice]);
        wait_until(PATIENCE, "another microphone is open", || {
            let found = room.viewer.processes().log("kachel").matches("Microphone opened").count();
            (found == opened).then_some(())
        });
    }
    assert!(loud(&heard).is_some(), "the tone was over before the microphones");
    let tone = wait_tone(&heard);
    eprintln!("{:?}", room.viewer.stats().last());
    assert_tone_of(tone, (1_000.0, LEVEL, length), "while microphones are opened");
}

/// Switches the microphone on as a user does, and waits until it is open.
fn click_microphone(room: &mut Room) {
    // Bar, three buttons further, and press.
    let mut input = room.desk.input();
    room.desk.focus(room.window);
    input.press("ctrl+alt+Home");
    for _ in 0..3 {
        input.press("Tab");
    }
    input.press("Return");
    input.press("Escape");
    let on = wait_for(PATIENCE, || (room.status()?["microphone"].as_bool()?).then_some(()));
    if on.is_none() {
        room.desk.picture(room.window).save_png(&std::env::temp_dir().join("microphone.png")).ok();
    }
    assert!(on.is_some(), "the microphone is on\n{}", room.viewer.processes().log_tail("kachel"));
    wait_until(PATIENCE, "the microphone is open", || {
        room.viewer.processes().log("kachel").contains("Microphone opened").then_some(())
    });
}

/// What is said at the viewer's microphone is recorded in the session once the user has switched it on, and not before.
fn assert_microphone(room: &mut Room) {
    let tone = room.sound.processes().folder().join("voice.wav");
    write_wav(&tone, 440.0, LEVEL, TONE);
    let recorded = room.host.state().with_file_name("recorded.raw");
    let path = recorded.to_string_lossy().into_owned();
    // Keeps the null sink's clock quick, as a sound card's is.
    room.sound.record("mouth.monitor", "clock");
    let record = ["parec", "--rate=48000", "--channels=1", "--format=s16le", "--latency-msec=20", "--raw", &path];
    room.host.exec(&record);
    wait_until(PATIENCE, "a program listens", || (room.number("recording")? == 1).then_some(()));
    room.sound.play("mouth", &tone);
    assert_eq!(room.number("microphone_packets"), Some(0), "nobody has switched the microphone on");
    assert!(peak(&read_raw(&recorded)) < 1e-3, "something was heard before the click");

    click_microphone(room);
    let before = read_raw(&recorded).len();
    room.sound.play("mouth", &tone);
    let tone = wait_tone_after(&recorded, before);
    if tone.as_ref().is_none_or(|tone| tone.gaps > 0) {
        eprintln!("{}\n{:?}", room.viewer.processes().log_tail("kachel"), room.status());
    }
    assert_tone(tone, 440.0, "microphone");
}

#[test]
fn what_is_lost_of_the_microphone_on_the_way_comes_with_the_next_packet() {
    if !has(PROGRAMS) {
        return;
    }
    let mut room = Room::new(&[]);
    let relay = room.host.lead_over_relay();
    room.restart(&[], None);
    relay.lose_one_in(20);
    let tone = room.sound.processes().folder().join("voice.wav");
    write_wav(&tone, 440.0, LEVEL, 5 * TONE);
    let recorded = room.host.state().with_file_name("recorded.raw");
    let path = recorded.to_string_lossy().into_owned();
    // Keeps the null sink's clock quick, as a sound card's is.
    room.sound.record("mouth.monitor", "clock");
    room.host.exec(&["parec", "--rate=48000", "--channels=1", "--format=s16le", "--latency-msec=20", "--raw", &path]);
    wait_until(PATIENCE, "a program listens", || (room.number("recording")? == 1).then_some(()));
    click_microphone(&mut room);
    let before = read_raw(&recorded).len();
    room.sound.play("mouth", &tone);
    assert!(wait_tone_after(&recorded, before).is_some(), "nothing was heard");
    // Of 750 frames every twentieth is lost, and nearly all of those come with the next one. What comes late on a busy
    // machine is made up as well, and not this test's business.
    let status = room.status().expect("it answers");
    eprintln!("{status}");
    assert!(room.number("microphone_repaired") > Some(20), "{status}");
}

#[test]
fn pipewire_plays_and_records_as_pulseaudio_does() {
    if !has(PROGRAMS) || !has(&PIPEWIRE) {
        return;
    }
    let mut room = Room::with(SoundSystem::start_pipewire(), &[]);
    let file = room.host.state().with_file_name("tone.wav");
    write_wav(&file, 1_000.0, LEVEL, TONE);
    let path = file.to_string_lossy().into_owned();
    assert_clean(&mut room, &["paplay", &path], 1_000.0);
    assert_microphone(&mut room);
    // A headset is plugged in and becomes the system's choice, and the server is started anew.
    let headset = room.sound.control(&["load-module", "module-null-sink", "sink_name=headset", "rate=48000"]);
    let heard = room.sound.record("headset.monitor", "headset");
    room.sound.control(&["set-default-sink", "headset"]);
    write_wav(&file, 1_000.0, LEVEL, Duration::from_secs(60));
    room.host.exec(&["paplay", &path]);
    wait_until(PATIENCE, "the tone at the headset", || loud(&heard));
    let ear = room.sound.record("ear.monitor", "ear");
    room.sound.control(&["unload-module", headset.trim()]);
    wait_until(PATIENCE, "the tone at the loudspeaker again", || loud(&ear));
    room.sound.restart();
    let ear = room.sound.record("ear.monitor", "restarted");
    wait_until(PATIENCE, "the tone after a restart of PipeWire", || loud(&ear));
    room.viewer.processes().assert_running();
}

/// Where no PulseAudio answers, the viewer speaks to ALSA: here to a device of ALSA's own plug-in, whose clock is real.
#[test]
fn without_pulseaudio_alsa_plays() {
    if !has(PROGRAMS) || !has(&["aplay"]) {
        return;
    }
    let mut room = Room::new(&[]);
    let server = room.sound.environment().into_iter().find(|(name, _)| name == "PULSE_SERVER").expect("it has one").1;
    let configuration = room.host.state().with_file_name("asound.conf");
    let text = format!("pcm.!default {{ type pulse server \"{server}\" }}\nctl.!default {{ type pulse }}\n");
    std::fs::write(&configuration, text).expect("the group's folder is ours");
    room.viewer.processes().end("kachel", Signal::TERM);
    let mut options = ViewerOptions { environment: room.sound.environment(), ..ViewerOptions::on(room.desk.name()) };
    options.environment.retain(|(name, _)| name != "PULSE_SERVER");
    options.environment.push(("PULSE_SERVER".to_owned(), "unix:/nonexistent".to_owned()));
    options.environment.push(("ALSA_CONFIG_PATH".to_owned(), configuration.display().to_string()));
    room.viewer = Viewer::start(Path::new(env!("CARGO_BIN_EXE_kachel")), &room.host.trial_file(), &options);
    room.begin();
    room.desk.focus(room.window);
    let file = room.host.state().with_file_name("tone.wav");
    write_wav(&file, 1_000.0, LEVEL, TONE);
    let heard = room.sound.record("ear.monitor", "alsa");
    room.host.exec(&["paplay", &file.to_string_lossy()]);
    let tone = wait_tone(&heard);
    let log = room.viewer.processes().log("kachel");
    assert!(log.contains("alsa:"), "{log}");
    assert_whole(tone, "ALSA");
}

#[test]
fn the_sound_page_plays_its_tone_and_then_what_the_microphone_heard() {
    if !has(PROGRAMS) {
        return;
    }
    let mut room = Room::new(&[]);
    let voice = room.sound.processes().folder().join("voice.wav");
    let second = Duration::from_secs(1);
    write_wav(&voice, 1_000.0, LEVEL, second);
    let heard = room.sound.record("ear.monitor", "ear");
    // Keeps the null sink's clock quick, as a sound card's is.
    room.sound.record("mouth.monitor", "clock");
    let mut input = room.desk.input();
    // Volume and its number, silence, loudspeaker, microphone and which: then the two tests.
    let mut start = |room: &mut Room, place: usize| {
        room.restart(&["--mic"], None);
        for _ in 0..place {
            input.press("Tab");
        }
        input.press("Return");
    };
    start(&mut room, 7);
    assert_tone_of(wait_tone(&heard), (440.0, 0.25, 2 * second), "test tone");

    let before = read_raw(&heard).len();
    start(&mut room, 8);
    wait_until(PATIENCE, "the microphone is open", || {
        room.viewer.processes().log("kachel").contains("Microphone opened").then_some(())
    });
    let (spoken, silent) = (read_raw(&heard).len(), lit(&room));
    room.sound.begin_play("mouth", &voice);
    // A tenth of the window's width is less than half of the meter's.
    wait_until(PATIENCE, "the meter shows the voice", || (lit(&room) > silent + 1_000).then_some(()));
    wait_until(PATIENCE, "the meter has fallen again", || (lit(&room) <= silent).then_some(()));
    let tone = wait_tone_after(&heard, before);
    // Three seconds are recorded before any of it is heard: there is no echo.
    let begin = tone.as_ref().map(|tone| before + (tone.begin.as_secs_f64() * 48_000.0) as usize);
    assert!(begin.is_some_and(|begin| begin > spoken + 48_000), "at {begin:?}, spoken after {spoken}: {tone:?}");
    assert_tone_of(tone, (1_000.0, LEVEL, second), "what was spoken");
    assert_eq!(room.number("microphone_packets"), Some(0), "a test is nobody else's business");
    // The front would have dropped what left the viewer all the same, and says so once another one has taken its place.
    room.restart(&[], None);
    let log = room.host.processes().log("kachel-host");
    assert!(log.contains("Another viewer takes over"), "{log}");
    assert!(!log.contains("may not use"), "something left before the click: {log}");
}

/// Pixels of the window that are in the colour of what the meter shows.
fn lit(room: &Room) -> usize {
    let accents = [egui::Theme::Light, egui::Theme::Dark].map(|theme| Palette::of(theme).accent);
    let accents = accents.map(|c| u32::from_be_bytes([0, c.r(), c.g(), c.b()]));
    room.desk.picture(room.window).pixels().iter().filter(|p| accents.contains(&(**p & 0x00ff_ffff))).count()
}

#[test]
fn the_loudspeaker_follows_a_headset_that_is_plugged_in_and_survives_its_unplugging() {
    if !has(PROGRAMS) {
        return;
    }
    let mut room = Room::new(&[]);
    let file = room.host.state().with_file_name("long.wav");
    write_wav(&file, 1_000.0, LEVEL, Duration::from_secs(60));
    let path = file.to_string_lossy().into_owned();
    let ear = room.sound.record("ear.monitor", "ear");
    room.host.exec(&["paplay", &path]);
    wait_until(PATIENCE, "the tone at the loudspeaker", || loud(&ear));
    let module = room.sound.control(&["load-module", "module-null-sink", "sink_name=headset", "rate=48000"]);
    let headset = room.sound.record("headset.monitor", "headset");
    room.sound.control(&["set-default-sink", "headset"]);
    wait_until(PATIENCE, "the tone at the headset", || loud(&headset));
    wait_until(PATIENCE, "silence at the loudspeaker", || loud(&ear).is_none().then_some(()));
    room.sound.control(&["unload-module", module.trim()]);
    wait_until(PATIENCE, "the tone at the loudspeaker again", || loud(&ear));
    room.sound.restart();
    let ear = room.sound.record("ear.monitor", "restarted");
    wait_until(PATIENCE, "the tone after a restart of PulseAudio", || loud(&ear));
    room.viewer.processes().assert_running();
}

#[test]
fn the_microphone_follows_the_system_s_choice_and_the_users_and_survives_its_unplugging() {
    if !has(PROGRAMS) {
        return;
    }
    let mut room = Room::new(&[]);
    // Each microphone hears a tone of its own, all the time.
    let (built_in, webcam) = (440.0, 700.0);
    room.sound.control(&["load-module", "module-null-sink", "sink_name=scene", "rate=48000"]);
    for (sink, hertz) in [("mouth", built_in), ("scene", webcam)] {
        let file = room.sound.processes().folder().join(format!("{sink}.wav"));
        write_wav(&file, hertz, LEVEL, Duration::from_secs(300));
        // Keeps the null sink's clock quick, as a sound card's is.
        room.sound.record(&format!("{sink}.monitor"), &format!("clock-{sink}"));
        room.sound.begin_play(sink, &file);
    }
    let source =
        "source_name=webcam master=scene.monitor channels=1 channel_map=mono master_channel_map=front-left remix=no";
    let plug: Vec<&str> = ["load-module", "module-remap-source"].into_iter().chain(source.split(' ')).collect();
    let mut module = room.sound.control(&plug);
    let recorded = room.host.state().with_file_name("recorded.raw");
    let path = recorded.to_string_lossy().into_owned();
    room.host.exec(&["parec", "--rate=48000", "--channels=1", "--format=s16le", "--latency-msec=20", "--raw", &path]);
    wait_until(PATIENCE, "a program listens", || (room.number("recording")? == 1).then_some(()));
    // For half a second one tone at its level, and nothing of the other.
    let hears = |hertz: f32| {
        wait_until(2 * PATIENCE, &format!("{hertz} Hz are recorded in the session"), || {
            let samples = read_raw(&recorded);
            let last = &samples[samples.len().checked_sub(24_000)?..];
            let [low, high] = [built_in, webcam].map(|hertz| amplitudes(last, hertz));
            let (wanted, other) = if hertz == built_in { (low, high) } else { (high, low) };
            let is_alone = wanted.iter().all(|a| (a - LEVEL).abs() < 0.15 * LEVEL) && other.iter().all(|a| *a < 0.02);
            is_alone.then_some(())
        });
    };
    click_microphone(&mut room);
    hears(built_in);
    room.sound.control(&["set-default-source", "webcam"]);
    hears(webcam);
    room.sound.control(&["unload-module", module.trim()]);
    hears(built_in);

    // The user's own choice, while the system's is another.
    module = room.sound.control(&plug);
    room.sound.control(&["set-default-source", "microphone"]);
    let state = room.host.state().with_file_name("viewer");
    let kept = state.join("kachel/preferences.toml");
    std::fs::create_dir_all(state.join("kachel")).expect("the group's folder is ours");
    std::fs::write(&kept, "input = \"pulseaudio:webcam\"\n").expect("the group's folder is ours");
    room.restart(&[], Some(&state));
    click_microphone(&mut room);
    hears(webcam);
    room.sound.control(&["unload-module", module.trim()]);
    hears(built_in);
    room.sound.control(&plug);
    hears(webcam);
    room.viewer.processes().assert_running();
}

#[test]
fn devices_volume_and_silence_are_remembered() {
    if !has(PROGRAMS) {
        return;
    }
    let mut room = Room::new(&[]);
    let plug = ["load-module", "module-null-sink", "sink_name=headset", "rate=48000"];
    let module = room.sound.control(&plug);
    let headset = room.sound.record("headset.monitor", "headset");
    let file = room.host.state().with_file_name("long.wav");
    write_wav(&file, 1_000.0, LEVEL, Duration::from_secs(300));
    room.host.exec(&["paplay", &file.to_string_lossy()]);
    let is_at = |file: &Path, volume: f32| ((last_peak(file) - volume * LEVEL).abs() < 0.05 * LEVEL).then_some(());
    let soft = |file: &Path| is_at(file, 0.6);
    let ear = room.sound.record("ear.monitor", "first");
    let state = room.host.state().with_file_name("viewer");
    let kept = state.join("kachel/preferences.toml");
    // The sound page is open: the volume goes down while something plays, and two places further the session is silenced.
    room.restart(&["--mic"], Some(&state));
    wait_until(PATIENCE, "the tone is heard as it is played", || is_at(&ear, 1.0));
    let mut input = room.desk.input();
    input.press("Tab");
    for _ in 0..40 {
        input.press("Left");
    }
    wait_until(PATIENCE, "the tone is heard more softly", || soft(&ear));
    for key in ["Tab", "Tab", "space", "Escape"] {
        input.press(key);
    }
    wait_until(PATIENCE, "the choice is kept", || {
        let text = std::fs::read_to_string(&kept).ok()?;
        (text == "volume_percent = 60\nmuted = true\n").then_some(())
    });
    room.restart(&[], Some(&state));
    // The host is told at once: a program plays, and nothing is sent.
    let mut before = None;
    wait_until(PATIENCE, "nothing is sent", || {
        let now = (room.number("packets_sent")?, room.viewer.stats().len());
        let (packets, lines) = *before.get_or_insert(now);
        if packets != now.0 {
            before = Some(now);
        }
        (packets == now.0 && now.1 >= lines + 3).then_some(())
    });
    assert_eq!(room.number("playing"), Some(1));

    let chosen = "output = \"pulseaudio:headset\"\nvolume_percent = 60\nmuted = false\n";
    std::fs::write(&kept, chosen).expect("the group's folder is ours");
    room.restart(&[], Some(&state));
    wait_until(PATIENCE, "the chosen loudspeaker plays", || soft(&headset));
    // While it is unplugged the system's choice stands in.
    let ear = room.sound.record("ear.monitor", "ear");
    room.sound.control(&["unload-module", module.trim()]);
    wait_until(PATIENCE, "the other loudspeaker plays", || soft(&ear));
    // PulseAudio itself moved the sound there; the viewer must have seen it, too.
    wait_until(PATIENCE, "the viewer has noticed", || {
        room.viewer.processes().log("kachel").contains("pulseaudio:ear").then_some(())
    });
    room.sound.control(&plug);
    let headset = room.sound.record("headset.monitor", "plugged");
    wait_until(PATIENCE, "the chosen loudspeaker plays again", || soft(&headset));
    // Unplugged and back before anybody looks: PulseAudio has moved the sound away, and will not move it back.
    let modules = room.sound.control(&["list", "short", "modules"]);
    let module = modules.lines().find(|line| line.contains("sink_name=headset")).expect("the headset");
    let module = module.split_whitespace().next().expect("a number").to_owned();
    room.sound.control(&["unload-module", &module]);
    room.sound.control(&plug);
    let headset = room.sound.record("headset.monitor", "back");
    wait_until(PATIENCE, "the loudspeaker that was away for a moment plays", || soft(&headset));
    // Every look for devices asks through the same few connections, of which PulseAudio has 64 for everybody.
    let clients = room.sound.control(&["list", "short", "clients"]);
    let ours = clients.lines().filter(|line| line.contains("cpal") || line.contains("kachel")).count();
    assert!(ours <= 4, "{clients}");
}

#[test]
fn a_policy_holds_against_a_patched_viewer() {
    if !has(PROGRAMS) {
        return;
    }
    use kachel::proto::wire::{CAPABILITY_MICROPHONE, CAPABILITY_SOUND};
    let host = host_denying(&["sound", "microphone"]);
    patched(&host, 0);
    drop(host);
    // The microphone alone: the sound process is there, and a program plays all the time.
    let mut host = host_denying(&["sound"]);
    play_long(&mut host);
    patched(&host, CAPABILITY_MICROPHONE);
    assert_eq!(sound_of(&host)["packets_sent"].as_u64(), Some(0), "{}", sound_of(&host));
    drop(host);
    let mut host = host_denying(&["microphone"]);
    let recorded = host.state().with_file_name("recorded.raw");
    let path = recorded.to_string_lossy().into_owned();
    host.session_display(0);
    host.exec(&["parec", "--rate=48000", "--channels=1", "--format=s16le", "--latency-msec=20", "--raw", &path]);
    wait_until(PATIENCE, "a program listens", || (!read_raw(&recorded).is_empty()).then_some(()));
    play_long(&mut host);
    patched(&host, CAPABILITY_SOUND);
    let sound = sound_of(&host);
    assert_eq!(sound["microphone"], Value::Bool(false), "{sound}");
    assert_eq!(sound["microphone_packets"].as_u64(), Some(0), "{sound}");
    assert!(peak(&read_raw(&recorded)) == 0.0, "the patched viewer was heard");
}

fn host_denying(words: &[&str]) -> Host {
    let arguments = words.iter().flat_map(|word| ["--deny".to_owned(), (*word).to_owned()]).collect();
    Host::start(&host_program(), &HostOptions { arguments, ..HostOptions::default() })
}

fn sound_of(host: &Host) -> Value {
    host.status().expect("status")["sessions"][0]["sound"].clone()
}

/// A program in the session plays a tone that outlasts the test.
fn play_long(host: &mut Host) {
    let file = host.state().with_file_name("long.wav");
    write_wav(&file, 1_000.0, LEVEL, Duration::from_secs(120));
    host.session_display(0);
    host.exec(&["paplay", &file.to_string_lossy()]);
    wait_until(2 * PATIENCE, "a program plays", || (sound_of(host)["playing"].as_u64()? > 0).then_some(()));
}

/// A viewer that offers everything, is told what it may use, and then talks all the same.
fn patched(host: &Host, expected: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let trial = Trial::load(&host.trial_file()).expect("a trial");
        let mut viewer = Connector::new(&trial).expect("keys").connect().await.expect("a connection");
        let hello = Hello {
            version: VERSION,
            capabilities: u32::MAX,
            viewport: Size::new(800, 600),
            scale_percent: 100,
            layout: "de".into(),
            variant: String::new(),
            locale: "de-DE".into(),
        };
        viewer.send_control(&ViewerMessage::Hello(hello)).expect("room");
        let granted = tokio::time::timeout(2 * PATIENCE, async {
            loop {
                match viewer.recv().await {
                    Received::Control(body) => {
                        if let Ok(HostMessage::Welcome(welcome)) = HostMessage::decode(&body) {
                            return welcome.capabilities;
                        }
                    }
                    Received::Closed(reason) => panic!("{reason}"),
                    _ => {}
                }
            }
        });
        use kachel::proto::wire::{CAPABILITY_MICROPHONE, CAPABILITY_SOUND};
        let of_sound = CAPABILITY_SOUND | CAPABILITY_MICROPHONE;
        assert_eq!(granted.await.expect("a welcome") & of_sound, expected);
        viewer.send_control(&ViewerMessage::Sound(SoundWish::Twice)).expect("room");
        viewer.send_control(&ViewerMessage::Microphone(true)).expect("room");
        let voice: Vec<f32> = (0..48_000).map(|i| (i as f32 * 0.05).sin() * 0.5).collect();
        let mut packets: Vec<SoundPacket> = Vec::new();
        let mut talker = kachel::io::opus::Talker::new(SoundKind::Microphone).expect("Opus");
        talker.handle_samples(&voice, 0, &mut packets).expect("Opus");
        assert!(packets.len() > 40);
        let may_hear = expected & CAPABILITY_SOUND != 0;
        let mut heard = 0;
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut packets = packets.into_iter();
        // All packets in any case; where sound is allowed, until some of it came.
        while packets.len() > 0 || may_hear && heard == 0 && tokio::time::Instant::now() < end {
            if let Some(packet) = packets.next() {
                let mut bytes = Vec::new();
                packet.encode(&mut bytes);
                viewer.send_datagram(bytes.into());
            }
            let next = tokio::time::Instant::now() + Duration::from_millis(20);
            while let Ok(received) = tokio::time::timeout_at(next, viewer.recv()).await {
                match received {
                    Received::Datagram(_) => heard += 1,
                    Received::Closed(reason) => panic!("it is not even sent away: {reason}"),
                    _ => {}
                }
            }
        }
        assert_eq!(heard > 0, may_hear, "{heard} packets of sound came");
    });
}
