//! What is said above the picture as long as it is so: the microphone is on, or something waits for the user.
//! Where there is no bar, each sign has the button that leads to its page.

use egui::{Align2, Area, Color32, CornerRadius, Id, Margin, Order, RichText, Sense, Shadow, Vec2, vec2};

use super::page::{Action, Sign};
use super::pages::{View, Weight, button, palette, surface};
use super::style::GRID;

impl View<'_> {
    pub(super) fn signs(&mut self, ui: &mut egui::Ui, signs: &[Sign], with_buttons: bool) {
        if signs.is_empty() {
            return;
        }
        let p = *palette(ui);
        let shown = Area::new(Id::unique("signs"))
            .anchor(Align2::LEFT_BOTTOM, vec2(GRID, -GRID))
            .order(Order::Foreground)
            .interactable(with_buttons)
            .fade_in(false)
            .show(ui.ctx(), |ui| {
                for sign in signs {
                    let (text, color, button_text, action) = match sign {
                        Sign::MicrophoneOn => ("microphone-on", p.danger, "bar-sound", Action::ShowSound(true)),
                        Sign::MicrophoneWanted => ("microphone-wanted", p.accent, "bar-sound", Action::ShowSound(true)),
                        Sign::PrintQuestion => ("printing-asks", p.accent, "bar-printing", Action::ShowPrinting(true)),
                    };
                    let button_text = with_buttons.then_some(button_text);
                    if self.sign(ui, text, color, button_text) {
                        self.actions.push(action);
                    }
                }
            });
        if with_buttons {
            self.memory.floating = Some(shown.response.rect);
        }
    }

    /// One of them; whether its button was clicked.
    fn sign(&self, ui: &mut egui::Ui, text: &str, color: Color32, button_text: Option<&str>) -> bool {
        let p = palette(ui);
        // Without a shadow, which would reach the window's edge.
        let frame = surface(p).shadow(Shadow::NONE).corner_radius(CornerRadius::same(4));
        let frame = frame.inner_margin(Margin::symmetric(8, 4));
        let row = |ui: &mut egui::Ui| {
            let (rect, _) = ui.allocate_exact_size(Vec2::splat(1.5 * GRID), Sense::hover());
            ui.painter().circle_filled(rect.center(), 0.5 * GRID, color);
            ui.label(RichText::new(self.locale.plain(text)).small().color(p.text));
            // Clicks alone reach it: while it is there, the keyboard is the session's.
            button_text.is_some_and(|text| {
                let button = button(ui, &self.locale.plain(text), Weight::Plain);
                button.surrender_focus();
                button.clicked()
            })
        };
        frame.show(ui, |ui| ui.horizontal(row).inner).inner
    }
}
