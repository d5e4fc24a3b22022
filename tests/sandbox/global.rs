//! What the real root may change by its uid alone, and may not from a job: settings of the kernel, devices.
//!
//! Nothing here writes: a file is opened for writing and closed, so that a hole does no harm to the machine.

use crate::common::job;
use crate::support::{Fresh, root, run};
use serde_json::json;

/// A device file outside /dev, which the real root can make beforehand.
#[test]
fn device_files_elsewhere_cannot_be_opened() {
    if !root() {
        return;
    }
    let directory = Fresh::new();
    let made = std::process::Command::new("mknod")
        .arg(directory.path().join("zero"))
        .args(["c", "1", "5"])
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::create_dir(directory.path().join("m")).unwrap();
    for mode in ["read-only", "overlay", "full-access"] {
        for setup in [
            "",
            "mount -t tmpfs none \"$D/m\"; mknod \"$D/m/zero\" c 1 5",
        ] {
            let job = job(
                "head -c 1 \"$1/zero\" 2>/dev/null | wc -c; head -c 1 \"$1/m/zero\" 2>/dev/null | wc -c",
                &[directory.str().as_bytes()],
                &json!({"directories": {directory.str(): mode}}),
            );
            let mounted = crate::common::among_mounts(&directory, setup, &job);
            assert_eq!(
                mounted.run.exited(0).stdout(),
                "0\n0\n",
                "{mode}: {}",
                mounted.run
            );
        }
    }
}

/// The usual ones work all the same, also from the host's /dev.
#[test]
fn harmless_devices_work_for_the_real_root_too() {
    for fields in [
        json!({"dev": "host"}),
        json!({"directories": {"/dev": "full-access"}}),
        json!({"directories": {"/": "read-only"}, "dev": "host"}),
    ] {
        let run = run(&job(
            "for d in null zero full random urandom; do ( : < /dev/$d ) && echo $d; done; echo x > /dev/null && echo written",
            &[],
            &fields,
        ));
        assert_eq!(
            run.exited(0).stdout(),
            "null\nzero\nfull\nrandom\nurandom\nwritten\n",
            "{fields}: {run}"
        );
    }
}
