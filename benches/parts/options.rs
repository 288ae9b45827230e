//! The command line of the benches: `[--quick] [--shots] [--peers a,b] [--only x,y] [FOLDER…]`. What `cargo bench` adds is ignored.

use super::peers::Peer;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// A short run: few scenarios, few samples.
    pub quick: bool,
    /// Whether the desktop's last picture of each scenario is kept as PNG.
    pub shots: bool,
    /// Who takes part, in order.
    pub peers: Vec<Peer>,
    /// Names of scenarios or kinds; empty means all.
    pub only: Vec<String>,
    /// What is no option: folders of captures.
    pub folders: Vec<String>,
}

impl Options {
    /// Reads the arguments of this process; ends it with a message when one is wrong.
    pub fn from_arguments() -> Self {
        let mut options =
            Self { quick: false, shots: false, peers: Peer::USUAL.to_vec(), only: Vec::new(), folders: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--shots" => options.shots = true,
                "--bench" => {}
                "--peers" => {
                    let names = arguments.next().unwrap_or_default();
                    let known = |name: &str| Peer::ALL.into_iter().find(|peer| peer.name() == name);
                    let unknown = |name: &str| usage(&format!("no peer is called {name:?}"));
                    options.peers = names.split(',').map(|name| known(name).unwrap_or_else(|| unknown(name))).collect();
                }
                "--only" => options.only = arguments.next().unwrap_or_default().split(',').map(str::to_owned).collect(),
                folder if !folder.starts_with('-') => options.folders.push(argument),
                other => usage(&format!("unknown argument {other:?}")),
            }
        }
        options
    }

    /// Whether `name` takes part; with `--quick` and no list only if it is one of the `short` ones.
    pub fn wants(&self, name: &str, short: bool) -> bool {
        if self.only.is_empty() { short || !self.quick } else { self.only.iter().any(|only| only == name) }
    }
}

fn usage(message: &str) -> ! {
    let peers = Peer::ALL.map(Peer::name).join(",");
    eprintln!("{message}\nusage: [--quick] [--shots] [--peers {peers}] [--only NAME,…]");
    std::process::exit(2)
}
