//! Packs the relocations of the program: unpacked they are 14 MB, read whole at each start and resident ever after.

use std::process::Command;

/// The first version of glibc whose loader knows packed relocations (`DT_RELR`).
const GLIBC_MIN: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let runs_here = std::env::var("HOST").is_ok_and(|host| host == target);
    if runs_here && target.ends_with("-linux-gnu") && glibc().is_some_and(|version| version >= GLIBC_MIN) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The C library of this machine, on which the program will run.
fn glibc() -> Option<(u32, u32)> {
    let answer = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
