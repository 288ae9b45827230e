//! Makes pipelines from the table in `layout`.
//!
//! Nothing here knows what a stage does; errors surface through [`Gpu::check`](super::Gpu::check).

use super::layout::{Binding, JOBS_PER_ROW, PRESENT, Shader};
use std::num::NonZeroU64;

/// Format of the screen, cache, scratch and overlay textures: one word a pixel.
pub(super) const PIXELS: wgpu::TextureFormat = wgpu::TextureFormat::R32Uint;

/// A decoding stage, ready to run.
#[derive(Debug)]
pub(super) struct Stage {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    name: &'static str,
}

impl Stage {
    pub(super) fn new(device: &wgpu::Device, shader: &Shader) -> Self {
        let module = module(device, shader);
        let layout = bind_group_layout(device, shader, wgpu::ShaderStages::COMPUTE);
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(shader.name),
            layout: Some(&pipeline_layout(device, shader, &layout)),
            module: &module,
            entry_point: Some("main"),
            // The shaders write before they read; and as GLSL the zeroes are so much text that llvmpipe needs minutes.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        Self { pipeline, layout, name: shader.name }
    }

    /// Runs `count` jobs, one workgroup each; the shader leaves out the groups that the last row has too many.
    pub(super) fn run(
        &self,
        device: &wgpu::Device,
        pass: &mut wgpu::ComputePass,
        count: u32,
        resources: &[wgpu::BindingResource],
    ) {
        let group = bind_group(device, self.name, &self.layout, resources);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(count.min(JOBS_PER_ROW), count.div_ceil(JOBS_PER_ROW), 1);
    }
}

/// What draws into targets of one format.
#[derive(Debug)]
pub(super) struct Present {
    /// For a picture of which each pixel is one of the window.
    pub(super) exact: wgpu::RenderPipeline,
    /// For all others.
    pub(super) scaled: wgpu::RenderPipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

impl Present {
    pub(super) fn new(device: &wgpu::Device, format: wgpu::TextureFormat) -> Self {
        let module = module(device, &PRESENT);
        let layout = bind_group_layout(device, &PRESENT, wgpu::ShaderStages::FRAGMENT);
        let pipeline_layout = pipeline_layout(device, &PRESENT, &layout);
        let pipeline = |entry_point| {
            device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
                label: Some(PRESENT.name),
                layout: Some(&pipeline_layout),
                vertex: wgpu::VertexState {
                    module: &module,
                    entry_point: Some("cover"),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    buffers: &[],
                },
                primitive: wgpu::PrimitiveState::default(),
                depth_stencil: None,
                multisample: wgpu::MultisampleState::default(),
                fragment: Some(wgpu::FragmentState {
                    module: &module,
                    entry_point: Some(entry_point),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    targets: &[Some(format.into())],
                }),
                multiview_mask: None,
                cache: None,
            })
        };
        let (exact, scaled) = (pipeline("main"), pipeline("scaled"));
        Self { exact, scaled, layout }
    }
}

/// Binds resources in the order of the shader's table.
pub(super) fn bind_group(
    device: &wgpu::Device,
    name: &str,
    layout: &wgpu::BindGroupLayout,
    resources: &[wgpu::BindingResource],
) -> wgpu::BindGroup {
    let entries: Vec<_> = resources
        .iter()
        .zip(0..)
        .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource: resource.clone() })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some(name), layout, entries: &entries })
}

fn module(device: &wgpu::Device, shader: &Shader) -> wgpu::ShaderModule {
    device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(shader.name),
        source: wgpu::ShaderSource::Wgsl(shader.source.into()),
    })
}

fn pipeline_layout(device: &wgpu::Device, shader: &Shader, group: &wgpu::BindGroupLayout) -> wgpu::PipelineLayout {
    device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(shader.name),
        bind_group_layouts: &[Some(group)],
        immediate_size: 0,
    })
}

fn bind_group_layout(device: &wgpu::Device, shader: &Shader, visibility: wgpu::ShaderStages) -> wgpu::BindGroupLayout {
    let entries: Vec<_> = shader
        .bindings
        .iter()
        .zip(0..)
        .map(|(resource, binding)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility,
            ty: binding_type(*resource),
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(shader.name), entries: &entries })
}

fn binding_type(binding: Binding) -> wgpu::BindingType {
    let storage = wgpu::BufferBindingType::Storage { read_only: true };
    let changed = wgpu::BufferBindingType::Storage { read_only: false };
    let buffer = |ty, size: usize| wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: false,
        min_binding_size: NonZeroU64::new(size as u64),
    };
    match binding {
        Binding::Jobs(job) => buffer(storage, job.size),
        Binding::Words => buffer(storage, 4),
        Binding::Shared => buffer(changed, 4),
        Binding::Uniform(data) => buffer(wgpu::BufferBindingType::Uniform, data.size),
        Binding::Written => wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::WriteOnly,
            format: PIXELS,
            view_dimension: wgpu::TextureViewDimension::D2,
        },
        Binding::Changed => wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::ReadWrite,
            format: PIXELS,
            view_dimension: wgpu::TextureViewDimension::D2,
        },
        Binding::Read => wgpu::BindingType::Texture {
            sample_type: wgpu::TextureSampleType::Uint,
            view_dimension: wgpu::TextureViewDimension::D2,
            multisampled: false,
        },
    }
}
