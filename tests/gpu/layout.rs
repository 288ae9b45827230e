//! The shaders against the table of `io::gpu::layout`.

use kachel::io::gpu::layout::{Binding, JOBS_PER_ROW, PRESENT, STAGES, Shader, Struct};
use naga::{AddressSpace, ArraySize, ImageClass, Module, ScalarKind, StorageAccess, StorageFormat, TypeInner};
use std::collections::BTreeSet;
use std::path::Path;

/// Shaders without a decoding stage as twin.
const DRAW_ONLY: [&str; 1] = ["present"];

fn parse(shader: &Shader) -> Module {
    let module = naga::front::wgsl::parse_str(shader.source)
        .unwrap_or_else(|e| panic!("{}.wgsl: {}", shader.name, e.emit_to_string(shader.source)));
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}.wgsl: {}", shader.name, e.emit_to_string(shader.source)));
    module
}

fn check_struct(module: &Module, ty: naga::Handle<naga::Type>, expected: &Struct) {
    let ty = &module.types[ty];
    assert_eq!(ty.name.as_deref(), Some(expected.name));
    let TypeInner::Struct { members, span } = &ty.inner else { panic!("{} is not a struct", expected.name) };
    assert_eq!(*span as usize, expected.size, "size of {}", expected.name);
    let found: Vec<(&str, usize, usize)> = members
        .iter()
        .map(|m| {
            let size = module.types[m.ty].inner.size(module.to_ctx());
            (m.name.as_deref().unwrap_or_default(), m.offset as usize, size as usize)
        })
        .collect();
    assert_eq!(found, expected.members, "members of {}", expected.name);
}

#[test]
fn bindings_and_structs_are_those_of_the_table() {
    for shader in STAGES.iter().chain([&PRESENT]) {
        let module = parse(shader);
        let mut bound = 0;
        for (_, variable) in module.global_variables.iter() {
            let Some(at) = &variable.binding else { continue };
            assert_eq!(at.group, 0, "{}", shader.name);
            let expected = shader.bindings[at.binding as usize];
            bound += 1;
            let what = format!("{}.wgsl, binding {}", shader.name, at.binding);
            let inner = &module.types[variable.ty].inner;
            match (expected, variable.space, inner) {
                (Binding::Jobs(job), AddressSpace::Storage { access }, TypeInner::Array { base, size, stride }) => {
                    assert_eq!((access, *size), (StorageAccess::LOAD, ArraySize::Dynamic), "{what}");
                    assert_eq!(*stride as usize, job.size, "{what}");
                    check_struct(&module, *base, job);
                }
                (Binding::Words, AddressSpace::Storage { access }, TypeInner::Array { base, size, .. }) => {
                    assert_eq!((access, *size), (StorageAccess::LOAD, ArraySize::Dynamic), "{what}");
                    assert_eq!(module.types[*base].inner, TypeInner::Scalar(naga::Scalar::U32), "{what}");
                }
                (Binding::Shared, AddressSpace::Storage { access }, TypeInner::Array { base, size, .. }) => {
                    assert!(access.contains(StorageAccess::LOAD | StorageAccess::STORE), "{what}");
                    assert_eq!(*size, ArraySize::Dynamic, "{what}");
                    assert_eq!(module.types[*base].inner, TypeInner::Atomic(naga::Scalar::U32), "{what}");
                }
                (Binding::Uniform(data), AddressSpace::Uniform, _) => check_struct(&module, variable.ty, data),
                (Binding::Written, AddressSpace::Handle, TypeInner::Image { class, .. }) => {
                    let written = ImageClass::Storage { format: StorageFormat::R32Uint, access: StorageAccess::STORE };
                    assert_eq!(*class, written, "{what}");
                }
                (Binding::Changed, AddressSpace::Handle, TypeInner::Image { class, .. }) => {
                    let access = StorageAccess::LOAD | StorageAccess::STORE;
                    let changed = ImageClass::Storage { format: StorageFormat::R32Uint, access };
                    assert_eq!(*class, changed, "{what}");
                }
                (Binding::Read, AddressSpace::Handle, TypeInner::Image { class, .. }) => {
                    assert_eq!(*class, ImageClass::Sampled { kind: ScalarKind::Uint, multi: false }, "{what}");
                }
                other => panic!("{what}: {other:?}"),
            }
        }
        assert_eq!(bound, shader.bindings.len(), "bindings of {}", shader.name);
    }
}

#[test]
fn every_stage_has_one_entry_point_and_the_workgroup_of_the_table() {
    for shader in &STAGES {
        let module = parse(shader);
        let [entry] = module.entry_points.as_slice() else { panic!("{} has one entry point", shader.name) };
        assert_eq!(entry.name, "main");
        assert_eq!(entry.workgroup_size, [shader.lanes[0], shader.lanes[1], 1], "{}", shader.name);
        let per_row = module.constants.iter().find(|(_, c)| c.name.as_deref() == Some("JOBS_PER_ROW"));
        let value = &module.global_expressions[per_row.expect("every stage finds its job by it").1.init];
        assert!(matches!(value, naga::Expression::Literal(naga::Literal::U32(JOBS_PER_ROW))), "{value:?}");
    }
}

#[test]
fn every_shader_has_its_twin() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stems = |folder: &str, extension: &str| -> BTreeSet<String> {
        std::fs::read_dir(root.join(folder))
            .expect("the folder is part of the project")
            .map(|entry| entry.expect("the folder can be read").path())
            .filter(|path| path.extension().is_some_and(|e| e == extension))
            .map(|path| path.file_stem().expect("it has an extension").to_string_lossy().into_owned())
            .collect()
    };
    let mut twins = stems("src/codec/stage", "rs");
    twins.remove("mod");
    let table: BTreeSet<String> = STAGES.iter().map(|s| s.name.to_owned()).collect();
    assert_eq!(twins, table);
    twins.extend(DRAW_ONLY.map(str::to_owned));
    assert_eq!(twins, stems("shaders", "wgsl"));
}
