//! The connection bar: hangs from the top edge, comes to the pointer that rests there, and goes by itself.

use std::time::Duration;

use egui::{
    Align, Align2, Area, CornerRadius, Id, Key, Layout, Margin, Order, Rect, Response, RichText, Sense, Stroke,
    TextStyle, Vec2, pos2, vec2,
};

use super::page::{Action, BarState, Quality};
use super::pages::{View, Weight, button, one_line, palette, pressed, surface};
use super::style::{GRID, Palette, RADIUS};

/// The pointer calls the bar when it rests within this many points of the top edge.
pub(super) const EDGE: f32 = 2.0;
/// How long it must rest there, so that a panel of the remote desktop can be reached.
const EDGE_REST: Duration = Duration::from_millis(350);
/// The bar stays this long when the picture comes up.
pub(super) const BAR_AT_FIRST: Duration = Duration::from_secs(4);
/// The bar stays this long after the pointer has left it.
const BAR_LINGER: Duration = Duration::from_millis(1200);

impl View<'_> {
    pub(super) fn bar(&mut self, ui: &mut egui::Ui, state: &BarState) {
        let screen = ui.ctx().viewport_rect();
        let pointer = ui.input(|i| i.pointer.latest_pos());
        let area = Id::unique("bar");
        let last = egui::AreaState::load(ui.ctx(), area).map(|s| s.rect());
        let visible = self.memory.bar_until.is_some_and(|until| self.now < until) || state.summoned;
        let over = visible && last.zip(pointer).is_some_and(|(bar, at)| bar.contains(at));
        let resting = pointer.is_some_and(|at| {
            at.y < EDGE && at.y >= 0.0 && (at.x - screen.center().x).abs() < 240.0_f32.min(screen.width() / 2.0)
        });
        if !resting {
            self.memory.edge_since = None;
        } else if !visible {
            let since = *self.memory.edge_since.get_or_insert(self.now);
            match EDGE_REST.checked_sub(self.now.saturating_duration_since(since)) {
                Some(rest) if !rest.is_zero() => self.wake(rest),
                _ => self.memory.bar_until = Some(self.now + BAR_LINGER),
            }
        }
        if over || (resting && visible) {
            let stay = self.now + BAR_LINGER;
            self.memory.bar_until = Some(self.memory.bar_until.map_or(stay, |until| until.max(stay)));
        }
        if !state.summoned {
            self.memory.bar_focused = false;
            match self.memory.bar_until.and_then(|until| until.checked_duration_since(self.now)) {
                Some(left) if !left.is_zero() => {
                    if !over && !resting {
                        self.wake(left);
                    }
                }
                _ => return,
            }
        }
        let p = *palette(ui);
        let more = if state.sound.is_some() { 30.0 } else { 0.0 };
        let narrow = screen.width() < (96.0 + more) * GRID;
        let stacked = screen.width() < (60.0 + more) * GRID;
        let layout = if stacked { Layout::top_down(Align::Min) } else { Layout::left_to_right(Align::Center) };
        let shown = Area::new(area)
            .anchor(Align2::CENTER_TOP, Vec2::ZERO)
            .order(Order::Foreground)
            .fade_in(false)
            .show(ui.ctx(), |ui| {
                let frame = surface(&p)
                    .corner_radius(CornerRadius { nw: 0, ne: 0, sw: RADIUS, se: RADIUS })
                    .inner_margin(Margin::symmetric(8, 4));
                frame.show(ui, |ui| ui.with_layout(layout, |ui| self.bar_content(ui, state, narrow)))
            });
        (self.memory.floating, self.memory.bar_shown) = (Some(shown.response.rect), true);
    }

    fn bar_content(&mut self, ui: &mut egui::Ui, state: &BarState, narrow: bool) {
        let p = *palette(ui);
        ui.spacing_mut().interact_size.y = 4.0 * GRID;
        ui.spacing_mut().button_padding = vec2(1.5 * GRID, 0.5 * GRID);
        ui.add_space(GRID / 2.0);
        let quality = self.locale.plain(match state.quality {
            Quality::Excellent => "quality-excellent",
            Quality::Good => "quality-good",
            Quality::Fair => "quality-fair",
            Quality::Poor => "quality-poor",
            Quality::Unknown => "quality-unknown",
        });
        let (rect, response) = ui.allocate_exact_size(vec2(3.0 * GRID, 2.0 * GRID), Sense::hover());
        quality_sign(ui, rect, state.quality, &p);
        if state.view_only {
            response.on_hover_text(quality);
            ui.label(RichText::new(self.locale.plain("bar-view-only")).small().color(p.text));
        } else if narrow {
            response.on_hover_text(quality);
        } else {
            ui.label(RichText::new(quality).small().color(p.weak));
        }
        if !narrow {
            let name = match &state.session {
                Some(session) => format!("{session} · {}", state.host),
                None => state.host.clone(),
            };
            let font = TextStyle::Body.resolve(ui.style());
            let galley = one_line(ui, &name, font, p.text, 30.0 * GRID);
            let (rect, response) = ui.allocate_exact_size(vec2(galley.size().x, 4.0 * GRID), Sense::hover());
            response.widget_info(|| egui::WidgetInfo::labeled(egui::accesskit::Role::Label, true, &name));
            ui.painter().galley(pos2(rect.left(), rect.center().y - galley.size().y / 2.0), galley, p.text);
        }
        ui.add_space(GRID / 2.0);
        let screen_text = if state.fullscreen { "bar-window" } else { "bar-fullscreen" };
        let first = button(ui, &self.locale.plain(screen_text), Weight::Plain);
        let stats_text = if state.stats_shown { "bar-stats-hide" } else { "bar-stats" };
        let stats = button(ui, &self.locale.plain(stats_text), Weight::Plain);
        if let Some(talk) = state.sound {
            let sound_text = if talk.muted { "bar-sound-muted" } else { "bar-sound" };
            let microphone_text = if talk.microphone { "bar-microphone-off" } else { "bar-microphone" };
            let sound = button(ui, &self.locale.plain(sound_text), Weight::Plain);
            let microphone =
                talk.microphone_allowed.then(|| button(ui, &self.locale.plain(microphone_text), Weight::Plain));
            let shown = (Some(sound), Action::ShowSound(true));
            for (response, action) in [shown, (microphone, Action::ToggleMicrophone)] {
                if let Some(response) = response.filter(Response::clicked) {
                    self.actions.push(action);
                    response.surrender_focus();
                }
            }
        }
        if let Some(asks) = state.printing {
            let weight = if asks { Weight::Primary } else { Weight::Plain };
            let printing = button(ui, &self.locale.plain("bar-printing"), weight);
            if printing.clicked() {
                self.actions.push(Action::ShowPrinting(true));
                printing.surrender_focus();
            }
        }
        let disconnect = button(ui, &self.locale.plain("bar-disconnect"), Weight::Plain)
            .on_hover_text(self.locale.plain("bar-disconnect-hint"));
        if state.summoned && !self.memory.bar_focused {
            first.request_focus();
            self.wake(Duration::ZERO);
            self.memory.bar_focused = true;
        }
        for (response, action) in
            [(&first, Action::ToggleFullscreen), (&stats, Action::ToggleStats), (&disconnect, Action::Disconnect)]
        {
            if response.clicked() {
                self.actions.push(action);
                // The keyboard goes back to the desktop unless it was asked for.
                if !state.summoned {
                    response.surrender_focus();
                }
            }
        }
        if state.summoned && pressed(ui, Key::Escape) {
            self.actions.push(Action::HideBar);
        }
    }
}

/// Four bars of rising height, as many filled as the link is good.
fn quality_sign(ui: &egui::Ui, rect: Rect, quality: Quality, p: &Palette) {
    for (i, step) in [Quality::Poor, Quality::Fair, Quality::Good, Quality::Excellent].into_iter().enumerate() {
        let height = 4.0 + 4.0 * i as f32;
        let x = rect.left() + 6.0 * i as f32;
        let bar = Rect::from_min_max(pos2(x, rect.bottom() - height), pos2(x + 4.0, rect.bottom()));
        if step <= quality {
            ui.painter().rect_filled(bar, 1.0, p.accent);
        } else {
            ui.painter().rect_stroke(bar, 1.0, Stroke::new(1.0, p.weak), egui::StrokeKind::Inside);
        }
    }
}
