//! The statistics above the picture: four groups of lines, the least important left out where there is no room.

use egui::{Align2, Area, Id, Margin, Order, RichText, Sense, Stroke, TextStyle, pos2, vec2};

use super::page::{DecodeTime, Exactness, Stats, Tier};
use super::pages::{View, one_line, palette, surface};
use super::style::{GRID, Palette};

/// Height of a line of the statistics in points.
const STATS_ROW: f32 = 2.75 * GRID;

impl View<'_> {
    pub(super) fn stats(&self, ui: &mut egui::Ui, s: &Stats) {
        let p = *palette(ui);
        let l = self.locale;
        let unknown = || l.plain("stats-unknown");
        let per_second = |value: String| l.text("stats-per-second", &[("value", value.into())]);
        let size = |s: crate::geom::Size| format!("{} × {}", s.w, s.h);
        let tier = match s.tier {
            Tier::Compute => "tier-compute",
            Tier::Draw => "tier-draw",
            Tier::Cpu => "tier-cpu",
        };
        let decode = match s.decode {
            Some(DecodeTime::Gpu(t)) => l.text("decode-gpu", &[("time", l.milliseconds(t).into())]),
            Some(DecodeTime::Cpu(t)) => l.text("decode-cpu", &[("time", l.milliseconds(t).into())]),
            None => unknown(),
        };
        let latency = s.latency.map(|(median, high)| {
            let args = [("median", l.milliseconds(median).into()), ("high", l.milliseconds(high).into())];
            l.text("stats-latency-value", &args)
        });
        let sound = s.sound.map_or_else(unknown, |s| {
            let args = [
                ("delay", l.milliseconds(s.delay).into()),
                ("concealed", s.concealed.into()),
                ("missing", l.milliseconds(s.missing).into()),
            ];
            l.text("stats-sound-value", &args)
        });
        let exact = match s.exact {
            Exactness::Yes => "stats-yes",
            Exactness::Unchecked => "stats-unchecked",
            Exactness::No => "stats-no",
            Exactness::Unknown => "stats-unknown",
        };
        let groups: [&[(&str, String)]; 4] = [
            &[
                ("stats-latency", latency.unwrap_or_else(unknown)),
                ("stats-round-trip", s.round_trip.map_or_else(unknown, |t| l.milliseconds(t))),
                ("stats-decode", decode),
                ("stats-exact", l.plain(exact)),
            ],
            &[
                ("stats-frames", per_second(l.number(s.frames_per_second, 0))),
                ("stats-traffic", per_second(l.bytes(s.bytes_per_second))),
                ("stats-total", l.bytes(s.bytes_total)),
            ],
            &[
                ("stats-screen", size(s.screen)),
                ("stats-window", size(s.window)),
                ("stats-scale", format!("{} %", l.number(s.scale * 100.0, 0))),
                ("stats-tier", l.plain(tier)),
                ("stats-adapter", s.adapter.clone()),
            ],
            &[
                ("stats-host", s.host.clone()),
                ("stats-keyboard", s.keyboard.clone()),
                ("stats-uptime", l.clock(s.uptime)),
                ("stats-sound", sound),
            ],
        ];
        let screen = ui.ctx().viewport_rect();
        let width = (screen.width() - 8.0 * GRID).clamp(20.0 * GRID, 50.0 * GRID);
        // What does not fit into a low window is left out, the least important first.
        let mut room = screen.height() - 14.0 * GRID;
        let fits = |group: &&&[(&str, String)]| {
            room -= STATS_ROW * group.len() as f32 + GRID + 1.0;
            room >= 0.0
        };
        let fitting = groups.iter().take_while(fits).count();
        Area::new(Id::unique("stats"))
            .anchor(Align2::RIGHT_TOP, vec2(-2.0 * GRID, 7.0 * GRID))
            .order(Order::Middle)
            .interactable(false)
            .fade_in(false)
            .show(ui.ctx(), |ui| {
                surface(&p).inner_margin(Margin::symmetric(16, 12)).show(ui, |ui| {
                    ui.set_width(width);
                    ui.spacing_mut().item_spacing.y = 0.0;
                    ui.label(RichText::new(l.plain("stats-title")).color(p.text));
                    for group in &groups[..fitting] {
                        ui.add_space(GRID / 2.0);
                        let (line, _) = ui.allocate_exact_size(vec2(width, 1.0), Sense::hover());
                        ui.painter().hline(line.x_range(), line.center().y, Stroke::new(1.0, p.line));
                        ui.add_space(GRID / 2.0);
                        for (key, value) in *group {
                            stats_row(ui, &p, width, &l.plain(key), value);
                        }
                    }
                });
            });
    }
}

fn stats_row(ui: &mut egui::Ui, p: &Palette, width: f32, key: &str, value: &str) {
    let (rect, response) = ui.allocate_exact_size(vec2(width, STATS_ROW), Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::accesskit::Role::Label, true, format!("{key}: {value}")));
    let column = (width * 0.4).min(17.0 * GRID);
    let font = TextStyle::Small.resolve(ui.style());
    for (text, color, x, w) in
        [(key, p.weak, rect.left(), column - GRID), (value, p.text, rect.left() + column, width - column)]
    {
        let galley = one_line(ui, text, font.clone(), color, w);
        ui.painter().galley(pos2(x, rect.center().y - galley.size().y / 2.0), galley, color);
    }
}
