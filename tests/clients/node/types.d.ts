// The types of jobs and reports. Written by tests/clients/types/generate.py out of schema/: change those.

/**
 * Bytes in base64: the standard alphabet of RFC 4648 section 4, with padding, without line breaks,
 * unused bits zero.
 */
export type Base64Text = string;

export interface Base64 {
  /**
   * The bytes; NUL is refused here too.
   */
  base64: Base64Text;
}

/**
 * An argument or a variable's value of at most 131071 bytes without NUL (execve(2)): a string, or
 * an object with base64 where it is not UTF-8.
 */
export type Argument = string | Base64;

/**
 * An argument as above that is not empty.
 */
export type Command = string | Base64;

/**
 * A path of 1 to 4095 bytes without NUL: a string, or an object with base64 where it is not UTF-8.
 */
export type Path = string | Base64;

/**
 * A path as above that starts with a slash (else not-absolute).
 */
export type AbsolutePath = string | Base64;

/**
 * Name of an environment variable, without NUL: an empty one is refused as empty, one with an
 * equals sign as bad-name.
 */
export type VariableName = string;

/**
 * A variable's name as above, or an object with base64 where it is not UTF-8.
 */
export type Variable = VariableName | Base64;

/**
 * Environment of the target: first what is inherited, then HOME of the container's user (with
 * system_config, unless `inherit` leaves HOME out), then `set`, then `unset`.
 */
export interface JobEnv {
  /**
   * true: all of stdbox's own environment; false: nothing of it; an array: only the variables of
   * these names, where they exist.
   */
  inherit?: boolean | readonly Variable[];
  /**
   * Variables to set, name to value; these win over inherited ones. Name, equals sign and value
   * together are at most 131071 bytes. The name is a key of JSON, so one that is not UTF-8 can be
   * inherited and unset, but not set.
   */
  set?: { readonly [key: string]: Argument };
  /**
   * Variables that the target must not have; a name that is not set is no error, and one that also
   * stands in `set` is removed.
   */
  unset?: readonly Variable[];
}

export interface JobStdinText {
  /**
   * This text as UTF-8, then end of file. NUL characters are allowed, nothing is added.
   */
  text: string;
  base64?: never;
  file?: never;
  fd?: never;
}

export interface JobStdinBase64 {
  /**
   * These bytes, then end of file; anything but proper base64 is refused as bad-base64.
   */
  base64: Base64Text;
  text?: never;
  file?: never;
  fd?: never;
}

export interface JobStdinFile {
  /**
   * A file of the host, opened for reading before the container exists. The target reads it through
   * a read-only mount of its own, so that its owner cannot write it through /proc/self/fd/0 either;
   * where there can be none (because the file has no name any more, say) `degraded` has
   * stdin-unprotected. One that is missing is no-such-file, one that cannot be opened is
   * file-refused.
   */
  file: Path;
  text?: never;
  base64?: never;
  fd?: never;
}

/**
 * Number of a file descriptor that stdbox was started with.
 */
export type Descriptor = number;

export interface JobStdinFd {
  /**
   * A descriptor that stdbox was started with, passed on as it is, O_NONBLOCK included; a regular
   * file can be opened again through /proc/self/fd/0, with the permissions that the caller has for
   * it. One that is not open is refused as bad-descriptor, one that stdbox itself uses for the job
   * or the report is a contradiction.
   */
  fd: Descriptor;
  text?: never;
  base64?: never;
  file?: never;
}

/**
 * Put the output into the report, as text where it is valid UTF-8, else in base64.
 */
export interface CaptureOptions {
  /**
   * Keep this many bytes from the start; the rest is read and dropped, and the report says
   * truncated.
   */
  max_bytes?: number;
}

export interface Capture {
  /**
   * Put the output into the report, as text where it is valid UTF-8, else in base64.
   */
  capture: CaptureOptions;
  file?: never;
  append?: never;
  fd?: never;
}

export interface OutputFile {
  /**
   * A file of the host, created if missing (mode 0666 less the umask) and opened before the
   * container exists. Where stdout and stderr are one file, both write at its end. The target can
   * open it again through /proc/self/fd, with the permissions that the caller has for it. One that
   * cannot be opened is file-refused.
   */
  file: Path;
  /**
   * true: write at the end of the file. false: empty the file first.
   */
  append?: boolean;
  capture?: never;
  fd?: never;
}

export interface OutputDescriptor {
  /**
   * A descriptor that stdbox was started with, passed on as it is. One that is not open is refused
   * as bad-descriptor, one that stdbox itself uses for the job or the report is a contradiction.
   */
  fd: Descriptor;
  capture?: never;
  file?: never;
  append?: never;
}

/**
 * hidden: a fresh, empty, writable directory, nothing of the host can be seen. read-only: visible
 * and not writable, with everything mounted below. overlay: visible, writes go to the scratch space
 * and the host never changes. full-access: visible, writes reach the host. A directory of another
 * mode that is named inside a full-access one keeps its name: it and the directories on the way to
 * it cannot be renamed, and the job can make no user namespaces (the warning no-nested-namespaces
 * says so).
 */
export type Mode = "hidden" | "read-only" | "overlay" | "full-access";

export interface DirectoryMode {
  /**
   * The directory, an absolute path of the host (of `root`, where that is given).
   */
  path: AbsolutePath;
  /**
   * How the target sees this directory and everything below it.
   */
  mode: Mode;
}

export interface MountBind {
  /**
   * bind: show a file or directory of the host at another place.
   */
  type: "bind";
  /**
   * File or directory of the host; symbolic links are followed. One that does not exist is
   * no-such-file.
   */
  source: Path;
  /**
   * Place in the container.
   */
  target: AbsolutePath;
  /**
   * true: the target cannot write, neither here nor in what is mounted below. false: writes reach
   * the host.
   */
  read_only?: boolean;
  /**
   * true: with everything that is mounted below the source. false: without; where there is
   * something mounted below, an unprivileged kernel refuses that (mount-refused), because it would
   * uncover what lies beneath.
   */
  recursive?: boolean;
  size_bytes?: never;
  inodes?: never;
  mode?: never;
  to?: never;
  lower?: never;
  upper?: never;
  work?: never;
}

/**
 * A number of bytes (or files), at least one.
 */
export type PositiveSize = number | bigint;

/**
 * Permission bits as an octal string of three or four digits, such as "755", "0755" or "1777"
 * (chmod(2)).
 */
export type Permissions = string;

export interface MountTmpfs {
  /**
   * tmpfs: a fresh, empty, writable directory in memory, apart from the scratch space.
   */
  type: "tmpfs";
  /**
   * Place in the container.
   */
  target: AbsolutePath;
  /**
   * Its size, rounded up to whole pages. Default: the kernel's, half of the machine's memory
   * (tmpfs(5)).
   */
  size_bytes?: PositiveSize;
  /**
   * Most files and directories in it. Default: the kernel's (tmpfs(5)).
   */
  inodes?: PositiveSize;
  /**
   * Permission bits of its root directory.
   */
  mode?: Permissions;
  source?: never;
  read_only?: never;
  recursive?: never;
  to?: never;
  lower?: never;
  upper?: never;
  work?: never;
}

export interface MountFileText {
  /**
   * file: a private file with the content given in exactly one of `text` and `base64`.
   */
  type: "file";
  /**
   * Place in the container.
   */
  target: AbsolutePath;
  /**
   * Content as text, written as UTF-8; NUL characters are allowed, nothing is added.
   */
  text: string;
  /**
   * Permission bits of the file.
   */
  mode?: Permissions;
  base64?: never;
}

export interface MountFileBase64 {
  /**
   * file: a private file with the content given in exactly one of `text` and `base64`.
   */
  type: "file";
  /**
   * Place in the container.
   */
  target: AbsolutePath;
  /**
   * Content as bytes.
   */
  base64: Base64Text;
  /**
   * Permission bits of the file.
   */
  mode?: Permissions;
  text?: never;
}

export type MountFile = MountFileText | MountFileBase64;

export interface MountSymlink {
  /**
   * symlink: a symbolic link. A different file already at the target is setup-failed with
   * mount-refused.
   */
  type: "symlink";
  /**
   * Place of the link in the container.
   */
  target: AbsolutePath;
  /**
   * What the link says, taken as it is: relative or absolute, with `..`, dangling or not
   * (symlink(7)).
   */
  to: Path;
  source?: never;
  read_only?: never;
  recursive?: never;
  size_bytes?: never;
  inodes?: never;
  mode?: never;
  lower?: never;
  upper?: never;
  work?: never;
}

export interface MountOverlay {
  /**
   * overlay: directories of the host laid over one another, with an upper one that keeps what the
   * job writes.
   */
  type: "overlay";
  /**
   * Place in the container.
   */
  target: AbsolutePath;
  /**
   * Directories of the host that are only read, the topmost first.
   */
  lower: readonly Path[];
  /**
   * Directory of the host that takes the writes and keeps them after the job.
   */
  upper: Path;
  /**
   * Empty directory on the same file system as `upper`, for the kernel's own use.
   */
  work: Path;
  source?: never;
  read_only?: never;
  recursive?: never;
  size_bytes?: never;
  inodes?: never;
  mode?: never;
  to?: never;
}

export interface MountMqueue {
  /**
   * mqueue: the POSIX message queues of the container's own ipc namespace (mq_overview(7)).
   */
  type: "mqueue";
  /**
   * Place in the container.
   */
  target: AbsolutePath;
  source?: never;
  read_only?: never;
  recursive?: never;
  size_bytes?: never;
  inodes?: never;
  mode?: never;
  to?: never;
  lower?: never;
  upper?: never;
  work?: never;
}

/**
 * One mount; `type` says which other fields there are. A mount that the kernel refuses is
 * setup-failed with mount-refused.
 */
export type Mount = MountBind | MountTmpfs | MountFile | MountSymlink | MountOverlay | MountMqueue;

export interface ScratchMemory {
  /**
   * Size of the tmpfs, rounded up to whole pages and at least one of 4096 bytes; writes beyond it
   * fail with ENOSPC. Default: limits.memory_bytes if given, else half of the machine's memory
   * (tmpfs(5)).
   */
  size_bytes?: number | bigint;
  /**
   * Most files and directories in the tmpfs (nr_inodes in tmpfs(5)); the few that stdbox makes
   * itself count too, so it is at least 64. Default: the kernel's, one for two pages of memory.
   */
  inodes?: number | bigint;
  /**
   * Take the tmpfs's memory from these NUMA nodes only (mpol=bind in tmpfs(5)); an empty array
   * means any. A node that the machine lacks or the caller may not use is setup-failed with
   * scratch-refused.
   */
  numa_nodes?: readonly number[];
  directory?: never;
}

export interface JobScratchDirectory {
  /**
   * An existing writable directory of the host, an absolute path. The job gets a fresh
   * subdirectory, which is removed afterwards whatever the job left in it; if stdbox itself is
   * killed, the next run there removes it. One that does not exist is refused as no-such-directory,
   * one that cannot be written as scratch-refused.
   */
  directory: AbsolutePath;
  size_bytes?: never;
  inodes?: never;
  numa_nodes?: never;
}

/**
 * User or group id; 4294967295 is reserved by the kernel.
 */
export type UserId = number;

/**
 * Name of a user or group of at most 32 bytes: a lower-case letter or underscore, then lower-case
 * letters, digits, underscores and hyphens.
 */
export type AccountName = string;

/**
 * Who the target is inside the container (user_namespaces(7)). Outside it is the caller, whatever
 * stands here.
 */
export interface JobUser {
  /**
   * User id inside the container.
   */
  uid?: UserId;
  /**
   * Group id inside the container.
   */
  gid?: UserId;
  /**
   * Name of the user in the container's /etc/passwd. Default: root if uid is 0, else user.
   * Characters other than those of the pattern are refused as bad-name; without system_config the
   * name has no effect.
   */
  name?: AccountName;
  /**
   * Name of the group in the container's /etc/group. Default: the user's name. Rules as for name.
   */
  group?: AccountName;
  /**
   * Home directory, an absolute path inside the container, and the value of HOME. Default: /home/
   * and the user's name with system_config, else the caller's HOME. With system_config it is
   * created empty and writable; where that is impossible HOME is /tmp and a warning says so. A
   * colon or a newline cannot stand in /etc/passwd and is refused as bad-name.
   */
  home?: AbsolutePath;
  /**
   * "single": only uid and gid exist in the container. "range": other ids exist too, so that files
   * of many owners can be copied into an overlay, and with capabilities such as CAP_CHOWN,
   * CAP_SETUID and CAP_SETGID programs can change owners and ids (apt-get, tar, su run by root).
   * The target's uid and gid are the caller's outside, as ever. The others, from 0 on without uid,
   * are the caller's subordinate ids of /etc/subuid and /etc/subgid (subuid(5)), mapped by
   * newuidmap(1) and newgidmap(1); at most as many ranges as the kernel takes, else ids-left-out is
   * in degraded. A caller with CAP_SETUID, CAP_SETGID and CAP_SETFCAP maps all ids of its own user
   * namespace instead, each to itself, but that uid and the caller's have changed places (for root
   * with uid 0, none have). setgroups(2) is allowed then: with CAP_SETGID the target can also give
   * up the caller's other groups, and read what is denied to a group only. no_new_privs and nosuid
   * stay: programs with the setuid bit or file capabilities gain nothing. What the job leaves in
   * full-access directories can belong to any of these ids. Without any other id: setup-failed with
   * no-id-range; without the helpers: id-map-helper; if they refuse: identity-refused.
   */
  map?: "single" | "range";
}

/**
 * A time in milliseconds, at least one.
 */
export type PositiveTime = number;

/**
 * A number of bytes (or files).
 */
export type Size = number | bigint;

/**
 * A time in milliseconds.
 */
export type Time = number;

/**
 * Bounds on the job; a bound that is left out does not exist. Where several are exceeded, the one
 * that was noticed first is reported; a job that ends by itself beyond one of wall_time_ms,
 * cpu_time_ms and output_bytes is reported like one that was ended for it (in that order, exit_code
 * and signal say how it ended). memory_bytes, processes, cpus and cpuset need cgroup v2, the others
 * do not. A bound that cannot be enforced is setup-failed (cgroup-v1, cgroup-unavailable or
 * limit-refused), never dropped.
 */
export interface JobLimits {
  /**
   * Longest time from the start of the target (just before execve, by the monotonic clock), in
   * milliseconds; then the job is ended (see grace_ms) and the outcome is limit-exceeded with limit
   * wall-time. It also holds for a job that is idle, stopped, or ignores signals, and counts the
   * wait for a writer where stdin is a named pipe.
   */
  wall_time_ms?: PositiveTime;
  /**
   * Most processor time of all processes of the job together, user and system, in milliseconds;
   * then the job is ended (see grace_ms) and the limit is cpu-time: within 50 ms or 5 % of the
   * limit, whichever is more, where a processor is free to look. Without a control group stdbox
   * looks at the processes of the container at intervals of at most 100 ms, shorter near the limit;
   * then warnings has cpu-time-sampled, since processes that live for less than the interval and
   * that nobody waits for are not counted in full, nor are up to 20 ms of each process that waited
   * for others, whose time the kernel shows in hundredths of a second; and where parts of /proc are
   * covered it is setup-failed with proc-masked. As a backstop each process also gets RLIMIT_CPU, a
   * second and 5 % above the limit.
   */
  cpu_time_ms?: PositiveTime;
  /**
   * Most memory of the whole job, a scratch tmpfs included, without swap (memory.max,
   * memory.swap.max and memory.oom.group of cgroup v2). When it is not enough the kernel kills all
   * of the job, and the outcome is limit-exceeded with limit memory; stdbox's own pid 1 is not in
   * the group, so that report and results are complete.
   */
  memory_bytes?: PositiveSize;
  /**
   * Most processes and threads of the job at one time, the target included and stdbox's own pid 1
   * not (pids.max of cgroup v2). The first fork or clone beyond it fails with EAGAIN, the job is
   * ended, and the limit is processes.
   */
  processes?: number;
  /**
   * Share of processor time as a decimal number of processors: 0.5 is half of one, 2 is two
   * (cpu.max of cgroup v2). The job is slowed down, not ended. A share too small for the kernel
   * (below 0.01) is setup-failed with limit-refused.
   */
  cpus?: number;
  /**
   * The only processors that the job can run on, as numbers and ranges: 0-3,8 (cpuset.cpus of
   * cgroup v2, format of cpuset(7)). One that the machine or the group above does not have is
   * setup-failed with limit-refused.
   */
  cpuset?: string;
  /**
   * Most bytes of captured standard output and standard error together, counted as stdbox reads
   * them; with one byte more the job is ended (see grace_ms) and the limit is output. What is kept
   * is still bounded by capture.max_bytes, which by itself ends nothing. Refused as contradiction
   * where neither stream is captured, or one goes to a file or a descriptor, where it cannot be
   * counted (see file_size_bytes).
   */
  output_bytes?: Size;
  /**
   * One more than the highest descriptor number that the target can open (RLIMIT_NOFILE in
   * getrlimit(2)). More than the caller's own hard limit is setup-failed with limit-refused.
   */
  open_files?: number | bigint;
  /**
   * Largest file that a process may write; beyond it comes SIGXFSZ or EFBIG (RLIMIT_FSIZE in
   * getrlimit(2)).
   */
  file_size_bytes?: Size;
  /**
   * Largest stack of a process's main thread (RLIMIT_STACK in getrlimit(2)); a quarter of it also
   * bounds arguments and environment (execve(2)).
   */
  stack_bytes?: PositiveSize;
  /**
   * Largest virtual memory of each process (RLIMIT_AS in getrlimit(2)). Beyond it allocations fail
   * with ENOMEM. It does not bound the job as a whole; memory_bytes does.
   */
  address_space_bytes?: PositiveSize;
  /**
   * Largest core dump (RLIMIT_CORE in getrlimit(2)). 0: none is written, nor is the program run
   * that /proc/sys/kernel/core_pattern may name (the limit is set to 1 for that, see core(5), and
   * the built-in filters keep the target from another).
   */
  core_bytes?: Size;
  /**
   * When a job is ended for a limit or a signal to stdbox: send SIGTERM, wait this long, then
   * SIGKILL. 0: SIGKILL at once.
   */
  grace_ms?: Time;
}

export interface JobCgroupParent {
  /**
   * Absolute host path of an existing cgroup v2 directory that the caller may create children in,
   * such as /sys/fs/cgroup/user.slice/jobs. One that cannot be used is setup-failed with
   * cgroup-unavailable.
   */
  parent: AbsolutePath;
}

/**
 * An action under its libseccomp name. SCMP_ACT_KILL is SCMP_ACT_KILL_THREAD; SCMP_ACT_TRACE and
 * SCMP_ACT_NOTIFY need a supervisor, which stdbox is not: they are refused as not-implemented.
 */
export type OciAction = "SCMP_ACT_KILL" | "SCMP_ACT_KILL_PROCESS" | "SCMP_ACT_KILL_THREAD" | "SCMP_ACT_TRAP" | "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE" | "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" | "SCMP_ACT_NOTIFY";

/**
 * Number that errno gets with SCMP_ACT_ERRNO; 0 lets the call seem to succeed without being made.
 */
export type OciErrno = number;

/**
 * Podman's name for the number beside it; the number counts, and a name without a number is looked
 * up.
 */
export type OciErrnoName = string;

/**
 * An architecture under its libseccomp name; those of other machines are skipped.
 */
export type OciArchitecture = string;

export interface OciArchitectureMap {
  /**
   * A main architecture.
   */
  architecture: OciArchitecture;
  /**
   * Further ones that programs on it may use.
   */
  subArchitectures?: readonly OciArchitecture[] | null;
}

/**
 * Name of a system call, such as openat.
 */
export type SystemCall = string;

/**
 * An unsigned number of 64 bits.
 */
export type Word = number | bigint;

export interface OciArgument {
  /**
   * Number of the argument, counted from 0.
   */
  index: number;
  /**
   * The number to compare with; the mask with SCMP_CMP_MASKED_EQ.
   */
  value: Word;
  /**
   * With SCMP_CMP_MASKED_EQ the number to compare with, otherwise unused.
   */
  valueTwo?: Word | null;
  /**
   * How argument and value are compared.
   */
  op: "SCMP_CMP_NE" | "SCMP_CMP_LT" | "SCMP_CMP_LE" | "SCMP_CMP_EQ" | "SCMP_CMP_GE" | "SCMP_CMP_GT" | "SCMP_CMP_MASKED_EQ";
}

/**
 * When a rule is included or excluded. It is included where every field that is given holds, and
 * excluded where one does; of arches one is enough, of caps all must be there to include and one to
 * exclude.
 */
export interface OciCondition {
  /**
   * Architectures under their Docker names, such as amd64 or arm64, one of which must be the
   * machine's.
   */
  arches?: readonly string[] | null;
  /**
   * Capabilities that the target must have.
   */
  caps?: readonly string[] | null;
  /**
   * Oldest kernel version, such as 4.8.
   */
  minKernel?: string | null;
}

export interface OciRuleNames {
  /**
   * One system call; the old form of `names`, exactly one of the two must be there.
   */
  name?: null;
  /**
   * System calls; unknown names are skipped and listed as warnings.
   */
  names: readonly SystemCall[];
  /**
   * What happens to a call that this rule matches.
   */
  action: OciAction;
  /**
   * The number for an action of SCMP_ACT_ERRNO. Default: 1 (EPERM).
   */
  errnoRet?: OciErrno | null;
  /**
   * Podman's name for errnoRet.
   */
  errno?: OciErrnoName | null;
  /**
   * Conditions on the arguments; all must hold. Where two are about the same argument, one must
   * hold, as with the engines.
   */
  args?: readonly OciArgument[] | null;
  /**
   * A note; has no effect.
   */
  comment?: string | null;
  /**
   * Docker: the rule counts only where this holds.
   */
  includes?: OciCondition | null;
  /**
   * Docker: the rule does not count where this holds.
   */
  excludes?: OciCondition | null;
}

export interface OciRuleName {
  /**
   * One system call; the old form of `names`, exactly one of the two must be there.
   */
  name: string;
  /**
   * System calls; unknown names are skipped and listed as warnings.
   */
  names?: null;
  /**
   * What happens to a call that this rule matches.
   */
  action: OciAction;
  /**
   * The number for an action of SCMP_ACT_ERRNO. Default: 1 (EPERM).
   */
  errnoRet?: OciErrno | null;
  /**
   * Podman's name for errnoRet.
   */
  errno?: OciErrnoName | null;
  /**
   * Conditions on the arguments; all must hold. Where two are about the same argument, one must
   * hold, as with the engines.
   */
  args?: readonly OciArgument[] | null;
  /**
   * A note; has no effect.
   */
  comment?: string | null;
  /**
   * Docker: the rule counts only where this holds.
   */
  includes?: OciCondition | null;
  /**
   * Docker: the rule does not count where this holds.
   */
  excludes?: OciCondition | null;
}

export type OciRule = OciRuleNames | OciRuleName;

export interface OciSeccomp {
  /**
   * What happens to a call that no rule matches.
   */
  defaultAction: OciAction;
  /**
   * The number for a defaultAction of SCMP_ACT_ERRNO. Default: 1 (EPERM).
   */
  defaultErrnoRet?: OciErrno | null;
  /**
   * Podman's name for defaultErrnoRet.
   */
  defaultErrno?: OciErrnoName | null;
  /**
   * Architectures that the filter covers beside the machine's own, which it always does; calls of
   * the others end the process.
   */
  architectures?: readonly OciArchitecture[] | null;
  /**
   * Docker's form of `architectures`: the entry of the machine's own architecture counts.
   */
  archMap?: readonly OciArchitectureMap[] | null;
  /**
   * Flags of seccomp(2). SECCOMP_FILTER_FLAG_SPEC_ALLOW is set unless this array is given without
   * it.
   */
  flags?: readonly ("SECCOMP_FILTER_FLAG_TSYNC" | "SECCOMP_FILTER_FLAG_LOG" | "SECCOMP_FILTER_FLAG_SPEC_ALLOW" | "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")[] | null;
  /**
   * Socket of a supervisor; refused as not-implemented.
   */
  listenerPath?: string | null;
  /**
   * Data for a supervisor; refused as not-implemented.
   */
  listenerMetadata?: string | null;
  /**
   * The rules.
   */
  syscalls?: readonly OciRule[] | null;
}

export interface JobSeccompOci {
  /**
   * The `seccomp` object of the OCI runtime specification, in the dialects of Docker and Podman,
   * unchanged; null stands for a field that is left out. It means what it means to the engines, but
   * that of several rules that match a call the most restrictive counts, that arguments of which
   * the kernel looks at 32 or 16 bits are compared with so many, and that x32 calls never exist.
   * Where the default action denies, calls with a higher number than any named one do not exist
   * either (ENOSYS). Unknown system call names are skipped and listed in a warning.
   */
  oci: OciSeccomp;
  default_action?: never;
  rules?: never;
}

export interface SeccompActionErrno {
  /**
   * The number that errno gets, such as 1 for EPERM or 38 for ENOSYS.
   */
  errno: number;
}

/**
 * allow and log let the call through (log notes it in the audit log), kill-process and kill-thread
 * end the caller with SIGSYS, trap sends SIGSYS that can be caught, and errno makes the call fail
 * with that number (seccomp(2)).
 */
export type SeccompAction = "allow" | "log" | "trap" | "kill-thread" | "kill-process" | SeccompActionErrno;

export interface SeccompCondition {
  /**
   * Number of the argument, counted from 0.
   */
  index: number;
  /**
   * How the argument is compared with value, unsigned; with masked-eq the argument is first ANDed
   * with mask. Arguments that the kernel treats as 32 bit are compared as 32 bit.
   */
  op: "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "masked-eq";
  /**
   * The number to compare with.
   */
  value: Word;
  /**
   * Bits to look at; needed with masked-eq, refused as contradiction with any other op.
   */
  mask?: Word;
}

export interface SeccompRule {
  /**
   * System call names; unknown ones are skipped and listed as warnings, and with "strict": true
   * refused as seccomp-refused.
   */
  names: readonly SystemCall[];
  /**
   * What happens to a call that this rule matches.
   */
  action: SeccompAction;
  /**
   * Conditions on the arguments; the rule matches where all of them hold.
   */
  args?: readonly SeccompCondition[];
}

export interface SeccompFilter {
  /**
   * What happens to a call that no rule matches.
   */
  default_action: SeccompAction;
  /**
   * Rules for single calls; of several that match one call the most restrictive action counts (the
   * order is in seccomp(2)). Where default_action lets calls through, they hold for the 32-bit ABI
   * as well, also for the calls that do the same work there under other names (setuid32, mmap2,
   * umount, *_time64 …) or through socketcall and ipc; else a call of the 32-bit ABI ends the
   * process. A rule with conditions on clone is no hindrance where clone3 is let through, which
   * takes its flags from behind a pointer.
   */
  rules: readonly SeccompRule[];
  oci?: never;
}

/**
 * Number of a file descriptor above standard error.
 */
export type ExtraDescriptor = number;

/**
 * Files to take out of the container when the target and all its descendants are gone, however the
 * target ended: regular files that the job wrote in hidden and overlay directories. Links, devices,
 * pipes and sockets are never taken and never followed, nor is what stdbox itself put there and the
 * job left as it was. Each file keeps its permission bits but setuid, setgid and sticky, and its
 * modification time; it belongs to the caller; hard links become files of their own; holes stay
 * holes. A file gets its name when it is whole, where the file system can make files without a
 * name. What goes wrong here does not change the outcome, not even with `strict`, since the target
 * has run: it stands in the report's results.skipped or in degraded (results-limited,
 * results-incomplete).
 */
export interface JobResults {
  /**
   * Absolute path of a directory of the host to put the files in, as the caller; below it their
   * paths are kept, from the container's root if any pattern is absolute, else from cwd. Before the
   * target is started it is opened, or made with its parents (and removed again if the target
   * cannot be started); what cannot be made or written is refused then (results-refused), and so is
   * a path with a symbolic link in it (is-symlink) or one that is no directory (not-a-directory).
   * In it, old files and links are replaced, links without being followed; a directory in the way
   * of a file, or a file in the way of a directory, stays and is reported as skipped. It may not
   * hold scratch.directory.
   */
  directory: AbsolutePath;
  /**
   * Shell patterns with ?, *, [...] and **; relative ones start at cwd, whose own characters mean
   * themselves, absolute ones at the container's root. A directory that matches is taken whole,
   * names with a leading dot included. * and ?, and ** for any number of directories, do not match
   * a leading dot; a backslash takes the meaning from what follows; a [ that is never closed means
   * itself; {} has no meaning. `..` that leads out, or stands behind a wildcard, is refused as
   * parent-component. At most 4095 bytes each.
   */
  patterns?: readonly Path[];
  /**
   * Most files to take, in the order of their paths; what is beyond it is left behind and reported
   * as degraded (results-limited). Default: no bound.
   */
  max_files?: Size;
  /**
   * Most bytes to take, the sizes of all files together; from the first file that does not fit they
   * are left behind, and that is reported as degraded (results-limited). Default: no bound.
   */
  max_bytes?: Size;
}

/**
 * Events for, and pauses by, a caller that measures or places the processes itself: one JSON line
 * per event on events_fd ("ready" before exec, "exited" when the target has ended; see event.json),
 * and the line `continue` expected on control_fd at each pause. End of file there, or another line,
 * cancels the job: at the first pause it never runs, at the second its results are not collected. A
 * caller that closes its end while the job runs and a pause is still to come cancels it as well.
 * The time of the pauses counts for no limit. A job that is cancelled while it runs has no second
 * pause. Neither descriptor can be a stream of the target's (contradiction) or one of fds
 * (bad-descriptor). The control groups that the target may be placed in are shown writable only
 * where /sys or a directory of theirs is named as full-access.
 */
export interface JobSync {
  /**
   * Open descriptor of stdbox's to write events to; one that is not open for writing is refused as
   * bad-descriptor, and neither can be the one that the job or the report goes through. It may be
   * the same socket as control_fd. A caller that does not read is waited for, but not once the job
   * is cancelled; events that cannot be written (a full disk, a reader that is gone) are warned of
   * as sync-event-lost, and cancel the job at a pause.
   */
  events_fd: Descriptor;
  /**
   * Open descriptor of stdbox's to read `continue` from, one line for each pause; needed for
   * either, whose lack is refused as missing-field. An answer may come before it is asked for.
   */
  control_fd?: Descriptor;
  /**
   * true: when only exec is left, wait for `continue`; the cgroup namespace is entered after it, so
   * that the cgroup the caller chose becomes its root. With capabilities, the namespaces for them
   * are made after it too.
   */
  pause_before_exec?: boolean;
  /**
   * true: when the target has ended, end every other process of the container, and wait for
   * `continue` before the container is taken down and results are collected. Until then it can be
   * looked at through /proc/INIT_PID/root, by the caller; no process of the job ever can.
   */
  pause_after_exit?: boolean;
}

/**
 * One job: a command and the container to run it in. At most 16 MiB of UTF-8 JSON, nested at most
 * 64 deep, followed by nothing but white space. Refused before anything is started (outcome
 * invalid-job, exit status 2): a field that is not listed here, a key that stands twice in one
 * object (in maps too), null in place of a value (leave the field out instead), an integer written
 * with a fraction or an exponent (1.0, 1e3), and a NUL character in any string that reaches the
 * kernel. Sizes end in _bytes, times in _ms. Paths that must be absolute say so in their pattern
 * (else not-absolute); in them `..` is refused as parent-component, and a component of more than
 * 255 bytes as too-long. Other host paths (files, mount sources, root, the results directory) may
 * be relative: they are resolved on the host against the directory that stdbox was started in.
 * Lengths of paths, arguments and names are limits in bytes of UTF-8; where maxLength stands beside
 * one, it counts characters, so a string of other than ASCII characters can still be too-long.
 */
export interface Job {
  /**
   * Version of this protocol. Any number but 1 is refused as unsupported-version.
   */
  version?: 1;
  /**
   * Any text of at most 256 bytes; it is echoed in the report and means nothing to stdbox. A longer
   * one is refused as too-long.
   */
  id?: string;
  /**
   * The command and its arguments (execve(2)). A first element without a slash is looked up in the
   * PATH of the target's own environment (without one, in /bin and /usr/bin), inside the container;
   * one with a slash is a path inside the container, relative to cwd. An empty array or an empty
   * first element is refused as empty; a command that is not there is setup-failed with
   * command-not-found, never exit code 127.
   */
  argv: readonly Argument[];
  /**
   * Run this file of the container, with the first element of argv as its name (argv[0]); PATH is
   * not searched, and a relative path starts at cwd. Without it argv names the file.
   */
  executable?: Path;
  /**
   * Working directory of the target, an absolute path inside the container. Default: the directory
   * that stdbox was started in, or / with `root`. One that does not exist in the container (because
   * it is hidden, say) is setup-failed with cwd-missing; `..` is refused as parent-component.
   */
  cwd?: AbsolutePath;
  /**
   * Environment of the target: first what is inherited, then HOME of the container's user (with
   * system_config, unless `inherit` leaves HOME out), then `set`, then `unset`.
   */
  env?: JobEnv;
  /**
   * Standard input of the target: "null" (/dev/null), "inherit", text, bytes, a file of the host or
   * a descriptor of stdbox's. "inherit" (and descriptor 0) only where the job comes from --spec or
   * --spec-fd, otherwise contradiction.
   */
  stdin?: "null" | "inherit" | JobStdinText | JobStdinBase64 | JobStdinFile | JobStdinFd;
  /**
   * Where the target's standard output goes: captured into the report, "null" (/dev/null),
   * "inherit", a file of the host or a descriptor of stdbox's. "inherit" (and descriptor 1) only
   * where the report goes to --report or --report-fd, otherwise contradiction.
   */
  stdout?: "null" | "inherit" | Capture | OutputFile | OutputDescriptor;
  /**
   * Where the target's standard error goes: as for stdout, or "stdout" to send it to the same place
   * as standard output, in the order of writing (the report's `stderr` is then null).
   */
  stderr?: "null" | "inherit" | "stdout" | Capture | OutputFile | OutputDescriptor;
  /**
   * What the target sees of the host's directories: a map from absolute path to mode, or an array
   * of path and mode where a path is not UTF-8. A path has the mode of the longest named directory
   * that equals or contains it, compared by component after removing `.`, repeated and trailing
   * slashes. The defaults for `/`, `/tmp` and `/run` stay in force unless that very directory is
   * named. Refused: `/proc` or below it (proc-directory), `..` (parent-component), the same
   * directory twice (duplicate-directory), and a path that does not exist (no-such-directory), is
   * no directory (not-a-directory), is a symbolic link (is-symlink) or cannot be reached
   * (directory-unreachable).
   */
  directories?: { readonly [key: string]: Mode } | readonly DirectoryMode[];
  /**
   * A directory of the host (an unpacked image, say) to use as the tree that the modes apply to,
   * instead of the host's `/`. The paths in `directories`, `cwd` (default: `/`) and the targets of
   * `mounts` are then paths of that tree; other host paths are not affected. /dev, /proc and /sys
   * are supplied, also where the tree has no such directories, unless `/` is full-access: then a
   * missing /proc is setup-failed with proc-missing. It must exist and be a directory; a link to
   * one is followed.
   */
  root?: Path;
  /**
   * Further mounts, made in this order after the modes have been applied; a later one may lie on or
   * below an earlier one. Symbolic links on the way to a target are followed inside the container
   * (for a symlink all but the last one). A missing target is created inside the container's own
   * layers, never on the host: in a hidden, overlay or read-only directory or in a tmpfs of this
   * list. In a full-access directory, or in a bind or overlay of this list, it must exist
   * (target-missing). Targets in /proc are refused as proc-directory.
   */
  mounts?: readonly Mount[];
  /**
   * Where hidden directories and overlay writes live: one private tmpfs in memory (the default), or
   * a fresh subdirectory of an existing directory on disk. The two forms cannot be mixed.
   */
  scratch?: ScratchMemory | JobScratchDirectory;
  /**
   * "minimal": a private /dev with null, zero, full, random, urandom, tty, the fd, stdin, stdout
   * and stderr links, its own devpts, shm and mqueue. "host": the host's /dev, read-only. A mode
   * for /dev in `directories` implies "host"; "minimal" written beside one is refused as
   * contradiction.
   */
  dev?: "minimal" | "host";
  /**
   * "fresh": a new procfs of the container's own pid namespace. "nestable": in addition a clean
   * instance, so that nested containers can mount proc even if stdbox is run by the real root (a
   * warning says what that exposes). "none": an empty /proc; beside kept capabilities, whose ids
   * are mapped through /proc, it is refused as contradiction. A kernel that refuses is setup-failed
   * with proc-masked and a hint.
   */
  proc?: "fresh" | "nestable" | "none";
  /**
   * "host": the host's /sys, read-only. "fresh": a new sysfs, read-only, that shows only the
   * container's own network devices; beside network "host", kept capabilities (whose target has
   * another network) or a mode for /sys or below it is refused as contradiction. "none": an empty
   * /sys.
   */
  sys?: "host" | "fresh" | "none";
  /**
   * "auto": where LXCFS runs on the host, its container-aware files (cpuinfo, meminfo, uptime and
   * so on) are put over /proc and /sys/devices/system/cpu. "off": never.
   */
  lxcfs?: "auto" | "off";
  /**
   * true: the container has its own minimal passwd, group, hosts, hostname and nsswitch.conf in
   * /etc, mtab as a link to /proc/self/mounts, its own host name and a private home directory, so
   * that nothing asks a remote directory service. false: the host's files, the host's name and the
   * caller's HOME are used; uid and gid are as in `user`.
   */
  system_config?: boolean;
  /**
   * Who the target is inside the container (user_namespaces(7)). Outside it is the caller, whatever
   * stands here.
   */
  user?: JobUser;
  /**
   * Host name inside the container, 1 to 64 bytes of letters, digits, dots and hyphens that starts
   * and ends with a letter or digit (gethostname(2)). Default: stdbox with system_config, else the
   * host's own name. Where a system call filter around stdbox allows none to be set, that of the
   * surrounding container stays, and `degraded` has hostname-kept. An empty one is refused as
   * empty, a longer one as too-long, other characters as bad-name.
   */
  hostname?: string;
  /**
   * "none": a network namespace of its own, in which only the loopback device exists and is up.
   * "host": the host's network, abstract Unix sockets included.
   */
  network?: "none" | "host";
  /**
   * Bounds on the job; a bound that is left out does not exist. Where several are exceeded, the one
   * that was noticed first is reported; a job that ends by itself beyond one of wall_time_ms,
   * cpu_time_ms and output_bytes is reported like one that was ended for it (in that order,
   * exit_code and signal say how it ended). memory_bytes, processes, cpus and cpuset need cgroup
   * v2, the others do not. A bound that cannot be enforced is setup-failed (cgroup-v1,
   * cgroup-unavailable or limit-refused), never dropped.
   */
  limits?: JobLimits;
  /**
   * A fresh cgroup v2 leaf for the job, removed after it. "auto": where a limit asks for it
   * (cpu_time_ms: where one can be made). "required": always, else setup-failed with cgroup-v1 or
   * cgroup-unavailable. "off": never; limits that need one are refused as contradiction. An object
   * names the parent and otherwise means "required". Without a name the leaf is made in the
   * caller's own group where that gives the controllers or the caller is alone in it (it steps
   * aside into another one for the time of the job), else in the group above. The job sees the leaf
   * as the root of the hierarchy and can make no other control group namespace; a mode or mount
   * that would let it write the hierarchy is a contradiction. A leaf of a killed stdbox is removed
   * by the next run in the same place.
   */
  cgroup?: "auto" | "required" | "off" | JobCgroupParent;
  /**
   * System call filter (seccomp(2)). "default": everything but calls that reach outside the
   * container (kernel keyrings, userfaultfd, io_uring, bpf, perf events, modules, kexec, reboot,
   * the kernel's log, terminal injection, sockets that namespaces do not contain), which fail with
   * ENOSYS, EPERM or EAFNOSUPPORT. "strict": only what ordinary programs need (compilers,
   * interpreters, virtual machines), no new namespaces or mounts, no look into other processes; a
   * call of the 32-bit ABI ends the process. "off": no filter. Or a filter of your own: one that
   * may deny execve, by which the command is started, or that is longer than the 4096 instructions
   * that the kernel takes, is setup-failed with seccomp-refused. Calls of the x32 ABI never exist.
   */
  seccomp?: "default" | "strict" | "off" | JobSeccompOci | SeccompFilter;
  /**
   * Capabilities that the target has in the container's user namespace (capabilities(7)), such as
   * CAP_NET_BIND_SERVICE; they give no power over the host. All others are dropped from every set.
   * The target gets user, mount, network and UTS namespaces of its own then, in which the
   * container's mounts are locked: it can mount, but neither remove nor change what is mounted
   * already. With user.map "range" all ids of the container exist there too, and a process that
   * gives up uid 0 loses its capabilities, as usual (capabilities(7)). Refused as contradiction
   * with "init": false, and where a directory inside a full-access one is named with another mode.
   * A name that the kernel does not know is refused as unknown-value, the same name twice as
   * contradiction.
   */
  capabilities?: readonly string[];
  /**
   * Descriptors of stdbox's, beside 0, 1 and 2, that the target keeps under the same number; all
   * others are closed. One that is not open, or that stdbox itself uses (for the job, the report or
   * sync), is refused as bad-descriptor.
   */
  fds?: readonly ExtraDescriptor[];
  /**
   * Files to take out of the container when the target and all its descendants are gone, however
   * the target ended: regular files that the job wrote in hidden and overlay directories. Links,
   * devices, pipes and sockets are never taken and never followed, nor is what stdbox itself put
   * there and the job left as it was. Each file keeps its permission bits but setuid, setgid and
   * sticky, and its modification time; it belongs to the caller; hard links become files of their
   * own; holes stay holes. A file gets its name when it is whole, where the file system can make
   * files without a name. What goes wrong here does not change the outcome, not even with `strict`,
   * since the target has run: it stands in the report's results.skipped or in degraded
   * (results-limited, results-incomplete).
   */
  results?: JobResults;
  /**
   * true: the report lists what the job created, modified, replaced and deleted in overlay and
   * hidden directories. A list that is not complete is reported as degraded (changes-limited,
   * changes-incomplete), without changing the outcome.
   */
  changes?: boolean;
  /**
   * true: a tiny pid 1 reaps orphans and forwards signals, and the target is its child. false: the
   * target is pid 1 itself, with what that means for signals (pid_namespaces(7)).
   */
  init?: boolean;
  /**
   * Events for, and pauses by, a caller that measures or places the processes itself: one JSON line
   * per event on events_fd ("ready" before exec, "exited" when the target has ended; see
   * event.json), and the line `continue` expected on control_fd at each pause. End of file there,
   * or another line, cancels the job: at the first pause it never runs, at the second its results
   * are not collected. A caller that closes its end while the job runs and a pause is still to come
   * cancels it as well. The time of the pauses counts for no limit. A job that is cancelled while
   * it runs has no second pause. Neither descriptor can be a stream of the target's (contradiction)
   * or one of fds (bad-descriptor). The control groups that the target may be placed in are shown
   * writable only where /sys or a directory of theirs is named as full-access.
   */
  sync?: JobSync;
  /**
   * true: anything that would be reported as degraded (asked for and not fully given) is
   * setup-failed instead and the target does not run.
   */
  strict?: boolean;
}

/**
 * "syntax": The job is not valid JSON, or something follows it; the message names line and column.
 * "too-large": The job is larger than 16 MiB.
 * "too-deep": The job is nested more than 64 deep.
 * "duplicate-key": A key stands twice in one JSON object.
 * "unknown-field": The job has a field that does not exist; the hint may name a similar one.
 * "missing-field": A field that is needed is missing.
 * "wrong-type": A value has the wrong JSON type (null included).
 * "unknown-value": A value is not one of the words allowed there.
 * "out-of-range": A number is too small or too large.
 * "empty": A string or array that must not be empty is.
 * "nul-byte": A string that reaches the kernel contains a NUL.
 * "too-long": A string is longer than the field or the kernel allows.
 * "bad-base64": A base64 value is not proper base64.
 * "bad-name": A name (host, user, group, variable) or permission string has characters that are not
 * allowed there.
 * "contradiction": Two parts of the job, or the job and the command line, exclude each other.
 * "not-absolute": A path that must be absolute is not.
 * "parent-component": A path contains `..` where that is refused.
 * "no-such-directory": A directory named in the job does not exist.
 * "not-a-directory": A path that must be a directory is something else.
 * "is-symlink": A directory named in the job is a symbolic link; the message names what it points
 * to.
 * "directory-unreachable": A directory named in the job cannot be reached by the caller.
 * "proc-directory": A mode or mount was asked for /proc or below it.
 * "duplicate-directory": The same directory is named twice.
 * "no-such-file": A file named in the job does not exist on the host.
 * "file-refused": A file named in the job cannot be opened.
 * "bad-descriptor": A descriptor named in the job is not open, is opened the wrong way or is in use
 * by stdbox.
 * "unsupported-version": The job asks for a version of the protocol that this stdbox does not
 * speak.
 * "not-implemented": The job is right, but this stdbox cannot do that yet.
 * "command-line": stdbox's own command line is wrong.
 * "userns-forbidden": The kernel or its settings forbid user namespaces to the caller.
 * "namespace-limit": The limit on the number or depth of namespaces is reached.
 * "apparmor-restricted": AppArmor takes the rights away that a user namespace should give.
 * "chroot": stdbox runs in a chroot, where the kernel allows no user namespaces.
 * "kernel-too-old": The kernel lacks a system call or feature that the job needs.
 * "overlay-unsupported": The kernel refuses an overlay on this file system or with this scratch
 * space.
 * "overlay-depth": Too many overlays on top of each other, and the directory is too large to be
 * copied.
 * "proc-masked": The kernel refuses a new procfs because parts of the outer one are covered.
 * "proc-missing": stdbox needs /proc of its host, and there is none.
 * "target-missing": The target of a mount does not exist, and lies where nothing of the container's
 * own can be made.
 * "mount-refused": The kernel refused a mount.
 * "mount-table-changed": The host's mounts changed while the container was being built.
 * "identity-refused": The user or group ids asked for cannot be mapped, or the host name cannot be
 * set.
 * "no-id-range": user.map is "range", and the caller has no ids beside its own: no line of
 * /etc/subuid or /etc/subgid, or, for a privileged caller, a user namespace with one id.
 * "id-map-helper": newuidmap(1) or newgidmap(1), which map subordinate ids, is not installed,
 * cannot be executed, or does not end.
 * "network-refused": The network could not be set up.
 * "scratch-refused": The scratch space could not be made as asked.
 * "seccomp-refused": The system call filter could not be built or installed.
 * "limit-refused": A limit could not be set.
 * "cgroup-v1": The job needs a cgroup of version 2, and this machine has version 1.
 * "cgroup-unavailable": The job needs a cgroup and none can be made; `path` is what is missing or
 * not writable.
 * "command-not-found": The command does not exist in the container; the hint says if it does on the
 * host.
 * "cwd-missing": The working directory does not exist or cannot be entered in the container; the
 * hint says if it does on the host.
 * "exec-refused": The kernel refused to run the command (no permission, arguments too long, busy).
 * "exec-format": The command is not a program that this machine can run, or its interpreter is
 * missing.
 * "descriptor-unreachable": A kept descriptor points to a place that does not exist in the
 * container.
 * "out-of-memory": There was not enough memory to set up the container.
 * "facts-refused": Only from `stdbox plan`: the file with a host's facts cannot be read or written,
 * or holds none.
 * "facts-missing": Only from `stdbox plan --with-facts`: the facts do not say something that this
 * job depends on.
 * "setup-died": A process of stdbox was killed while it set up the container.
 * "worker-died": Only from `stdbox batch`: the process that runs the job was killed. Whether the
 * target ran is not known; if so, it was killed too.
 * "internal": A fault in stdbox; please report it.
 * "results-refused": The results directory cannot be made or written.
 * "report-unwritable": The report could not be written where it was asked for.
 */
export type ErrorCode = "syntax" | "too-large" | "too-deep" | "duplicate-key" | "unknown-field" | "missing-field" | "wrong-type" | "unknown-value" | "out-of-range" | "empty" | "nul-byte" | "too-long" | "bad-base64" | "bad-name" | "contradiction" | "not-absolute" | "parent-component" | "no-such-directory" | "not-a-directory" | "is-symlink" | "directory-unreachable" | "proc-directory" | "duplicate-directory" | "no-such-file" | "file-refused" | "bad-descriptor" | "unsupported-version" | "not-implemented" | "command-line" | "userns-forbidden" | "namespace-limit" | "apparmor-restricted" | "chroot" | "kernel-too-old" | "overlay-unsupported" | "overlay-depth" | "proc-masked" | "proc-missing" | "target-missing" | "mount-refused" | "mount-table-changed" | "identity-refused" | "no-id-range" | "id-map-helper" | "network-refused" | "scratch-refused" | "seccomp-refused" | "limit-refused" | "cgroup-v1" | "cgroup-unavailable" | "command-not-found" | "cwd-missing" | "exec-refused" | "exec-format" | "descriptor-unreachable" | "out-of-memory" | "facts-refused" | "facts-missing" | "setup-died" | "worker-died" | "internal" | "results-refused" | "report-unwritable";

export type PathOrNull = Path | null;

export interface Error {
  /**
   * What went wrong, one of a closed list.
   */
  code: ErrorCode;
  /**
   * When it went wrong.
   * "parse": Reading the command line or the job's JSON.
   * "validate": Checking the job's fields.
   * "host": Looking at the host: directories, files, kernel features.
   * "namespaces": Making the namespaces and the first process.
   * "identity": Mapping user and group ids, setting the host name.
   * "mounts": Building the tree of mounts.
   * "proc": Mounting /proc.
   * "network": Setting up the network.
   * "limits": Setting resource limits.
   * "cgroup": Making or entering the cgroup.
   * "seccomp": Building or installing the system call filter.
   * "exec": Starting the command.
   * "results": Taking files out of the container.
   * "report": Writing the report.
   */
  stage: "parse" | "validate" | "host" | "namespaces" | "identity" | "mounts" | "proc" | "network" | "limits" | "cgroup" | "seccomp" | "exec" | "results" | "report";
  /**
   * The system call or step that failed, such as mount_setattr; null where there is none.
   */
  operation: string | null;
  /**
   * The path it failed on, or null.
   */
  path: PathOrNull;
  /**
   * The kernel's error number, or null.
   */
  errno: number | null;
  /**
   * Its name, such as EPERM; null where errno is null or has no name.
   */
  errno_name: string | null;
  /**
   * One plain sentence.
   */
  message: string;
  /**
   * What to change: a setting of the host, a field of the job, a package; or null.
   */
  hint: string | null;
  /**
   * JSON pointer (RFC 6901) to the field that caused it, such as /mounts/2/target; empty for the
   * job as a whole; null where no field did.
   */
  at: string | null;
}

/**
 * A number that is not negative.
 */
export type Count = number;

/**
 * Only if the target ran: what the kernel counted for the target and everything it waited for
 * (getrusage(2)).
 */
export interface Rusage {
  /**
   * Processor time in user mode (ru_utime).
   */
  user_ns: Count;
  /**
   * Processor time in the kernel (ru_stime).
   */
  system_ns: Count;
  /**
   * Largest resident set of a single process (ru_maxrss).
   */
  max_rss_bytes: Count;
  /**
   * Page faults served without input or output (ru_minflt).
   */
  minor_faults: Count;
  /**
   * Page faults that needed input or output (ru_majflt).
   */
  major_faults: Count;
  /**
   * Times the file system had to read, in blocks of 512 bytes (ru_inblock).
   */
  block_reads: Count;
  /**
   * Times the file system had to write, in blocks of 512 bytes (ru_oublock).
   */
  block_writes: Count;
  /**
   * Context switches because a process waited (ru_nvcsw).
   */
  voluntary_switches: Count;
  /**
   * Context switches because another process had its turn (ru_nivcsw).
   */
  involuntary_switches: Count;
}

/**
 * A number that is not negative, or null.
 */
export type CountOrNull = number | null;

/**
 * What the job used: the target and everything it waited for, and from the cgroup, where there is
 * one, the whole job. All zero if the target did not run.
 */
export interface Usage {
  /**
   * Time from the start of the target to its end.
   */
  wall_ns: Count;
  /**
   * Processor time in user mode; of the whole job with a cgroup.
   */
  cpu_user_ns: Count;
  /**
   * Processor time in the kernel; of the whole job with a cgroup.
   */
  cpu_system_ns: Count;
  /**
   * Largest resident set of a single process.
   */
  max_rss_bytes: Count;
  /**
   * Page faults served without input or output.
   */
  minor_faults: Count;
  /**
   * Page faults that needed input or output.
   */
  major_faults: Count;
  /**
   * Context switches because a process waited.
   */
  voluntary_switches: Count;
  /**
   * Context switches because another process had its turn.
   */
  involuntary_switches: Count;
  /**
   * Reads by the file system, in blocks of 512 bytes.
   */
  block_reads: Count;
  /**
   * Writes by the file system, in blocks of 512 bytes.
   */
  block_writes: Count;
  /**
   * Most memory of the whole job at one time (memory.peak of the cgroup); null without a cgroup,
   * and before Linux 5.19.
   */
  memory_peak_bytes: CountOrNull;
  /**
   * Most processes and threads of the job at one time (pids.peak of the cgroup); null without a
   * cgroup, and before Linux 6.1.
   */
  processes_peak: CountOrNull;
  /**
   * How long the job was kept from running by limits.cpus (throttled_usec in cpu.stat of the
   * cgroup); null without the cpu controller.
   */
  throttled_ns: CountOrNull;
  /**
   * Bytes that the job read from block devices (rbytes in io.stat of the cgroup); null without the
   * io controller.
   */
  io_read_bytes: CountOrNull;
  /**
   * Bytes that the job wrote to block devices (wbytes in io.stat of the cgroup), as far as they
   * were written by the end of the job; null without the io controller.
   */
  io_write_bytes: CountOrNull;
  /**
   * Space that the job's writes took in the scratch space when the target had ended.
   */
  scratch_bytes: Count;
}

/**
 * How long stdbox's own phases took; 0 for a phase that was not reached.
 */
export interface Timing {
  /**
   * Reading and checking the job.
   */
  parse_ns: Count;
  /**
   * Looking at the host.
   */
  facts_ns: Count;
  /**
   * Deciding what to do.
   */
  plan_ns: Count;
  /**
   * From the first process to the target's exec.
   */
  setup_ns: Count;
  /**
   * From the target's exec to its end.
   */
  run_ns: Count;
  /**
   * From the target's end to the writing of the report.
   */
  teardown_ns: Count;
}

export interface CapturedText {
  /**
   * What was kept, if all that was kept is valid UTF-8.
   */
  text: string;
  /**
   * How many bytes the target wrote, what was dropped included.
   */
  bytes: Count;
  /**
   * true if more was written than capture.max_bytes and the rest was dropped.
   */
  truncated: boolean;
}

export interface CapturedBase64 {
  /**
   * What was kept, if it is not valid UTF-8.
   */
  base64: Base64Text;
  /**
   * How many bytes the target wrote, what was dropped included.
   */
  bytes: Count;
  /**
   * true if more was written than capture.max_bytes and the rest was dropped.
   */
  truncated: boolean;
}

export type Captured = CapturedText | CapturedBase64;

export type CapturedOrNull = Captured | null;

export interface ResultFile {
  /**
   * Path below the results directory.
   */
  path: Path;
  /**
   * Size of the file.
   */
  bytes: Count;
}

export interface SkippedFile {
  /**
   * Path below the results directory.
   */
  path: Path;
  /**
   * not-a-file: a link, device, pipe or socket. unreadable: it could not be read.
   * directory-in-the-way, file-in-the-way: an old directory stands where the file, or an old file
   * where a directory would go. too-deep: its path on the host would be longer than the 4095 bytes
   * that the kernel takes. refused: the results directory did not take it (no permission, or a name
   * that its file system cannot have).
   */
  reason: "not-a-file" | "unreadable" | "directory-in-the-way" | "file-in-the-way" | "too-deep" | "refused";
}

export interface Results {
  /**
   * Files that are now in the results directory, sorted by path.
   */
  files: ResultFile[];
  /**
   * What a pattern matched and was not taken, sorted by path; at most 100,000 entries, beyond which
   * degraded says so (results-limited). Of a directory that cannot be entered or made, only the
   * directory is listed.
   */
  skipped: SkippedFile[];
}

export interface Change {
  /**
   * Absolute path inside the container.
   */
  path: Path;
  /**
   * created: there was nothing. deleted: there is nothing now; of a deleted tree only the top is
   * listed. replaced: it is of another type, or a link to something else. modified: it is of the
   * same type, but its permission bits are others, or the size or modification time of a file.
   */
  change: "created" | "modified" | "deleted" | "replaced";
  /**
   * What it is now, or was if it was deleted.
   */
  type: "file" | "directory" | "symlink" | "fifo" | "socket" | "device";
  /**
   * Size of a regular file now; 0 for everything else.
   */
  bytes: Count;
}

export interface Notice {
  /**
   * Short name of the case, in kebab-case.
   */
  code: string;
  /**
   * The path it is about, or null.
   */
  path: PathOrNull;
  /**
   * One plain sentence.
   */
  message: string;
}

/**
 * A value for a file of a control group.
 */
export interface PlannedSetting {
  /**
   * The name of the file.
   */
  file: Path;
  /**
   * What is written.
   */
  value: string;
  /**
   * JSON pointer of the field of the job that asks for it.
   */
  asked_at: string;
}

/**
 * The control group that is made for the job; absent where there is none.
 */
export interface PlannedGroup {
  /**
   * The group that it is made in.
   */
  parent: Path;
  /**
   * Whether stdbox moves itself out of that group first.
   */
  step_aside: boolean;
  /**
   * Controllers that the parent is to give.
   */
  enable: string[];
  /**
   * What is written into the group's files, in this order.
   */
  settings: PlannedSetting[];
}

/**
 * What is written into the files of the id maps (user_namespaces(7)).
 */
export interface PlannedMaps {
  /**
   * What uid_map gets.
   */
  uid: Path;
  /**
   * What gid_map gets.
   */
  gid: Path;
  /**
   * Who writes them: the first process of the namespace itself, a process of the one around it, or
   * newuidmap(1) and newgidmap(1).
   */
  writer: "itself" | "outside" | "helpers";
}

/**
 * A place in a tree; an empty path is the tree itself.
 */
export interface PlannedPlace {
  /**
   * The host's tree, a directory that a slot holds, or a file system of the container's own in a
   * slot.
   */
  tree: "host" | "held" | "own";
  /**
   * Which slot.
   */
  slot?: number;
  /**
   * Absolute for the host, relative else.
   */
  path: Path;
}

/**
 * One operation. A slot is a descriptor that one step opens and later ones use.
 */
export interface PlannedStep {
  /**
   * new-fs: fsopen(2), fsconfig(2), fsmount(2). overlay: the same for an overlay. clone:
   * open_tree(2). open: openat2(2). restrict: mount_setattr(2). attach: move_mount(2). detach:
   * umount2(2) with MNT_DETACH. pivot: pivot_root(2), then detach of the old root; chroot:
   * chroot(2) in its place.
   */
  do: "new-fs" | "overlay" | "clone" | "open" | "restrict" | "attach" | "detach" | "mkdir" | "mkfile" | "mkfifo" | "mksocket" | "symlink" | "write" | "copy" | "pivot" | "chroot";
  /**
   * What is made, used or mounted.
   */
  slot?: number;
  /**
   * Where it is done.
   */
  at?: PlannedPlace;
  /**
   * clone, copy: what is taken.
   */
  source?: PlannedPlace;
  /**
   * new-fs: the type of the file system.
   */
  type?: string;
  /**
   * new-fs: options, each a name, and a value where it has one.
   */
  options?: Path[][];
  /**
   * new-fs, restrict: attributes of the mount.
   */
  attributes?: ("ro" | "nosuid" | "nodev" | "noexec")[];
  /**
   * new-fs: whether a read-only mount will do where the kernel allows no other.
   */
  or_read_only?: boolean;
  /**
   * overlay: the lower layers, topmost first.
   */
  lower?: PlannedPlace[];
  /**
   * overlay: the upper layer.
   */
  upper?: PlannedPlace;
  /**
   * overlay: the work directory.
   */
  work?: PlannedPlace;
  /**
   * overlay: its marks are kept in user attributes.
   */
  userxattr?: boolean;
  /**
   * overlay: never written back for safety's sake.
   */
  volatile?: boolean;
  /**
   * overlay: whether a read-only lower mount makes it read-only.
   */
  keep_read_only?: boolean;
  /**
   * clone: with everything mounted below.
   */
  recursive?: boolean;
  /**
   * overlay, clone: what happens if it has vanished: the set-up fails, it is left out and reported,
   * or left out.
   */
  if_absent?: "fail" | "report" | "pass-over";
  /**
   * attach: whether the slot is needed later.
   */
  keep?: boolean;
  /**
   * mkdir, mkfile, mkfifo, mksocket, write, copy: permission bits, in octal.
   */
  mode?: string;
  /**
   * symlink: what it holds.
   */
  to?: Path;
  /**
   * write: what the file holds.
   */
  holds?: Path;
  /**
   * JSON pointer of the field of the job that asks for it.
   */
  asked_at?: string;
}

/**
 * What the target keeps, in user and mount namespaces of its own.
 */
export interface PlannedCapabilities {
  /**
   * Names of capabilities.
   */
  kept: string[];
  /**
   * The id maps.
   */
  id_maps: PlannedMaps;
}

/**
 * A resource limit.
 */
export interface PlannedLimit {
  /**
   * The field of `limits` that it belongs to.
   */
  limit: string;
  /**
   * What it is set to.
   */
  value: number;
}

/**
 * What `stdbox run` would do, in the order in which the kernel hears of it. Its form may grow with
 * any version.
 */
export interface Plan {
  /**
   * Those that the container begins with (namespaces(7)).
   */
  namespaces: ("user" | "mount" | "pid" | "ipc" | "uts" | "network" | "cgroup")[];
  /**
   * What is made for the job; absent where nothing is.
   */
  control_group?: PlannedGroup;
  /**
   * The id maps.
   */
  id_maps: PlannedMaps;
  /**
   * The host name; absent where it stays the host's.
   */
  hostname?: Path;
  /**
   * How the tree is built.
   */
  steps: PlannedStep[];
  /**
   * Whether the target runs below a small pid 1.
   */
  init: boolean;
  /**
   * What the target keeps, if anything.
   */
  capabilities?: PlannedCapabilities;
  /**
   * Whether the target can make user namespaces.
   */
  nested_namespaces: boolean;
  /**
   * Descriptors that the target keeps beside 0, 1 and 2.
   */
  fds: number[];
  /**
   * Resource limits, both soft and hard (setrlimit(2)).
   */
  rlimits: PlannedLimit[];
  /**
   * RLIMIT_CPU, soft and hard.
   */
  cpu_seconds?: number[];
  /**
   * The working directory.
   */
  cwd: Path;
  /**
   * Length of the system call filter; absent where there is none.
   */
  filter_instructions?: number;
  /**
   * Files that are tried, in this order.
   */
  executables: Path[];
  /**
   * The arguments.
   */
  argv: Path[];
  /**
   * The variables, as NAME=value.
   */
  environment: Path[];
}

/**
 * What became of one job: always one JSON object on one line, followed by a newline, whatever
 * happened, unless the command line is wrong or the report cannot be written: then standard error
 * has a line that says so. Every field below is present but the few that say otherwise. Durations
 * end in _ns and are integers in nanoseconds, sizes are integers in bytes. A path that is not UTF-8
 * is an object with base64.
 */
export interface Report {
  /**
   * Version of this protocol.
   */
  version: 1;
  /**
   * The job's `id`; null if it has none or it could not be read.
   */
  id: string | null;
  /**
   * Only from `stdbox batch`: number of the job's line in the input, counted from 1.
   */
  line?: number;
  /**
   * How the job ended.
   * "exited": The target ended by itself; exit_code says how.
   * "signaled": The target was ended by a signal that stdbox did not send.
   * "limit-exceeded": The job was ended for one of its limits; `limit` says which.
   * "cancelled": stdbox was told to stop (by SIGTERM, SIGINT or SIGHUP, or by end of file on
   * sync.control_fd) and ended the job.
   * "setup-failed": The container could not be made or the command not be started; the target did
   * not run.
   * "invalid-job": The job was refused before anything was started.
   * "valid": Only from `stdbox check`: the job is in order.
   * "planned": Only from `stdbox plan`: this is what would be done.
   */
  outcome: "exited" | "signaled" | "limit-exceeded" | "cancelled" | "setup-failed" | "invalid-job" | "valid" | "planned";
  /**
   * The target's exit status if it ended by itself, else null.
   */
  exit_code: number | null;
  /**
   * Number of the signal that ended the target (signal(7)), whoever sent it, else null.
   */
  signal: number | null;
  /**
   * With limit-exceeded the limit that ended the job, else null.
   * "wall-time": limits.wall_time_ms.
   * "cpu-time": limits.cpu_time_ms.
   * "memory": limits.memory_bytes.
   * "processes": limits.processes.
   * "output": limits.output_bytes.
   */
  limit: "wall-time" | "cpu-time" | "memory" | "processes" | "output" | null;
  /**
   * Why the job was refused or could not be run; null if nothing went wrong on stdbox's side.
   */
  error: Error | null;
  /**
   * Only if the target ran: its status as wait(2) gives it, undecoded.
   */
  wait_status?: number;
  /**
   * Only if the target ran: what the kernel counted for the target and everything it waited for
   * (getrusage(2)).
   */
  rusage?: Rusage;
  /**
   * What the job used: the target and everything it waited for, and from the cgroup, where there is
   * one, the whole job. All zero if the target did not run.
   */
  usage: Usage;
  /**
   * How long stdbox's own phases took; 0 for a phase that was not reached.
   */
  timing: Timing;
  /**
   * What the target wrote to standard output; null if it was not captured or the target did not
   * run.
   */
  stdout: CapturedOrNull;
  /**
   * What the target wrote to standard error; null if it was not captured, went to stdout or the
   * target did not run.
   */
  stderr: CapturedOrNull;
  /**
   * The files that were taken out of the container; null if the job did not ask for any or did not
   * run.
   */
  results: Results | null;
  /**
   * What the job changed in overlay and hidden directories, sorted by path, as a comparison of what
   * was there at the beginning with what is there at the end; null if the job did not ask or did
   * not run. At most 1,000,000 entries, beyond which degraded says so (changes-limited).
   */
  changes: Change[] | null;
  /**
   * Things worth knowing that did not change what was asked for.
   */
  warnings: Notice[];
  /**
   * Things that were asked for and not fully given; with `strict` they are errors instead.
   */
  degraded: Notice[];
  /**
   * Only with the outcome valid: the job in its normal form, with every default filled in. It is a
   * valid job itself, see job.json.
   */
  job?: Job;
  /**
   * Only with the outcome planned: what would be done.
   */
  plan?: Plan;
}

export type Pid = number;

export interface Ready {
  /**
   * The container stands, and only exec is left. With sync.pause_before_exec stdbox waits for
   * `continue` now: the processes can be placed, limited (prlimit(2), sched_setaffinity(2)) and
   * measured.
   */
  event: "ready";
  /**
   * The process that becomes the target, in stdbox's pid namespace.
   */
  pid: Pid;
  /**
   * The first process of the container, in stdbox's pid namespace.
   */
  init_pid: Pid;
  /**
   * Only with scratch.directory: the directory of the host that holds everything that the job
   * writes, so that its size can be watched. Below `upper` in it, writes lie under their paths in
   * the container; what is written below directories of another mode than the one around them lies
   * beside it.
   */
  scratch?: string | Base64;
}

export interface Exited {
  /**
   * The target has ended. With sync.pause_after_exit every other process of the container is dead,
   * and stdbox waits for `continue` while the container still stands: it can be looked at through
   * /proc/INIT_PID/root. What lies there is the job's: a link of its leads to a file of the host,
   * and a pipe of its keeps who opens it waiting, so look with openat2(2), RESOLVE_IN_ROOT and
   * O_NONBLOCK.
   */
  event: "exited";
  /**
   * As wait(2) gives it, undecoded.
   */
  wait_status: number;
  /**
   * What the kernel counted for the target and everything it waited for (getrusage(2)).
   */
  rusage: Rusage;
}

/**
 * What a job's `sync.events_fd` tells: one JSON object on one line, followed by a newline, for each
 * event, in their order. A container that cannot be set up has none, and a command that cannot be
 * executed has no exited: the report says why, and the end of the events is there before it. A path
 * that is not UTF-8 is an object with base64.
 */
export type Event = Ready | Exited;
