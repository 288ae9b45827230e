//! The screen thread: applies frames, and shows picture and pages in the window, by whatever the machine has.
//!
//! It may block in the display's swap chain; nobody waits for it but the next frame. Which pixels: `codec`; how they get
//! onto the screen: `io::gpu`, `io::soft`.

use crate::codec::canvas::{Canvas, Picture};
use crate::codec::marks;
use crate::codec::stage::mark::{self, MARKS_SIZE};
use crate::geom::{Fit, Rect, Size, fit};
use crate::io::gpu::decode::Decoder;
use crate::io::gpu::mirror::Mirror;
use crate::io::gpu::present::{Presenter, Shown};
use crate::io::gpu::{self, Gpu, GpuError, Renderer, Tier, proof};
use crate::io::soft::{self, SoftError, SoftPresenter};
use crate::io::window;
use crate::proto::screen::assembler::Update;
use crate::viewer::event::{
    Check, Fact, OverlayPicture, RendererFact, SceneChange, SceneReceiver, Show, UiEvent, UiSender,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::mpsc;
use winit::window::Window;

/// Parts of the picture that are remembered one by one until it is presented: more than any renderer draws one by one. A host
/// can leave a picture unfinished for ever, and a window without size is not drawn.
const PARTS_MAX: usize = 256;

/// What the screen thread needs to begin.
pub struct ScreenParts {
    /// What is drawn into.
    pub canvas: window::Canvas,
    /// wgpu and the canvas's surface, made on the ui thread as some systems want it; none if the GPU is not wanted.
    pub surface: Option<(wgpu::Instance, wgpu::Surface<'static>)>,
    /// What the user asked for.
    pub renderer: Renderer,
    /// From net.
    pub updates: mpsc::Receiver<Show>,
    /// From net.
    pub checks: mpsc::Receiver<Check>,
    /// From ui.
    pub scenes: SceneReceiver,
    /// To net.
    pub facts: mpsc::Sender<Fact>,
    /// To ui.
    pub ui: UiSender,
}

/// Nothing can be drawn.
#[derive(Debug, Error)]
enum ScreenError {
    #[error(transparent)]
    Gpu(#[from] GpuError),
    #[error(transparent)]
    Soft(#[from] SoftError),
}

/// One of the three tiers.
enum Painter {
    Compute { decoder: Box<Decoder>, presenter: Box<Presenter> },
    Gl { canvas: Box<Canvas>, mirror: Box<Mirror>, presenter: Box<Presenter> },
    Cpu { canvas: Box<Canvas>, presenter: Box<SoftPresenter> },
}

struct Screen {
    painter: Painter,
    /// Goes after what draws into it.
    canvas: window::Canvas,
    size: Size,
    picture: Size,
    overlay: Option<OverlayPicture>,
    /// What of the picture changed since it was presented.
    damage: Vec<Rect>,
    /// Likewise, and the presenter has drawn it already.
    prepared: Vec<Rect>,
    overlay_damage: Rect,
    exposed: bool,
    /// Something was given to the window since the ui heard so.
    presented: bool,
}

/// Runs until net and ui hang up.
pub async fn run(parts: ScreenParts) {
    let ScreenParts { canvas, surface, renderer, mut updates, mut checks, mut scenes, facts, ui } = parts;
    let (painter, fact) = match open(&canvas.window, surface, renderer) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%error, "Nothing can be drawn");
            ui.tell(UiEvent::Fatal(error.to_string()));
            return;
        }
    };
    tracing::info!(tier = ?fact.tier, adapter = fact.adapter, "Renderer");
    let _ = facts.send(Fact::Renderer(fact.clone())).await;
    ui.tell(UiEvent::Renderer(fact));
    let inner = canvas.window.inner_size();
    let mut screen = Screen {
        canvas,
        painter,
        size: Size::new(inner.width, inner.height),
        picture: Size::default(),
        overlay: None,
        damage: Vec::new(),
        prepared: Vec::new(),
        overlay_damage: Rect::default(),
        exposed: true,
        presented: false,
    };
    loop {
        let done = tokio::select! {
            biased;
            changes = scenes.recv() => {
                let Some(changes) = changes else { return };
                changes.into_iter().for_each(|change| screen.handle_scene(change));
                screen.present()
            }
            show = updates.recv() => {
                let Some(show) = show else { return };
                screen.handle_update(&show, &facts).await
            }
            check = checks.recv() => {
                let Some(check) = check else { return };
                screen.handle_check(check, &facts).await
            }
        };
        if std::mem::take(&mut screen.presented) {
            ui.tell(UiEvent::Presented);
        }
        let Err(error) = done else { continue };
        tracing::error!(%error, "The renderer failed");
        match screen.fall_back() {
            Ok(fact) => {
                let _ = facts.send(Fact::Renderer(fact.clone())).await;
                ui.tell(UiEvent::Renderer(fact));
                let _ = facts.send(Fact::Lost).await;
            }
            Err(error) => {
                ui.tell(UiEvent::Fatal(error.to_string()));
                return;
            }
        }
    }
}

/// Opens the best tier, or the one that was asked for.
fn open(
    window: &Arc<Window>,
    surface: Option<(wgpu::Instance, wgpu::Surface<'static>)>,
    renderer: Renderer,
) -> Result<(Painter, RendererFact), ScreenError> {
    if let Some((instance, surface)) = surface {
        match open_gpu(&instance, surface, renderer) {
            Ok(Some(opened)) => return Ok(opened),
            Ok(None) => {}
            Err(error) if renderer == Renderer::Auto => tracing::warn!(%error, "The GPU cannot be used"),
            Err(error) => return Err(error.into()),
        }
    }
    open_cpu(window)
}

fn open_gpu(
    instance: &wgpu::Instance,
    surface: wgpu::Surface<'static>,
    renderer: Renderer,
) -> Result<Option<(Painter, RendererFact)>, GpuError> {
    let choice = gpu::choose(instance, renderer, Some(&surface))?;
    let Some(adapter) = choice.adapter else { return Ok(None) };
    let mut tier = choice.tier;
    let mut gpu = Gpu::new(adapter.clone(), tier)?;
    if tier == Tier::Compute && !proof::decodes_exactly(&gpu)? {
        tracing::warn!(adapter = %gpu.kind, "The adapter decodes wrongly; the CPU decodes instead");
        tier = Tier::Gl;
        gpu = Gpu::new(adapter, tier)?;
    }
    let presenter = Box::new(Presenter::new(&gpu, surface)?);
    let painter = match tier {
        Tier::Compute => Painter::Compute { decoder: Box::new(Decoder::new(&gpu)?), presenter },
        Tier::Gl => Painter::Gl { canvas: Box::default(), mirror: Box::new(Mirror::new(&gpu)), presenter },
        Tier::Cpu => return Ok(None),
    };
    Ok(Some((painter, RendererFact { tier, adapter: gpu.kind.to_string() })))
}

fn open_cpu(window: &Arc<Window>) -> Result<(Painter, RendererFact), ScreenError> {
    let presenter = Box::new(SoftPresenter::new(Arc::clone(window))?);
    let fact = RendererFact { tier: Tier::Cpu, adapter: "softbuffer".to_owned() };
    Ok((Painter::Cpu { canvas: Box::default(), presenter }, fact))
}

impl Screen {
    fn handle_scene(&mut self, scene: SceneChange) {
        match scene {
            SceneChange::Window(size) => {
                self.size = size;
                self.canvas.follow(size);
                self.exposed = true;
            }
            SceneChange::Overlay(overlay) => {
                self.overlay_damage = self.overlay_damage.union(overlay.damage);
                self.overlay = Some(overlay);
            }
            SceneChange::Exposed => self.exposed = true,
        }
    }

    /// Decodes a frame, shows it unless more of the same picture follows, and says so.
    async fn handle_update(&mut self, show: &Show, facts: &mpsc::Sender<Fact>) -> Result<(), ScreenError> {
        let (connection, update) = (show.connection, &show.update);
        let begun = Instant::now();
        if let Some(size) = update.plan.key {
            self.picture = size;
            self.exposed = true;
        }
        let measured = self.painter.apply(update)?;
        let mut decode = measured.unwrap_or_else(|| begun.elapsed());
        let presented = !update.more;
        if presented {
            remember(&mut self.damage, &update.plan.damage);
            // A window that cannot take it now is drawn when it is exposed.
            self.present()?;
        } else {
            self.prepare(&update.plan.damage)?;
        }
        if let Painter::Compute { decoder, .. } = &mut self.painter {
            // The GPU goes on by itself, but the host counts on what is called shown.
            decoder.finish()?;
            decode = measured.unwrap_or_else(|| begun.elapsed());
        }
        let (complete, input, bytes) = (update.complete, update.input, update.plan.bytes.len());
        let _ = facts.send(Fact::Shown { connection, complete, input, bytes, presented, decode: Some(decode) }).await;
        Ok(())
    }

    /// Sums up tiles of the picture as it is here.
    async fn handle_check(&mut self, check: Check, facts: &mpsc::Sender<Fact>) -> Result<(), ScreenError> {
        let marks = if check.grid.size() == self.picture { self.painter.marks(check)? } else { Vec::new() };
        let _ = facts.send(Fact::Marks { connection: check.connection, marks }).await;
        Ok(())
    }

    fn fit(&self) -> Fit {
        fit(self.size, self.picture)
    }

    /// Shows everything that changed.
    fn present(&mut self) -> Result<(), ScreenError> {
        let fit = self.fit();
        let nothing_changed = self.damage.is_empty() && self.prepared.is_empty() && self.overlay_damage.is_empty();
        if self.size.is_empty() || (nothing_changed && !self.exposed) {
            return Ok(());
        }
        let (exposed, damage) = (std::mem::take(&mut self.exposed), std::mem::take(&mut self.damage));
        let prepared = std::mem::take(&mut self.prepared);
        let overlay_damage = std::mem::take(&mut self.overlay_damage);
        self.canvas.window.pre_present_notify();
        self.presented = true;
        let overlay = self.overlay.as_ref();
        match &mut self.painter {
            Painter::Compute { decoder, presenter } => {
                set_overlay(presenter, overlay, overlay_damage)?;
                self.exposed |= presenter.present(decoder.screen(), fit)? == Shown::Skipped;
            }
            Painter::Gl { canvas, mirror, presenter } => {
                set_overlay(presenter, overlay, overlay_damage)?;
                mirror.upload(&canvas.screen, &damage)?;
                self.exposed |= presenter.present(mirror.screen(), fit)? == Shown::Skipped;
            }
            Painter::Cpu { canvas, presenter } => {
                let damage = if exposed {
                    soft::Damage::All
                } else {
                    soft::Damage::Parts { picture: &damage, prepared: &prepared, overlay: overlay_damage }
                };
                presenter.present(&soft_scene(canvas, overlay, fit), damage)?;
            }
        }
        Ok(())
    }

    /// Parts of the picture changed, and more of it follows: what can be drawn now is.
    fn prepare(&mut self, parts: &[Rect]) -> Result<(), ScreenError> {
        let fit = self.fit();
        let is_prepared = match &mut self.painter {
            Painter::Cpu { canvas, presenter } if !self.exposed && !self.size.is_empty() => {
                presenter.prepare(&soft_scene(canvas, self.overlay.as_ref(), fit), parts)?
            }
            _ => false,
        };
        remember(if is_prepared { &mut self.prepared } else { &mut self.damage }, parts);
        Ok(())
    }

    /// The GPU failed: the CPU goes on, with an empty picture at first.
    fn fall_back(&mut self) -> Result<RendererFact, ScreenError> {
        let (painter, fact) = open_cpu(&self.canvas.window)?;
        self.painter = painter;
        self.picture = Size::default();
        self.damage.clear();
        self.prepared.clear();
        self.exposed = true;
        tracing::warn!("The CPU draws from now on");
        Ok(fact)
    }
}

/// Adds parts; too many of them become the one rectangle around them.
fn remember(parts: &mut Vec<Rect>, more: &[Rect]) {
    parts.extend_from_slice(more);
    if parts.len() > PARTS_MAX {
        *parts = vec![parts.iter().fold(Rect::default(), |a, r| a.union(*r))];
    }
}

impl Painter {
    /// The marks of tiles of the picture.
    fn marks(&mut self, check: Check) -> Result<Vec<u64>, GpuError> {
        let jobs = marks::jobs(check.grid, check.first, check.count);
        let found = match self {
            Painter::Compute { decoder, .. } => decoder.marks(&jobs)?,
            Painter::Gl { canvas, .. } | Painter::Cpu { canvas, .. } => {
                let mut found = Picture::new(MARKS_SIZE);
                mark::run(&jobs, &canvas.screen, &mut found);
                found
            }
        };
        Ok(marks::marks_of(&found, check.count))
    }

    /// Decodes a frame; the GPU's own time of an earlier one, if it has one to tell.
    fn apply(&mut self, update: &Update) -> Result<Option<Duration>, GpuError> {
        match self {
            Painter::Compute { decoder, .. } => {
                decoder.apply(&update.plan)?;
                Ok(decoder.poll_decode_time())
            }
            Painter::Gl { canvas, .. } | Painter::Cpu { canvas, .. } => {
                canvas.apply(&update.plan);
                Ok(None)
            }
        }
    }
}

/// What a window without a GPU shows.
fn soft_scene<'a>(canvas: &'a Canvas, overlay: Option<&'a OverlayPicture>, fit: Fit) -> soft::Scene<'a> {
    let overlay = overlay.filter(|o| o.size == fit.window && !o.painted.is_empty()).map(|o| soft::Overlay {
        pixels: &o.pixels,
        size: o.size,
        painted: o.painted,
    });
    soft::Scene { picture: &canvas.screen, fit, overlay }
}

fn set_overlay(presenter: &mut Presenter, overlay: Option<&OverlayPicture>, damage: Rect) -> Result<(), GpuError> {
    match overlay {
        Some(overlay) if !overlay.painted.is_empty() => {
            if !damage.is_empty() {
                presenter.painter().set_overlay(&overlay.pixels, overlay.size, overlay.painted)?;
            }
        }
        _ => presenter.painter().clear_overlay(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_is_never_finished_takes_no_memory() {
        let mut parts = Vec::new();
        for frame in 0..10_000 {
            let more = [Rect::new(frame % 80, 3, 1, 2), Rect::new(5, frame % 60, 2, 1)];
            remember(&mut parts, &more);
            assert!(parts.len() <= PARTS_MAX && parts.capacity() <= 2 * PARTS_MAX);
        }
        let around = parts.iter().fold(Rect::default(), |a, r| a.union(*r));
        assert_eq!(around, Rect::new(0, 0, 80, 60));
    }
}
