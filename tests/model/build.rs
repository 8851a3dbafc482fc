// SPDX-License-Identifier: GPL-2.0
//! Copies the driver's files from `src/` to where `main.rs` includes them. Errors that the driver
//! could have ([`MUTANTS`]) become choices at run time in the copy ([`EDITS`]); nothing else is
//! changed, and without an error nothing else is done.
//!
//! An edit is a piece of text and what takes its place. The text has to be there exactly once.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

include!("src/mutants.rs");
include!("src/edits.rs");

/// The driver's files, and directories of which it has all.
const FILES: &[&str] = &[
    "channel",
    "channel.rs",
    "command",
    "command.rs",
    "engine.rs",
    "engine/embed.rs",
    "link",
    "link.rs",
    "login/bring_up.rs",
    "queues.rs",
    "sync/gate.rs",
    "sync/global.rs",
];

/// The files that [`FILES`] names.
fn files(src: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for name in FILES {
        if name.ends_with(".rs") {
            files.push((*name).into());
            continue;
        }
        println!("cargo:rerun-if-changed={}", src.join(name).display());
        for entry in fs::read_dir(src.join(name)).expect("a directory of the driver") {
            let file = entry.expect("an entry").file_name();
            files.push(format!("{name}/{}", file.to_str().expect("a name")));
        }
    }
    files
}

/// Where a file of the driver goes: `channel.rs` becomes `channel/mod.rs`.
fn target(out: &Path, file: &str) -> PathBuf {
    match file.contains('/') {
        true => out.join(file),
        false => out.join(file.trim_end_matches(".rs")).join("mod.rs"),
    }
}

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo"));
    let src = here.join("../../src");
    println!("cargo:rerun-if-changed=src/mutants.rs");
    println!("cargo:rerun-if-changed=src/edits.rs");
    println!("cargo:rustc-cfg=srpt_engine=\"lio\"");
    println!("cargo:rustc-check-cfg=cfg(srpt_engine, values(\"lio\", \"scst\"))");
    for mutant in MUTANTS {
        let name = format!("${}", mutant.name);
        let made = EDITS.iter().any(|edit| edit.to.contains(&name));
        assert!(made, "no edit makes {}", mutant.name);
    }
    let mut missing = Vec::new();
    for file in files(&src) {
        let from = src.join(&file);
        println!("cargo:rerun-if-changed={}", from.display());
        let mut text = fs::read_to_string(&from).expect("a file of the driver");
        for edit in EDITS.iter().filter(|edit| edit.file == file) {
            match changed(&text, edit) {
                Ok(new) => text = new,
                Err(why) => missing.push(why),
            }
        }
        write(&target(&out, &file), &text);
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    // What `engine.rs` declares besides.
    write(
        &out.join("engine/lio.rs"),
        "pub(crate) use crate::scripted::Lio;\n\
         pub(crate) mod cmd {\n    pub(crate) use crate::scripted::{impl_cmd_work, CmdWork};\n}\n",
    );
    write(&out.join("engine/epoch.rs"), "");
    write(&out.join("engine/phase.rs"), "");
    let modules = ["channel", "command", "engine", "link", "queues"];
    let modules = modules.map(|name| {
        let path = target(&out, &format!("{name}.rs"));
        format!("#[allow(dead_code, clippy::all)]\n#[path = {path:?}]\nmod {name};\n")
    });
    write(&out.join("driver.rs"), &modules.concat());
    let path = out.join("login/bring_up.rs");
    let module = format!("#[allow(clippy::all)]\n#[path = {path:?}]\nmod bring_up;\n");
    write(&out.join("login.rs"), &module);
    let files = ["gate", "global"].map(|name| {
        let path = out.join(format!("sync/{name}.rs"));
        format!("#[allow(dead_code, clippy::all)]\n#[path = {path:?}]\npub(crate) mod {name};\n")
    });
    write(&out.join("sync.rs"), &files.concat());
}

/// The text with a choice between itself and an error.
///
/// # Errors
///
/// Why that cannot be.
fn changed(text: &str, edit: &Edit) -> Result<String, String> {
    let Edit { file, from, to } = edit;
    let found = text.matches(from).count();
    if found != 1 {
        return Err(format!("{from:?} is {found} times in src/{file}, not once"));
    }
    let mut to = (*to).to_owned();
    for (number, mutant) in MUTANTS.iter().enumerate() {
        let name = format!("${}", mutant.name);
        to = to.replace(&name, &format!("crate::mutants::is_on({number})"));
    }
    assert!(
        !to.contains('$'),
        "an edit of src/{file} names an error that there is not: {to}"
    );
    Ok(text.replacen(from, &to, 1))
}

fn write(path: &Path, text: &str) {
    let dir = path.parent().expect("a directory");
    fs::create_dir_all(dir).expect("a directory");
    // A file that is the same is left alone.
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).expect("a file");
    }
}
