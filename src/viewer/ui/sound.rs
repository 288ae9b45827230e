//! The sound page: volume, devices, the microphone's switch, and a test of both.

use egui::{ComboBox, Key, RichText, Sense, Slider, Vec2, vec2};

use super::page::{Action, SoundPage};
use super::pages::{View, Weight, button, buttons, card, fill_window, heading, palette, paragraph, pressed};
use super::style::GRID;
use crate::io::sound::SoundDevice;
use crate::proto::sound::talk::TalkState;
use crate::viewer::event::TestState;

impl View<'_> {
    pub(super) fn sound(&mut self, ui: &mut egui::Ui, page: &SoundPage) {
        let p = *palette(ui);
        fill_window(ui, p.veil);
        card(ui, "sound", false, |ui| {
            heading(ui, self.locale.plain("sound-title"));
            ui.add_space(GRID);
            self.loudspeaker(ui, page);
            ui.add_space(GRID);
            self.microphone(ui, page);
            ui.add_space(GRID);
            let test = match page.view.test {
                TestState::Nothing => "sound-test",
                TestState::Tone => "sound-test-tone",
                TestState::Recording => "sound-test-recording",
                TestState::Replaying => "sound-test-replaying",
            };
            paragraph(ui, self.locale.plain(test), p.weak);
            let delay = match page.delay {
                Some(delay) => self.locale.text("sound-delay", &[("time", self.locale.milliseconds(delay).into())]),
                None => self.locale.plain("sound-delay-unknown"),
            };
            paragraph(ui, delay, p.weak);
            ui.add_space(GRID);
            row(ui, |ui| {
                if page.view.test != TestState::Nothing {
                    ui.disable();
                }
                if button(ui, &self.locale.plain("sound-button-tone"), Weight::Plain).clicked() {
                    self.actions.push(Action::TestTone);
                }
                if button(ui, &self.locale.plain("sound-button-loop"), Weight::Plain).clicked() {
                    self.actions.push(Action::TestLoop);
                }
            });
            let closed = buttons(ui, |ui| button(ui, &self.locale.plain("sound-close"), Weight::Primary).clicked());
            if closed || pressed(ui, Key::Escape) {
                self.actions.push(Action::ShowSound(false));
            }
        });
    }

    fn loudspeaker(&mut self, ui: &mut egui::Ui, page: &SoundPage) {
        let p = *palette(ui);
        if !page.talk.sound {
            paragraph(ui, self.locale.plain("sound-denied"), p.weak);
        }
        row(ui, |ui| {
            ui.horizontal(|ui| {
                let mut percent = (page.view.volume * 100.0).round() as u8;
                let label = ui.label(self.locale.plain("sound-volume"));
                let slider = ui.add(Slider::new(&mut percent, 0..=100).suffix(" %")).labelled_by(label.id);
                if slider.changed() {
                    self.actions.push(Action::SetVolume(percent));
                }
            });
            let mute = if page.talk.muted { "sound-unmute" } else { "sound-mute" };
            if button(ui, &self.locale.plain(mute), Weight::Plain).clicked() {
                self.actions.push(Action::ToggleMute);
            }
        });
        if let Some(choice) = self.device(ui, "sound-output", &page.view.outputs, page.view.output.as_deref()) {
            self.actions.push(Action::UseOutput(choice));
        }
    }

    fn microphone(&mut self, ui: &mut egui::Ui, page: &SoundPage) {
        let p = *palette(ui);
        let text = match page.talk {
            TalkState { microphone_allowed: false, .. } => "sound-microphone-denied",
            TalkState { microphone: true, .. } => "sound-microphone-on",
            TalkState { wanted: true, .. } => "sound-microphone-wanted",
            _ => "sound-microphone-off",
        };
        let color = if page.talk.microphone { p.danger } else { p.text };
        paragraph(ui, self.locale.plain(text), color);
        row(ui, |ui| {
            let label = if page.talk.microphone { "sound-microphone-stop" } else { "sound-microphone-start" };
            ui.add_enabled_ui(page.talk.microphone_allowed, |ui| {
                if button(ui, &self.locale.plain(label), Weight::Plain).clicked() {
                    self.actions.push(Action::ToggleMicrophone);
                }
            });
            let (rect, response) =
                ui.allocate_exact_size(vec2(ui.available_width().max(10.0 * GRID), 1.5 * GRID), Sense::hover());
            let percent = (page.view.level.sqrt() * 100.0).round().clamp(0.0, 100.0);
            let level = self.locale.text("sound-level", &[("percent", f64::from(percent).into())]);
            response.widget_info(|| egui::WidgetInfo::labeled(egui::accesskit::Role::Meter, true, &level));
            ui.painter().rect_filled(rect, 2.0, p.button);
            let filled = egui::Rect::from_min_size(rect.min, Vec2::new(rect.width() * percent / 100.0, rect.height()));
            ui.painter().rect_filled(filled, 2.0, p.accent);
        });
        if let Some(choice) = self.device(ui, "sound-input", &page.view.inputs, page.view.input.as_deref()) {
            self.actions.push(Action::UseInput(choice));
        }
    }

    /// A list of devices with the system's choice first; what the user chose, if it is another one than before.
    fn device(
        &self,
        ui: &mut egui::Ui,
        label: &str,
        devices: &[SoundDevice],
        chosen: Option<&str>,
    ) -> Option<Option<String>> {
        let automatic = self.locale.plain("sound-automatic");
        let name = |id: &str| devices.iter().find(|d| d.id == id).map(|d| d.name.clone());
        // A chosen device that is gone is waited for, and the system's choice stands in.
        let shown =
            chosen.map_or_else(|| automatic.clone(), |id| name(id).unwrap_or_else(|| self.locale.plain("sound-gone")));
        let mut choice = None;
        ui.label(RichText::new(self.locale.plain(label)).small());
        ui.add_space(-GRID / 2.0);
        ComboBox::from_id_salt(label).selected_text(shown).width(ui.available_width()).show_ui(ui, |ui| {
            if ui.selectable_label(chosen.is_none(), automatic).clicked() && chosen.is_some() {
                choice = Some(None);
            }
            for device in devices {
                let selected = chosen == Some(device.id.as_str());
                if ui.selectable_label(selected, &device.name).clicked() && !selected {
                    choice = Some(Some(device.id.clone()));
                }
            }
        });
        choice
    }
}

/// Side by side where there is room, else one below the other.
fn row(ui: &mut egui::Ui, content: impl FnOnce(&mut egui::Ui)) {
    if ui.available_width() < 45.0 * GRID {
        ui.vertical(content);
    } else {
        ui.horizontal(content);
    }
}
