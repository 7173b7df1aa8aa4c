//! Writes the client code of the protos in a descriptor set:
//! `jotsmith-generate SET OUT`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [set, out] = paths.as_slice() else {
        return Err("usage: jotsmith-generate SET OUT".into());
    };
    let mut set = FileDescriptorSet::decode(fs::read(set)?.as_slice())?;
    for file in &mut set.file {
        // Doc comments are for the protos: the types are not part of the public API.
        for location in file
            .source_code_info
            .iter_mut()
            .flat_map(|info| &mut info.location)
        {
            location.leading_comments = None;
            location.trailing_comments = None;
            location.leading_detached_comments.clear();
        }
    }
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .extern_path(".google.rpc", "::tonic_types")
        // The library writes one that shows no token.
        .skip_debug([".jotsmith.v1.MintTokenResponse"])
        .out_dir(out)
        .compile_fds(set)?;
    // What the protos import comes from crates, and is in a file of its own here.
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("jotsmith.v1.rs") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
