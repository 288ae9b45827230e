//! Which page is drawn, the pages of a connection on its way, and what all pages are made of: cards, words, buttons.
//! Only layout and words; state that outlives a pass is in `ui::Memory`, colours and distances are in `style`.

use std::time::{Duration, Instant};

use egui::text::LayoutJob;
use egui::{
    Align, Align2, Area, Color32, Frame, Id, Key, Label, Layout, Margin, Modifiers, Rect, Response, RichText, Sense,
    Shadow, Shape, Stroke, TextEdit, TextFormat, TextStyle, Vec2, pos2, vec2,
};

use super::page::{Action, ConnectStep, LossReason, Notice, Page, RecentPlace};
use super::style::{GRID, Palette, RADIUS};
use super::{KEYS_AFTER, Leaving, Memory};
use crate::viewer::locale::Locale;

/// A connection that takes longer than this is said to be slow.
const SLOW: Duration = Duration::from_secs(5);
/// Time between two positions of the progress ring.
const RING_STEP: Duration = Duration::from_millis(60);
/// Widest content of a card in points.
const CARD_WIDTH: f32 = 432.0;
/// Height of an address used before, in points: two lines.
const PLACE_ROW: f32 = 6.0 * GRID;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// One pass over one page.
pub(super) struct View<'a> {
    pub(super) locale: &'a Locale,
    pub(super) leaving: Leaving,
    pub(super) memory: &'a mut Memory,
    pub(super) now: Instant,
    pub(super) actions: &'a mut Vec<Action>,
    pub(super) again: &'a mut Option<Duration>,
}

/// How much a button asks to be pressed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Weight {
    Primary,
    Plain,
}

impl View<'_> {
    pub(super) fn show(&mut self, ui: &mut egui::Ui, page: &Page) {
        (self.memory.floating, self.memory.bar_shown) = (None, false);
        match page {
            Page::Connect { recent, error, .. } => self.connect(ui, recent, error.as_ref()),
            Page::Connecting { host, step, since } => self.connecting(ui, host, *step, *since),
            Page::Picture { overlay, bar, signs } => {
                if let Some(stats) = overlay {
                    self.stats(ui, stats);
                }
                self.signs(ui, signs, bar.is_none());
                if let Some(bar) = bar {
                    self.bar(ui, bar);
                }
            }
            Page::Sound(sound) => self.sound(ui, sound),
            Page::Printing(view) => self.printing(ui, view),
            Page::Stalled { since, host } => self.stalled(ui, *since, host),
            Page::Reconnecting { attempt, next_in, reason, host, has_picture } => {
                let p = palette(ui);
                fill_window(ui, if *has_picture { p.veil } else { p.background });
                self.reconnecting(ui, *attempt, *next_in, self.loss(*reason, host, *has_picture));
            }
            Page::Ended { notice } => self.ended(ui, notice),
        }
    }

    fn connect(&mut self, ui: &mut egui::Ui, recent: &[RecentPlace], error: Option<&Notice>) {
        let hovering = ui.input(|i| !i.raw.hovered_files.is_empty());
        let dropped = ui.input(|i| i.raw.dropped_files.first().map(|f| f.path().to_string_lossy().into_owned()));
        if let Some(path) = dropped {
            self.memory.field.clone_from(&path);
            self.actions.push(Action::Connect(path));
        }
        let p = *palette(ui);
        fill_window(ui, p.background);
        card(ui, "connect", hovering, |ui| {
            ui.horizontal(|ui| {
                tile_mark(ui);
                ui.add_space(GRID / 2.0);
                ui.label(RichText::new(self.locale.plain("connect-title")).heading());
            });
            let explain = if hovering { "connect-drop" } else { "connect-explain" };
            paragraph(ui, self.locale.plain(explain), p.weak);
            if let Some(notice) = error {
                ui.add_space(GRID);
                self.error_box(ui, notice);
            }
            ui.add_space(GRID);
            let label = ui.label(RichText::new(self.locale.plain("connect-address")).small());
            ui.add_space(-GRID / 2.0);
            let hint = RichText::new(self.locale.plain("connect-hint")).color(p.weak);
            let connect = self.locale.plain("button-connect");
            let font = TextStyle::Body.resolve(ui.style());
            let button_width = one_line(ui, &connect, font, p.text, CARD_WIDTH).size().x + 4.0 * GRID + 2.0;
            let (field, pressed) = ui
                .horizontal(|ui| {
                    let edit = TextEdit::singleline(&mut self.memory.field)
                        .id(Id::unique("address"))
                        .hint_text(hint)
                        .desired_width(ui.available_width() - button_width - GRID)
                        .align(Align2::LEFT_CENTER)
                        .min_size(vec2(0.0, 5.0 * GRID));
                    let field = ui.add(edit).labelled_by(label.id);
                    let ready = !self.memory.field.trim().is_empty();
                    let add = |ui: &mut egui::Ui| button(ui, &connect, Weight::Primary).clicked();
                    (field, ui.add_enabled_ui(ready, add).inner)
                })
                .inner;
            if !self.memory.settled {
                field.request_focus();
            }
            let entered = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
            if !recent.is_empty() {
                ui.add_space(GRID);
                ui.label(RichText::new(self.locale.plain("connect-recent")).small());
                ui.add_space(-GRID / 2.0);
                for place in recent {
                    self.place(ui, place);
                }
            }
            let address = self.memory.field.trim();
            if (pressed || entered) && !address.is_empty() {
                self.actions.push(Action::Connect(address.to_owned()));
            }
            if entered {
                field.request_focus();
            }
        });
    }

    /// An address used before: a click connects, or forgets it at the row's end.
    fn place(&mut self, ui: &mut egui::Ui, place: &RecentPlace) {
        let p = palette(ui);
        let (row, _) = ui.allocate_exact_size(vec2(ui.available_width(), PLACE_ROW), Sense::hover());
        let (left, right) = row.split_left_right_at_x(row.right() - PLACE_ROW + GRID);
        let id = Id::unique(("place", &place.address));
        let forget_text = self.locale.plain("connect-forget");
        let (open, forget) = (ui.interact(left, id, Sense::click()), ui.interact(right, id.with(0), Sense::click()));
        let used = self.ago(place.ago);
        let button = egui::accesskit::Role::Button;
        let (said, forget_said) = (format!("{}, {used}", place.address), format!("{forget_text}: {}", place.address));
        open.widget_info(|| egui::WidgetInfo::labeled(button, true, &said));
        forget.widget_info(|| egui::WidgetInfo::labeled(button, true, &forget_said));

        let lit = |response: &Response| response.hovered() || response.has_focus();
        ui.painter().rect_filled(left, RADIUS, if lit(&open) { p.button_hover } else { p.button });
        let (name, folder) = name_and_folder(&place.address);
        let below = folder.map_or(used.clone(), |folder| format!("{used} · {folder}"));
        for (text, style, color, y) in
            [(name, TextStyle::Body, p.text, 2.0 * GRID), (&below, TextStyle::Small, p.weak, 4.25 * GRID)]
        {
            let galley = one_line(ui, text, style.resolve(ui.style()), color, left.width() - 3.0 * GRID);
            let at = pos2(left.left() + 1.5 * GRID, left.top() + y - galley.size().y / 2.0);
            ui.painter().galley(at, galley, color);
        }
        if lit(&forget) {
            ui.painter().rect_filled(right, RADIUS, p.button);
        }
        cross(ui, right, if lit(&forget) { p.text } else { p.weak });
        focus_ring(ui, &open, p);
        focus_ring(ui, &forget, p);
        if folder.is_some() {
            open.clone().on_hover_text(&place.address);
        }
        if open.clicked() {
            self.memory.field.clone_from(&place.address);
            self.actions.push(Action::Connect(place.address.clone()));
        }
        if forget.clone().on_hover_text(forget_text).clicked() {
            self.actions.push(Action::Forget(place.address.clone()));
        }
    }

    /// How long ago, in whole hours or days; the page comes again when that changes.
    fn ago(&mut self, ago: Duration) -> String {
        let hours = ago.as_secs() / HOUR.as_secs();
        self.wake(HOUR - Duration::from_secs(ago.as_secs() % HOUR.as_secs()));
        match hours {
            0 => self.locale.plain("connect-used-now"),
            1..24 => self.locale.text("connect-used-hours", &[("hours", hours.into())]),
            _ => self.locale.text("connect-used-days", &[("days", (hours / 24).into())]),
        }
    }

    fn connecting(&mut self, ui: &mut egui::Ui, host: &str, step: ConnectStep, since: Instant) {
        let p = *palette(ui);
        let waited = self.now.saturating_duration_since(since);
        let shown_for = self.now.saturating_duration_since(self.memory.entered);
        fill_window(ui, p.background);
        card(ui, "connecting", false, |ui| {
            heading(ui, self.locale.text("connecting-title", &[("host", host.into())]));
            ui.add_space(GRID);
            let steps = [
                (ConnectStep::Resolving, "step-resolving"),
                (ConnectStep::Handshake, "step-handshake"),
                (ConnectStep::StartingDesktop, "step-desktop"),
                (ConnectStep::FirstPicture, "step-picture"),
            ];
            ui.spacing_mut().interact_size.y = 3.0 * GRID;
            for (this, text) in steps {
                ui.horizontal(|ui| {
                    let (rect, _) = ui.allocate_exact_size(Vec2::splat(3.0 * GRID), Sense::hover());
                    let color = match this.cmp(&step) {
                        std::cmp::Ordering::Less => {
                            tick(ui, rect, p.accent);
                            p.weak
                        }
                        std::cmp::Ordering::Equal => {
                            ring(ui, rect, &p, Some(waited));
                            p.text
                        }
                        std::cmp::Ordering::Greater => {
                            ring(ui, rect, &p, None);
                            p.weak
                        }
                    };
                    ui.label(RichText::new(self.locale.plain(text)).color(color));
                });
            }
            ui.reset_style();
            self.wake(RING_STEP);
            // Room is kept for the line that may come, so that nothing moves when it does.
            let slow = self.locale.text("connecting-slow", &[("seconds", waited.as_secs().into())]);
            let visible = waited >= SLOW;
            ui.scope(|ui| {
                if !visible {
                    ui.set_invisible();
                }
                paragraph(ui, slow, p.weak);
            });
            if self.leaving == Leaving::Never {
                return;
            }
            let cancelled = buttons(ui, |ui| button(ui, &self.locale.plain("button-cancel"), Weight::Plain).clicked());
            // A link that comes back shows this page for a moment, to somebody who may be closing a dialog.
            let hears_keys = !self.memory.was_working || shown_for >= KEYS_AFTER;
            if cancelled || pressed(ui, Key::Escape) && hears_keys {
                self.actions.push(Action::Cancel);
            }
        });
    }

    fn stalled(&mut self, ui: &mut egui::Ui, since: Instant, host: &str) {
        let p = *palette(ui);
        let silent = self.now.saturating_duration_since(since);
        fill_window(ui, p.veil);
        card(ui, "stalled", false, |ui| {
            heading(ui, self.locale.text("stalled-title", &[("host", host.into())]));
            paragraph(ui, self.locale.text("stalled-text", &[("seconds", silent.as_secs().into())]), p.text);
            paragraph(ui, self.locale.plain("stalled-next"), p.weak);
            if self.leaving == Leaving::Never {
                return;
            }
            ui.add_space(GRID);
            // No key leads to it without Tab: the user may be typing for the desktop.
            if buttons(ui, |ui| button(ui, &self.locale.plain("bar-disconnect"), Weight::Plain).clicked()) {
                self.actions.push(Action::Disconnect);
            }
        });
        self.wake(Duration::from_millis(1000 - u64::from(silent.subsec_millis())));
    }

    /// What happened, and what that means.
    fn loss(&self, reason: LossReason, host: &str, has_picture: bool) -> [String; 2] {
        let l = self.locale;
        let why = l.plain(match reason {
            LossReason::NoAnswer if has_picture => "loss-no-answer",
            LossReason::NoAnswer => "notice-unreachable-text",
            LossReason::Closed if has_picture => "loss-closed",
            LossReason::Closed => "notice-busy-text",
            LossReason::NoNetwork => "loss-network",
            LossReason::NoName => "loss-name",
            LossReason::HostRestart => "loss-restart",
        });
        let host = [("host", host.into())];
        if has_picture {
            [l.text("reconnecting-title", &host), format!("{why} {}", l.plain("reconnecting-keeps"))]
        } else {
            [l.text("reconnecting-title-first", &host), why]
        }
    }

    fn reconnecting(&mut self, ui: &mut egui::Ui, attempt: u32, next_in: Duration, [title, text]: [String; 2]) {
        let p = *palette(ui);
        let seconds = next_in.as_millis().div_ceil(1000) as u64;
        let next = match seconds {
            0 => self.locale.text("reconnecting-next-now", &[("attempt", attempt.into())]),
            s => self.locale.text("reconnecting-next-in", &[("attempt", attempt.into()), ("seconds", s.into())]),
        };
        card(ui, "reconnecting", false, |ui| {
            heading(ui, title);
            paragraph(ui, text, p.text);
            paragraph(ui, next, p.weak);
            ui.add_space(GRID);
            buttons(ui, |ui| {
                let waiting = !next_in.is_zero();
                ui.add_enabled_ui(waiting, |ui| {
                    if button(ui, &self.locale.plain("button-reconnect-now"), Weight::Primary).clicked() {
                        self.actions.push(Action::Reconnect);
                    }
                });
                if self.leaving == Leaving::Offered
                    && button(ui, &self.locale.plain("bar-disconnect"), Weight::Plain).clicked()
                {
                    self.actions.push(Action::Disconnect);
                }
            });
        });
        // The seconds are counted down by the page's owner; this is when they next read differently.
        match next_in.subsec_nanos() {
            _ if next_in.is_zero() => {}
            0 => self.wake(Duration::from_secs(1)),
            part => self.wake(Duration::from_nanos(u64::from(part))),
        }
    }

    /// Asks for another run after `delay` at the latest.
    pub(super) fn wake(&mut self, delay: Duration) {
        *self.again = Some(self.again.map_or(delay, |d| d.min(delay)));
    }
}

pub(super) fn palette(ui: &egui::Ui) -> &'static Palette {
    Palette::of(ui.theme())
}

pub(super) fn fill_window(ui: &egui::Ui, color: Color32) {
    ui.painter().rect_filled(ui.ctx().viewport_rect(), 0.0, color);
}

pub(super) fn surface(p: &Palette) -> Frame {
    let shadow = Shadow { offset: [0, 4], blur: 16, spread: 0, color: Color32::from_black_alpha(40) };
    Frame::new().fill(p.card).stroke(Stroke::new(1.0, p.line)).corner_radius(RADIUS).shadow(shadow)
}

/// A card in the middle of the window; it scrolls where the window is too small for it.
pub(super) fn card(ui: &mut egui::Ui, id: &str, marked: bool, content: impl FnOnce(&mut egui::Ui)) {
    let p = palette(ui);
    let screen = ui.ctx().viewport_rect();
    let margin = if screen.width() < 60.0 * GRID || screen.height() < 50.0 * GRID { 2.0 * GRID } else { 4.0 * GRID };
    let width = (screen.width() - 2.0 * (margin + 2.0 * GRID)).clamp(10.0 * GRID, CARD_WIDTH);
    let height = (screen.height() - 2.0 * (margin + 2.0 * GRID)).max(10.0 * GRID);
    let mut frame = surface(p).inner_margin(Margin::same(margin as i8));
    if marked {
        frame = frame.stroke(Stroke::new(2.0, p.accent));
    }
    Area::new(Id::unique(id)).anchor(Align2::CENTER_CENTER, Vec2::ZERO).fade_in(false).show(ui.ctx(), |ui| {
        frame.show(ui, |ui| {
            ui.set_width(width);
            // Without this it could never grow beyond what the last page needed.
            ui.set_max_height(height);
            // Focus rings reach over the edge of what scrolls.
            let scroll = egui::ScrollArea::vertical().max_height(height).auto_shrink([false, true]);
            scroll.content_margin(Margin::same(4)).show(ui, content);
        });
    });
}

pub(super) fn heading(ui: &mut egui::Ui, text: String) {
    ui.add(Label::new(RichText::new(text).heading()).wrap());
}

pub(super) fn paragraph(ui: &mut egui::Ui, text: String, color: Color32) {
    ui.add(Label::new(RichText::new(text).color(color).line_height(Some(3.0 * GRID))).wrap());
}

/// A row of buttons at the right; the first added is the rightmost and the first for the keyboard.
pub(super) fn buttons<R>(ui: &mut egui::Ui, content: impl FnOnce(&mut egui::Ui) -> R) -> R {
    let height = ui.spacing().interact_size.y;
    let size = vec2(ui.available_width(), height);
    ui.allocate_ui_with_layout(size, Layout::right_to_left(Align::Center), content).inner
}

pub(super) fn button(ui: &mut egui::Ui, text: &str, weight: Weight) -> Response {
    let p = palette(ui);
    let response = ui
        .scope(|ui| {
            let widgets = &mut ui.visuals_mut().widgets;
            if weight == Weight::Primary {
                for (state, fill) in [
                    (&mut widgets.inactive, p.accent),
                    (&mut widgets.hovered, p.accent_hover),
                    (&mut widgets.active, p.accent_hover),
                ] {
                    state.weak_bg_fill = fill;
                    state.bg_stroke = Stroke::new(1.0, fill);
                    state.fg_stroke = Stroke::new(1.0, p.on_accent);
                }
            }
            ui.add(egui::Button::new(text))
        })
        .inner;
    focus_ring(ui, &response, p);
    response
}

fn focus_ring(ui: &egui::Ui, response: &Response, p: &Palette) {
    if response.has_focus() {
        let ring = response.rect.expand(1.5);
        let stroke = Stroke::new(2.0, p.accent);
        ui.painter().rect_stroke(ring, RADIUS + 2, stroke, egui::StrokeKind::Outside);
    }
}

/// Lays text out on one line, cut with an ellipsis where it is longer than `width`.
pub(super) fn one_line(
    ui: &egui::Ui,
    text: &str,
    font: egui::FontId,
    color: Color32,
    width: f32,
) -> std::sync::Arc<egui::Galley> {
    let mut job = LayoutJob::single_section(text.to_owned(), TextFormat::simple(font, color));
    job.wrap.max_width = width;
    job.wrap.max_rows = 1;
    job.wrap.break_anywhere = true;
    ui.painter().layout_job(job)
}

/// Four tiles, one of them new: the sign of the program.
fn tile_mark(ui: &mut egui::Ui) {
    let p = palette(ui);
    let (rect, _) = ui.allocate_exact_size(Vec2::splat(4.0 * GRID), Sense::hover());
    let tile = Vec2::splat(15.0);
    for (corner, strength) in [
        (rect.left_top(), 1.0),
        (rect.right_top() - vec2(15.0, 0.0), 0.55),
        (rect.left_bottom() - vec2(0.0, 15.0), 0.55),
    ] {
        let color = p.card.lerp_to_gamma(p.accent, strength);
        ui.painter().rect_filled(Rect::from_min_size(corner, tile), 4.0, color);
    }
    let last = Rect::from_min_size(rect.right_bottom() - tile, tile).shrink(1.0);
    ui.painter().rect_stroke(last, 3.0, Stroke::new(2.0, p.accent), egui::StrokeKind::Middle);
}

/// What comes last in an address, which tells one from another, and the folder before it if it is a file.
fn name_and_folder(address: &str) -> (&str, Option<&str>) {
    address.rsplit_once(['/', '\\']).map_or((address, None), |(folder, name)| (name, Some(folder)))
}

fn cross(ui: &egui::Ui, rect: Rect, color: Color32) {
    let c = rect.center();
    for end in [vec2(4.5, 4.5), vec2(4.5, -4.5)] {
        ui.painter().line_segment([c - end, c + end], Stroke::new(1.5, color));
    }
}

fn tick(ui: &egui::Ui, rect: Rect, color: Color32) {
    let at = |x: f32, y: f32| rect.center() + vec2(x, y);
    let points = vec![at(-5.5, 0.5), at(-1.5, 4.5), at(6.0, -4.5)];
    ui.painter().add(Shape::line(points, Stroke::new(2.0, color)));
}

/// A ring; with `turning`, a third of it is accented and goes round once in 1.8 s.
fn ring(ui: &egui::Ui, rect: Rect, p: &Palette, turning: Option<Duration>) {
    const RADIUS_OF_RING: f32 = 6.5;
    const POINTS: u32 = 24;
    ui.painter().circle_stroke(rect.center(), RADIUS_OF_RING, Stroke::new(2.0, p.line));
    let Some(time) = turning else { return };
    let start = (time.as_secs_f64() / 1.8).fract() as f32 * std::f32::consts::TAU;
    let arc = (0..=POINTS)
        .map(|i| start + i as f32 / POINTS as f32 * std::f32::consts::TAU / 3.0)
        .map(|a| rect.center() + RADIUS_OF_RING * vec2(a.cos(), a.sin()));
    ui.painter().add(Shape::line(arc.collect(), Stroke::new(2.5, p.accent)));
}

pub(super) fn pressed(ui: &egui::Ui, key: Key) -> bool {
    ui.input_mut(|i| i.consume_key(Modifiers::NONE, key))
}
