//! How the pages look: two palettes, one grid of 8 points, one accent colour.
//! All text colours have a contrast of at least 4.5:1 on the surfaces they stand on (WCAG 2.2, 1.4.3); that is tested.

use egui::epaint::FontColorTransferFunction;
use egui::style::{Selection, WidgetVisuals, Widgets};
use egui::{Color32, Context, CornerRadius, FontFamily, FontId, Margin, Stroke, TextStyle, Theme, vec2};

/// Step of the grid that all distances are multiples or halves of, in points.
pub(super) const GRID: f32 = 8.0;
/// Corner radius of cards, buttons and fields in points.
pub(super) const RADIUS: u8 = 8;

/// Colours of one theme.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// Behind the cards of full pages.
    pub background: Color32,
    /// Surface of cards, bar and overlay.
    pub card: Color32,
    /// Surface of the text field.
    pub field: Color32,
    /// Lines around cards and fields.
    pub line: Color32,
    /// Main text.
    pub text: Color32,
    /// Text of lesser weight.
    pub weak: Color32,
    /// The one accent: primary buttons, focus, progress.
    pub accent: Color32,
    /// Accent under the pointer.
    pub accent_hover: Color32,
    /// Text on the accent.
    pub on_accent: Color32,
    /// Surface of plain buttons.
    pub button: Color32,
    /// Surface of plain buttons under the pointer.
    pub button_hover: Color32,
    /// Text and sign of an error.
    pub danger: Color32,
    /// Surface of an error.
    pub danger_card: Color32,
    /// Laid over a picture that may be out of date, premultiplied.
    pub veil: Color32,
}

const LIGHT: Palette = Palette {
    background: Color32::from_rgb(0xef, 0xf2, 0xf5),
    card: Color32::from_rgb(0xff, 0xff, 0xff),
    field: Color32::from_rgb(0xfa, 0xfb, 0xfc),
    line: Color32::from_rgb(0xc3, 0xcc, 0xd6),
    text: Color32::from_rgb(0x12, 0x1a, 0x24),
    weak: Color32::from_rgb(0x46, 0x53, 0x63),
    accent: Color32::from_rgb(0x0b, 0x62, 0x8f),
    accent_hover: Color32::from_rgb(0x08, 0x4f, 0x75),
    on_accent: Color32::from_rgb(0xff, 0xff, 0xff),
    button: Color32::from_rgb(0xe8, 0xec, 0xf1),
    button_hover: Color32::from_rgb(0xda, 0xe1, 0xe9),
    danger: Color32::from_rgb(0x9a, 0x1f, 0x1a),
    danger_card: Color32::from_rgb(0xfd, 0xf0, 0xee),
    veil: Color32::from_rgba_premultiplied(0x4c, 0x50, 0x54, 0x99),
};

const DARK: Palette = Palette {
    background: Color32::from_rgb(0x12, 0x16, 0x1b),
    card: Color32::from_rgb(0x1d, 0x23, 0x2b),
    field: Color32::from_rgb(0x14, 0x19, 0x1f),
    line: Color32::from_rgb(0x42, 0x4d, 0x5a),
    text: Color32::from_rgb(0xeb, 0xef, 0xf4),
    weak: Color32::from_rgb(0xb2, 0xbd, 0xca),
    accent: Color32::from_rgb(0x6c, 0xc4, 0xef),
    accent_hover: Color32::from_rgb(0x92, 0xd5, 0xf6),
    on_accent: Color32::from_rgb(0x06, 0x1c, 0x29),
    button: Color32::from_rgb(0x2e, 0x37, 0x42),
    button_hover: Color32::from_rgb(0x3a, 0x45, 0x52),
    danger: Color32::from_rgb(0xff, 0xa8, 0x9e),
    danger_card: Color32::from_rgb(0x36, 0x1f, 0x20),
    veil: Color32::from_rgba_premultiplied(0x1c, 0x1e, 0x21, 0xa6),
};

impl Palette {
    /// The colours of a theme.
    pub fn of(theme: Theme) -> &'static Self {
        match theme {
            Theme::Light => &LIGHT,
            Theme::Dark => &DARK,
        }
    }

    /// Surface behind selected text.
    fn selection(&self) -> Color32 {
        self.card.lerp_to_gamma(self.accent, 0.3)
    }

    /// All pairs of text and the opaque surface it is drawn on, with a name.
    pub fn text_pairs(&self) -> [(&'static str, Color32, Color32); 11] {
        [
            ("text on card", self.text, self.card),
            ("weak on card", self.weak, self.card),
            ("text in field", self.text, self.field),
            ("hint in field", self.weak, self.field),
            ("accent on card", self.accent, self.card),
            ("primary button", self.on_accent, self.accent),
            ("primary button, hovered", self.on_accent, self.accent_hover),
            ("button", self.text, self.button),
            ("button, hovered", self.text, self.button_hover),
            ("error", self.danger, self.danger_card),
            ("selected text", self.text, self.selection()),
        ]
    }
}

/// Gives both themes of a context our fonts, distances and colours.
pub(super) fn install(ctx: &Context) {
    for theme in [Theme::Light, Theme::Dark] {
        ctx.style_mut_of(theme, |style| {
            let palette = Palette::of(theme);
            let font = |size| FontId::new(size, FontFamily::Proportional);
            style.text_styles = [
                (TextStyle::Heading, font(24.0)),
                (TextStyle::Body, font(16.0)),
                (TextStyle::Button, font(16.0)),
                (TextStyle::Small, font(15.0)),
                (TextStyle::Monospace, FontId::new(15.0, FontFamily::Monospace)),
            ]
            .into();
            style.animation_time = 0.0;
            style.interaction.selectable_labels = false;
            style.spacing.item_spacing = vec2(GRID, GRID);
            style.spacing.button_padding = vec2(2.0 * GRID, 8.0);
            style.spacing.interact_size = vec2(5.0 * GRID, 5.0 * GRID);
            style.spacing.menu_margin = Margin::same(8);
            colour(&mut style.visuals, palette);
        });
    }
}

fn colour(v: &mut egui::Visuals, p: &Palette) {
    let widget = |fill: Color32, line: Stroke| WidgetVisuals {
        bg_fill: fill,
        weak_bg_fill: fill,
        bg_stroke: line,
        corner_radius: CornerRadius::same(RADIUS),
        fg_stroke: Stroke::new(1.0, p.text),
        expansion: 0.0,
    };
    v.widgets = Widgets {
        noninteractive: widget(p.card, Stroke::new(1.0, p.line)),
        inactive: widget(p.button, Stroke::new(1.0, p.line)),
        hovered: widget(p.button_hover, Stroke::new(1.0, p.weak)),
        active: widget(p.button_hover, Stroke::new(1.0, p.accent)),
        open: widget(p.button_hover, Stroke::new(1.0, p.line)),
    };
    v.selection = Selection { bg_fill: p.selection(), stroke: Stroke::new(2.0, p.accent) };
    v.weak_text_color = Some(p.weak);
    v.window_fill = p.card;
    v.panel_fill = p.background;
    v.extreme_bg_color = p.field;
    v.error_fg_color = p.danger;
    v.text_cursor.stroke = Stroke::new(2.0, p.accent);
    v.popup_shadow = egui::Shadow::NONE;
    v.window_stroke = Stroke::new(1.0, p.line);
    v.menu_corner_radius = CornerRadius::same(RADIUS);
    // The bundled face is a light one; a little more ink keeps it readable at its thinnest.
    v.text_options.color_transfer_function = match v.dark_mode {
        true => FontColorTransferFunction::TwoCoverageMinusCoverageSq,
        false => FontColorTransferFunction::Gamma(0.6),
    };
}
