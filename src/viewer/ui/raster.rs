//! Paints egui's triangles on the CPU, so that all three presenters compose the same image.
//! Blends as egui expects: premultiplied, in gamma space. Knows no page, no window and no GPU; what changed since the
//! last picture is found by comparing triangles, and only that is painted again. Neighbour: `ui`, which runs egui.

use std::collections::HashMap;

use egui::epaint::textures::{TextureFilter, TexturesDelta};
use egui::epaint::{ClippedPrimitive, ImageData, ImageDelta, Mesh, Primitive, TextureId, Vertex};
use egui::{Color32, Pos2};

use crate::geom::{Rect, Size};

/// The image of the viewer's own pages, to be composed over the remote picture.
///
/// Compose with `out = overlay + picture * (255 - alpha) / 255` per channel; no channel exceeds its alpha, so that
/// this cannot overflow.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Size in physical pixels.
    pub size: Size,
    /// Premultiplied 0xAARRGGBB in gamma space, row-major, `size.area()` values.
    pub pixels: Vec<u32>,
    /// A box around everything that is not fully transparent; empty when nothing is shown.
    pub painted: Rect,
}

/// Paints tessellated egui output into an [`Overlay`] and remembers what it painted.
#[derive(Default)]
pub struct Rasterizer {
    textures: HashMap<TextureId, Texture>,
    overlay: Overlay,
    last: Vec<ClippedPrimitive>,
    last_scale: f32,
}

/// One texture, premultiplied, row-major.
struct Texture {
    w: usize,
    h: usize,
    texels: Vec<u32>,
    nearest: bool,
}

/// A triangle corner in physical pixels.
#[derive(Clone, Copy)]
struct Corner {
    x: f32,
    y: f32,
    u: f32,
    v: f32,
    color: [f32; 4],
}

/// Half-open pixel box in which painting is allowed.
#[derive(Clone, Copy)]
struct Clip {
    x0: i64,
    y0: i64,
    x1: i64,
    y1: i64,
}

/// Sub-pixel steps of a corner: 1/256 pixel. Neighbouring triangles share corners exactly, so that no pixel on their
/// common edge is painted twice or left out.
const SUB: i64 = 256;
/// Corners further out than this many pixels are pulled in; keeps all edge arithmetic inside 64 bits.
const FAR: f32 = 1_000_000.0;
/// Largest texture side that is accepted, in texels.
const TEXTURE_SIDE_MAX: usize = 16_384;

impl Rasterizer {
    /// The image as of the last [`Self::paint`].
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Takes the changed textures, paints what differs from the last call and tells where.
    ///
    /// `primitives` are in points, `pixels_per_point` scales them. `textures` is emptied. The returned rectangle is
    /// the part of the overlay whose pixels may differ from before; it is empty when nothing changed.
    pub fn paint(
        &mut self,
        textures: &mut TexturesDelta,
        primitives: Vec<ClippedPrimitive>,
        pixels_per_point: f32,
        size: Size,
    ) -> Rect {
        let scale = if pixels_per_point.is_finite() && pixels_per_point > 0.0 { pixels_per_point } else { 1.0 };
        let mut replaced = false;
        for (id, deltas) in &textures.set {
            for delta in deltas {
                replaced |= self.apply(*id, delta);
            }
        }
        let freed: Vec<TextureId> = textures.free.iter().copied().collect();
        textures.clear();

        let mut damage = Bounds::default();
        if size != self.overlay.size {
            self.overlay.pixels.clear();
            self.overlay.pixels.resize(size.area() as usize, 0);
            self.overlay.size = size;
            damage.everything();
        } else if replaced || scale != self.last_scale {
            damage.everything();
        } else {
            compare(&self.last, &primitives, &mut damage);
        }
        let damage = damage.pixels(scale, size);
        let mut painted = Bounds::default();
        for p in &primitives {
            if let Primitive::Mesh(mesh) = &p.primitive {
                painted.add_visible(mesh, p.clip_rect);
            }
        }
        self.overlay.painted = painted.pixels(scale, size);
        if !damage.is_empty() {
            self.repaint(&primitives, scale, damage);
        }
        self.last = primitives;
        self.last_scale = scale;
        for id in freed {
            self.textures.remove(&id);
        }
        damage
    }

    /// Takes one texture change; true if texels that may be in use changed.
    fn apply(&mut self, id: TextureId, delta: &ImageDelta) -> bool {
        let ImageData::Color(image) = &delta.image;
        let [w, h] = image.size;
        if w == 0 || h == 0 || w > TEXTURE_SIDE_MAX || h > TEXTURE_SIDE_MAX || image.pixels.len() != w * h {
            return false;
        }
        let texels = image.pixels.iter().map(|c| texel(*c));
        match delta.pos {
            None => {
                let nearest = delta.options.magnification == TextureFilter::Nearest;
                self.textures.insert(id, Texture { w, h, texels: texels.collect(), nearest });
                true
            }
            Some([x, y]) => {
                let Some(texture) = self.textures.get_mut(&id) else { return false };
                if x.saturating_add(w) > texture.w || y.saturating_add(h) > texture.h {
                    return false;
                }
                let texels: Vec<u32> = texels.collect();
                let mut changed = false;
                for (row, line) in texels.chunks_exact(w).enumerate() {
                    let at = (y + row) * texture.w + x;
                    let old = &mut texture.texels[at..at + w];
                    // New glyphs go to empty places; what was drawn before stays as it is.
                    changed |= old.iter().zip(line).any(|(a, b)| *a != 0 && a != b);
                    old.copy_from_slice(line);
                }
                changed
            }
        }
    }

    fn repaint(&mut self, primitives: &[ClippedPrimitive], scale: f32, damage: Rect) {
        let width = self.overlay.size.w as usize;
        for row in damage.y..damage.bottom() {
            let at = row as usize * width + damage.x as usize;
            self.overlay.pixels[at..at + damage.w as usize].fill(0);
        }
        for p in primitives {
            let Primitive::Mesh(mesh) = &p.primitive else { continue };
            let clip = Clip::from_points(p.clip_rect, scale).within(damage);
            if clip.is_empty() {
                continue;
            }
            let Some(texture) = self.textures.get(&mesh.texture_id) else { continue };
            let mut canvas = Canvas { pixels: &mut self.overlay.pixels, width, clip, texture };
            canvas.mesh(mesh, scale);
        }
    }
}

/// What one mesh is painted with.
struct Canvas<'a> {
    pixels: &'a mut [u32],
    width: usize,
    clip: Clip,
    texture: &'a Texture,
}

impl Canvas<'_> {
    fn mesh(&mut self, mesh: &Mesh, scale: f32) {
        let vertex = |i: u32| mesh.vertices.get(i as usize);
        let mut indices = mesh.indices.as_slice();
        while let [a, b, c, rest @ ..] = indices {
            indices = rest;
            let (Some(va), Some(vb), Some(vc)) = (vertex(*a), vertex(*b), vertex(*c)) else { continue };
            // egui emits upright rectangles (all its glyphs) as a pair: [lt rt lb] [lb rt rb].
            if let [d, e, f, after @ ..] = rest
                && (d, e) == (c, b)
                && let Some(vf) = vertex(*f)
                && self.rectangle(va, vb, vc, vf, scale)
            {
                indices = after;
                continue;
            }
            let corners = [Corner::new(va, scale), Corner::new(vb, scale), Corner::new(vc, scale)];
            if corners.iter().all(|c| c.is_finite()) {
                self.triangle(corners);
            }
        }
    }

    /// Paints four corners as an upright rectangle of one colour; false if they are none.
    fn rectangle(&mut self, lt: &Vertex, rt: &Vertex, lb: &Vertex, rb: &Vertex, scale: f32) -> bool {
        let upright = |f: fn(&Vertex) -> Pos2| {
            let (a, b, c, d) = (f(lt), f(rt), f(lb), f(rb));
            a.y == b.y && c.y == d.y && a.x == c.x && b.x == d.x
        };
        let one_color = lt.color == rt.color && lt.color == lb.color && lt.color == rb.color;
        if !one_color || !upright(|v| v.pos) || !upright(|v| v.uv) || rb.pos.x <= lt.pos.x || rb.pos.y <= lt.pos.y {
            return false;
        }
        let (a, b) = (Corner::new(lt, scale), Corner::new(rb, scale));
        if !a.is_finite() || !b.is_finite() {
            return true;
        }
        // The same rounding as for triangles: a pixel belongs to it when its centre does.
        let first = |v: f32| (snap(v) - SUB / 2 + SUB - 1).div_euclid(SUB);
        let (x0, x1) = (first(a.x).max(self.clip.x0), first(b.x).min(self.clip.x1));
        let (y0, y1) = (first(a.y).max(self.clip.y0), first(b.y).min(self.clip.y1));
        if x0 >= x1 || y0 >= y1 {
            return true;
        }
        let color = texel(lt.color);
        if color == 0 {
            return true;
        }
        if lt.uv == rb.uv {
            let source = modulate(self.texture.sample(a.u, a.v), color);
            for y in y0..y1 {
                self.solid(y, x0, x1, source);
            }
            return true;
        }
        let (dudx, dvdy) = ((b.u - a.u) / (b.x - a.x), (b.v - a.v) / (b.y - a.y));
        let (w, h) = (self.texture.w as f32, self.texture.h as f32);
        let u0 = a.u + (x0 as f32 + 0.5 - a.x) * dudx;
        // Text lies on the pixel grid: one texel per pixel, centre on centre, and no filter is needed.
        let on_grid = |t: f32, step: f32| (step - 1.0).abs() < 1e-3 && (t - 0.5 - (t - 0.5).round()).abs() < 0.02;
        let exact_x = on_grid(u0 * w, dudx * w);
        for y in y0..y1 {
            let v = a.v + (y as f32 + 0.5 - a.y) * dvdy;
            let start = y as usize * self.width;
            let row = &mut self.pixels[start + x0 as usize..start + x1 as usize];
            if exact_x && on_grid(v * h, dvdy * h) {
                let line = (v * h - 0.5).round();
                let column = (u0 * w - 0.5).round();
                if line >= 0.0 && line < h && column >= 0.0 && column as usize + row.len() <= self.texture.w {
                    let at = line as usize * self.texture.w + column as usize;
                    for (pixel, t) in row.iter_mut().zip(&self.texture.texels[at..]) {
                        if *t != 0 {
                            *pixel = over(*pixel, modulate(*t, color));
                        }
                    }
                    continue;
                }
            }
            for (i, pixel) in row.iter_mut().enumerate() {
                let t = self.texture.sample(u0 + i as f32 * dudx, v);
                if t != 0 {
                    *pixel = over(*pixel, modulate(t, color));
                }
            }
        }
        true
    }

    fn triangle(&mut self, mut c: [Corner; 3]) {
        let snapped = |c: &Corner| (snap(c.x), snap(c.y));
        let area_of =
            |p: [(i64, i64); 3]| (p[1].0 - p[0].0) * (p[2].1 - p[0].1) - (p[1].1 - p[0].1) * (p[2].0 - p[0].0);
        let mut area = area_of([snapped(&c[0]), snapped(&c[1]), snapped(&c[2])]);
        if area < 0 {
            c.swap(1, 2);
            area = -area;
        }
        if area == 0 || c.iter().all(|c| c.color[0] == 0.0) {
            return;
        }
        let p = [snapped(&c[0]), snapped(&c[1]), snapped(&c[2])];
        let top = p.iter().map(|p| p.1).min().expect("three corners");
        let bottom = p.iter().map(|p| p.1).max().expect("three corners");
        let row_from = |v: i64| (v - SUB / 2 + SUB - 1).div_euclid(SUB);
        let (y0, y1) = (row_from(top).max(self.clip.y0), row_from(bottom).min(self.clip.y1));
        if y0 >= y1 {
            return;
        }
        // Edge i runs opposite corner i; its function is positive inside and its value over `area` is the weight of
        // that corner. The bias gives a pixel centre on an edge to exactly one of the two triangles that share it.
        let edges = [0, 1, 2].map(|i| {
            let (a, b) = (p[(i + 1) % 3], p[(i + 2) % 3]);
            let (dx, dy) = (b.0 - a.0, b.1 - a.1);
            let inclusive = dy < 0 || (dy == 0 && dx > 0);
            Edge { dx, dy, x: a.0, y: a.1, bias: if inclusive { 0 } else { -1 } }
        });
        let flat_color = c[0].color == c[1].color && c[0].color == c[2].color;
        let flat_uv = (c[0].u, c[0].v) == (c[1].u, c[1].v) && (c[0].u, c[0].v) == (c[2].u, c[2].v);
        let base = self.texture.sample(c[0].u, c[0].v);
        let solid = (flat_color && flat_uv).then(|| modulate(base, pack(c[0].color)));
        for y in y0..y1 {
            let cy = y * SUB + SUB / 2;
            let (mut x0, mut x1) = (self.clip.x0, self.clip.x1);
            for e in &edges {
                e.narrow(cy, &mut x0, &mut x1);
            }
            if x0 >= x1 {
                continue;
            }
            if let Some(source) = solid {
                self.solid(y, x0, x1, source);
                continue;
            }
            let weight = |e: &Edge, x: i64| e.value(x * SUB + SUB / 2, cy) as f32 / area as f32;
            let w0 = edges.each_ref().map(|e| weight(e, x0));
            let step = edges.each_ref().map(|e| -(e.dy * SUB) as f32 / area as f32);
            let start = y as usize * self.width;
            for (i, pixel) in self.pixels[start + x0 as usize..start + x1 as usize].iter_mut().enumerate() {
                let w = [0, 1, 2].map(|k| w0[k] + step[k] * i as f32);
                let mix = |f: fn(&Corner) -> f32| w[0] * f(&c[0]) + w[1] * f(&c[1]) + w[2] * f(&c[2]);
                let color = if flat_color {
                    c[0].color
                } else {
                    [0, 1, 2, 3].map(|k| w[0] * c[0].color[k] + w[1] * c[1].color[k] + w[2] * c[2].color[k])
                };
                let t = if flat_uv { base } else { self.texture.sample(mix(|c| c.u), mix(|c| c.v)) };
                *pixel = over(*pixel, modulate(t, pack(color)));
            }
        }
    }

    fn solid(&mut self, y: i64, x0: i64, x1: i64, source: u32) {
        let start = y as usize * self.width;
        let row = &mut self.pixels[start + x0 as usize..start + x1 as usize];
        match source >> 24 {
            0 => {}
            255 => row.fill(source),
            // The veil over the whole picture comes first, on nothing.
            _ if row.iter().all(|p| *p == 0) => row.fill(source),
            _ => row.iter_mut().for_each(|p| *p = over(*p, source)),
        }
    }
}

/// One directed edge of a triangle in sub-pixels; the inside is where [`Edge::value`] is positive.
struct Edge {
    dx: i64,
    dy: i64,
    x: i64,
    y: i64,
    bias: i64,
}

impl Edge {
    fn value(&self, x: i64, y: i64) -> i64 {
        self.dx * (y - self.y) - self.dy * (x - self.x)
    }

    /// Keeps of the columns `x0..x1` those whose centre in row `cy` (sub-pixels) is inside.
    fn narrow(&self, cy: i64, x0: &mut i64, x1: &mut i64) {
        // value(x) + bias >= 0 with x = column * SUB + SUB / 2 is: k * column <= n
        let n = self.value(SUB / 2, cy) + self.bias;
        let k = self.dy * SUB;
        match k {
            0 if n < 0 => *x1 = *x0,
            0 => {}
            1.. => *x1 = (*x1).min(n.div_euclid(k) + 1),
            _ => *x0 = (*x0).max(-n.div_euclid(-k)),
        }
    }
}

impl Corner {
    fn new(v: &Vertex, scale: f32) -> Self {
        let limit = |f: f32| f.clamp(-FAR, FAR);
        let color = texel(v.color);
        Self {
            x: limit(v.pos.x * scale),
            y: limit(v.pos.y * scale),
            u: v.uv.x,
            v: v.uv.y,
            color: [24, 16, 8, 0].map(|s| (color >> s & 255) as f32),
        }
    }

    fn is_finite(&self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.u.is_finite() && self.v.is_finite()
    }
}

impl Clip {
    fn from_points(r: egui::Rect, scale: f32) -> Self {
        // `as` takes NaN to 0 and saturates, so that an infinite clip rectangle is all there is.
        let side = |v: f32| (v * scale).round() as i64;
        Self { x0: side(r.min.x), y0: side(r.min.y), x1: side(r.max.x), y1: side(r.max.y) }
    }

    fn within(self, r: Rect) -> Self {
        Self {
            x0: self.x0.max(i64::from(r.x)),
            y0: self.y0.max(i64::from(r.y)),
            x1: self.x1.min(i64::from(r.right())),
            y1: self.y1.min(i64::from(r.bottom())),
        }
    }

    fn is_empty(self) -> bool {
        self.x0 >= self.x1 || self.y0 >= self.y1
    }
}

impl Texture {
    /// The filtered texel at `u`, `v` in 0..=1, clamped to the edge.
    fn sample(&self, u: f32, v: f32) -> u32 {
        let (x, y) = (u * self.w as f32 - 0.5, v * self.h as f32 - 0.5);
        let texel = |x: f32, y: f32| {
            let column = x.clamp(0.0, self.w as f32 - 1.0) as usize;
            let line = y.clamp(0.0, self.h as f32 - 1.0) as usize;
            self.texels[line * self.w + column]
        };
        if self.nearest {
            return texel(x.round(), y.round());
        }
        let (left, up) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - up);
        let [a, b, c, d] = [texel(left, up), texel(left + 1.0, up), texel(left, up + 1.0), texel(left + 1.0, up + 1.0)];
        if a == b && a == c && a == d {
            return a;
        }
        let channel = |s: u32| {
            let f = |t: u32| (t >> s & 255) as f32;
            let (upper, lower) = (f(a) + (f(b) - f(a)) * fx, f(c) + (f(d) - f(c)) * fx);
            upper + (lower - upper) * fy
        };
        pack([24, 16, 8, 0].map(channel))
    }
}

/// A box in points, grown by what is added.
#[derive(Clone, Copy, Default)]
struct Bounds {
    area: Option<egui::Rect>,
}

impl Bounds {
    fn everything(&mut self) {
        self.area = Some(egui::Rect::EVERYTHING);
    }

    fn add(&mut self, r: egui::Rect) {
        self.area = Some(self.area.map_or(r, |a| a.union(r)));
    }

    fn add_triangle(&mut self, corners: [&Vertex; 3], clip: egui::Rect) {
        let finite = corners.iter().all(|v| v.pos.x.is_finite() && v.pos.y.is_finite());
        if finite && corners.iter().any(|v| v.color.a() != 0) {
            let r = egui::Rect::from_points(&corners.map(|v| v.pos)).intersect(clip);
            if r.is_positive() {
                self.add(r);
            }
        }
    }

    fn add_visible(&mut self, mesh: &Mesh, clip: egui::Rect) {
        for i in 0..mesh.indices.len() / 3 {
            if let Some(t) = triangle_at(mesh, i) {
                self.add_triangle(t, clip);
            }
        }
    }

    fn pixels(self, scale: f32, size: Size) -> Rect {
        let Some(r) = self.area else { return Rect::default() };
        // `as` saturates, so that anything outside ends at the border.
        let (x0, y0) = ((r.min.x * scale).floor() as u32, (r.min.y * scale).floor() as u32);
        let (x1, y1) = ((r.max.x * scale).ceil() as u32, (r.max.y * scale).ceil() as u32);
        Rect::new(x0, y0, x1.saturating_sub(x0), y1.saturating_sub(y0)).intersection(size.rect())
    }
}

/// Adds to `damage` where two pictures differ: equal triangles at the start and at the end cost nothing.
fn compare(old: &[ClippedPrimitive], new: &[ClippedPrimitive], damage: &mut Bounds) {
    if old.len() != new.len() {
        for p in old.iter().chain(new) {
            if let Primitive::Mesh(mesh) = &p.primitive {
                damage.add_visible(mesh, p.clip_rect);
            }
        }
        return;
    }
    for (a, b) in old.iter().zip(new) {
        let (Primitive::Mesh(ma), Primitive::Mesh(mb)) = (&a.primitive, &b.primitive) else { continue };
        if a.clip_rect != b.clip_rect || ma.texture_id != mb.texture_id {
            damage.add_visible(ma, a.clip_rect);
            damage.add_visible(mb, b.clip_rect);
            continue;
        }
        let (na, nb) = (ma.indices.len() / 3, mb.indices.len() / 3);
        let same = |i: usize, j: usize| match (triangle_at(ma, i), triangle_at(mb, j)) {
            (Some(a), Some(b)) => (0..3).all(|k| a[k] == b[k]),
            (a, b) => a.is_none() && b.is_none(),
        };
        let shorter = na.min(nb);
        let head = (0..shorter).take_while(|i| same(*i, *i)).count();
        let tail = (0..shorter - head).take_while(|i| same(na - 1 - i, nb - 1 - i)).count();
        for i in head..na - tail {
            if let Some(t) = triangle_at(ma, i) {
                damage.add_triangle(t, a.clip_rect);
            }
        }
        for i in head..nb - tail {
            if let Some(t) = triangle_at(mb, i) {
                damage.add_triangle(t, b.clip_rect);
            }
        }
    }
}

fn triangle_at(mesh: &Mesh, index: usize) -> Option<[&Vertex; 3]> {
    let corner = |k: usize| mesh.vertices.get(*mesh.indices.get(index * 3 + k)? as usize);
    Some([corner(0)?, corner(1)?, corner(2)?])
}

/// Sub-pixels of a coordinate that [`Corner::new`] has bounded.
fn snap(v: f32) -> i64 {
    (v * SUB as f32).round() as i64
}

/// 0xAARRGGBB with no channel above alpha; egui's additive colours have no place in a premultiplied overlay.
fn texel(c: Color32) -> u32 {
    let a = c.a();
    u32::from_be_bytes([a, c.r().min(a), c.g().min(a), c.b().min(a)])
}

/// Rounds alpha, red, green, blue in 0..=255.
fn pack(c: [f32; 4]) -> u32 {
    let [a, r, g, b] = c.map(|f| (f + 0.5) as u8);
    u32::from_be_bytes([a, r.min(a), g.min(a), b.min(a)])
}

/// Product of two colours per channel, 255 being one.
fn modulate(a: u32, b: u32) -> u32 {
    if a == u32::MAX {
        return b;
    }
    if a >> 24 == a & 255 && a >> 24 == a >> 16 & 255 && a >> 24 == a >> 8 & 255 {
        return scaled(b, a >> 24);
    }
    let channel = |s: u32| {
        let n = (a >> s & 255) * (b >> s & 255) + 128;
        (n + (n >> 8)) >> 8 << s
    };
    channel(24) | channel(16) | channel(8) | channel(0)
}

/// All four channels times `by / 255`, rounded to nearest; two channels in one multiplication.
fn scaled(c: u32, by: u32) -> u32 {
    const EVERY_SECOND: u32 = 0x00ff_00ff;
    const HALF: u32 = 0x0080_0080;
    let low = (c & EVERY_SECOND) * by + HALF;
    let high = (c >> 8 & EVERY_SECOND) * by + HALF;
    let low = (low + (low >> 8 & EVERY_SECOND)) >> 8 & EVERY_SECOND;
    let high = (high + (high >> 8 & EVERY_SECOND)) & !EVERY_SECOND;
    low | high
}

/// Source over destination, premultiplied.
fn over(destination: u32, source: u32) -> u32 {
    source + scaled(destination, 255 - (source >> 24))
}

#[cfg(test)]
mod tests {
    use egui::epaint::{ColorImage, textures::TextureOptions};
    use egui::{pos2, vec2};

    use super::*;

    const SIZE: Size = Size::new(16, 16);

    /// A 4×2 atlas: white at the origin as egui has it, and a ramp of alpha in the second row.
    fn delta() -> TexturesDelta {
        let mut pixels = vec![Color32::WHITE; 4];
        pixels.extend([0, 85, 170, 255].map(Color32::from_white_alpha));
        let mut d = TexturesDelta::default();
        d.push(TextureId::default(), ImageDelta::full(ColorImage::new([4, 2], pixels), TextureOptions::LINEAR));
        d
    }

    fn clipped(mesh: Mesh, clip: egui::Rect) -> ClippedPrimitive {
        ClippedPrimitive { clip_rect: clip, primitive: Primitive::Mesh(mesh) }
    }

    fn painted(meshes: Vec<Mesh>) -> Rasterizer {
        let mut r = Rasterizer::default();
        let list = meshes.into_iter().map(|m| clipped(m, egui::Rect::EVERYTHING)).collect();
        r.paint(&mut delta(), list, 1.0, SIZE);
        r
    }

    fn rect(x: f32, y: f32, w: f32, h: f32, color: Color32) -> Mesh {
        let mut m = Mesh::default();
        m.add_colored_rect(egui::Rect::from_min_size(pos2(x, y), vec2(w, h)), color);
        m
    }

    fn at(r: &Rasterizer, x: usize, y: usize) -> u32 {
        r.overlay().pixels[y * SIZE.w as usize + x]
    }

    fn polygon(points: &[(f32, f32)], color: Color32) -> Mesh {
        let mut m = Mesh::default();
        for (x, y) in points {
            m.colored_vertex(pos2(*x, *y), color);
        }
        for i in 1..points.len() as u32 - 1 {
            m.add_triangle(0, i, i + 1);
        }
        m
    }

    #[test]
    fn solid_rectangle_covers_exactly_its_pixels() {
        let r = painted(vec![rect(2.0, 3.0, 4.0, 5.0, Color32::from_rgb(10, 20, 30))]);
        let filled = r.overlay().pixels.iter().filter(|p| **p == 0xff0a141e).count();
        assert_eq!(filled, 20);
        assert_eq!(r.overlay().pixels.iter().filter(|p| **p != 0).count(), 20);
        assert_eq!((at(&r, 2, 3), at(&r, 5, 7), at(&r, 6, 7), at(&r, 1, 3)), (0xff0a141e, 0xff0a141e, 0, 0));
        assert_eq!(r.overlay().painted, Rect::new(2, 3, 4, 5));
    }

    #[test]
    fn translucent_white_over_black_is_blended_in_gamma_space() {
        let half = Color32::from_white_alpha(128);
        let r = painted(vec![rect(0.0, 0.0, 4.0, 4.0, Color32::BLACK), rect(0.0, 0.0, 8.0, 4.0, half)]);
        assert_eq!((at(&r, 1, 1), at(&r, 5, 1)), (0xff808080, 0x80808080));
    }

    #[test]
    fn shared_edges_are_painted_once() {
        let glass = Color32::from_rgba_unmultiplied(200, 100, 50, 100);
        let points = [(1.3, 1.1), (14.2, 2.4), (15.5, 13.0), (7.7, 15.1), (0.4, 9.9)];
        let r = painted(vec![polygon(&points, glass)]);
        let values: std::collections::BTreeSet<u32> = r.overlay().pixels.iter().copied().collect();
        assert_eq!(values.len(), 2, "a pixel painted twice would have a third value: {values:x?}");
        let n = r.overlay().pixels.iter().filter(|p| **p != 0).count();
        let area: f32 =
            (0..5).map(|i| (points[i], points[(i + 1) % 5])).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f32>() / 2.0;
        assert!((n as f32 - area).abs() < 6.0, "{n} pixels for an area of {area}");
    }

    #[test]
    fn colours_are_interpolated_between_corners() {
        let mut m = Mesh::default();
        for (x, c) in [(0.0, Color32::TRANSPARENT), (16.0, Color32::WHITE)] {
            m.colored_vertex(pos2(x, 0.0), c);
            m.colored_vertex(pos2(x, 16.0), c);
        }
        m.add_triangle(0, 1, 2);
        m.add_triangle(2, 1, 3);
        let r = painted(vec![m]);
        for x in 0..16 {
            let expected = ((x as f32 + 0.5) / 16.0 * 255.0 + 0.5) as u32 * 0x01010101;
            assert_eq!(at(&r, x, 7), expected, "column {x}");
        }
    }

    #[test]
    fn texels_meet_pixels_one_to_one_and_are_filtered_between() {
        let quad = |x: f32| {
            let mut m = Mesh::default();
            let uv = egui::Rect::from_min_max(pos2(0.0, 0.5), pos2(1.0, 1.0));
            m.add_rect_with_uv(egui::Rect::from_min_size(pos2(x, 4.0), vec2(4.0, 1.0)), uv, Color32::WHITE);
            m
        };
        let r = painted(vec![quad(2.0)]);
        assert_eq!([2, 3, 4, 5].map(|x| at(&r, x, 4)), [0, 0x55555555, 0xaaaaaaaa, 0xffffffff]);
        let r = painted(vec![quad(2.5)]);
        assert_eq!([3, 4, 5].map(|x| at(&r, x, 4) & 255), [43, 128, 213]);
    }

    #[test]
    fn clip_rectangle_cuts_off() {
        let mut r = Rasterizer::default();
        let clip = egui::Rect::from_min_max(pos2(3.0, 3.0), pos2(5.0, 5.0));
        r.paint(&mut delta(), vec![clipped(rect(0.0, 0.0, 16.0, 16.0, Color32::RED), clip)], 1.0, SIZE);
        assert_eq!(r.overlay().pixels.iter().filter(|p| **p != 0).count(), 4);
        assert_eq!(r.overlay().painted, Rect::new(3, 3, 2, 2));
    }

    #[test]
    fn wild_coordinates_are_survived() {
        let wild = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -f32::MAX, 1e9, -1e9, 0.0, 8.0];
        for a in wild {
            for b in wild {
                let mut m = polygon(&[(a, b), (b, 3.0), (7.0, a)], Color32::RED);
                m.vertices[1].uv = pos2(b, a);
                m.indices.extend([7, 8, 9]);
                m.add_rect_with_uv(
                    egui::Rect::from_min_max(pos2(a, b), pos2(b, a)),
                    egui::Rect::from_min_max(pos2(b, b), pos2(a, 1.0)),
                    Color32::BLUE,
                );
                let mut r = Rasterizer::default();
                let clip = egui::Rect::from_min_max(pos2(b, a), pos2(a, b));
                r.paint(&mut delta(), vec![clipped(m.clone(), clip)], 1.5, SIZE);
                r.paint(&mut TexturesDelta::default(), vec![clipped(m, egui::Rect::EVERYTHING)], f32::NAN, SIZE);
            }
        }
        let huge = polygon(&[(-1e8, -1e8), (1e8, -1e8), (1e8, 1e8), (-1e8, 1e8)], Color32::RED);
        let r = painted(vec![huge]);
        assert!(r.overlay().pixels.iter().all(|p| *p == 0xffff0000));
    }

    #[test]
    fn only_what_differs_is_painted_again() {
        let mut r = Rasterizer::default();
        let page = |x: f32| {
            let mut m = rect(0.0, 0.0, 16.0, 16.0, Color32::BLACK);
            m.append(rect(x, 2.0, 2.0, 2.0, Color32::WHITE));
            m.append(rect(1.0, 12.0, 3.0, 3.0, Color32::GREEN));
            vec![clipped(m, egui::Rect::EVERYTHING)]
        };
        assert_eq!(r.paint(&mut delta(), page(4.0), 1.0, SIZE), SIZE.rect());
        assert_eq!(r.paint(&mut TexturesDelta::default(), page(4.0), 1.0, SIZE), Rect::default());
        assert_eq!(r.paint(&mut TexturesDelta::default(), page(6.0), 1.0, SIZE), Rect::new(4, 2, 4, 2));
        let partial = r.overlay().pixels.clone();
        let mut whole = Rasterizer::default();
        whole.paint(&mut delta(), page(6.0), 1.0, SIZE);
        assert_eq!(partial, whole.overlay().pixels);
        assert_eq!(r.paint(&mut TexturesDelta::default(), Vec::new(), 1.0, SIZE), SIZE.rect());
        assert!(r.overlay().pixels.iter().all(|p| *p == 0) && r.overlay().painted.is_empty());
    }

    #[test]
    fn no_channel_exceeds_its_alpha() {
        let additive = Color32::from_rgba_premultiplied(90, 60, 20, 0);
        let r = painted(vec![
            polygon(&[(0.0, 0.0), (15.0, 2.0), (3.0, 14.0)], Color32::from_rgba_unmultiplied(255, 130, 7, 77)),
            rect(1.0, 1.0, 9.0, 9.0, additive),
            rect(2.0, 2.0, 9.0, 9.0, Color32::from_white_alpha(33)),
        ]);
        for p in &r.overlay().pixels {
            let [a, rgb @ ..] = p.to_be_bytes();
            assert!(rgb.iter().all(|c| *c <= a), "{p:08x}");
        }
    }
}
