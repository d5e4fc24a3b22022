//! stdbox's own program: init runs it, and a target that could write to that file would own the caller's next job.
//!
//! It is static, so there is no library that could be put in its place. It lies on the host, and /proc/PID/exe leads to it
//! there, whatever the container shows of that directory.

use crate::common::with;
use crate::support::{Fresh, Run, run_with, stdbox};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of stdbox that belongs to the caller, in a directory of the caller's.
struct Own {
    scene: Fresh,
    path: PathBuf,
    before: (u64, Vec<u8>),
}

impl Own {
    fn new() -> Self {
        let scene = Fresh::new();
        fs::create_dir(scene.path().join("bin")).unwrap();
        let path = scene.path().join("bin/stdbox");
        // Copied by a process of its own: a descriptor that a concurrent fork inherits would make execve say ETXTBSY.
        let copied = Command::new("cp")
            .arg(stdbox())
            .arg(&path)
            .status()
            .unwrap();
        assert!(copied.success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let before = Self::look(&path);
        Self {
            scene,
            path,
            before,
        }
    }

    /// Inode and content.
    fn look(path: &PathBuf) -> (u64, Vec<u8>) {
        (fs::metadata(path).unwrap().ino(), fs::read(path).unwrap())
    }

    /// Runs a job by it. Attackers that wait for the end of stdbox have a moment for that.
    fn run(&self, job: &Value) -> Run {
        run_with(job.to_string().as_bytes(), &[], |command| {
            // The command was made for another file, which it names only by its path.
            let mut own = Command::new(&self.path);
            std::mem::swap(command, &mut own);
            command
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
        })
    }

    /// The same with a file open for reading as descriptor 9.
    fn run_with_9(&self, job: &Value, file: &Path) -> Run {
        run_with(job.to_string().as_bytes(), &[], |command| {
            let mut own = Command::new("/bin/sh");
            std::mem::swap(command, &mut own);
            command
                .args(["-c", "exec \"$0\" 9<\"$1\""])
                .args([&self.path, file])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
        })
    }

    #[track_caller]
    fn unchanged(&self, what: &str) {
        assert!(Self::look(&self.path) == self.before, "{what}: changed");
    }

    /// A job in which the directory of the program has each mode, and is writable or not.
    fn modes(&self) -> Vec<Value> {
        let bin = format!("{}/bin", self.scene.str());
        ["full-access", "overlay", "read-only", "hidden"]
            .map(|mode| json!({"directories": {bin.as_str(): mode}}))
            .into_iter()
            .chain([
                json!({"directories": {"/": "full-access"}}),
                json!({"directories": {"/": "read-only"}, "init": false}),
            ])
            .collect()
    }
}

/// The target opens the program of init through /proc and writes to it, at once or as soon as nobody runs it any more.
///
/// Shows that it cannot be opened in any way by /proc/1/exe, its parent's, or a mapping of it, so the file stays as it was:
/// CVE-2019-5736 (runc).
#[test]
fn program_of_init_cannot_be_overwritten_through_proc() {
    let own = Own::new();
    // 7 and 8 are held while it is tried again: reopening is how the attack on runc waited.
    let attack = r#"
        for p in 1 $PPID self/task/../../1 thread-self/../../../1; do
            for f in exe task/1/exe; do
                ( : <> /proc/$p/$f ) && echo opened $p
                ( exec 7< /proc/$p/$f && echo read $p && for i in 1 2 3; do ( echo x > /proc/self/fd/7 ) && echo wrote $p; done )
                readlink /proc/$p/$f && echo named $p
                cp /proc/$p/$f /tmp/copy && echo copied $p
                ln -L /proc/$p/$f /tmp/link && echo linked $p
                /proc/$p/$f --version && echo ran $p
            done
            for m in /proc/$p/map_files/*; do ( : < $m ) && echo mapped $m; done
        done 2>/dev/null
        true"#;
    for fields in own.modes() {
        let quoted = attack.replace('\'', "'\\''");
        let script = format!("{attack}\nunshare -Urm sh -c '{quoted}'; echo end");
        let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"});
        let mut fields = fields;
        if fields["init"] == false {
            // Pid 1 is the target itself there, and its program the shell.
            fields["init"] = json!(true);
        }
        let seen = own.run(&with(job, &fields));
        assert_eq!(seen.exited(0).stdout(), "end\n", "{fields}: {seen}");
        own.unchanged(&fields.to_string());
    }
}

/// The first program that is executed is looked up by a process that still runs stdbox: /proc/self/exe is stdbox then, of
/// the host, whatever the container shows at its place. Named as the command, or as the interpreter of a script, it runs in
/// the container, with arguments that make it write to its own file.
///
/// Shows that the file stays as it was: CVE-2019-5736 (runc), whose second form was an image with `#!/proc/self/exe`.
#[test]
fn program_of_stdbox_run_through_proc_self_exe_leaves_its_file_alone() {
    let own = Own::new();
    let inner = json!({"argv": ["/bin/sh", "-c", "echo x > /proc/self/fd/0; echo x > /proc/self/fd/9"], "cwd": "/",
        "stdin": {"file": "/proc/self/exe"}, "stdout": {"file": "/proc/self/exe"}});
    let script = |name: &str, text: &str| {
        let file = own.scene.file(name, text);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    };
    let plain = script("plain", "#!/proc/self/exe\n");
    let report = script("report", "#!/proc/self/exe --report=/proc/self/exe\n");
    let spec = script("spec", "#!/proc/self/exe --spec\n");
    let jobs = [
        json!({"argv": ["/proc/self/exe", "--report", "/proc/self/exe"]}),
        json!({"argv": ["/proc/thread-self/exe", "--report", "/proc/self/exe", "--spec", "/dev/null"]}),
        json!({"argv": ["x", "--report", "/proc/self/exe"], "executable": "/proc/self/exe"}),
        json!({"argv": ["x"], "executable": "/proc/self/exe", "stdin": {"text": inner.to_string()}}),
        json!({"argv": [plain]}),
        json!({"argv": [report]}),
        json!({"argv": [spec]}),
        json!({"argv": ["exe", "--report", "/proc/self/exe"], "env": {"set": {"PATH": "/proc/self"}}}),
        json!({"argv": ["exe", "--report", "/proc/self/exe"], "cwd": "/proc/self", "env": {"set": {"PATH": "."}}}),
    ];
    // It does run, and writes where nobody runs the file.
    let other = own.scene.file("other", "");
    let job = json!({"argv": ["/proc/self/exe", "--report", other], "cwd": "/", "directories": {own.scene.str(): "full-access"}});
    own.run(&job).exited(2);
    assert!(!fs::read(&other).unwrap().is_empty(), "stdbox in a job");
    for fields in own.modes().into_iter().step_by(2) {
        for job in &jobs {
            let job = with(with(json!({"cwd": "/"}), job), &fields);
            let seen = own.run(&job);
            assert!(!seen.report.is_null(), "{job}: {seen}");
            own.unchanged(&job.to_string());
        }
    }
}

/// A stream of the job is the program itself, open for reading; a target may open it again for writing.
///
/// Shows that it cannot while stdbox runs, which is as long as the target does: execve(2), ETXTBSY, CVE-2019-5736 (runc).
#[test]
fn program_as_standard_input_cannot_be_opened_for_writing() {
    let own = Own::new();
    let script = "for i in $(seq 20); do ( echo x > /proc/self/fd/0 ) 2>/dev/null && echo wrote; done; ( : <> /proc/self/fd/0 ) 2>/dev/null && echo opened; truncate -s 0 /proc/self/fd/0 2>/dev/null && echo emptied; true";
    for mut fields in own.modes() {
        for stdin in [json!({"file": own.path}), json!({"fd": 9})] {
            fields["stdin"] = stdin;
            let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"});
            let seen = own.run_with_9(&with(job, &fields), &own.path);
            assert_eq!(seen.exited(0).stdout(), "", "{fields}: {seen}");
            own.unchanged(&fields.to_string());
        }
    }
    // The same of a copy that nobody runs.
    let other = own.scene.path().join("other");
    fs::copy(&own.path, &other).unwrap();
    let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/", "stdin": {"fd": 9}});
    let seen = own.run_with_9(&job, &other);
    assert!(seen.exited(0).stdout().starts_with("wrote\n"), "{seen}");
}

/// The program lies in a directory that the target may write, or could if it were not for the mode.
///
/// Shows that in no mode but full-access the target can replace it, and in none write into the running one: a copy in an
/// overlay is the job's own: execve(2), ETXTBSY.
#[test]
fn program_cannot_be_changed_in_its_own_directory() {
    let own = Own::new();
    let path = own.path.display();
    let write = format!(
        "for i in 1 2 3; do ( echo x >> {path} ) 2>/dev/null; dd if=/dev/zero of={path} bs=1 count=4 conv=notrunc 2>/dev/null; truncate -s 0 {path} 2>/dev/null; done; true"
    );
    let replace = format!(
        "rm -f {path} 2>/dev/null; ( echo x > {path} ) 2>/dev/null; mv /bin/sh {path} 2>/dev/null; true"
    );
    for fields in own.modes() {
        let open = fields.to_string().contains("full-access");
        let script = if open {
            write.clone()
        } else {
            format!("{write}; {replace}")
        };
        let job = json!({"argv": ["/bin/sh", "-c", script], "cwd": "/"});
        own.run(&with(job, &fields)).exited(0);
        own.unchanged(&fields.to_string());
    }
}

/// Environment variables by which a dynamic program could be made to run other code, for stdbox itself.
///
/// Shows that it has no interpreter that would look at them: ld.so(8), "Secure-execution mode".
#[test]
fn program_of_stdbox_loads_nothing() {
    let own = Own::new();
    let scene = &own.scene;
    let library = scene.path().join("evil.so");
    let marker = scene.path().join("loaded");
    let source = format!(
        "#include <fcntl.h>\n__attribute__((constructor)) static void load(void) {{ open(\"{}\", O_CREAT | O_WRONLY, 0644); }}\n",
        marker.display()
    );
    let source = scene.file("evil.c", &source);
    let made = Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(made.expect("gcc").success());
    let preload = |command: &mut Command| {
        command
            .env("LD_PRELOAD", &library)
            .env("LD_LIBRARY_PATH", scene.path());
    };
    let job = json!({"argv": ["/bin/true"], "cwd": "/", "env": {"inherit": false}});
    run_with(job.to_string().as_bytes(), &[], preload).exited(0);
    assert!(!marker.exists(), "something was loaded");
    // A dynamic program does load it.
    let mut command = Command::new("/bin/true");
    preload(&mut command);
    command.status().unwrap();
    assert!(marker.exists(), "the library works");
}
