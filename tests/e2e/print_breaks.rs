//! What breaks while something is printed: every process, the line, the journal, the printer itself. Each job comes out
//! once, at its own desk, or its user is asked.

use std::fs;

use kachel::limits::DOCUMENT_WINDOW;
use rustix::process::Signal;

use crate::print::{Office, PATIENCE, PROGRAMS};
use crate::printers::PrintSystem;
use crate::seat::has;
use crate::support::printer::{IppPrinter, pdf};
use crate::support::process::send;
use crate::support::wait::wait_until;

/// How far a job is when something is killed.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Its program was told that it is taken; the session's CUPS is sending it to the session's printer.
    Spooled,
    /// A part of it is at the viewer.
    Coming,
    /// The printer has it, and no paper.
    HandedOver,
}

#[test]
fn kills_of_every_part_at_every_step_neither_lose_nor_double_a_job() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    // Large enough that a kill meets its transfer.
    let path = office.document("big.pdf", pdf(6 << 20, "Kachel-Marke-3"));
    let mut before = 0;
    for step in [Step::Coming, Step::Spooled, Step::HandedOver] {
        for victim in ["viewer", "session", "front", "cups"] {
            office.printer.set_paper(false);
            // A print server that was killed is there again in two seconds.
            let queue = office.queue();
            office.run("lp", &["-d", &queue, "-t", victim, &path]);
            let job = |office: &Office| office.printing()?["jobs"].get(before).cloned();
            match step {
                Step::Spooled => {}
                Step::Coming => wait_until(PATIENCE, "the transfer has begun", || {
                    (job(&office)?["confirmed"].as_u64()? > 0).then_some(())
                }),
                Step::HandedOver => {
                    wait_until(PATIENCE, "there is no paper", || (job(&office)?["state"] == "stopped").then_some(()));
                }
            }
            match victim {
                "viewer" => {
                    office.kill_viewer();
                    office.start_viewer();
                }
                "session" => send(office.session_pid(), Signal::KILL),
                "front" => {
                    office.host.end_front(Signal::KILL);
                    office.serve_again();
                }
                _ => {
                    let pids = office.host.processes().pids();
                    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                    let cups = pids.into_iter().find(|pid| name(pid).trim() == "cupsd").expect("CUPS runs");
                    send(cups, Signal::KILL);
                }
            }
            // Nobody touches the desk: an idle link is silent for longer than this test wants to wait.
            office.nudge();
            office.printer.set_paper(true);
            wait_until(2 * PATIENCE, &format!("{victim} is killed, {step:?}"), || {
                office.nudge();
                let states = office.states();
                (states.len() > before && states.last()? == "done").then_some(())
            });
            before += 1;
            assert_eq!(office.printer.sheets().len(), before, "{victim}, {step:?}\n{}", office.printer.log());
        }
    }
    office.wait_states("all of them", &["done"; 12]);
    assert_eq!(office.printer.sheets().len(), 12, "each once\n{}", office.printer.log());
    // A queue that is lost all the same is made anew by the next session process.
    let queue = office.queue();
    office.run("lpadmin", &["-x", &queue]);
    send(office.session_pid(), Signal::KILL);
    wait_until(PATIENCE, "the session is back", || {
        office.nudge();
        (office.printing()?["printers"][0]["present"] == true).then_some(())
    });
    assert_eq!(office.queue(), queue);
}

#[test]
fn the_same_document_once_more_comes_out_once_more_also_when_the_session_process_dies_between() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    // Large enough that a kill meets the second on its way from CUPS.
    let path = office.document("big.pdf", pdf(64 << 20, "Kachel-Marke-15"));
    let spool = office.host.state().join("sessions/trial/print-spool");
    let is_coming = || {
        let names = fs::read_dir(&spool).expect("the session has it").flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().ends_with(".part"))
    };
    for copies in [2, 4] {
        let queue = office.queue();
        office.run("lp", &["-d", &queue, &path, &path]);
        wait_until(PATIENCE, "the first has come out", || {
            let done = office.states().iter().filter(|state| *state == "done").count();
            (done >= copies - 1).then_some(())
        });
        // CUPS has heard that.
        wait_until(PATIENCE, "the second is coming", || is_coming().then_some(()));
        send(office.session_pid(), Signal::KILL);
        wait_until(2 * PATIENCE, "both have come out", || {
            office.nudge();
            (office.states() == vec!["done"; copies]).then_some(())
        });
        assert_eq!(office.printer.sheets().len(), copies, "{}", office.printer.log());
    }
}

#[test]
fn a_line_that_is_cut_costs_no_byte_of_a_document_twice() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    let queue = office.queue();
    // The viewer comes anew, over a line that can be cut.
    office.kill_viewer();
    let relay = office.host.lead_over_relay();
    office.start_viewer();
    wait_until(PATIENCE, "the viewer is back", || (office.printing()?["printers"][0]["present"] == true).then_some(()));

    let document = pdf(12 << 20, "Kachel-Marke-13");
    let path = office.document("big.pdf", &document);
    relay.cut_after(4 << 20);
    office.run("lp", &["-d", &queue, &path]);
    wait_until(PATIENCE, "the line is cut", || relay.is_cut().then_some(()));
    wait_until(PATIENCE, "the viewer has given the connection up", || {
        office.nudge();
        let log = office.viewer.as_mut().expect("it runs").processes().log("kachel");
        log.contains("No connection").then_some(())
    });
    let confirmed = office.printing().expect("status")["jobs"][0]["confirmed"].as_u64().expect("a number");
    assert!((1 << 20..document.len() as u64).contains(&confirmed), "the cut met no transfer: {confirmed}");
    relay.mend();
    wait_until(2 * PATIENCE, "it is printed", || {
        office.nudge();
        (office.states() == ["done"]).then_some(())
    });
    let sheets = office.printer.sheets();
    assert!(sheets.len() == 1 && sheets[0].document == document, "{}", office.printer.log());
    let sent = office.printing().expect("status")["bytes"].as_u64().expect("a number");
    let most = document.len() as u64 + u64::from(DOCUMENT_WINDOW);
    assert!((document.len() as u64..=most).contains(&sent), "{sent} bytes were sent of {}", document.len());
}

#[test]
fn a_viewer_that_died_in_the_hand_over_finds_its_job_at_printer_and_print_system() {
    if !has(PROGRAMS) {
        return;
    }
    for is_between in [false, true] {
        let mut system = None;
        let mut office = Office::with(&[], |printer| {
            if is_between { system.insert(PrintSystem::start(printer)).way() } else { Default::default() }
        });
        let queue = office.queue();
        let path = office.document("a.pdf", pdf(10_000, "Kachel-Marke-14"));
        office.printer.set_paper(false);
        office.run("lp", &["-d", &queue, &path]);
        office.wait_states("no paper", &["stopped"]);
        office.kill_viewer();
        // The power went before the last record was whole: that the print system has the job is not written down.
        let journal = fs::read(office.journal()).expect("it is there");
        fs::write(office.journal(), &journal[..journal.len() - 3]).expect("ours");
        office.start_viewer();
        office.printer.set_paper(true);
        wait_until(2 * PATIENCE, "it is printed", || {
            office.nudge();
            let states = office.states();
            assert!(!states.contains(&"unknown".to_owned()), "nobody had to be asked");
            (states == ["done"]).then_some(())
        });
        assert_eq!(office.printer.sheets().len(), 1, "{}", office.printer.log());
    }
}

#[test]
fn a_printer_that_numbers_anew_gives_no_stranger_s_state_and_cancels_no_stranger_s_job() {
    if !has(PROGRAMS) {
        return;
    }
    for is_canceled in [false, true] {
        let mut office = Office::new(&[]);
        let queue = office.queue();
        let path = office.document("a.pdf", pdf(10_000, "Kachel-Marke-10"));
        office.printer.set_paper(false);
        office.run("lp", &["-d", &queue, &path]);
        office.wait_states("no paper", &["stopped"]);
        // While the viewer does not look, the printer forgets its jobs and gives their number to somebody else's.
        let viewer = office.viewer.as_mut().expect("it runs").processes().pid("kachel").expect("it runs");
        send(viewer, Signal::STOP);
        office.printer.switch_off();
        office.printer.switch_on();
        let theirs = pdf(20_000, "somebody else's");
        office.printer.take(&theirs);
        if is_canceled {
            office.run("cancel", &["-a", &queue]);
        }
        send(viewer, Signal::CONT);
        office.wait_states("ours is not known", if is_canceled { &["canceled"] } else { &["unknown"] });
        office.printer.set_paper(true);
        let sheets = wait_until(PATIENCE, "their sheet", || Some(office.printer.sheets()).filter(|s| !s.is_empty()));
        assert!(sheets.len() == 1 && sheets[0].document == theirs, "{}", office.printer.log());
        office.wait_states("and later", if is_canceled { &["canceled"] } else { &["unknown"] });
    }
}

#[test]
fn what_waits_in_a_queue_is_not_lost_when_another_desk_takes_over() {
    if !has(PROGRAMS) {
        return;
    }
    let mut office = Office::new(&[]);
    let queue = office.queue();
    let document = pdf(10_000, "Kachel-Marke-11");
    let path = office.document("a.pdf", &document);
    office.run("lp", &["-d", &queue, "-H", "hold", &path]);
    let here = std::mem::take(&mut office.way);
    let mut other = IppPrinter::start("Anderswo");
    office.way.arguments = Some(vec!["--printer".into(), other.uri()]);
    let take_over = |office: &mut Office| {
        office.viewer.take().expect("it runs").processes().end("kachel", Signal::TERM);
        office.start_viewer();
    };
    let queues = |office: &mut Office| office.run("lpstat", &["-e"]).lines().map(str::to_owned).collect::<Vec<_>>();
    take_over(&mut office);
    wait_until(PATIENCE, "the other desk's queue", || {
        queues(&mut office).contains(&"Anderswo".to_owned()).then_some(())
    });
    // What has come stays, and nothing else comes.
    assert_eq!(queues(&mut office), ["Anderswo".to_owned(), queue.clone()]);
    assert!(office.run("lpstat", &["-W", "not-completed", "-o"]).contains(&format!("{queue}-1")));
    assert!(office.run("lpstat", &["-a", &queue]).contains("not accepting"));
    // Also over a print server and a session process that were killed.
    send(office.session_pid(), Signal::KILL);
    let session_back = |office: &Office| {
        let printers = office.printing()?["printers"].as_array().cloned()?;
        printers.iter().any(|p| p["name"] == "Anderswo" && p["present"] == true).then_some(())
    };
    wait_until(PATIENCE, "the session process is back", || {
        office.nudge();
        session_back(&office)
    });
    office.run("lp", &["-i", &format!("{queue}-1"), "-H", "resume"]);
    office.wait_states("it waits for its own printer", &["waiting"]);
    assert_eq!(other.sheets().len(), 0, "never at another desk");
    other.switch_off();
    office.way = here;
    take_over(&mut office);
    office.wait_states("its desk is back", &["done"]);
    let sheets = office.printer.sheets();
    assert!(sheets.len() == 1 && sheets[0].document == document, "{}", office.printer.log());
    wait_until(PATIENCE, "a queue that nobody waits for is gone", || {
        (queues(&mut office) == [queue.clone()]).then_some(())
    });
    assert!(office.run("lpstat", &["-a", &queue]).contains("accepting requests"));
}
