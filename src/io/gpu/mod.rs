//! The graphics processor by wgpu: choosing an adapter, decoding by compute shaders, and drawing into a window.
//!
//! [`choose`] finds the adapter and the tier, [`Gpu`] is the open device, [`decode::Decoder`] applies plans to a
//! texture, [`mirror::Mirror`] holds what the CPU decoded instead, [`present::Presenter`] shows either. Nothing here
//! panics because of a driver: the first fault is kept, and every call returns it from then on.

pub mod decode;
pub mod layout;
pub mod mirror;
mod pipelines;
pub mod present;
pub mod proof;
mod texture;

use crate::geom::Size;
use std::fmt;
use std::sync::{Arc, OnceLock};
use thiserror::Error;

/// What the user asks for (`--renderer`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renderer {
    /// The GPU where there is a real one, else the CPU.
    #[default]
    Auto,
    /// Decode and draw on an adapter, also one in software.
    Gpu,
    /// Decode on the CPU, draw on an adapter; compute shaders are not used.
    Gl,
    /// Decode and draw on the CPU.
    Cpu,
}

/// Who decodes and who draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Compute shaders decode, the adapter draws.
    Compute,
    /// The CPU decodes, the adapter draws.
    Gl,
    /// The CPU decodes and draws.
    Cpu,
}

/// What is worth saying about an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterKind {
    /// Its name, as the driver says.
    pub name: String,
    /// The interface it is driven by.
    pub backend: wgpu::Backend,
    /// Hardware or software.
    pub device_type: wgpu::DeviceType,
    /// Whether it can run the decoding shaders.
    pub can_decode: bool,
}

/// What [`choose`] chose.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Who decodes and draws.
    pub tier: Tier,
    /// On which adapter; none on the CPU tier.
    pub adapter: Option<wgpu::Adapter>,
}

/// Why there is no picture from the GPU.
#[derive(Clone, Debug, Error)]
pub enum GpuError {
    /// No adapter can do what was asked for.
    #[error("no graphics adapter can be used for the renderer {0:?}")]
    NoAdapter(Renderer),
    /// The adapter would not open.
    #[error("graphics adapter would not open")]
    Open(#[from] wgpu::RequestDeviceError),
    /// The window cannot be drawn to.
    #[error("window cannot be drawn to")]
    Surface(#[from] wgpu::CreateSurfaceError),
    /// The adapter has no format or mode for this window.
    #[error("adapter {0} cannot draw into this window")]
    Window(String),
    /// The window's surface is gone for good; a new one may work.
    #[error("window surface is lost")]
    SurfaceLost,
    /// The adapter's textures are not that large.
    #[error("texture of {}x{} pixels is above the adapter's {side_max}", .size.w, .size.h)]
    TooLarge {
        /// What was needed.
        size: Size,
        /// Longest side that the adapter allows.
        side_max: u32,
    },
    /// The memory is used up.
    #[error("graphics memory is used up")]
    OutOfMemory,
    /// The device is gone: pulled out, reset or its driver updated. A new [`Gpu`] may work.
    #[error("graphics device is lost: {0}")]
    Lost(String),
    /// The driver or wgpu refused a call.
    #[error("graphics call failed: {0}")]
    Refused(String),
    /// A plan came before the first key frame.
    #[error("there is no screen before the first key frame")]
    NoScreen,
    /// The pixels could not be read back.
    #[error("pixels could not be read back")]
    ReadBack,
}

/// An open device. Clones are the same device.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// What it runs on.
    pub kind: AdapterKind,
    /// What it is used for.
    pub tier: Tier,
    adapter: wgpu::Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// The first fault that no call has returned; wgpu reports from any thread.
    fault: Arc<OnceLock<GpuError>>,
}

/// Opens wgpu. `display` is the window system's connection, which GL on Wayland needs; none for work without a window.
pub fn instance(display: Option<winit::event_loop::OwnedDisplayHandle>) -> wgpu::Instance {
    let mut options = wgpu::InstanceDescriptor::new_without_display_handle();
    if let Some(display) = display {
        options = options.with_display_handle(Box::new(display));
    }
    wgpu::Instance::new(options)
}

/// Whether there is any adapter that is not a program on the CPU. Asked before a surface is made: a window that had
/// one, even for a moment, is not drawn to by softbuffer on every driver.
pub fn has_hardware(instance: &wgpu::Instance) -> bool {
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.iter().any(|a| AdapterKind::of(a).is_hardware())
}

/// Finds the adapter and tier for what the user asks; with a surface, only adapters that can draw into it count.
///
/// # Errors
/// [`GpuError::NoAdapter`] if the GPU is asked for by name and there is none; never for `Auto` and `Cpu`.
pub fn choose(
    instance: &wgpu::Instance,
    renderer: Renderer,
    surface: Option<&wgpu::Surface>,
) -> Result<Choice, GpuError> {
    let cpu = Choice { tier: Tier::Cpu, adapter: None };
    if renderer == Renderer::Cpu {
        return Ok(cpu);
    }
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let best = adapters
        .into_iter()
        .filter(|a| surface.is_none_or(|s| a.is_surface_supported(s)))
        .filter_map(|a| {
            let kind = AdapterKind::of(&a);
            let tier = tier_for(renderer, &kind)?;
            tracing::debug!(%kind, ?tier, "Adapter can be used");
            Some((preference(renderer, &kind, tier), tier, a))
        })
        .min_by_key(|(preference, ..)| *preference);
    match best {
        Some((_, tier, adapter)) => Ok(Choice { tier, adapter: Some(adapter) }),
        None if renderer == Renderer::Auto => Ok(cpu),
        None => Err(GpuError::NoAdapter(renderer)),
    }
}

/// What an adapter would be used for, if at all.
///
/// `Auto` leaves software adapters alone, because the CPU tier is about ten times faster than they are.
pub fn tier_for(renderer: Renderer, adapter: &AdapterKind) -> Option<Tier> {
    let by_ability = if adapter.can_decode { Tier::Compute } else { Tier::Gl };
    match renderer {
        Renderer::Auto => adapter.is_hardware().then_some(by_ability),
        Renderer::Gpu => adapter.can_decode.then_some(Tier::Compute),
        Renderer::Gl => Some(Tier::Gl),
        Renderer::Cpu => None,
    }
}

/// Less is better: compute before none, hardware before software, then the interface that fits the wish.
fn preference(renderer: Renderer, adapter: &AdapterKind, tier: Tier) -> (u32, u32, u32) {
    let kind = match adapter.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    let wants_gl = renderer == Renderer::Gl;
    (u32::from(tier != Tier::Compute), kind, u32::from((adapter.backend == wgpu::Backend::Gl) != wants_gl))
}

impl AdapterKind {
    /// Asks an adapter.
    pub fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let flags = adapter.get_downlevel_capabilities().flags;
        let pixels = adapter.get_texture_format_features(pipelines::PIXELS).allowed_usages;
        let can_decode = flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
            && pixels.contains(wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::TEXTURE_BINDING)
            && compute_limits(adapter).check_limits(&adapter.limits());
        Self { name: info.name, backend: info.backend, device_type: info.device_type, can_decode }
    }

    /// Whether it is not a program on the CPU.
    pub fn is_hardware(&self) -> bool {
        use wgpu::DeviceType::{DiscreteGpu, IntegratedGpu, VirtualGpu};
        matches!(self.device_type, DiscreteGpu | IntegratedGpu | VirtualGpu)
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {:?})", self.name, self.backend, self.device_type)
    }
}

impl Gpu {
    /// Opens an adapter for one of the tiers that draw by it.
    ///
    /// # Errors
    /// [`GpuError::Open`] if the driver refuses.
    pub fn new(adapter: wgpu::Adapter, tier: Tier) -> Result<Gpu, GpuError> {
        let kind = AdapterKind::of(&adapter);
        let limits = match tier {
            Tier::Compute => compute_limits(&adapter),
            Tier::Gl | Tier::Cpu => wgpu::Limits::downlevel_webgl2_defaults().using_resolution(adapter.limits()),
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("kachel"),
            required_features: adapter.features() & wgpu::Features::TIMESTAMP_QUERY,
            required_limits: limits,
            ..wgpu::DeviceDescriptor::default()
        }))?;
        let fault = Arc::new(OnceLock::new());
        let first = Arc::clone(&fault);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            tracing::debug!(%error, "Graphics call failed");
            // Only the first fault counts; those after it follow from it.
            first.set(GpuError::from(error)).ok();
        }));
        let first = Arc::clone(&fault);
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                first.set(GpuError::Lost(message)).ok();
            }
        });
        Ok(Gpu { kind, tier, adapter, device, queue, fault })
    }

    /// Reports the first fault of the device, if there was one.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`], [`GpuError::Lost`] or [`GpuError::Refused`]. It stays; open a new [`Gpu`] to go on.
    pub fn check(&self) -> Result<(), GpuError> {
        self.fault.get().map_or(Ok(()), |e| Err(e.clone()))
    }
}

impl From<wgpu::Error> for GpuError {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory,
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                GpuError::Refused(description)
            }
        }
    }
}

/// What the decoding shaders need: nearly nothing, but pictures as large as the adapter can have them.
fn compute_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    wgpu::Limits::downlevel_defaults().using_resolution(adapter.limits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_adapters_are_used_only_when_asked_for() {
        let kind = |device_type, can_decode| AdapterKind {
            name: "adapter".into(),
            backend: wgpu::Backend::Vulkan,
            device_type,
            can_decode,
        };
        use wgpu::DeviceType::{Cpu, IntegratedGpu, Other};
        let check = |renderer, device_type, can_decode, expected| {
            assert_eq!(tier_for(renderer, &kind(device_type, can_decode)), expected, "{renderer:?} {device_type:?}");
        };
        check(Renderer::Auto, IntegratedGpu, true, Some(Tier::Compute));
        check(Renderer::Auto, IntegratedGpu, false, Some(Tier::Gl));
        check(Renderer::Auto, Cpu, true, None);
        check(Renderer::Auto, Other, true, None);
        check(Renderer::Gpu, Cpu, true, Some(Tier::Compute));
        check(Renderer::Gpu, Cpu, false, None);
        check(Renderer::Gl, Cpu, true, Some(Tier::Gl));
        check(Renderer::Cpu, IntegratedGpu, true, None);
    }

    #[test]
    fn a_device_that_is_gone_is_an_error_and_no_panic() {
        let instance = instance(None);
        let Ok(Choice { adapter: Some(adapter), .. }) = choose(&instance, Renderer::Gpu, None) else {
            let is_required = std::env::var("KACHEL_TEST_GPU").is_ok_and(|v| v == "require");
            assert!(!is_required, "no adapter, but KACHEL_TEST_GPU=require");
            eprintln!("SKIPPED: no adapter");
            return;
        };
        let gpu = Gpu::new(adapter, Tier::Compute).expect("an adapter that is listed opens");
        let mut decoder = decode::Decoder::new(&gpu).expect("the shaders compile");
        let size = Size::new(100, 100);
        let fills = vec![crate::codec::plan::Fill { blocks: 1, ..Default::default() }];
        let plan = crate::codec::plan::Plan { key: Some(size), fills, ..Default::default() };
        decoder.apply(&plan).expect("the device is there");
        gpu.device.destroy();
        let late = decoder.apply(&plan);
        assert!(late.is_err(), "{late:?}");
        assert!(decoder.read_back().is_err());
        assert!(decoder.wait().is_err());
        decoder.poll_decode_time();
        let mut mirror = mirror::Mirror::new(&gpu);
        let picture = crate::codec::canvas::Picture::new(size);
        assert!(mirror.upload(&picture, &[size.rect()]).is_err());
        assert!(present::Painter::new(&gpu).is_err());
    }
}
