//! The viewer's own few pages: egui lays them out, `raster` paints them into an [`Overlay`] for any presenter.
//! Decides nothing about the session: shows the [`Page`] it is given and reports [`Action`]s.
//! Words: `viewer::locale`. Look: `style`. What a page says: `pages` and the files named after one.

mod bar;
mod notice;
mod page;
mod pages;
mod printing;
mod raster;
mod signs;
mod sound;
mod stats;
mod style;

use std::mem::discriminant;
use std::time::{Duration, Instant};

use egui::{Context, ThemePreference, ViewportId};

use super::locale::Locale;
use crate::geom::{Rect, Size};

pub use page::{
    Action, BarState, ConnectStep, DecodeTime, Exactness, LossReason, Notice, Page, Quality, RecentPlace, Sign,
    SoundPage, SoundStats, Stats, Tier,
};
pub use raster::{Overlay, Rasterizer};
pub use style::Palette;

/// Light or dark, as the user chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Dark text on light surfaces.
    Light,
    /// Light text on dark surfaces.
    Dark,
    /// As the desktop says; dark where it does not say.
    #[default]
    System,
}

/// Whether pages offer to go elsewhere: to end the connection, or the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// As everywhere.
    Offered,
    /// Whoever sits there is to stay.
    Never,
}

/// The pages of one window.
pub struct Ui {
    ctx: Context,
    locale: Locale,
    leaving: Leaving,
    raster: Rasterizer,
    shown: Option<Page>,
    memory: Memory,
}

/// What came out of showing a page once.
pub struct UiOutput {
    /// Whether any pixel of the overlay may differ from before.
    pub overlay_changed: bool,
    /// Where it may differ, in physical pixels.
    pub damage: Rect,
    /// When to call [`Ui::run`] again without input; `None` is never.
    pub repaint_after: Option<Duration>,
    /// What the user asked for, in order.
    pub actions: Vec<Action>,
    /// Whether key presses belong to the page and not to the remote desktop.
    pub wants_keyboard: bool,
    /// Whether the pointer belongs to the page and not to the remote desktop.
    pub wants_pointer: bool,
    /// Whether the connection bar is there.
    pub shows_bar: bool,
    /// Cursor, clipboard and input-method wishes for the window.
    pub platform_output: egui::PlatformOutput,
}

/// What pages remember between two runs.
struct Memory {
    /// Text of the address field.
    field: String,
    /// When the page of this kind came up.
    entered: Instant,
    /// Whether it has been laid out at least once.
    settled: bool,
    /// Before it the desktop was shown, or that it is being looked for: what is typed now may be meant for that.
    was_working: bool,
    /// The bar stays at least until then.
    bar_until: Option<Instant>,
    /// Since when the pointer rests at the edge that calls the bar.
    edge_since: Option<Instant>,
    /// The bar was drawn.
    bar_shown: bool,
    /// Where the bar was drawn, or signs that take the pointer, in points.
    floating: Option<egui::Rect>,
    /// Whether the bar has been given the keyboard since it was summoned.
    bar_focused: bool,
}

/// Keys that come this soon after the desktop has left the window were meant for it.
const KEYS_AFTER: Duration = Duration::from_millis(1000);

impl Ui {
    /// Makes the pages of a window.
    pub fn new(locale: Locale, theme: Theme, leaving: Leaving) -> Self {
        let ctx = Context::default();
        style::install(&ctx);
        ctx.set_theme(match theme {
            Theme::Light => ThemePreference::Light,
            Theme::Dark => ThemePreference::Dark,
            Theme::System => ThemePreference::System,
        });
        // Ctrl +/- belong to the remote desktop; the scale is that of the screen.
        ctx.options_mut(|o| o.zoom_with_keyboard = false);
        let memory = Memory {
            field: String::new(),
            entered: Instant::now(),
            settled: false,
            was_working: false,
            bar_until: None,
            edge_since: None,
            bar_shown: false,
            floating: None,
            bar_focused: false,
        };
        Self { ctx, locale, leaving, raster: Rasterizer::default(), shown: None, memory }
    }

    /// What a notice says, in one line.
    pub fn words(&self, notice: &Notice) -> String {
        let [title, text, next] = notice::notice_words(&self.locale, notice);
        format!("{title}. {text} {next}")
    }

    /// The egui context, for the window's event translation (see [`Self::window_state`]).
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// The words and number forms in use.
    pub fn locale(&self) -> &Locale {
        &self.locale
    }

    /// The translator of a window's events into the input of [`Self::run`].
    pub fn window_state(&self, window: &winit::window::Window) -> egui_winit::State {
        let scale = window.scale_factor() as f32;
        egui_winit::State::new(self.ctx.clone(), ViewportId::ROOT, window, Some(scale), window.theme(), None)
    }

    /// The image as of the last [`Self::run`].
    pub fn overlay(&self) -> &Overlay {
        self.raster.overlay()
    }

    /// Whether pointer motion to `y` (points from the top) can be kept from [`Self::run`]: nothing of ours is shown and
    /// the edge that calls the bar is far.
    pub fn may_skip_motion(&self, page: &Page, y: f32) -> bool {
        let m = &self.memory;
        matches!(page, Page::Picture { .. }) && m.floating.is_none() && m.edge_since.is_none() && y >= bar::EDGE
    }

    /// Shows `page` and takes input.
    ///
    /// `input` is in points; its screen rectangle times its scale is the size of the overlay. `now` drives everything
    /// the pages say about time.
    pub fn run(&mut self, mut input: egui::RawInput, page: &Page, now: Instant) -> UiOutput {
        self.enter(page, now);
        if matches!(page, Page::Picture { bar, .. } if !bar.as_ref().is_some_and(|b| b.summoned)) {
            // Even if they are handed in: keys typed for the desktop press no button of the bar.
            // An assistive technology names the button that it means.
            use egui::Event::{AccessKitActionRequest, PointerButton, PointerGone, PointerMoved};
            let is_meant =
                |e: &_| matches!(e, PointerMoved(_) | PointerButton { .. } | PointerGone | AccessKitActionRequest(_));
            input.events.retain(is_meant);
        }
        let Self { ctx, locale, leaving, raster, memory, .. } = self;
        let mut actions = Vec::new();
        let mut again = None;
        let output = ctx.run_ui(input, |ui| {
            // A second pass of the same run sees the same input: what it adds again is dropped below.
            let mut view =
                pages::View { locale, leaving: *leaving, memory, now, actions: &mut actions, again: &mut again };
            view.show(ui, page);
        });
        actions.dedup();
        memory.settled = true;

        let scale = output.pixels_per_point;
        let points = ctx.viewport_rect().size();
        let pixels = |v: f32| (v * scale).round().clamp(0.0, 16_384.0) as u32;
        let size = Size::new(pixels(points.x), pixels(points.y));
        let primitives = ctx.tessellate(output.shapes, scale);
        let mut textures = output.textures_delta;
        let damage = raster.paint(&mut textures, primitives, scale, size);

        let delay = output.viewport_output.get(&ViewportId::ROOT).map(|v| v.repaint_delay);
        let repaint_after = delay.filter(|d| *d < Duration::from_secs(3600)).into_iter().chain(again).min();
        let (wants_keyboard, wants_pointer) = match page {
            Page::Picture { bar, .. } => {
                let pointer = ctx.input(|i| i.pointer.latest_pos());
                let over = memory.floating.zip(pointer).is_some_and(|(bar, at)| bar.contains(at));
                (bar.as_ref().is_some_and(|b| b.summoned), over || ctx.egui_is_using_pointer())
            }
            _ => (true, true),
        };
        UiOutput {
            overlay_changed: !damage.is_empty(),
            damage,
            repaint_after,
            actions,
            wants_keyboard,
            wants_pointer,
            shows_bar: memory.bar_shown,
            platform_output: output.platform_output,
        }
    }

    /// Notices that another page has come up.
    fn enter(&mut self, page: &Page, now: Instant) {
        let before = self.shown.as_ref();
        let same_kind = before.is_some_and(|p| discriminant(p) == discriminant(page));
        if let Page::Connect { address, .. } = page {
            let seeded = matches!(before, Some(Page::Connect { address: old, .. }) if old == address);
            if !seeded {
                self.memory.field.clone_from(address);
            }
        }
        if !same_kind {
            self.memory.entered = now;
            self.memory.settled = false;
            self.memory.was_working =
                matches!(before, Some(Page::Picture { .. } | Page::Stalled { .. } | Page::Reconnecting { .. }));
            self.memory.edge_since = None;
            self.memory.bar_until = Some(now + bar::BAR_AT_FIRST);
            self.memory.bar_focused = false;
            self.ctx.memory_mut(|m| m.stop_text_input());
        }
        if before != Some(page) {
            self.shown = Some(page.clone());
        }
    }
}
