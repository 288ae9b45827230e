//! `kachel-host`: arguments, logging, and the call into the library.

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use clap::{Parser, Subcommand};
use kachel::host::front::{ServeOptions, connect, connect_session, serve};
use kachel::host::place::{Place, SessionPlace};
use kachel::host::policy::{DENIABLE, Policy};
use kachel::host::session::desk::open_programs;
use kachel::host::session::{self, SessionOptions};
use kachel::host::sound;
use kachel::io::net::devices::DeviceList;
use kachel::limits;
use kachel::proto::wire::{CloseCode, Relay};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

/// A session that does not answer a question for this long is called silent.
const ANSWER: Duration = Duration::from_secs(3);
/// A desktop gets this long to end.
const ENDING: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
#[command(name = "kachel-host", version, about = "Serves Linux desktops to kachel viewers")]
struct Arguments {
    /// Where the host keeps its keys and sessions [default: ~/.local/state/kachel-host]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Serve desktops until stopped; they go on when this ends
    Serve {
        /// Write DIR/trial.kachel, with which a viewer comes in for 24 hours; once per desktop
        #[arg(long = "trial", value_name = "DIR")]
        trials: Vec<PathBuf>,
        /// Show this X display instead of starting a desktop
        #[arg(long, value_name = "DISPLAY")]
        attach: Option<String>,
        /// Address and UDP port to listen on
        #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, limits::PORT)))]
        listen: SocketAddr,
        /// Do not let viewers use this; may be given several times
        #[arg(long = "deny", value_name = "WHAT", value_parser = DENIABLE)]
        denied: Vec<String>,
    },
    /// Open a terminal, an editor, a file manager and a browser inside a session, as far as they are installed
    Programs {
        /// The session, where there are several
        #[arg(long, value_name = "NAME")]
        session: Option<String>,
    },
    /// Run a program inside a session
    Exec {
        /// The session, where there are several
        #[arg(long, value_name = "NAME")]
        session: Option<String>,
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
        program: Vec<OsString>,
    },
    /// Tell what the sessions are doing
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End desktops and the programs in them
    Stop {
        /// Only this session
        #[arg(long, value_name = "NAME")]
        session: Option<String>,
    },
    /// List the devices that may come in, or take one off the list
    #[command(subcommand)]
    Device(DeviceTask),
    /// One desktop; started by `serve`
    #[command(hide = true)]
    Session {
        #[arg(long)]
        place: PathBuf,
        #[arg(long)]
        name: String,
        #[arg(long)]
        attach: Option<String>,
        #[arg(long = "deny", value_parser = DENIABLE)]
        denied: Vec<String>,
    },
    /// One desktop's sound server; started by its session
    #[command(hide = true)]
    Sound {
        #[arg(long)]
        place: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum DeviceTask {
    /// List them
    List,
    /// Take a device off the list; its connection ends at once
    Revoke {
        /// Its id, as `device list` shows it
        id: String,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("KACHEL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    std::panic::set_hook(Box::new(|panic| {
        // Only where: the message could hold what was on somebody's screen.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        eprintln!("kachel-host: internal error at {place}");
    }));
    let state = arguments.state.clone().or_else(Place::default_state).context("no --state and no home directory");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().context("no event loop");
    match arguments.task {
        Task::Session { place, name, attach, denied } => {
            Ok(session::run(SessionOptions { place, name, attach, policy: Policy::denying(denied) })?)
        }
        Task::Sound { place } => Ok(sound::run(&place)?),
        Task::Serve { trials, attach, listen, denied } => {
            let options = ServeOptions { trials, attach, listen, state: state?, policy: Policy::denying(denied) };
            Ok(runtime()?.block_on(serve(options))?)
        }
        Task::Programs { session } => {
            let opened = open_programs(one_session(&Place::new(state?), session)?.dir())?;
            println!("kachel-host: opened {}", opened.join(", "));
            Ok(())
        }
        Task::Exec { session, program } => exec(&Place::new(state?), session, &program),
        Task::Status { json } => runtime()?.block_on(status(&Place::new(state?), json)),
        Task::Stop { session } => runtime()?.block_on(stop(&Place::new(state?), session)),
        Task::Device(task) => device(&Place::new(state?), task),
    }
}

/// Becomes the program; returns only if that fails.
fn exec(place: &Place, session: Option<String>, program: &[OsString]) -> Result<()> {
    let file = one_session(place, session)?.environment();
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("{}: is the desktop running?", file.display()))?;
    let environment: Vec<(String, String)> =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?;
    let (name, arguments) = program.split_first().context("no program")?;
    let mut command = Command::new(name);
    // What the caller knows of its own screen must not reach into the session.
    for inherited in ["DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "SESSION_MANAGER"] {
        command.env_remove(inherited);
    }
    let error = command.args(arguments).envs(environment).exec();
    Err(error).with_context(|| format!("{} cannot be run", name.to_string_lossy()))
}

async fn status(place: &Place, as_json: bool) -> Result<()> {
    let mut sessions = Vec::new();
    for name in place.session_names()? {
        let session = place.session(&name);
        let answer = timeout(ANSWER, async { ask(connect_session(&session).await?).await }).await;
        let sound = timeout(ANSWER, async { ask(connect(&session.sound_socket()).await?).await }).await;
        sessions.push(match answer {
            Ok(Ok(Value::Object(mut told))) => {
                told.entry("name").or_insert_with(|| json!(name));
                told.entry("running").or_insert(json!(true));
                told.insert("sound".to_owned(), sound.ok().and_then(Result::ok).unwrap_or(Value::Null));
                Value::Object(told)
            }
            Ok(Ok(other)) => json!({ "name": name, "running": true, "told": other }),
            Ok(Err(_)) => json!({ "name": name, "running": false }),
            Err(_) => json!({ "name": name, "running": true, "silent": true }),
        });
    }
    if as_json {
        println!("{}", json!({ "sessions": sessions }));
        return Ok(());
    }
    let told: Vec<String> = sessions.iter().map(|session| facts("", session)).collect();
    print!("{}", told.join("\n"));
    Ok(())
}

/// A line for each fact, as `name: value`; what is in a group has the group's name in front, and the members of a list
/// their number.
fn facts(name: &str, value: &Value) -> String {
    let inside = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    let is_plain = |value: &Value| !value.is_object() && !value.is_array();
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Object(members) => members.iter().map(|(key, value)| facts(&inside(key), value)).collect(),
        Value::Array(values) if !values.is_empty() && values.iter().all(is_plain) => {
            format!("{name}: {}\n", values.iter().map(word).collect::<Vec<_>>().join(" "))
        }
        Value::Array(values) if !values.is_empty() => {
            values.iter().zip(1..).map(|(value, n)| facts(&inside(&n.to_string()), value)).collect()
        }
        Value::Array(_) | Value::Null => format!("{name}: none\n"),
        plain => format!("{name}: {}\n", word(plain)),
    }
}

async fn ask(mut stream: UnixStream) -> Result<Value> {
    send(&mut stream, &Relay::Status(bytes::Bytes::new())).await?;
    let mut inbox = BytesMut::new();
    loop {
        while let Some(message) = Relay::decode(&mut inbox)? {
            if let Relay::Status(told) = message {
                return Ok(serde_json::from_slice(&told)?);
            }
        }
        if stream.read_buf(&mut inbox).await? == 0 {
            bail!("the session closed the connection");
        }
    }
}

async fn stop(place: &Place, session: Option<String>) -> Result<()> {
    let names = match session {
        Some(name) => vec![name],
        None => place.session_names()?,
    };
    for name in names {
        let session = place.session(&name);
        let Ok(mut stream) = connect_session(&session).await else { continue };
        send(&mut stream, &Relay::Close(CloseCode::Ended as u32)).await?;
        // It closes its end when it is gone; what it says meanwhile is not for us.
        let gone = async { while stream.read_buf(&mut BytesMut::with_capacity(1 << 10)).await.is_ok_and(|n| n > 0) {} };
        timeout(ENDING, gone).await.with_context(|| format!("session {name} does not end"))?;
    }
    Ok(())
}

async fn send(stream: &mut UnixStream, message: &Relay) -> Result<()> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    Ok(stream.write_all(&bytes).await?)
}

fn device(place: &Place, task: DeviceTask) -> Result<()> {
    let devices = DeviceList::new(place.devices());
    match task {
        DeviceTask::List => {
            for device in devices.devices()?.iter() {
                println!("{}  {}  session {}  until {}", device.id, device.name, device.session, device.expires);
            }
        }
        DeviceTask::Revoke { id } => {
            if devices.revoke(&id)? == 0 {
                bail!("no device has the id {id}");
            }
        }
    }
    Ok(())
}

fn one_session(place: &Place, session: Option<String>) -> Result<SessionPlace> {
    if let Some(name) = session {
        return Ok(place.session(&name));
    }
    let mut names = place.session_names()?;
    names.retain(|name| place.session(name).environment().exists());
    match &names[..] {
        [name] => Ok(place.session(name)),
        [] => bail!("there is no session in {}", place.state().display()),
        several => bail!("there are several sessions, say which with --session: {}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_told_to_people_a_fact_a_line() {
        let told = json!({
            "bytes": 1234,
            "display": ":7",
            "processes": [12, 13],
            "printing": { "jobs": [], "printers": [{ "name": "Büro", "default": true }, { "name": "Flur" }] },
            "sound": null,
        });
        let expected = "\
bytes: 1234
display: :7
printing.jobs: none
printing.printers.1.default: true
printing.printers.1.name: Büro
printing.printers.2.name: Flur
processes: 12 13
sound: none
";
        assert_eq!(facts("", &told), expected);
    }
}
