//! Why there is no session: the words for each reason, on the page of the end and above the field that asks where to.

use std::time::Duration;

use egui::{Color32, Frame, Key, Label, Margin, Rect, RichText, Sense, Shape, Stroke, Vec2, vec2};

use super::KEYS_AFTER;
use super::page::{Action, Notice};
use super::pages::{View, Weight, button, buttons, card, fill_window, heading, palette, paragraph, pressed};
use super::style::{GRID, RADIUS};
use crate::viewer::locale::Locale;

impl View<'_> {
    pub(super) fn ended(&mut self, ui: &mut egui::Ui, notice: &Notice) {
        let p = *palette(ui);
        let texts = notice_words(self.locale, notice);
        let shown_for = self.now.saturating_duration_since(self.memory.entered);
        // Connecting again helps in no such case, and must not be what Enter does.
        let closing = matches!(notice, Notice::RefusedCertificate { .. } | Notice::UnknownDevice { .. });
        let weights = if closing { [Weight::Plain, Weight::Primary] } else { [Weight::Primary, Weight::Plain] };
        fill_window(ui, p.background);
        card(ui, "ended", false, |ui| {
            let [title, text, next] = texts;
            heading(ui, title);
            paragraph(ui, text, p.text);
            paragraph(ui, next, p.weak);
            ui.add_space(GRID);
            buttons(ui, |ui| {
                let mut reconnect = (self.locale.plain("button-reconnect"), weights[0], Action::Reconnect);
                let mut close = (self.locale.plain("button-close"), weights[1], Action::Close);
                if closing {
                    std::mem::swap(&mut reconnect, &mut close);
                }
                for (text, weight, action) in [reconnect, close] {
                    let response = button(ui, &text, weight);
                    let nobody = ui.memory(|m| m.focused().is_none());
                    if weight == Weight::Primary && shown_for >= KEYS_AFTER && nobody {
                        response.request_focus();
                        // The ring around it is drawn in the next run.
                        self.wake(Duration::ZERO);
                    }
                    if response.clicked() {
                        self.actions.push(action);
                    }
                }
            });
            if pressed(ui, Key::Escape) && shown_for >= KEYS_AFTER {
                self.actions.push(Action::Close);
            }
        });
        if shown_for < KEYS_AFTER {
            self.wake(KEYS_AFTER - shown_for);
        }
    }

    pub(super) fn error_box(&self, ui: &mut egui::Ui, notice: &Notice) {
        let p = *palette(ui);
        let [title, text, next] = notice_words(self.locale, notice);
        let frame = Frame::new()
            .fill(p.danger_card)
            .stroke(Stroke::new(1.0, p.danger))
            .corner_radius(RADIUS)
            .inner_margin(Margin::symmetric(16, 12));
        frame.show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = GRID / 2.0;
            ui.set_width(ui.available_width());
            ui.horizontal_top(|ui| {
                let (rect, _) = ui.allocate_exact_size(Vec2::splat(2.5 * GRID), Sense::hover());
                warning_sign(ui, rect, p.danger, p.danger_card);
                ui.add(Label::new(RichText::new(title).color(p.danger)).wrap());
            });
            ui.add(
                Label::new(RichText::new(format!("{text} {next}")).small().line_height(Some(2.5 * GRID)).color(p.text))
                    .wrap(),
            );
        });
    }
}

/// What happened (short), what that means, what to do next.
pub(super) fn notice_words(l: &Locale, notice: &Notice) -> [String; 3] {
    match notice {
        Notice::RefusedCertificate { host } => [
            l.plain("notice-certificate-title"),
            l.text("notice-certificate-text", &[("host", host.into())]),
            l.plain("notice-certificate-next"),
        ],
        Notice::UnknownDevice { host } => [
            l.plain("notice-device-title"),
            l.text("notice-device-text", &[("host", host.into())]),
            l.plain("notice-device-next"),
        ],
        Notice::HostEnded { host } => [
            l.plain("notice-ended-title"),
            l.text("notice-ended-text", &[("host", host.into())]),
            l.plain("notice-ended-next"),
        ],
        Notice::TakenOver => {
            [l.plain("notice-taken-title"), l.plain("notice-taken-text"), l.plain("notice-taken-next")]
        }
        Notice::Protocol { host, code } => [
            l.plain("notice-protocol-title"),
            l.text("notice-protocol-text", &[("host", host.into()), ("code", format!("0x{code:x}").into())]),
            l.plain("notice-protocol-next"),
        ],
        Notice::VersionMismatch { host } => [
            l.plain("notice-version-title"),
            l.text("notice-version-text", &[("host", host.into())]),
            l.plain("notice-version-next"),
        ],
        Notice::Busy { host } => [
            l.text("notice-busy-title", &[("host", host.into())]),
            l.plain("notice-busy-text"),
            l.plain("notice-busy-next"),
        ],
        Notice::Unreachable { host } => [
            l.text("notice-unreachable-title", &[("host", host.into())]),
            l.plain("notice-unreachable-text"),
            l.plain("notice-unreachable-next"),
        ],
        Notice::NoNetwork { host } => [
            l.plain("notice-network-title"),
            l.text("notice-network-text", &[("host", host.into())]),
            l.plain("notice-network-next"),
        ],
        Notice::UnknownHost { host } => [
            l.text("notice-name-title", &[("host", host.into())]),
            l.plain("notice-name-text"),
            l.plain("notice-name-next"),
        ],
        Notice::BadFile { path } => [
            l.plain("notice-file-title"),
            l.text("notice-file-text", &[("path", path.into())]),
            l.plain("notice-file-next"),
        ],
        Notice::UnreadableFile { path } => [
            l.plain("notice-unreadable-title"),
            l.text("notice-unreadable-text", &[("path", path.into())]),
            l.plain("notice-unreadable-next"),
        ],
        Notice::ExpiredFile { path } => [
            l.plain("notice-expired-title"),
            l.text("notice-expired-text", &[("path", path.into())]),
            l.plain("notice-expired-next"),
        ],
        Notice::WrongClock { path } => [
            l.plain("notice-clock-title"),
            l.text("notice-clock-text", &[("path", path.into())]),
            l.plain("notice-clock-next"),
        ],
        Notice::NeedsFile { host } => [
            l.plain("notice-needs-title"),
            l.text("notice-needs-text", &[("host", host.into())]),
            l.plain("notice-needs-next"),
        ],
        Notice::BadAddress => [
            l.plain("notice-address-title"),
            // As a text: a number would get the language's groups.
            l.text("notice-address-text", &[("port", crate::limits::PORT.to_string().into())]),
            l.plain("notice-address-next"),
        ],
    }
}

fn warning_sign(ui: &egui::Ui, rect: Rect, color: Color32, inside: Color32) {
    let c = rect.center();
    let corners = vec![c + vec2(0.0, -8.5), c + vec2(9.0, 7.5), c + vec2(-9.0, 7.5)];
    ui.painter().add(Shape::convex_polygon(corners, color, Stroke::NONE));
    ui.painter().line_segment([c + vec2(0.0, -3.5), c + vec2(0.0, 2.0)], Stroke::new(2.0, inside));
    ui.painter().circle_filled(c + vec2(0.0, 4.75), 1.25, inside);
}
