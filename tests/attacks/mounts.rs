//! Every mount call against every mount of the container, by everybody whom a job can become, and in every kind of tree: what
//! covers something must not be taken away, and no attribute either.

use crate::common::{answer, with};
use crate::support::{Fresh, Run, probe, run_in_namespace};
use serde_json::{Value, json};

const ROOTS: [&str; 4] = ["overlay", "read-only", "hidden", "full-access"];
const TOKEN: &str = "hidden-content";

/// Who carries an attack out: fields of the job, and whether the probe enters namespaces of its own first.
struct Identity {
    name: &'static str,
    fields: Value,
    way: &'static str,
    /// Whether it has CAP_SYS_ADMIN over its mount namespace.
    admin: bool,
}

/// A further identity, such as one with kept capabilities, takes a line here.
fn identities() -> Vec<Identity> {
    let identity = |name, fields, way| Identity {
        name,
        fields,
        way,
        admin: way == "nested",
    };
    let uid_0 = json!({"user": {"uid": 0, "gid": 0}});
    vec![
        identity("plain user", json!({}), "plain"),
        identity("uid 0", uid_0.clone(), "plain"),
        identity("plain user in a nested namespace", json!({}), "nested"),
        identity("uid 0 in a nested namespace", uid_0, "nested"),
    ]
}

/// A directory with one subdirectory for each mode, a mount of the host in each, and in some the token that no job may see.
struct Scene {
    directory: Fresh,
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
        Self { directory }
    }

    fn directories(&self, root: &str) -> Value {
        let mut directories = json!({"/": root});
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
    fn run(&self, root: &str, words: &[&str], fields: &Value) -> Run {
        let probe = probe();
        let argv: Vec<&str> = std::iter::once(probe.to_str().unwrap())
            .chain(words.iter().copied())
            .collect();
        let job = with(
            json!({"argv": argv, "cwd": "/", "directories": self.directories(root)}),
            fields,
        );
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

    fn secrets(&self) -> Vec<String> {
        SECRETS
            .iter()
            .map(|name| format!("{}/{name}", self.directory.str()))
            .collect()
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
        let secrets = scene.secrets();
        let mut words = vec!["attack-mounts", identity.way, TOKEN];
        words.extend(secrets.iter().map(String::as_str));
        let run = scene.run(root, &words, &identity.fields);
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
