//! The printing page: which printers the session may use, how far each job is, and the question nobody else can answer.

use egui::{Key, ProgressBar, RichText};

use super::page::Action;
use super::pages::{View, Weight, button, buttons, card, fill_window, heading, palette, paragraph, pressed};
use super::style::GRID;
use crate::proto::print::viewer::{JobView, Progress};
use crate::proto::wire::print::{JobReason, JobState};
use crate::viewer::print::{PrintCommand, PrintView};

impl View<'_> {
    pub(super) fn printing(&mut self, ui: &mut egui::Ui, view: &PrintView) {
        let p = *palette(ui);
        fill_window(ui, p.veil);
        card(ui, "printing", false, |ui| {
            heading(ui, self.locale.plain("printing-title"));
            let explain = match (view.allowed, view.printers.is_empty()) {
                (false, _) => "printing-denied",
                (true, true) => "printing-none",
                (true, false) => "printing-explain",
            };
            paragraph(ui, self.locale.plain(explain), p.weak);
            for (printer, offered) in &view.printers {
                let mut ticked = *offered;
                let text = if printer.is_default {
                    self.locale.text("printing-default", &[("name", printer.name.clone().into())])
                } else {
                    printer.name.clone()
                };
                if ui.checkbox(&mut ticked, text).changed() {
                    self.actions.push(Action::Print(PrintCommand::Offer(printer.key, ticked)));
                }
            }
            if view.jobs.is_empty() {
                ui.add_space(GRID);
                paragraph(ui, self.locale.plain("printing-no-jobs"), p.weak);
            }
            for job in &view.jobs {
                self.print_job(ui, job);
            }
            ui.add_space(GRID);
            let closed = buttons(ui, |ui| button(ui, &self.locale.plain("printing-close"), Weight::Primary).clicked());
            if closed || pressed(ui, Key::Escape) {
                self.actions.push(Action::ShowPrinting(false));
            }
        });
    }

    fn print_job(&mut self, ui: &mut egui::Ui, job: &JobView) {
        let p = *palette(ui);
        // Its buttons are nearer to it than to the next job.
        ui.add_space(GRID);
        let title = if job.title.is_empty() { self.locale.plain("printing-untitled") } else { job.title.clone() };
        ui.label(RichText::new(title).strong());
        let Progress::State(state, reason) = job.progress else {
            if let Progress::Receiving { received, size } = job.progress {
                let part = received as f32 / size.max(1) as f32;
                let args = [("percent", f64::from((part * 100.0).floor()).into())];
                ui.add(ProgressBar::new(part).text(self.locale.text("printing-receiving", &args)));
            }
            return self.cancel_button(ui, job);
        };
        let color = match state {
            JobState::Failed | JobState::Unknown => p.danger,
            _ => p.weak,
        };
        paragraph(ui, self.locale.plain(state_text(state, reason)), color);
        if state == JobState::Unknown {
            ui.horizontal_wrapped(|ui| {
                for (text, printed) in [("printing-was-printed", true), ("printing-was-not-printed", false)] {
                    if button(ui, &self.locale.plain(text), Weight::Plain).clicked() {
                        self.actions.push(Action::Print(PrintCommand::Answer(job.job, printed)));
                    }
                }
            });
        } else if !state.is_end() {
            self.cancel_button(ui, job);
        }
    }

    fn cancel_button(&mut self, ui: &mut egui::Ui, job: &JobView) {
        if button(ui, &self.locale.plain("printing-cancel"), Weight::Plain).clicked() {
            self.actions.push(Action::Print(PrintCommand::Cancel(job.job)));
        }
    }
}

/// What is said of a job: what happened and what to do next.
fn state_text(state: JobState, reason: JobReason) -> &'static str {
    match (state, reason) {
        (JobState::Queued, _) => "printing-queued",
        (JobState::Printing, _) => "printing-printing",
        (JobState::Stopped, JobReason::MediaEmpty) => "printing-stopped-paper",
        (JobState::Stopped, JobReason::MediaJam) => "printing-stopped-jam",
        (JobState::Stopped, JobReason::CoverOpen) => "printing-stopped-cover",
        (JobState::Stopped, JobReason::MarkerEmpty) => "printing-stopped-toner",
        (JobState::Stopped, JobReason::Offline | JobReason::NoPrinter) => "printing-stopped-offline",
        (JobState::Stopped, JobReason::NoPrintSystem) => "printing-stopped-system",
        (JobState::Stopped, _) => "printing-stopped",
        (JobState::Done, _) => "printing-done",
        (JobState::Canceled, _) => "printing-canceled",
        (JobState::Failed, JobReason::Refused) => "printing-failed-refused",
        (JobState::Failed, JobReason::Damaged) => "printing-failed-damaged",
        (JobState::Failed, JobReason::NoPrinter) => "printing-failed-printer",
        (JobState::Failed, JobReason::NoRoom) => "printing-failed-room",
        (JobState::Failed, JobReason::NoJournal) => "printing-failed-journal",
        (JobState::Failed, _) => "printing-failed",
        (JobState::Unknown, _) => "printing-unknown",
    }
}
