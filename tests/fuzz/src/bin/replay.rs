// SPDX-License-Identifier: GPL-2.0
//! Runs inputs again without the fuzzer, and writes the ones it starts from.
//!
//! ```text
//! replay seeds <target> <folder>      write the seeds
//! replay run <target> <file|folder>...  run a target over inputs; panics as the target does
//! ```

use std::{fs, io::ErrorKind, path::Path, process::ExitCode};

fn write_seeds(target: &str, folder: &Path) -> std::io::Result<usize> {
    fs::create_dir_all(folder)?;
    let seeds = srpt_fuzz::seeds(target);
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed)?;
    }
    Ok(seeds.len())
}

fn run(target: fn(&[u8]), path: &Path) -> std::io::Result<usize> {
    if !path.is_dir() {
        // The fuzzer removes inputs when it finds better ones.
        return match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            input => {
                target(&input?);
                Ok(1)
            }
        };
    }
    let mut count = 0;
    for entry in fs::read_dir(path)? {
        count += run(target, &entry?.path())?;
    }
    Ok(count)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["seeds", target, folder] => write_seeds(target, Path::new(folder)),
        ["run", target, paths @ ..] => {
            let Some((_, function)) = srpt_fuzz::TARGETS.iter().find(|(name, _)| name == target)
            else {
                eprintln!("there is no target {target}");
                return ExitCode::FAILURE;
            };
            paths
                .iter()
                .map(|path| run(*function, Path::new(path)))
                .sum()
        }
        ["list"] => {
            srpt_fuzz::TARGETS
                .iter()
                .for_each(|(name, _)| println!("{name}"));
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("usage: replay list | seeds <target> <folder> | run <target> <path>...");
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(count) => {
            println!("{count} inputs");
            ExitCode::from(u8::from(count == 0))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
