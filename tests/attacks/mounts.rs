//! Every mount call against every mount of the container, by everybody whom a job can become, and in every kind of tree: what
//! covers something must not be taken away, and no attribute either.

use crate::common::{answer, probe_job, probed, with};
use crate::support::{Fresh, Run, probe, run_in_namespace};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const TOKEN: &str = "hidden-content";

/// Who carries an attack out: fields of the job, and whether the probe enters namespaces of its own first.
struct Identity {
    name: &'static str,
    fields: Value,
    way: &'static str,
    /// Whether it has CAP_SYS_ADMIN over its mount namespace.
    admin: bool,
}

fn identities() -> Vec<Identity> {
    let identity = |name, fields: Value, way| Identity {
        name,
        admin: way == "nested" || fields["capabilities"].is_array(),
        fields,
        way,
    };
    let uid_0 = json!({"user": {"uid": 0, "gid": 0}});
    let kept = json!({"capabilities": [
        "CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE", "CAP_MKNOD"
    ]});
    vec![
        identity("plain user with CAP_SYS_ADMIN", kept.clone(), "plain"),
        identity(
            "uid 0 with CAP_SYS_ADMIN",
            with(kept.clone(), &uid_0),
            "plain",
        ),
        identity("CAP_SYS_ADMIN in a nested namespace", kept, "nested"),
        identity("plain user", json!({}), "plain"),
        identity("uid 0", uid_0.clone(), "plain"),
        identity("plain user in a nested namespace", json!({}), "nested"),
        identity("uid 0 in a nested namespace", uid_0, "nested"),
    ]
}

/// A directory with one subdirectory for each mode, a mount of the host in each, and in some the token that no job may see.
struct Scene {
    directory: Fresh,
    /// A directory in /tmp, which is hidden without being named.
    hidden_by_default: PathBuf,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.hidden_by_default);
    }
}

/// Files that hold the token, and why they are not to be seen: hidden, in a mount in a hidden directory, or below a mount.
const SECRETS: [&str; 4] = [
    "hidden/f",
    "hidden/m/f",
    "read-only/m/below",
    "full-access/m/below",
];

impl Scene {
    fn new() -> Self {
        let directory = Fresh::new();
        for name in ["hidden", "read-only", "overlay", "full-access"] {
            directory.file(&format!("{name}/m/below"), TOKEN);
            directory.file(
                &format!("{name}/f"),
                if name == "hidden" { TOKEN } else { "seen" },
            );
        }
        let name = directory.path().file_name().unwrap();
        let hidden_by_default = Path::new("/tmp").join(name);
        std::fs::create_dir(&hidden_by_default).unwrap();
        std::fs::write(hidden_by_default.join("f"), TOKEN).unwrap();
        Self {
            directory,
            hidden_by_default,
        }
    }

    /// Where something named is protected inside a full-access directory there are no nested namespaces, nor capabilities;
    /// there nothing is named.
    fn directories(&self, root: &str, nested: bool) -> Value {
        let mut directories = json!({"/": root});
        if root == "full-access" && nested {
            return directories;
        }
        for mode in ["hidden", "read-only", "overlay", "full-access"] {
            directories[format!("{}/{mode}", self.directory.str())] = json!(mode);
        }
        let probe = probe();
        if root == "hidden" {
            directories[probe.parent().unwrap().to_str().unwrap()] = json!("read-only");
        }
        directories
    }

    /// Runs a probe among the mounts. The mount tables of the host before and after are compared.
    fn run(&self, root: &str, way: &str, fields: &Value) -> Run {
        let nested = way == "nested" || fields["capabilities"].is_array();
        let secrets = self.secrets(root, nested);
        let words: Vec<&str> = ["attack-mounts", way, TOKEN]
            .into_iter()
            .chain(secrets.iter().map(String::as_str))
            .collect();
        let directories = json!({"directories": self.directories(root, nested)});
        let job = probe_job(&words, &with(directories, fields));
        let before = self.directory.snapshot();
        let setup = format!(
            r#"cd '{}'; for d in *; do mount -t tmpfs -o noexec,nosuid none $d/m; echo seen > $d/m/f; done; echo {TOKEN} > hidden/m/f
            cp /proc/self/mountinfo /dev/shm/before-$$; cd /; "$STDBOX"; cmp /proc/self/mountinfo /dev/shm/before-$$ >&2; rm /dev/shm/before-$$"#,
            self.directory.str()
        );
        let run = run_in_namespace(&setup, &job);
        assert_eq!(
            run.complaint, "",
            "the host's mounts are what they were: {run}"
        );
        assert_eq!(
            self.directory.snapshot(),
            before,
            "the host's files are what they were: {run}"
        );
        run
    }

    fn secrets(&self, root: &str, nested: bool) -> Vec<String> {
        let mut secrets = vec![format!("{}/f", self.hidden_by_default.display())];
        if !(root == "full-access" && nested) {
            secrets.extend(
                SECRETS
                    .iter()
                    .map(|name| format!("{}/{name}", self.directory.str())),
            );
        }
        secrets
    }
}

/// Everything that mount(2), umount2(2), pivot_root(2), chroot(2), setns(2) and the mount calls by descriptor can try against
/// every mount in the table: umount with every flag, remount and mount_setattr(2) without an attribute, of the mount and of
/// the file system, move, bind and clone with and without what is below, an overlay over it, a mount beneath it, a copy or an
/// old root that is detached and looked into, ids mapped anew.
///
/// Without capabilities nothing works. In a user namespace of the job's own every call is allowed as such, and the kernel
/// must hold the inherited mounts together: mount_namespaces(7), "Restrictions on mount namespaces". It did not always:
/// CVE-2014-5206 and CVE-2014-5207 (remount without ro, nosuid, nodev), CVE-2014-9717 (what a detached tree covered),
/// CVE-2021-3732 (an overlay over a directory showed what was mounted over inside).
fn attack(root: &str) {
    for identity in identities() {
        let scene = Scene::new();
        let run = scene.run(root, identity.way, &identity.fields);
        let seen = answer(run.exited(0));
        let who = format!("{} of a {root} root: {seen:#}\n{run}", identity.name);
        assert_eq!(seen["broken"], json!([]), "{who}");
        assert_eq!(seen["table_unchanged"], true, "{who}");
        assert_eq!(seen["admin"], identity.admin, "{who}");
        // The attack took place: on all of the tree, and a nested namespace could do what is its own to do.
        assert!(seen["mounts"].as_u64() >= Some(9), "{who}");
        assert!(seen["tried"].as_u64() >= Some(200), "{who}");
        let errnos = &seen["errnos"];
        if identity.admin {
            for own in [
                "recursive bind",
                "detach of a copy",
                "pivot_root",
                "detach of the old root",
                "chroot",
                "overlay",
                "bind",
            ] {
                assert!(errnos[own]["done"].as_u64() > Some(0), "{own}: {who}");
            }
            let locked = [
                "umount MNT_DETACH",
                "move",
                "bind without what is below",
                "umount in a copy",
            ];
            for kept in locked {
                let errnos = errnos[kept].as_object().unwrap();
                assert_eq!(
                    errnos.keys().collect::<Vec<_>>(),
                    ["EINVAL"],
                    "{kept}: {who}"
                );
            }
        }
    }
}

/// See [`attack`]; the tree is a new root of kernel overlays.
#[test]
fn mounts_of_an_overlay_root_can_be_neither_removed_nor_changed_nor_looked_below() {
    attack("overlay");
}

/// See [`attack`]; the tree is the host's, in place, with what is hidden mounted over.
#[test]
fn mounts_of_a_read_only_root_can_be_neither_removed_nor_changed_nor_looked_below() {
    attack("read-only");
}

/// See [`attack`]; the tree is a new root of the job's own directories.
#[test]
fn mounts_of_a_hidden_root_can_be_neither_removed_nor_changed_nor_looked_below() {
    attack("hidden");
}

/// See [`attack`]; the tree is the host's, in place, and can be written.
#[test]
fn mounts_of_a_full_access_root_can_be_neither_removed_nor_changed_nor_looked_below() {
    attack("full-access");
}

/// The name of a directory belongs to what is around it: where that has full access, a job that cannot change a read-only
/// directory could rename it, or what lies above it, and make another of the same name, which the host then takes for the
/// protected one (`.git`, say, with hooks). The kernel refuses to rename a mount point (EBUSY in rename(2)), but only one of the
/// caller's own mount namespace, and in a nested one that has left all mounts behind it is a directory like others. So what is
/// on the way is a mount point too, and there is no nested user namespace in such a job (namespaces(7),
/// /proc/sys/user/max_user_namespaces).
#[test]
fn mounts_in_a_full_access_directory_keep_their_names() {
    for root in ["overlay", "read-only", "hidden", "full-access"] {
        let directory = Fresh::new();
        let names = [
            "hidden",
            "read-only",
            "overlay",
            "empty",
            "way/to/read-only",
            "way/too/hidden",
        ];
        for name in names {
            if name == "empty" {
                std::fs::create_dir(directory.path().join(name)).unwrap();
            } else {
                directory.file(&format!("{name}/f"), "guarded");
            }
        }
        directory.file("way/f", "open");
        let before = directory.snapshot();
        let d = directory.str();
        let mut directories = json!({"/": root, d: "full-access"});
        if root == "hidden" {
            directories[probe().parent().unwrap().to_str().unwrap()] = json!("read-only");
        }
        for name in names {
            let mode = name.rsplit('/').next().unwrap();
            let mode = if mode == "empty" { "hidden" } else { mode };
            directories[format!("{d}/{name}")] = json!(mode);
        }
        let fields = json!({"directories": directories});
        let words: Vec<&str> = ["take-names", d].into_iter().chain(names).collect();
        let seen = probed(&words, &fields);
        assert_eq!(directory.snapshot(), before, "{root}: {seen:#}");
        assert_eq!(seen["plain"], json!([]), "{root}: {seen:#}");
        for way in ["nested", "without"] {
            assert_eq!(seen[way]["entered"], false, "{root}: {seen:#}");
        }
        // What full access is for still works, beside and on the way.
        for name in ["new", "way/f", "way/to/new"] {
            let path = format!("{d}/{name}");
            let written = probed(&["open", &path, "wr,creat"], &fields);
            assert_eq!(written["errno"], Value::Null, "{root}, {name}: {written}");
        }
    }
}
