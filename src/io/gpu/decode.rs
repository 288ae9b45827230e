//! Applies plans to a screen texture by compute shaders: one upload, one encoder, one submission a frame.
//!
//! The order of the passes is `codec::plan::Plan`'s; what they compute is in `shaders/`, with `codec::stage` as twins.
//! Decode times come from timestamp queries and are read when they are there, never waited for.

use super::layout::{CTX, FILL, HARVEST, MARK, RAW, TRANSFER, UNPACK, WAVE};
use super::pipelines::Stage;
pub use super::texture::Texture;
use super::{Gpu, GpuError};
use crate::codec::canvas::Picture;
use crate::codec::ctx::dictionary::SLOTS;
use crate::codec::ctx::tables;
use crate::codec::plan::{CACHE_SIZE, Harvest, LEARN, Mark, Plan, Round};
use crate::codec::stage::mark::MARKS_SIZE;
use crate::codec::wave::LOOK_UP;
use crate::geom::Size;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Size of the first upload buffer in bytes: an office frame fits; larger ones make it grow.
const UPLOAD_BYTES_MIN: u64 = 256 << 10;
/// Longest wait for a frame: a GPU that hangs is the driver's to reset, and a window must not stand still for it.
const FINISH_LIMIT: Duration = Duration::from_secs(2);

/// The screen on the GPU, with cache and scratch.
#[derive(Debug)]
pub struct Decoder {
    gpu: Gpu,
    transfer: Stage,
    fill: Stage,
    unpack: Stage,
    raw: Stage,
    ctx: Stage,
    /// The probability tables of the stage above.
    ctx_tables: wgpu::Buffer,
    harvest: Stage,
    dictionary: wgpu::Buffer,
    /// Something may be in it.
    has_dictionary: bool,
    wave: Stage,
    /// The look-up tables of the stage above.
    wave_tables: wgpu::Buffer,
    mark: Stage,
    /// What the stage above writes; made when it first runs.
    marks: Option<Texture>,
    screen: Option<Texture>,
    /// Copies go through it; made at the first one.
    scratch: Option<Texture>,
    /// The tile cache; made when it is first used.
    cache: Option<Texture>,
    upload: wgpu::Buffer,
    timer: Option<Timer>,
    /// The last frame that was handed to the GPU and not waited for.
    submitted: Option<wgpu::SubmissionIndex>,
}

impl Decoder {
    /// Makes the pipelines. There is no screen before the first key frame.
    ///
    /// # Errors
    /// [`GpuError::Refused`] if the driver cannot compile the shaders.
    pub fn new(gpu: &Gpu) -> Result<Decoder, GpuError> {
        let device = &gpu.device;
        let decoder = Decoder {
            transfer: Stage::new(device, &TRANSFER),
            fill: Stage::new(device, &FILL),
            unpack: Stage::new(device, &UNPACK),
            raw: Stage::new(device, &RAW),
            ctx: Stage::new(device, &CTX),
            ctx_tables: tables_buffer(gpu, tables::FILE),
            harvest: Stage::new(device, &HARVEST),
            dictionary: dictionary_buffer(device),
            has_dictionary: false,
            wave: Stage::new(device, &WAVE),
            wave_tables: tables_buffer(gpu, LOOK_UP.as_flattened()),
            mark: Stage::new(device, &MARK),
            marks: None,
            screen: None,
            scratch: None,
            cache: None,
            upload: upload_buffer(device, UPLOAD_BYTES_MIN),
            timer: device.features().contains(wgpu::Features::TIMESTAMP_QUERY).then(|| Timer::new(gpu)),
            submitted: None,
            gpu: gpu.clone(),
        };
        gpu.check()?;
        Ok(decoder)
    }

    /// Runs a plan's jobs. Returns when they are handed over; what draws the screen afterwards sees their result.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] for a key frame above the adapter's limit, [`GpuError::NoScreen`] before the first key
    /// frame, else the device's fault.
    pub fn apply(&mut self, plan: &Plan) -> Result<(), GpuError> {
        self.gpu.check()?;
        if let Some(size) = plan.key {
            self.screen = Some(self.picture("screen", size)?);
            self.scratch = None;
            self.cache = None;
            if std::mem::take(&mut self.has_dictionary) {
                self.dictionary = dictionary_buffer(&self.gpu.device);
            }
        }
        self.has_dictionary |= !plan.harvests.is_empty();
        let screen = self.screen.clone().ok_or(GpuError::NoScreen)?;
        let outward = plan.outward();
        let scratch = if outward.is_empty() { None } else { Some(self.reserve_scratch(screen.size())?) };
        let uses_cache =
            [&plan.stores, &plan.uncovers, &plan.recalls, &plan.amends].iter().any(|jobs| !jobs.is_empty());
        let cache = if uses_cache { Some(self.reserve_cache()?) } else { None };

        let restored = plan.restored();
        let mut upload = Upload::new(self.gpu.device.limits().min_storage_buffer_offset_alignment);
        let stores = upload.push(bytemuck::cast_slice(&plan.stores));
        let outward_jobs = upload.push(bytemuck::cast_slice(&outward));
        let copies = upload.push(bytemuck::cast_slice(&plan.copies));
        let uncovers = upload.push(bytemuck::cast_slice(&plan.uncovers));
        let recalls = upload.push(bytemuck::cast_slice(&plan.recalls));
        let fills = upload.push(bytemuck::cast_slice(&plan.fills));
        let unpacks = upload.push(bytemuck::cast_slice(&plan.unpacks));
        let raws = upload.push(bytemuck::cast_slice(&plan.raws));
        let mut rounds = Vec::with_capacity(plan.rounds.len());
        let mut done = Round::default();
        // The rest has no HARVEST behind it.
        let rest = Round { ctxs: plan.ctxs.len(), harvests: plan.harvests.len() };
        let learning: Vec<Harvest> = plan.harvests.iter().map(|job| Harvest { phase: LEARN, ..*job }).collect();
        for round in plan.rounds.iter().chain([&rest]) {
            let (ctxs, harvests) = (done.ctxs..round.ctxs, done.harvests..round.harvests);
            let jobs = upload.push(bytemuck::cast_slice(&plan.ctxs[ctxs.clone()]));
            let forget = upload.push(bytemuck::cast_slice(&plan.harvests[harvests.clone()]));
            let learn = upload.push(bytemuck::cast_slice(&learning[harvests.clone()]));
            rounds.push((ctxs.len(), jobs, harvests.len(), [forget, learn]));
            done = *round;
        }
        let waves = upload.push(bytemuck::cast_slice(&plan.waves));
        let amends = upload.push(bytemuck::cast_slice(&plan.amends));
        let restored_jobs = upload.push(bytemuck::cast_slice(&restored));
        let counts = [plan.unpacks.len(), plan.raws.len(), plan.ctxs.len(), plan.waves.len()];
        let reads_bytes = counts.iter().any(|count| *count > 0);
        let bytes = upload.push(if reads_bytes { &plan.bytes } else { &[] });
        if upload.parts.is_empty() {
            return Ok(());
        }
        self.write(&upload)?;

        let slot = self.timer.as_mut().and_then(Timer::reserve);
        let (device, buffer) = (&self.gpu.device, &self.upload);
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("decode") });
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("decode"),
                timestamp_writes: self.timer.as_ref().zip(slot).map(|(t, slot)| t.writes(slot)),
            });
            let mut run = |stage: &Stage, count: usize, jobs: Option<Part>, others: &[wgpu::BindingResource]| {
                let Some(jobs) = jobs else { return };
                let resources = [&[jobs.bind(buffer)], others].concat();
                stage.run(device, &mut pass, count as u32, &resources);
            };

            if let Some(cache) = &cache {
                run(&self.transfer, plan.stores.len(), stores, &[view(cache), view(&screen)]);
            }
            if let Some(scratch) = &scratch {
                run(&self.transfer, outward.len(), outward_jobs, &[view(scratch), view(&screen)]);
            }
            if let Some(cache) = &cache {
                run(&self.transfer, plan.uncovers.len(), uncovers, &[view(&screen), view(cache)]);
            }
            if let Some(scratch) = &scratch {
                run(&self.transfer, plan.copies.len(), copies, &[view(&screen), view(scratch)]);
            }
            if let Some(cache) = &cache {
                run(&self.transfer, plan.recalls.len(), recalls, &[view(&screen), view(cache)]);
            }
            run(&self.fill, plan.fills.len(), fills, &[view(&screen)]);
            let bytes = bytes.map(|part| part.bind(buffer));
            if let Some(bytes) = &bytes {
                run(&self.unpack, plan.unpacks.len(), unpacks, &[view(&screen), bytes.clone()]);
                run(&self.raw, plan.raws.len(), raws, &[view(&screen), bytes.clone()]);
                let tables = self.wave_tables.as_entire_binding();
                run(&self.wave, plan.waves.len(), waves, &[view(&screen), bytes.clone(), tables]);
            }
            let tables = self.ctx_tables.as_entire_binding();
            let dictionary = self.dictionary.as_entire_binding();
            for (ctxs, jobs, harvests, phases) in rounds {
                if let Some(bytes) = &bytes {
                    let resources = [view(&screen), bytes.clone(), tables.clone(), dictionary.clone()];
                    run(&self.ctx, ctxs, jobs, &resources);
                }
                for jobs in phases {
                    run(&self.harvest, harvests, jobs, &[dictionary.clone(), view(&screen)]);
                }
            }
            if let Some((cache, scratch)) = cache.as_ref().zip(scratch.as_ref()) {
                run(&self.transfer, plan.amends.len(), amends, &[view(cache), view(&screen)]);
                run(&self.transfer, restored.len(), restored_jobs, &[view(&screen), view(scratch)]);
            }
        }
        if let Some((timer, slot)) = self.timer.as_ref().zip(slot) {
            timer.resolve(slot, &mut encoder);
        }
        self.submitted = Some(self.gpu.queue.submit([encoder.finish()]));
        if let Some((timer, slot)) = self.timer.as_ref().zip(slot) {
            timer.fetch(slot);
        }
        self.gpu.check()
    }

    /// Takes the time that the GPU spent on one frame, if a measurement has arrived. Not every frame is measured.
    pub fn poll_decode_time(&mut self) -> Option<Duration> {
        let timer = self.timer.as_mut()?;
        // Only collects what is done; a failure shows in the next call's check.
        self.gpu.device.poll(wgpu::PollType::Poll).ok();
        timer.take()
    }

    /// The picture so far; none before the first key frame.
    pub fn screen(&self) -> Option<&Texture> {
        self.screen.as_ref()
    }

    /// Waits until the GPU has decoded the last frame, but no longer than [`FINISH_LIMIT`]: what a host is told is shown
    /// must not still wait for a GPU that is slow.
    ///
    /// # Errors
    /// The device's fault.
    pub fn finish(&mut self) -> Result<(), GpuError> {
        let Some(submission_index) = self.submitted.take() else { return Ok(()) };
        let poll = wgpu::PollType::Wait { submission_index: Some(submission_index), timeout: Some(FINISH_LIMIT) };
        match self.gpu.device.poll(poll) {
            Ok(_) | Err(wgpu::PollError::Timeout) => self.gpu.check(),
            Err(_) => self.gpu.check().and(Err(GpuError::ReadBack)),
        }
    }

    /// Waits until all frames handed over are decoded.
    ///
    /// # Errors
    /// The device's fault.
    pub fn wait(&self) -> Result<(), GpuError> {
        self.gpu.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|_| GpuError::ReadBack)?;
        self.gpu.check()
    }

    /// Fetches the screen's pixels; waits for the GPU, so for tests and screenshots only.
    ///
    /// # Errors
    /// [`GpuError::NoScreen`], [`GpuError::ReadBack`], or the device's fault.
    pub fn read_back(&self) -> Result<Picture, GpuError> {
        self.screen.as_ref().ok_or(GpuError::NoScreen)?.read_back(&self.gpu)
    }

    /// Sums up tiles of the screen and fetches the marks; waits for the GPU some milliseconds.
    ///
    /// # Errors
    /// [`GpuError::NoScreen`] before the first key frame, [`GpuError::ReadBack`], or the device's fault.
    pub fn marks(&mut self, jobs: &[Mark]) -> Result<Picture, GpuError> {
        let screen = self.screen.clone().ok_or(GpuError::NoScreen)?;
        let marks = match &self.marks {
            Some(marks) => marks.clone(),
            None => self.marks.insert(self.picture("marks", MARKS_SIZE)?).clone(),
        };
        let mut upload = Upload::new(self.gpu.device.limits().min_storage_buffer_offset_alignment);
        let Some(part) = upload.push(bytemuck::cast_slice(jobs)) else { return marks.read_back(&self.gpu) };
        self.write(&upload)?;
        let device = &self.gpu.device;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("mark") });
        {
            let descriptor = wgpu::ComputePassDescriptor { label: Some("mark"), timestamp_writes: None };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            let views = [&marks.view, &screen.view].map(wgpu::BindingResource::TextureView);
            let [to, from] = views;
            self.mark.run(device, &mut pass, jobs.len() as u32, &[part.bind(&self.upload), to, from]);
        }
        self.gpu.queue.submit([encoder.finish()]);
        marks.read_back(&self.gpu)
    }

    fn picture(&self, name: &str, size: Size) -> Result<Texture, GpuError> {
        let usage = wgpu::TextureUsages::STORAGE_BINDING
            | wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::COPY_SRC
            | wgpu::TextureUsages::COPY_DST;
        Texture::new(&self.gpu, name, size, usage)
    }

    fn reserve_scratch(&mut self, size: Size) -> Result<Texture, GpuError> {
        if self.scratch.is_none() {
            self.scratch = Some(self.picture("scratch", size)?);
        }
        self.scratch.clone().ok_or(GpuError::NoScreen)
    }

    fn reserve_cache(&mut self) -> Result<Texture, GpuError> {
        if self.cache.is_none() {
            self.cache = Some(self.picture("cache", CACHE_SIZE)?);
        }
        self.cache.clone().ok_or(GpuError::NoScreen)
    }

    /// Puts all parts into the upload buffer, in one transfer.
    fn write(&mut self, upload: &Upload) -> Result<(), GpuError> {
        let Some(size) = NonZeroU64::new(upload.size) else { return Ok(()) };
        if self.upload.size() < upload.size {
            self.upload = upload_buffer(&self.gpu.device, upload.size.next_power_of_two());
            self.gpu.check()?;
        }
        let Some(mut view) = self.gpu.queue.write_buffer_with(&self.upload, 0, size) else {
            return self.gpu.check().and(Err(GpuError::OutOfMemory));
        };
        for (part, bytes) in &upload.parts {
            let mut to = view.slice(part.offset as usize..(part.offset + part.size) as usize);
            to.slice(..bytes.len()).copy_from_slice(bytes);
            // The last word of the frame's bytes may be cut; what follows them is defined, so that both twins agree.
            to.slice(bytes.len()..).fill(0);
        }
        Ok(())
    }
}

fn view(texture: &Texture) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::TextureView(&texture.view)
}

/// A piece of the upload buffer; sizes in bytes.
#[derive(Clone, Copy, Debug)]
struct Part {
    offset: u64,
    size: u64,
}

impl Part {
    fn bind(self, buffer: &wgpu::Buffer) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset: self.offset,
            size: NonZeroU64::new(self.size),
        })
    }
}

/// Pieces that share one upload, each where a storage binding may start.
struct Upload<'a> {
    parts: Vec<(Part, &'a [u8])>,
    size: u64,
    alignment: u64,
}

impl<'a> Upload<'a> {
    fn new(alignment: u32) -> Self {
        Self { parts: Vec::new(), size: 0, alignment: u64::from(alignment) }
    }

    /// Adds a piece; nothing for no bytes.
    fn push(&mut self, bytes: &'a [u8]) -> Option<Part> {
        if bytes.is_empty() {
            return None;
        }
        let offset = self.size.next_multiple_of(self.alignment);
        let part = Part { offset, size: (bytes.len() as u64).next_multiple_of(4) };
        self.size = part.offset + part.size;
        self.parts.push((part, bytes));
        Some(part)
    }
}

/// An empty dictionary.
fn dictionary_buffer(device: &wgpu::Device) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("dictionary"),
        size: 2 * SLOTS as u64 * 4,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    })
}

fn tables_buffer(gpu: &Gpu, bytes: &[u8]) -> wgpu::Buffer {
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("tables"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue.write_buffer(&buffer, 0, bytes);
    buffer
}

fn upload_buffer(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("upload"),
        size,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// Frames that can be measured at a time; a frame beyond them is not measured.
const TIMER_SLOTS: u32 = 4;

/// Bytes of the two timestamps of a frame.
const TIMESTAMPS_BYTES: u64 = 16;

/// A slot waits for nothing.
const IDLE: u8 = 0;
/// Its timestamps are on the way.
const WAITING: u8 = 1;
/// They can be read.
const READY: u8 = 2;

/// Measures passes on the GPU without waiting for them.
#[derive(Debug)]
struct Timer {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    slots: Vec<Slot>,
    nanoseconds_per_tick: f64,
}

#[derive(Debug)]
struct Slot {
    timestamps: wgpu::Buffer,
    state: Arc<AtomicU8>,
}

impl Timer {
    fn new(gpu: &Gpu) -> Self {
        let buffer = |size, usage| {
            let descriptor =
                wgpu::BufferDescriptor { label: Some("timestamps"), size, usage, mapped_at_creation: false };
            gpu.device.create_buffer(&descriptor)
        };
        let read = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
        Self {
            queries: gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: TIMER_SLOTS * 2,
            }),
            resolved: buffer(
                u64::from(TIMER_SLOTS) * wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT,
                wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            ),
            slots: (0..TIMER_SLOTS)
                .map(|_| Slot { timestamps: buffer(TIMESTAMPS_BYTES, read), state: Arc::new(AtomicU8::new(IDLE)) })
                .collect(),
            nanoseconds_per_tick: f64::from(gpu.queue.get_timestamp_period()),
        }
    }

    fn reserve(&mut self) -> Option<u32> {
        let slot = self.slots.iter().position(|s| s.state.load(Ordering::Acquire) == IDLE)?;
        self.slots[slot].state.store(WAITING, Ordering::Release);
        Some(slot as u32)
    }

    fn writes(&self, slot: u32) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(slot * 2),
            end_of_pass_write_index: Some(slot * 2 + 1),
        }
    }

    fn resolve(&self, slot: u32, encoder: &mut wgpu::CommandEncoder) {
        let offset = u64::from(slot) * wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT;
        encoder.resolve_query_set(&self.queries, slot * 2..slot * 2 + 2, &self.resolved, offset);
        let to = &self.slots[slot as usize].timestamps;
        encoder.copy_buffer_to_buffer(&self.resolved, offset, to, 0, TIMESTAMPS_BYTES);
    }

    fn fetch(&self, slot: u32) {
        let slot = &self.slots[slot as usize];
        let state = Arc::clone(&slot.state);
        slot.timestamps.map_async(wgpu::MapMode::Read, .., move |result| {
            state.store(if result.is_ok() { READY } else { IDLE }, Ordering::Release);
        });
    }

    fn take(&mut self) -> Option<Duration> {
        let slot = self.slots.iter().find(|s| s.state.load(Ordering::Acquire) == READY)?;
        let ticks = slot.timestamps.get_mapped_range(..).ok().map(|bytes| {
            let at = |i: usize| bytes[i..][..8].iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b));
            at(8).saturating_sub(at(0))
        });
        slot.timestamps.unmap();
        slot.state.store(IDLE, Ordering::Release);
        Some(Duration::from_nanos((ticks? as f64 * self.nanoseconds_per_tick) as u64))
    }
}
