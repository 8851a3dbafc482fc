// SPDX-License-Identifier: GPL-2.0
//! Generates the bindings of librdmacm, libibverbs and libibumad with the bindgen program, and says
//! what to link with.
//!
//! Inline functions of verbs (`ibv_post_send()` and the like) are not here: they go through the
//! table of functions in `struct ibv_context`, see `verbs.rs`.

use std::{
    env,
    path::PathBuf,
    process::{exit, Command},
};

const OPTIONS: &[&str] = &[
    "--allowlist-function=rdma_.*|ibv_.*|umad_.*|poll|fcntl",
    "--allowlist-type=ibv_access_flags|ibv_send_flags|ib_user_mad|ib_user_mad_t|ib_mad_addr_t|sockaddr.*",
    "--allowlist-var=RDMA_.*|IBV_.*|POLLIN|F_GETFL|F_SETFL|O_NONBLOCK|AF_INET6?|AF_IB",
    "--default-enum-style=consts",
    "--no-prepend-enum-name",
    "--no-layout-tests",
    "--no-doc-comments",
];

fn main() {
    println!("cargo::rerun-if-changed=bindings.h");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BINDGEN");
    for library in ["rdmacm", "ibverbs", "ibumad"] {
        println!("cargo::rustc-link-lib={library}");
    }

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let program = env::var("BINDGEN").unwrap_or_else(|_| "bindgen".into());
    let done = Command::new(&program)
        .arg("bindings.h")
        .args(OPTIONS)
        .arg("--output")
        .arg(out.join("bindings.rs"))
        .status();
    match done {
        Ok(status) if status.success() => (),
        Ok(status) => {
            eprintln!("error: {program} ended with {status}");
            exit(1);
        }
        Err(error) => {
            eprintln!("error: {program}: {error}");
            exit(1);
        }
    }
}
