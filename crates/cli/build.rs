//! Makes the program small. Unpacked its relocations are 14 MB, read whole at each start and resident ever after; the names of its functions are
//! another 82 MB of the file, which a release does without.

use std::process::Command;

/// The first version of glibc whose loader knows packed relocations (`DT_RELR`).
const GLIBC_MIN: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let told = |name: &str, value: &str| std::env::var(name).is_ok_and(|told| told == value);
    let target = std::env::var("TARGET").unwrap_or_default();
    if told("HOST", &target) && target.ends_with("-linux-gnu") && glibc().is_some_and(|version| version >= GLIBC_MIN) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // Cargo forgets the profile's `strip` where a package has settings of its own there. Who asks for debug information wants names too.
    if target.contains("-linux-") && told("PROFILE", "release") && told("DEBUG", "false") {
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
}

/// The C library of this machine, on which the program will run.
fn glibc() -> Option<(u32, u32)> {
    let answer = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
