"""The types of jobs and reports. Written by tests/clients/types/generate.py out of schema/: change those."""

from typing import Dict, Iterator, List, Literal, Mapping, Protocol, Tuple, TypedDict, TypeVar, Union, final

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Array = Union[List[T], Tuple[T, ...]]
"""What JSON has as an array."""


class Strings(Protocol[T_co]):
    """An array in which strings may stand, such as a list of strings. A Sequence would be too much: a string is one, too."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[T_co]: ...
    def __contains__(self, value: object, /) -> bool: ...
    def __getitem__(self, index: int, /) -> T_co: ...


__all__ = [
    "AbsolutePath",
    "AccountName",
    "Argument",
    "Base64",
    "Base64Text",
    "Capture",
    "CaptureOptions",
    "Captured",
    "CapturedBase64",
    "CapturedOrNull",
    "CapturedText",
    "Change",
    "Command",
    "Count",
    "CountOrNull",
    "Descriptor",
    "DirectoryMode",
    "Error",
    "ErrorCode",
    "Event",
    "Exited",
    "ExtraDescriptor",
    "Job",
    "JobCgroupParent",
    "JobEnv",
    "JobLimits",
    "JobResults",
    "JobScratchDirectory",
    "JobSeccompOci",
    "JobStdinBase64",
    "JobStdinFd",
    "JobStdinFile",
    "JobStdinText",
    "JobSync",
    "JobUser",
    "Mode",
    "Mount",
    "MountBind",
    "MountFile",
    "MountFileBase64",
    "MountFileText",
    "MountMqueue",
    "MountOverlay",
    "MountSymlink",
    "MountTmpfs",
    "Notice",
    "OciAction",
    "OciArchitecture",
    "OciArchitectureMap",
    "OciArgument",
    "OciCondition",
    "OciErrno",
    "OciErrnoName",
    "OciRule",
    "OciRuleName",
    "OciRuleNames",
    "OciSeccomp",
    "OutputDescriptor",
    "OutputFile",
    "Path",
    "PathOrNull",
    "Permissions",
    "Pid",
    "Plan",
    "PlannedCapabilities",
    "PlannedGroup",
    "PlannedLimit",
    "PlannedMaps",
    "PlannedPlace",
    "PlannedSetting",
    "PlannedStep",
    "PositiveSize",
    "PositiveTime",
    "Ready",
    "Report",
    "ResultFile",
    "Results",
    "Rusage",
    "ScratchMemory",
    "SeccompAction",
    "SeccompActionErrno",
    "SeccompCondition",
    "SeccompFilter",
    "SeccompRule",
    "Size",
    "SkippedFile",
    "SystemCall",
    "Time",
    "Timing",
    "Usage",
    "UserId",
    "Variable",
    "VariableName",
    "Word",
]

Base64Text = str
"""Bytes in base64: the standard alphabet of RFC 4648 section 4, with padding, without line breaks,
unused bits zero."""


class Base64(TypedDict):
    base64: Base64Text
    """The bytes; NUL is refused here too."""

Argument = Union[str, Base64]
"""An argument or a variable's value of at most 131071 bytes without NUL (execve(2)): a string, or
an object with base64 where it is not UTF-8."""

Command = Union[str, Base64]
"""An argument as above that is not empty."""

Path = Union[str, Base64]
"""A path of 1 to 4095 bytes without NUL: a string, or an object with base64 where it is not
UTF-8."""

AbsolutePath = Union[str, Base64]
"""A path as above that starts with a slash (else not-absolute)."""

VariableName = str
"""Name of an environment variable, without NUL: an empty one is refused as empty, one with an
equals sign as bad-name."""

Variable = Union[VariableName, Base64]
"""A variable's name as above, or an object with base64 where it is not UTF-8."""


class JobEnv(TypedDict, total=False):
    """Environment of the target: first what is inherited, then HOME of the container's user (with
    system_config, unless `inherit` leaves HOME out), then `set`, then `unset`."""
    inherit: Union[bool, Strings[Variable]]
    """true: all of stdbox's own environment; false: nothing of it; an array: only the variables of
    these names, where they exist."""
    set: Mapping[str, Argument]
    """Variables to set, name to value; these win over inherited ones. Name, equals sign and value
    together are at most 131071 bytes. The name is a key of JSON, so one that is not UTF-8 can be
    inherited and unset, but not set."""
    unset: Strings[Variable]
    """Variables that the target must not have; a name that is not set is no error, and one that
    also stands in `set` is removed."""


class JobStdinText(TypedDict):
    text: str
    """This text as UTF-8, then end of file. NUL characters are allowed, nothing is added."""


class JobStdinBase64(TypedDict):
    base64: Base64Text
    """These bytes, then end of file; anything but proper base64 is refused as bad-base64."""


class JobStdinFile(TypedDict):
    file: Path
    """A file of the host, opened for reading before the container exists. The target reads it
    through a read-only mount of its own, so that its owner cannot write it through /proc/self/fd/0
    either; where there can be none (because the file has no name any more, say) `degraded` has
    stdin-unprotected. One that is missing is no-such-file, one that cannot be opened is
    file-refused."""

Descriptor = int
"""Number of a file descriptor that stdbox was started with."""


class JobStdinFd(TypedDict):
    fd: Descriptor
    """A descriptor that stdbox was started with, passed on as it is, O_NONBLOCK included; a regular
    file can be opened again through /proc/self/fd/0, with the permissions that the caller has for
    it. One that is not open is refused as bad-descriptor, one that stdbox itself uses for the job
    or the report is a contradiction."""


class CaptureOptions(TypedDict, total=False):
    """Put the output into the report, as text where it is valid UTF-8, else in base64."""
    max_bytes: int
    """Keep this many bytes from the start; the rest is read and dropped, and the report says
    truncated."""


class Capture(TypedDict):
    capture: CaptureOptions
    """Put the output into the report, as text where it is valid UTF-8, else in base64."""


class _OutputFileRequired(TypedDict):
    file: Path
    """A file of the host, created if missing (mode 0666 less the umask) and opened before the
    container exists. Where stdout and stderr are one file, both write at its end. The target can
    open it again through /proc/self/fd, with the permissions that the caller has for it. One that
    cannot be opened is file-refused."""


class OutputFile(_OutputFileRequired, total=False):
    append: bool
    """true: write at the end of the file. false: empty the file first."""


class OutputDescriptor(TypedDict):
    fd: Descriptor
    """A descriptor that stdbox was started with, passed on as it is. One that is not open is
    refused as bad-descriptor, one that stdbox itself uses for the job or the report is a
    contradiction."""

Mode = Literal["hidden", "read-only", "overlay", "full-access"]
"""hidden: a fresh, empty, writable directory, nothing of the host can be seen. read-only: visible
and not writable, with everything mounted below. overlay: visible, writes go to the scratch space
and the host never changes. full-access: visible, writes reach the host. A directory of another mode
that is named inside a full-access one keeps its name: it and the directories on the way to it
cannot be renamed, and the job can make no user namespaces (the warning no-nested-namespaces says
so)."""


class DirectoryMode(TypedDict):
    path: AbsolutePath
    """The directory, an absolute path of the host (of `root`, where that is given)."""
    mode: Mode
    """How the target sees this directory and everything below it."""


class _MountBindRequired(TypedDict):
    type: Literal["bind"]
    """bind: show a file or directory of the host at another place."""
    source: Path
    """File or directory of the host; symbolic links are followed. One that does not exist is
    no-such-file."""
    target: AbsolutePath
    """Place in the container."""


class MountBind(_MountBindRequired, total=False):
    read_only: bool
    """true: the target cannot write, neither here nor in what is mounted below. false: writes reach
    the host."""
    recursive: bool
    """true: with everything that is mounted below the source. false: without; where there is
    something mounted below, an unprivileged kernel refuses that (mount-refused), because it would
    uncover what lies beneath."""

PositiveSize = int
"""A number of bytes (or files), at least one."""

Permissions = str
"""Permission bits as an octal string of three or four digits, such as "755", "0755" or "1777"
(chmod(2))."""


class _MountTmpfsRequired(TypedDict):
    type: Literal["tmpfs"]
    """tmpfs: a fresh, empty, writable directory in memory, apart from the scratch space."""
    target: AbsolutePath
    """Place in the container."""


class MountTmpfs(_MountTmpfsRequired, total=False):
    size_bytes: PositiveSize
    """Its size, rounded up to whole pages. Default: the kernel's, half of the machine's memory
    (tmpfs(5))."""
    inodes: PositiveSize
    """Most files and directories in it. Default: the kernel's (tmpfs(5))."""
    mode: Permissions
    """Permission bits of its root directory."""


class _MountFileTextRequired(TypedDict):
    type: Literal["file"]
    """file: a private file with the content given in exactly one of `text` and `base64`."""
    target: AbsolutePath
    """Place in the container."""
    text: str
    """Content as text, written as UTF-8; NUL characters are allowed, nothing is added."""


@final
class MountFileText(_MountFileTextRequired, total=False):
    mode: Permissions
    """Permission bits of the file."""


class _MountFileBase64Required(TypedDict):
    type: Literal["file"]
    """file: a private file with the content given in exactly one of `text` and `base64`."""
    target: AbsolutePath
    """Place in the container."""
    base64: Base64Text
    """Content as bytes."""


@final
class MountFileBase64(_MountFileBase64Required, total=False):
    mode: Permissions
    """Permission bits of the file."""

MountFile = Union[MountFileText, MountFileBase64]


class MountSymlink(TypedDict):
    type: Literal["symlink"]
    """symlink: a symbolic link. A different file already at the target is setup-failed with
    mount-refused."""
    target: AbsolutePath
    """Place of the link in the container."""
    to: Path
    """What the link says, taken as it is: relative or absolute, with `..`, dangling or not
    (symlink(7))."""


class MountOverlay(TypedDict):
    type: Literal["overlay"]
    """overlay: directories of the host laid over one another, with an upper one that keeps what the
    job writes."""
    target: AbsolutePath
    """Place in the container."""
    lower: Strings[Path]
    """Directories of the host that are only read, the topmost first."""
    upper: Path
    """Directory of the host that takes the writes and keeps them after the job."""
    work: Path
    """Empty directory on the same file system as `upper`, for the kernel's own use."""


class MountMqueue(TypedDict):
    type: Literal["mqueue"]
    """mqueue: the POSIX message queues of the container's own ipc namespace (mq_overview(7))."""
    target: AbsolutePath
    """Place in the container."""

Mount = Union[MountBind, MountTmpfs, MountFile, MountSymlink, MountOverlay, MountMqueue]
"""One mount; `type` says which other fields there are. A mount that the kernel refuses is
setup-failed with mount-refused."""


class ScratchMemory(TypedDict, total=False):
    size_bytes: int
    """Size of the tmpfs, rounded up to whole pages and at least one of 4096 bytes; writes beyond it
    fail with ENOSPC. Default: limits.memory_bytes if given, else half of the machine's memory
    (tmpfs(5))."""
    inodes: int
    """Most files and directories in the tmpfs (nr_inodes in tmpfs(5)); the few that stdbox makes
    itself count too, so it is at least 64. Default: the kernel's, one for two pages of memory."""
    numa_nodes: Array[int]
    """Take the tmpfs's memory from these NUMA nodes only (mpol=bind in tmpfs(5)); an empty array
    means any. A node that the machine lacks or the caller may not use is setup-failed with
    scratch-refused."""


class JobScratchDirectory(TypedDict):
    directory: AbsolutePath
    """An existing writable directory of the host, an absolute path. The job gets a fresh
    subdirectory, which is removed afterwards whatever the job left in it; if stdbox itself is
    killed, the next run there removes it. One that does not exist is refused as no-such-directory,
    one that cannot be written as scratch-refused."""

UserId = int
"""User or group id; 4294967295 is reserved by the kernel."""

AccountName = str
"""Name of a user or group of at most 32 bytes: a lower-case letter or underscore, then lower-case
letters, digits, underscores and hyphens."""


class JobUser(TypedDict, total=False):
    """Who the target is inside the container (user_namespaces(7)). Outside it is the caller,
    whatever stands here."""
    uid: UserId
    """User id inside the container."""
    gid: UserId
    """Group id inside the container."""
    name: AccountName
    """Name of the user in the container's /etc/passwd. Default: root if uid is 0, else user.
    Characters other than those of the pattern are refused as bad-name; without system_config the
    name has no effect."""
    group: AccountName
    """Name of the group in the container's /etc/group. Default: the user's name. Rules as for
    name."""
    home: AbsolutePath
    """Home directory, an absolute path inside the container, and the value of HOME. Default: /home/
    and the user's name with system_config, else the caller's HOME. With system_config it is created
    empty and writable; where that is impossible HOME is /tmp and a warning says so. A colon or a
    newline cannot stand in /etc/passwd and is refused as bad-name."""
    map: Literal["single", "range"]
    """"single": only uid and gid exist in the container. "range": other ids exist too, so that
    files of many owners can be copied into an overlay, and with capabilities such as CAP_CHOWN,
    CAP_SETUID and CAP_SETGID programs can change owners and ids (apt-get, tar, su run by root). The
    target's uid and gid are the caller's outside, as ever. The others, from 0 on without uid, are
    the caller's subordinate ids of /etc/subuid and /etc/subgid (subuid(5)), mapped by newuidmap(1)
    and newgidmap(1); at most as many ranges as the kernel takes, else ids-left-out is in degraded.
    A caller with CAP_SETUID, CAP_SETGID and CAP_SETFCAP maps all ids of its own user namespace
    instead, each to itself, but that uid and the caller's have changed places (for root with uid 0,
    none have). setgroups(2) is allowed then: with CAP_SETGID the target can also give up the
    caller's other groups, and read what is denied to a group only. no_new_privs and nosuid stay:
    programs with the setuid bit or file capabilities gain nothing. What the job leaves in
    full-access directories can belong to any of these ids. Without any other id: setup-failed with
    no-id-range; without the helpers: id-map-helper; if they refuse: identity-refused."""

PositiveTime = int
"""A time in milliseconds, at least one."""

Size = int
"""A number of bytes (or files)."""

Time = int
"""A time in milliseconds."""


class JobLimits(TypedDict, total=False):
    """Bounds on the job; a bound that is left out does not exist. Where several are exceeded, the
    one that was noticed first is reported; a job that ends by itself beyond one of wall_time_ms,
    cpu_time_ms and output_bytes is reported like one that was ended for it (in that order,
    exit_code and signal say how it ended). memory_bytes, processes, cpus and cpuset need cgroup v2,
    the others do not. A bound that cannot be enforced is setup-failed (cgroup-v1,
    cgroup-unavailable or limit-refused), never dropped."""
    wall_time_ms: PositiveTime
    """Longest time from the start of the target (just before execve, by the monotonic clock), in
    milliseconds; then the job is ended (see grace_ms) and the outcome is limit-exceeded with limit
    wall-time. It also holds for a job that is idle, stopped, or ignores signals, and counts the
    wait for a writer where stdin is a named pipe."""
    cpu_time_ms: PositiveTime
    """Most processor time of all processes of the job together, user and system, in milliseconds;
    then the job is ended (see grace_ms) and the limit is cpu-time: within 50 ms or 5 % of the
    limit, whichever is more, where a processor is free to look. Without a control group stdbox
    looks at the processes of the container at intervals of at most 100 ms, shorter near the limit;
    then warnings has cpu-time-sampled, since processes that live for less than the interval and
    that nobody waits for are not counted in full, nor are up to 20 ms of each process that waited
    for others, whose time the kernel shows in hundredths of a second; and where parts of /proc are
    covered it is setup-failed with proc-masked. As a backstop each process also gets RLIMIT_CPU, a
    second and 5 % above the limit."""
    memory_bytes: PositiveSize
    """Most memory of the whole job, a scratch tmpfs included, without swap (memory.max,
    memory.swap.max and memory.oom.group of cgroup v2). When it is not enough the kernel kills all
    of the job, and the outcome is limit-exceeded with limit memory; stdbox's own pid 1 is not in
    the group, so that report and results are complete."""
    processes: int
    """Most processes and threads of the job at one time, the target included and stdbox's own pid 1
    not (pids.max of cgroup v2). The first fork or clone beyond it fails with EAGAIN, the job is
    ended, and the limit is processes."""
    cpus: float
    """Share of processor time as a decimal number of processors: 0.5 is half of one, 2 is two
    (cpu.max of cgroup v2). The job is slowed down, not ended. A share too small for the kernel
    (below 0.01) is setup-failed with limit-refused."""
    cpuset: str
    """The only processors that the job can run on, as numbers and ranges: 0-3,8 (cpuset.cpus of
    cgroup v2, format of cpuset(7)). One that the machine or the group above does not have is
    setup-failed with limit-refused."""
    output_bytes: Size
    """Most bytes of captured standard output and standard error together, counted as stdbox reads
    them; with one byte more the job is ended (see grace_ms) and the limit is output. What is kept
    is still bounded by capture.max_bytes, which by itself ends nothing. Refused as contradiction
    where neither stream is captured, or one goes to a file or a descriptor, where it cannot be
    counted (see file_size_bytes)."""
    open_files: int
    """One more than the highest descriptor number that the target can open (RLIMIT_NOFILE in
    getrlimit(2)). More than the caller's own hard limit is setup-failed with limit-refused."""
    file_size_bytes: Size
    """Largest file that a process may write; beyond it comes SIGXFSZ or EFBIG (RLIMIT_FSIZE in
    getrlimit(2))."""
    stack_bytes: PositiveSize
    """Largest stack of a process's main thread (RLIMIT_STACK in getrlimit(2)); a quarter of it also
    bounds arguments and environment (execve(2))."""
    address_space_bytes: PositiveSize
    """Largest virtual memory of each process (RLIMIT_AS in getrlimit(2)). Beyond it allocations
    fail with ENOMEM. It does not bound the job as a whole; memory_bytes does."""
    core_bytes: Size
    """Largest core dump (RLIMIT_CORE in getrlimit(2)). 0: none is written, nor is the program run
    that /proc/sys/kernel/core_pattern may name (the limit is set to 1 for that, see core(5), and
    the built-in filters keep the target from another)."""
    grace_ms: Time
    """When a job is ended for a limit or a signal to stdbox: send SIGTERM, wait this long, then
    SIGKILL. 0: SIGKILL at once."""


class JobCgroupParent(TypedDict):
    parent: AbsolutePath
    """Absolute host path of an existing cgroup v2 directory that the caller may create children in,
    such as /sys/fs/cgroup/user.slice/jobs. One that cannot be used is setup-failed with
    cgroup-unavailable."""

OciAction = Literal[
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
]
"""An action under its libseccomp name. SCMP_ACT_KILL is SCMP_ACT_KILL_THREAD; SCMP_ACT_TRACE and
SCMP_ACT_NOTIFY need a supervisor, which stdbox is not: they are refused as not-implemented."""

OciErrno = int
"""Number that errno gets with SCMP_ACT_ERRNO; 0 lets the call seem to succeed without being
made."""

OciErrnoName = str
"""Podman's name for the number beside it; the number counts, and a name without a number is looked
up."""

OciArchitecture = str
"""An architecture under its libseccomp name; those of other machines are skipped."""


class _OciArchitectureMapRequired(TypedDict):
    architecture: OciArchitecture
    """A main architecture."""


class OciArchitectureMap(_OciArchitectureMapRequired, total=False):
    subArchitectures: Union[Strings[OciArchitecture], None]
    """Further ones that programs on it may use."""

SystemCall = str
"""Name of a system call, such as openat."""

Word = int
"""An unsigned number of 64 bits."""


class _OciArgumentRequired(TypedDict):
    index: int
    """Number of the argument, counted from 0."""
    value: Word
    """The number to compare with; the mask with SCMP_CMP_MASKED_EQ."""
    op: Literal["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"]
    """How argument and value are compared."""


class OciArgument(_OciArgumentRequired, total=False):
    valueTwo: Union[Word, None]
    """With SCMP_CMP_MASKED_EQ the number to compare with, otherwise unused."""


class OciCondition(TypedDict, total=False):
    """When a rule is included or excluded. It is included where every field that is given holds,
    and excluded where one does; of arches one is enough, of caps all must be there to include and
    one to exclude."""
    arches: Union[Strings[str], None]
    """Architectures under their Docker names, such as amd64 or arm64, one of which must be the
    machine's."""
    caps: Union[Strings[str], None]
    """Capabilities that the target must have."""
    minKernel: Union[str, None]
    """Oldest kernel version, such as 4.8."""


class _OciRuleNamesRequired(TypedDict):
    names: Strings[SystemCall]
    """System calls; unknown names are skipped and listed as warnings."""
    action: OciAction
    """What happens to a call that this rule matches."""


@final
class OciRuleNames(_OciRuleNamesRequired, total=False):
    name: None
    """One system call; the old form of `names`, exactly one of the two must be there."""
    errnoRet: Union[OciErrno, None]
    """The number for an action of SCMP_ACT_ERRNO. Default: 1 (EPERM)."""
    errno: Union[OciErrnoName, None]
    """Podman's name for errnoRet."""
    args: Union[Array[OciArgument], None]
    """Conditions on the arguments; all must hold. Where two are about the same argument, one must
    hold, as with the engines."""
    comment: Union[str, None]
    """A note; has no effect."""
    includes: Union[OciCondition, None]
    """Docker: the rule counts only where this holds."""
    excludes: Union[OciCondition, None]
    """Docker: the rule does not count where this holds."""


class _OciRuleNameRequired(TypedDict):
    name: str
    """One system call; the old form of `names`, exactly one of the two must be there."""
    action: OciAction
    """What happens to a call that this rule matches."""


@final
class OciRuleName(_OciRuleNameRequired, total=False):
    names: None
    """System calls; unknown names are skipped and listed as warnings."""
    errnoRet: Union[OciErrno, None]
    """The number for an action of SCMP_ACT_ERRNO. Default: 1 (EPERM)."""
    errno: Union[OciErrnoName, None]
    """Podman's name for errnoRet."""
    args: Union[Array[OciArgument], None]
    """Conditions on the arguments; all must hold. Where two are about the same argument, one must
    hold, as with the engines."""
    comment: Union[str, None]
    """A note; has no effect."""
    includes: Union[OciCondition, None]
    """Docker: the rule counts only where this holds."""
    excludes: Union[OciCondition, None]
    """Docker: the rule does not count where this holds."""

OciRule = Union[OciRuleNames, OciRuleName]


class _OciSeccompRequired(TypedDict):
    defaultAction: OciAction
    """What happens to a call that no rule matches."""


class OciSeccomp(_OciSeccompRequired, total=False):
    defaultErrnoRet: Union[OciErrno, None]
    """The number for a defaultAction of SCMP_ACT_ERRNO. Default: 1 (EPERM)."""
    defaultErrno: Union[OciErrnoName, None]
    """Podman's name for defaultErrnoRet."""
    architectures: Union[Strings[OciArchitecture], None]
    """Architectures that the filter covers beside the machine's own, which it always does; calls of
    the others end the process."""
    archMap: Union[Array[OciArchitectureMap], None]
    """Docker's form of `architectures`: the entry of the machine's own architecture counts."""
    flags: Union[Array[Literal["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]], None]
    """Flags of seccomp(2). SECCOMP_FILTER_FLAG_SPEC_ALLOW is set unless this array is given without
    it."""
    listenerPath: Union[str, None]
    """Socket of a supervisor; refused as not-implemented."""
    listenerMetadata: Union[str, None]
    """Data for a supervisor; refused as not-implemented."""
    syscalls: Union[Array[OciRule], None]
    """The rules."""


class JobSeccompOci(TypedDict):
    oci: OciSeccomp
    """The `seccomp` object of the OCI runtime specification, in the dialects of Docker and Podman,
    unchanged; null stands for a field that is left out. It means what it means to the engines, but
    that of several rules that match a call the most restrictive counts, that arguments of which the
    kernel looks at 32 or 16 bits are compared with so many, and that x32 calls never exist. Where
    the default action denies, calls with a higher number than any named one do not exist either
    (ENOSYS). Unknown system call names are skipped and listed in a warning."""


class SeccompActionErrno(TypedDict):
    errno: int
    """The number that errno gets, such as 1 for EPERM or 38 for ENOSYS."""

SeccompAction = Union[Literal["allow", "log", "trap", "kill-thread", "kill-process"], SeccompActionErrno]
"""allow and log let the call through (log notes it in the audit log), kill-process and kill-thread
end the caller with SIGSYS, trap sends SIGSYS that can be caught, and errno makes the call fail with
that number (seccomp(2))."""


class _SeccompConditionRequired(TypedDict):
    index: int
    """Number of the argument, counted from 0."""
    op: Literal["eq", "ne", "lt", "le", "gt", "ge", "masked-eq"]
    """How the argument is compared with value, unsigned; with masked-eq the argument is first ANDed
    with mask. Arguments that the kernel treats as 32 bit are compared as 32 bit."""
    value: Word
    """The number to compare with."""


class SeccompCondition(_SeccompConditionRequired, total=False):
    mask: Word
    """Bits to look at; needed with masked-eq, refused as contradiction with any other op."""


class _SeccompRuleRequired(TypedDict):
    names: Strings[SystemCall]
    """System call names; unknown ones are skipped and listed as warnings, and with "strict": true
    refused as seccomp-refused."""
    action: SeccompAction
    """What happens to a call that this rule matches."""


class SeccompRule(_SeccompRuleRequired, total=False):
    args: Array[SeccompCondition]
    """Conditions on the arguments; the rule matches where all of them hold."""


class SeccompFilter(TypedDict):
    default_action: SeccompAction
    """What happens to a call that no rule matches."""
    rules: Array[SeccompRule]
    """Rules for single calls; of several that match one call the most restrictive action counts
    (the order is in seccomp(2)). Where default_action lets calls through, they hold for the 32-bit
    ABI as well, also for the calls that do the same work there under other names (setuid32, mmap2,
    umount, *_time64 …) or through socketcall and ipc; else a call of the 32-bit ABI ends the
    process. A rule with conditions on clone is no hindrance where clone3 is let through, which
    takes its flags from behind a pointer."""

ExtraDescriptor = int
"""Number of a file descriptor above standard error."""


class _JobResultsRequired(TypedDict):
    directory: AbsolutePath
    """Absolute path of a directory of the host to put the files in, as the caller; below it their
    paths are kept, from the container's root if any pattern is absolute, else from cwd. Before the
    target is started it is opened, or made with its parents (and removed again if the target cannot
    be started); what cannot be made or written is refused then (results-refused), and so is a path
    with a symbolic link in it (is-symlink) or one that is no directory (not-a-directory). In it,
    old files and links are replaced, links without being followed; a directory in the way of a
    file, or a file in the way of a directory, stays and is reported as skipped. It may not hold
    scratch.directory."""


class JobResults(_JobResultsRequired, total=False):
    """Files to take out of the container when the target and all its descendants are gone, however
    the target ended: regular files that the job wrote in hidden and overlay directories. Links,
    devices, pipes and sockets are never taken and never followed, nor is what stdbox itself put
    there and the job left as it was. Each file keeps its permission bits but setuid, setgid and
    sticky, and its modification time; it belongs to the caller; hard links become files of their
    own; holes stay holes. A file gets its name when it is whole, where the file system can make
    files without a name. What goes wrong here does not change the outcome, not even with `strict`,
    since the target has run: it stands in the report's results.skipped or in degraded
    (results-limited, results-incomplete)."""
    patterns: Strings[Path]
    """Shell patterns with ?, *, [...] and **; relative ones start at cwd, whose own characters mean
    themselves, absolute ones at the container's root. A directory that matches is taken whole,
    names with a leading dot included. * and ?, and ** for any number of directories, do not match a
    leading dot; a backslash takes the meaning from what follows; a [ that is never closed means
    itself; {} has no meaning. `..` that leads out, or stands behind a wildcard, is refused as
    parent-component. At most 4095 bytes each."""
    max_files: Size
    """Most files to take, in the order of their paths; what is beyond it is left behind and
    reported as degraded (results-limited). Default: no bound."""
    max_bytes: Size
    """Most bytes to take, the sizes of all files together; from the first file that does not fit
    they are left behind, and that is reported as degraded (results-limited). Default: no bound."""


class _JobSyncRequired(TypedDict):
    events_fd: Descriptor
    """Open descriptor of stdbox's to write events to; one that is not open for writing is refused
    as bad-descriptor, and neither can be the one that the job or the report goes through. It may be
    the same socket as control_fd. A caller that does not read is waited for, but not once the job
    is cancelled; events that cannot be written (a full disk, a reader that is gone) are warned of
    as sync-event-lost, and cancel the job at a pause."""


class JobSync(_JobSyncRequired, total=False):
    """Events for, and pauses by, a caller that measures or places the processes itself: one JSON
    line per event on events_fd ("ready" before exec, "exited" when the target has ended; see
    event.json), and the line `continue` expected on control_fd at each pause. End of file there, or
    another line, cancels the job: at the first pause it never runs, at the second its results are
    not collected. A caller that closes its end while the job runs and a pause is still to come
    cancels it as well. The time of the pauses counts for no limit. A job that is cancelled while it
    runs has no second pause. Neither descriptor can be a stream of the target's (contradiction) or
    one of fds (bad-descriptor). The control groups that the target may be placed in are shown
    writable only where /sys or a directory of theirs is named as full-access."""
    control_fd: Descriptor
    """Open descriptor of stdbox's to read `continue` from, one line for each pause; needed for
    either, whose lack is refused as missing-field. An answer may come before it is asked for."""
    pause_before_exec: bool
    """true: when only exec is left, wait for `continue`; the cgroup namespace is entered after it,
    so that the cgroup the caller chose becomes its root. With capabilities, the namespaces for them
    are made after it too."""
    pause_after_exit: bool
    """true: when the target has ended, end every other process of the container, and wait for
    `continue` before the container is taken down and results are collected. Until then it can be
    looked at through /proc/INIT_PID/root, by the caller; no process of the job ever can."""


class _JobRequired(TypedDict):
    argv: Strings[Argument]
    """The command and its arguments (execve(2)). A first element without a slash is looked up in
    the PATH of the target's own environment (without one, in /bin and /usr/bin), inside the
    container; one with a slash is a path inside the container, relative to cwd. An empty array or
    an empty first element is refused as empty; a command that is not there is setup-failed with
    command-not-found, never exit code 127."""


class Job(_JobRequired, total=False):
    """One job: a command and the container to run it in. At most 16 MiB of UTF-8 JSON, nested at
    most 64 deep, followed by nothing but white space. Refused before anything is started (outcome
    invalid-job, exit status 2): a field that is not listed here, a key that stands twice in one
    object (in maps too), null in place of a value (leave the field out instead), an integer written
    with a fraction or an exponent (1.0, 1e3), and a NUL character in any string that reaches the
    kernel. Sizes end in _bytes, times in _ms. Paths that must be absolute say so in their pattern
    (else not-absolute); in them `..` is refused as parent-component, and a component of more than
    255 bytes as too-long. Other host paths (files, mount sources, root, the results directory) may
    be relative: they are resolved on the host against the directory that stdbox was started in.
    Lengths of paths, arguments and names are limits in bytes of UTF-8; where maxLength stands
    beside one, it counts characters, so a string of other than ASCII characters can still be
    too-long."""
    version: Literal[1]
    """Version of this protocol. Any number but 1 is refused as unsupported-version."""
    id: str
    """Any text of at most 256 bytes; it is echoed in the report and means nothing to stdbox. A
    longer one is refused as too-long."""
    executable: Path
    """Run this file of the container, with the first element of argv as its name (argv[0]); PATH is
    not searched, and a relative path starts at cwd. Without it argv names the file."""
    cwd: AbsolutePath
    """Working directory of the target, an absolute path inside the container. Default: the
    directory that stdbox was started in, or / with `root`. One that does not exist in the container
    (because it is hidden, say) is setup-failed with cwd-missing; `..` is refused as
    parent-component."""
    env: JobEnv
    """Environment of the target: first what is inherited, then HOME of the container's user (with
    system_config, unless `inherit` leaves HOME out), then `set`, then `unset`."""
    stdin: Union[Literal["null", "inherit"], JobStdinText, JobStdinBase64, JobStdinFile, JobStdinFd]
    """Standard input of the target: "null" (/dev/null), "inherit", text, bytes, a file of the host
    or a descriptor of stdbox's. "inherit" (and descriptor 0) only where the job comes from --spec
    or --spec-fd, otherwise contradiction."""
    stdout: Union[Literal["null", "inherit"], Capture, OutputFile, OutputDescriptor]
    """Where the target's standard output goes: captured into the report, "null" (/dev/null),
    "inherit", a file of the host or a descriptor of stdbox's. "inherit" (and descriptor 1) only
    where the report goes to --report or --report-fd, otherwise contradiction."""
    stderr: Union[Literal["null", "inherit", "stdout"], Capture, OutputFile, OutputDescriptor]
    """Where the target's standard error goes: as for stdout, or "stdout" to send it to the same
    place as standard output, in the order of writing (the report's `stderr` is then null)."""
    directories: Union[Mapping[str, Mode], Array[DirectoryMode]]
    """What the target sees of the host's directories: a map from absolute path to mode, or an array
    of path and mode where a path is not UTF-8. A path has the mode of the longest named directory
    that equals or contains it, compared by component after removing `.`, repeated and trailing
    slashes. The defaults for `/`, `/tmp` and `/run` stay in force unless that very directory is
    named. Refused: `/proc` or below it (proc-directory), `..` (parent-component), the same
    directory twice (duplicate-directory), and a path that does not exist (no-such-directory), is no
    directory (not-a-directory), is a symbolic link (is-symlink) or cannot be reached
    (directory-unreachable)."""
    root: Path
    """A directory of the host (an unpacked image, say) to use as the tree that the modes apply to,
    instead of the host's `/`. The paths in `directories`, `cwd` (default: `/`) and the targets of
    `mounts` are then paths of that tree; other host paths are not affected. /dev, /proc and /sys
    are supplied, also where the tree has no such directories, unless `/` is full-access: then a
    missing /proc is setup-failed with proc-missing. It must exist and be a directory; a link to one
    is followed."""
    mounts: Array[Mount]
    """Further mounts, made in this order after the modes have been applied; a later one may lie on
    or below an earlier one. Symbolic links on the way to a target are followed inside the container
    (for a symlink all but the last one). A missing target is created inside the container's own
    layers, never on the host: in a hidden, overlay or read-only directory or in a tmpfs of this
    list. In a full-access directory, or in a bind or overlay of this list, it must exist
    (target-missing). Targets in /proc are refused as proc-directory."""
    scratch: Union[ScratchMemory, JobScratchDirectory]
    """Where hidden directories and overlay writes live: one private tmpfs in memory (the default),
    or a fresh subdirectory of an existing directory on disk. The two forms cannot be mixed."""
    dev: Literal["minimal", "host"]
    """"minimal": a private /dev with null, zero, full, random, urandom, tty, the fd, stdin, stdout
    and stderr links, its own devpts, shm and mqueue. "host": the host's /dev, read-only. A mode for
    /dev in `directories` implies "host"; "minimal" written beside one is refused as
    contradiction."""
    proc: Literal["fresh", "nestable", "none"]
    """"fresh": a new procfs of the container's own pid namespace. "nestable": in addition a clean
    instance, so that nested containers can mount proc even if stdbox is run by the real root (a
    warning says what that exposes). "none": an empty /proc; beside kept capabilities, whose ids are
    mapped through /proc, it is refused as contradiction. A kernel that refuses is setup-failed with
    proc-masked and a hint."""
    sys: Literal["host", "fresh", "none"]
    """"host": the host's /sys, read-only. "fresh": a new sysfs, read-only, that shows only the
    container's own network devices; beside network "host", kept capabilities (whose target has
    another network) or a mode for /sys or below it is refused as contradiction. "none": an empty
    /sys."""
    lxcfs: Literal["auto", "off"]
    """"auto": where LXCFS runs on the host, its container-aware files (cpuinfo, meminfo, uptime and
    so on) are put over /proc and /sys/devices/system/cpu. "off": never."""
    system_config: bool
    """true: the container has its own minimal passwd, group, hosts, hostname and nsswitch.conf in
    /etc, mtab as a link to /proc/self/mounts, its own host name and a private home directory, so
    that nothing asks a remote directory service. false: the host's files, the host's name and the
    caller's HOME are used; uid and gid are as in `user`."""
    user: JobUser
    """Who the target is inside the container (user_namespaces(7)). Outside it is the caller,
    whatever stands here."""
    hostname: str
    """Host name inside the container, 1 to 64 bytes of letters, digits, dots and hyphens that
    starts and ends with a letter or digit (gethostname(2)). Default: stdbox with system_config,
    else the host's own name. Where a system call filter around stdbox allows none to be set, that
    of the surrounding container stays, and `degraded` has hostname-kept. An empty one is refused as
    empty, a longer one as too-long, other characters as bad-name."""
    network: Literal["none", "host"]
    """"none": a network namespace of its own, in which only the loopback device exists and is up.
    "host": the host's network, abstract Unix sockets included."""
    limits: JobLimits
    """Bounds on the job; a bound that is left out does not exist. Where several are exceeded, the
    one that was noticed first is reported; a job that ends by itself beyond one of wall_time_ms,
    cpu_time_ms and output_bytes is reported like one that was ended for it (in that order,
    exit_code and signal say how it ended). memory_bytes, processes, cpus and cpuset need cgroup v2,
    the others do not. A bound that cannot be enforced is setup-failed (cgroup-v1,
    cgroup-unavailable or limit-refused), never dropped."""
    cgroup: Union[Literal["auto", "required", "off"], JobCgroupParent]
    """A fresh cgroup v2 leaf for the job, removed after it. "auto": where a limit asks for it
    (cpu_time_ms: where one can be made). "required": always, else setup-failed with cgroup-v1 or
    cgroup-unavailable. "off": never; limits that need one are refused as contradiction. An object
    names the parent and otherwise means "required". Without a name the leaf is made in the caller's
    own group where that gives the controllers or the caller is alone in it (it steps aside into
    another one for the time of the job), else in the group above. The job sees the leaf as the root
    of the hierarchy and can make no other control group namespace; a mode or mount that would let
    it write the hierarchy is a contradiction. A leaf of a killed stdbox is removed by the next run
    in the same place."""
    seccomp: Union[Literal["default", "strict", "off"], JobSeccompOci, SeccompFilter]
    """System call filter (seccomp(2)). "default": everything but calls that reach outside the
    container (kernel keyrings, userfaultfd, io_uring, bpf, perf events, modules, kexec, reboot, the
    kernel's log, terminal injection, sockets that namespaces do not contain), which fail with
    ENOSYS, EPERM or EAFNOSUPPORT. "strict": only what ordinary programs need (compilers,
    interpreters, virtual machines), no new namespaces or mounts, no look into other processes; a
    call of the 32-bit ABI ends the process. "off": no filter. Or a filter of your own: one that may
    deny execve, by which the command is started, or that is longer than the 4096 instructions that
    the kernel takes, is setup-failed with seccomp-refused. Calls of the x32 ABI never exist."""
    capabilities: Strings[str]
    """Capabilities that the target has in the container's user namespace (capabilities(7)), such as
    CAP_NET_BIND_SERVICE; they give no power over the host. All others are dropped from every set.
    The target gets user, mount, network and UTS namespaces of its own then, in which the
    container's mounts are locked: it can mount, but neither remove nor change what is mounted
    already. With user.map "range" all ids of the container exist there too, and a process that
    gives up uid 0 loses its capabilities, as usual (capabilities(7)). Refused as contradiction with
    "init": false, and where a directory inside a full-access one is named with another mode. A name
    that the kernel does not know is refused as unknown-value, the same name twice as
    contradiction."""
    fds: Array[ExtraDescriptor]
    """Descriptors of stdbox's, beside 0, 1 and 2, that the target keeps under the same number; all
    others are closed. One that is not open, or that stdbox itself uses (for the job, the report or
    sync), is refused as bad-descriptor."""
    results: JobResults
    """Files to take out of the container when the target and all its descendants are gone, however
    the target ended: regular files that the job wrote in hidden and overlay directories. Links,
    devices, pipes and sockets are never taken and never followed, nor is what stdbox itself put
    there and the job left as it was. Each file keeps its permission bits but setuid, setgid and
    sticky, and its modification time; it belongs to the caller; hard links become files of their
    own; holes stay holes. A file gets its name when it is whole, where the file system can make
    files without a name. What goes wrong here does not change the outcome, not even with `strict`,
    since the target has run: it stands in the report's results.skipped or in degraded
    (results-limited, results-incomplete)."""
    changes: bool
    """true: the report lists what the job created, modified, replaced and deleted in overlay and
    hidden directories. A list that is not complete is reported as degraded (changes-limited,
    changes-incomplete), without changing the outcome."""
    init: bool
    """true: a tiny pid 1 reaps orphans and forwards signals, and the target is its child. false:
    the target is pid 1 itself, with what that means for signals (pid_namespaces(7))."""
    sync: JobSync
    """Events for, and pauses by, a caller that measures or places the processes itself: one JSON
    line per event on events_fd ("ready" before exec, "exited" when the target has ended; see
    event.json), and the line `continue` expected on control_fd at each pause. End of file there, or
    another line, cancels the job: at the first pause it never runs, at the second its results are
    not collected. A caller that closes its end while the job runs and a pause is still to come
    cancels it as well. The time of the pauses counts for no limit. A job that is cancelled while it
    runs has no second pause. Neither descriptor can be a stream of the target's (contradiction) or
    one of fds (bad-descriptor). The control groups that the target may be placed in are shown
    writable only where /sys or a directory of theirs is named as full-access."""
    strict: bool
    """true: anything that would be reported as degraded (asked for and not fully given) is
    setup-failed instead and the target does not run."""

ErrorCode = Literal[
    "syntax",
    "too-large",
    "too-deep",
    "duplicate-key",
    "unknown-field",
    "missing-field",
    "wrong-type",
    "unknown-value",
    "out-of-range",
    "empty",
    "nul-byte",
    "too-long",
    "bad-base64",
    "bad-name",
    "contradiction",
    "not-absolute",
    "parent-component",
    "no-such-directory",
    "not-a-directory",
    "is-symlink",
    "directory-unreachable",
    "proc-directory",
    "duplicate-directory",
    "no-such-file",
    "file-refused",
    "bad-descriptor",
    "unsupported-version",
    "not-implemented",
    "command-line",
    "userns-forbidden",
    "namespace-limit",
    "apparmor-restricted",
    "chroot",
    "kernel-too-old",
    "overlay-unsupported",
    "overlay-depth",
    "proc-masked",
    "proc-missing",
    "target-missing",
    "mount-refused",
    "mount-table-changed",
    "identity-refused",
    "no-id-range",
    "id-map-helper",
    "network-refused",
    "scratch-refused",
    "seccomp-refused",
    "limit-refused",
    "cgroup-v1",
    "cgroup-unavailable",
    "command-not-found",
    "cwd-missing",
    "exec-refused",
    "exec-format",
    "descriptor-unreachable",
    "out-of-memory",
    "facts-refused",
    "facts-missing",
    "setup-died",
    "worker-died",
    "internal",
    "results-refused",
    "report-unwritable",
]
""""syntax": The job is not valid JSON, or something follows it; the message names line and column.
"too-large": The job is larger than 16 MiB.
"too-deep": The job is nested more than 64 deep.
"duplicate-key": A key stands twice in one JSON object.
"unknown-field": The job has a field that does not exist; the hint may name a similar one.
"missing-field": A field that is needed is missing.
"wrong-type": A value has the wrong JSON type (null included).
"unknown-value": A value is not one of the words allowed there.
"out-of-range": A number is too small or too large.
"empty": A string or array that must not be empty is.
"nul-byte": A string that reaches the kernel contains a NUL.
"too-long": A string is longer than the field or the kernel allows.
"bad-base64": A base64 value is not proper base64.
"bad-name": A name (host, user, group, variable) or permission string has characters that are not
allowed there.
"contradiction": Two parts of the job, or the job and the command line, exclude each other.
"not-absolute": A path that must be absolute is not.
"parent-component": A path contains `..` where that is refused.
"no-such-directory": A directory named in the job does not exist.
"not-a-directory": A path that must be a directory is something else.
"is-symlink": A directory named in the job is a symbolic link; the message names what it points to.
"directory-unreachable": A directory named in the job cannot be reached by the caller.
"proc-directory": A mode or mount was asked for /proc or below it.
"duplicate-directory": The same directory is named twice.
"no-such-file": A file named in the job does not exist on the host.
"file-refused": A file named in the job cannot be opened.
"bad-descriptor": A descriptor named in the job is not open, is opened the wrong way or is in use by
stdbox.
"unsupported-version": The job asks for a version of the protocol that this stdbox does not speak.
"not-implemented": The job is right, but this stdbox cannot do that yet.
"command-line": stdbox's own command line is wrong.
"userns-forbidden": The kernel or its settings forbid user namespaces to the caller.
"namespace-limit": The limit on the number or depth of namespaces is reached.
"apparmor-restricted": AppArmor takes the rights away that a user namespace should give.
"chroot": stdbox runs in a chroot, where the kernel allows no user namespaces.
"kernel-too-old": The kernel lacks a system call or feature that the job needs.
"overlay-unsupported": The kernel refuses an overlay on this file system or with this scratch space.
"overlay-depth": Too many overlays on top of each other, and the directory is too large to be
copied.
"proc-masked": The kernel refuses a new procfs because parts of the outer one are covered.
"proc-missing": stdbox needs /proc of its host, and there is none.
"target-missing": The target of a mount does not exist, and lies where nothing of the container's
own can be made.
"mount-refused": The kernel refused a mount.
"mount-table-changed": The host's mounts changed while the container was being built.
"identity-refused": The user or group ids asked for cannot be mapped, or the host name cannot be
set.
"no-id-range": user.map is "range", and the caller has no ids beside its own: no line of /etc/subuid
or /etc/subgid, or, for a privileged caller, a user namespace with one id.
"id-map-helper": newuidmap(1) or newgidmap(1), which map subordinate ids, is not installed, cannot
be executed, or does not end.
"network-refused": The network could not be set up.
"scratch-refused": The scratch space could not be made as asked.
"seccomp-refused": The system call filter could not be built or installed.
"limit-refused": A limit could not be set.
"cgroup-v1": The job needs a cgroup of version 2, and this machine has version 1.
"cgroup-unavailable": The job needs a cgroup and none can be made; `path` is what is missing or not
writable.
"command-not-found": The command does not exist in the container; the hint says if it does on the
host.
"cwd-missing": The working directory does not exist or cannot be entered in the container; the hint
says if it does on the host.
"exec-refused": The kernel refused to run the command (no permission, arguments too long, busy).
"exec-format": The command is not a program that this machine can run, or its interpreter is
missing.
"descriptor-unreachable": A kept descriptor points to a place that does not exist in the container.
"out-of-memory": There was not enough memory to set up the container.
"facts-refused": Only from `stdbox plan`: the file with a host's facts cannot be read or written, or
holds none.
"facts-missing": Only from `stdbox plan --with-facts`: the facts do not say something that this job
depends on.
"setup-died": A process of stdbox was killed while it set up the container.
"worker-died": Only from `stdbox batch`: the process that runs the job was killed. Whether the
target ran is not known; if so, it was killed too.
"internal": A fault in stdbox; please report it.
"results-refused": The results directory cannot be made or written.
"report-unwritable": The report could not be written where it was asked for."""

PathOrNull = Union[Path, None]


class Error(TypedDict):
    code: ErrorCode
    """What went wrong, one of a closed list."""
    stage: Literal[
    "parse",
    "validate",
    "host",
    "namespaces",
    "identity",
    "mounts",
    "proc",
    "network",
    "limits",
    "cgroup",
    "seccomp",
    "exec",
    "results",
    "report",
]
    """When it went wrong.
    "parse": Reading the command line or the job's JSON.
    "validate": Checking the job's fields.
    "host": Looking at the host: directories, files, kernel features.
    "namespaces": Making the namespaces and the first process.
    "identity": Mapping user and group ids, setting the host name.
    "mounts": Building the tree of mounts.
    "proc": Mounting /proc.
    "network": Setting up the network.
    "limits": Setting resource limits.
    "cgroup": Making or entering the cgroup.
    "seccomp": Building or installing the system call filter.
    "exec": Starting the command.
    "results": Taking files out of the container.
    "report": Writing the report."""
    operation: Union[str, None]
    """The system call or step that failed, such as mount_setattr; null where there is none."""
    path: PathOrNull
    """The path it failed on, or null."""
    errno: Union[int, None]
    """The kernel's error number, or null."""
    errno_name: Union[str, None]
    """Its name, such as EPERM; null where errno is null or has no name."""
    message: str
    """One plain sentence."""
    hint: Union[str, None]
    """What to change: a setting of the host, a field of the job, a package; or null."""
    at: Union[str, None]
    """JSON pointer (RFC 6901) to the field that caused it, such as /mounts/2/target; empty for the
    job as a whole; null where no field did."""

Count = int
"""A number that is not negative."""


class Rusage(TypedDict):
    """Only if the target ran: what the kernel counted for the target and everything it waited for
    (getrusage(2))."""
    user_ns: Count
    """Processor time in user mode (ru_utime)."""
    system_ns: Count
    """Processor time in the kernel (ru_stime)."""
    max_rss_bytes: Count
    """Largest resident set of a single process (ru_maxrss)."""
    minor_faults: Count
    """Page faults served without input or output (ru_minflt)."""
    major_faults: Count
    """Page faults that needed input or output (ru_majflt)."""
    block_reads: Count
    """Times the file system had to read, in blocks of 512 bytes (ru_inblock)."""
    block_writes: Count
    """Times the file system had to write, in blocks of 512 bytes (ru_oublock)."""
    voluntary_switches: Count
    """Context switches because a process waited (ru_nvcsw)."""
    involuntary_switches: Count
    """Context switches because another process had its turn (ru_nivcsw)."""

CountOrNull = Union[int, None]
"""A number that is not negative, or null."""


class Usage(TypedDict):
    """What the job used: the target and everything it waited for, and from the cgroup, where there
    is one, the whole job. All zero if the target did not run."""
    wall_ns: Count
    """Time from the start of the target to its end."""
    cpu_user_ns: Count
    """Processor time in user mode; of the whole job with a cgroup."""
    cpu_system_ns: Count
    """Processor time in the kernel; of the whole job with a cgroup."""
    max_rss_bytes: Count
    """Largest resident set of a single process."""
    minor_faults: Count
    """Page faults served without input or output."""
    major_faults: Count
    """Page faults that needed input or output."""
    voluntary_switches: Count
    """Context switches because a process waited."""
    involuntary_switches: Count
    """Context switches because another process had its turn."""
    block_reads: Count
    """Reads by the file system, in blocks of 512 bytes."""
    block_writes: Count
    """Writes by the file system, in blocks of 512 bytes."""
    memory_peak_bytes: CountOrNull
    """Most memory of the whole job at one time (memory.peak of the cgroup); null without a cgroup,
    and before Linux 5.19."""
    processes_peak: CountOrNull
    """Most processes and threads of the job at one time (pids.peak of the cgroup); null without a
    cgroup, and before Linux 6.1."""
    throttled_ns: CountOrNull
    """How long the job was kept from running by limits.cpus (throttled_usec in cpu.stat of the
    cgroup); null without the cpu controller."""
    io_read_bytes: CountOrNull
    """Bytes that the job read from block devices (rbytes in io.stat of the cgroup); null without
    the io controller."""
    io_write_bytes: CountOrNull
    """Bytes that the job wrote to block devices (wbytes in io.stat of the cgroup), as far as they
    were written by the end of the job; null without the io controller."""
    scratch_bytes: Count
    """Space that the job's writes took in the scratch space when the target had ended."""


class Timing(TypedDict):
    """How long stdbox's own phases took; 0 for a phase that was not reached."""
    parse_ns: Count
    """Reading and checking the job."""
    facts_ns: Count
    """Looking at the host."""
    plan_ns: Count
    """Deciding what to do."""
    setup_ns: Count
    """From the first process to the target's exec."""
    run_ns: Count
    """From the target's exec to its end."""
    teardown_ns: Count
    """From the target's end to the writing of the report."""


@final
class CapturedText(TypedDict):
    text: str
    """What was kept, if all that was kept is valid UTF-8."""
    bytes: Count
    """How many bytes the target wrote, what was dropped included."""
    truncated: bool
    """true if more was written than capture.max_bytes and the rest was dropped."""


@final
class CapturedBase64(TypedDict):
    base64: Base64Text
    """What was kept, if it is not valid UTF-8."""
    bytes: Count
    """How many bytes the target wrote, what was dropped included."""
    truncated: bool
    """true if more was written than capture.max_bytes and the rest was dropped."""

Captured = Union[CapturedText, CapturedBase64]

CapturedOrNull = Union[Captured, None]


class ResultFile(TypedDict):
    path: Path
    """Path below the results directory."""
    bytes: Count
    """Size of the file."""


class SkippedFile(TypedDict):
    path: Path
    """Path below the results directory."""
    reason: Literal["not-a-file", "unreadable", "directory-in-the-way", "file-in-the-way", "too-deep", "refused"]
    """not-a-file: a link, device, pipe or socket. unreadable: it could not be read.
    directory-in-the-way, file-in-the-way: an old directory stands where the file, or an old file
    where a directory would go. too-deep: its path on the host would be longer than the 4095 bytes
    that the kernel takes. refused: the results directory did not take it (no permission, or a name
    that its file system cannot have)."""


class Results(TypedDict):
    files: List[ResultFile]
    """Files that are now in the results directory, sorted by path."""
    skipped: List[SkippedFile]
    """What a pattern matched and was not taken, sorted by path; at most 100,000 entries, beyond
    which degraded says so (results-limited). Of a directory that cannot be entered or made, only
    the directory is listed."""


class Change(TypedDict):
    path: Path
    """Absolute path inside the container."""
    change: Literal["created", "modified", "deleted", "replaced"]
    """created: there was nothing. deleted: there is nothing now; of a deleted tree only the top is
    listed. replaced: it is of another type, or a link to something else. modified: it is of the
    same type, but its permission bits are others, or the size or modification time of a file."""
    type: Literal["file", "directory", "symlink", "fifo", "socket", "device"]
    """What it is now, or was if it was deleted."""
    bytes: Count
    """Size of a regular file now; 0 for everything else."""


class Notice(TypedDict):
    code: str
    """Short name of the case, in kebab-case."""
    path: PathOrNull
    """The path it is about, or null."""
    message: str
    """One plain sentence."""


class PlannedSetting(TypedDict):
    """A value for a file of a control group."""
    file: Path
    """The name of the file."""
    value: str
    """What is written."""
    asked_at: str
    """JSON pointer of the field of the job that asks for it."""


class PlannedGroup(TypedDict):
    """The control group that is made for the job; absent where there is none."""
    parent: Path
    """The group that it is made in."""
    step_aside: bool
    """Whether stdbox moves itself out of that group first."""
    enable: List[str]
    """Controllers that the parent is to give."""
    settings: List[PlannedSetting]
    """What is written into the group's files, in this order."""


class PlannedMaps(TypedDict):
    """What is written into the files of the id maps (user_namespaces(7))."""
    uid: Path
    """What uid_map gets."""
    gid: Path
    """What gid_map gets."""
    writer: Literal["itself", "outside", "helpers"]
    """Who writes them: the first process of the namespace itself, a process of the one around it,
    or newuidmap(1) and newgidmap(1)."""


class _PlannedPlaceRequired(TypedDict):
    tree: Literal["host", "held", "own"]
    """The host's tree, a directory that a slot holds, or a file system of the container's own in a
    slot."""
    path: Path
    """Absolute for the host, relative else."""


class PlannedPlace(_PlannedPlaceRequired, total=False):
    """A place in a tree; an empty path is the tree itself."""
    slot: int
    """Which slot."""


class _PlannedStepRequired(TypedDict):
    do: Literal[
    "new-fs",
    "overlay",
    "clone",
    "open",
    "restrict",
    "attach",
    "detach",
    "mkdir",
    "mkfile",
    "mkfifo",
    "mksocket",
    "symlink",
    "write",
    "copy",
    "pivot",
    "chroot",
]
    """new-fs: fsopen(2), fsconfig(2), fsmount(2). overlay: the same for an overlay. clone:
    open_tree(2). open: openat2(2). restrict: mount_setattr(2). attach: move_mount(2). detach:
    umount2(2) with MNT_DETACH. pivot: pivot_root(2), then detach of the old root; chroot: chroot(2)
    in its place."""


class PlannedStep(_PlannedStepRequired, total=False):
    """One operation. A slot is a descriptor that one step opens and later ones use."""
    slot: int
    """What is made, used or mounted."""
    at: PlannedPlace
    """Where it is done."""
    source: PlannedPlace
    """clone, copy: what is taken."""
    type: str
    """new-fs: the type of the file system."""
    options: List[List[Path]]
    """new-fs: options, each a name, and a value where it has one."""
    attributes: List[Literal["ro", "nosuid", "nodev", "noexec"]]
    """new-fs, restrict: attributes of the mount."""
    or_read_only: bool
    """new-fs: whether a read-only mount will do where the kernel allows no other."""
    lower: List[PlannedPlace]
    """overlay: the lower layers, topmost first."""
    upper: PlannedPlace
    """overlay: the upper layer."""
    work: PlannedPlace
    """overlay: the work directory."""
    userxattr: bool
    """overlay: its marks are kept in user attributes."""
    volatile: bool
    """overlay: never written back for safety's sake."""
    keep_read_only: bool
    """overlay: whether a read-only lower mount makes it read-only."""
    recursive: bool
    """clone: with everything mounted below."""
    if_absent: Literal["fail", "report", "pass-over"]
    """overlay, clone: what happens if it has vanished: the set-up fails, it is left out and
    reported, or left out."""
    keep: bool
    """attach: whether the slot is needed later."""
    mode: str
    """mkdir, mkfile, mkfifo, mksocket, write, copy: permission bits, in octal."""
    to: Path
    """symlink: what it holds."""
    holds: Path
    """write: what the file holds."""
    asked_at: str
    """JSON pointer of the field of the job that asks for it."""


class PlannedCapabilities(TypedDict):
    """What the target keeps, in user and mount namespaces of its own."""
    kept: List[str]
    """Names of capabilities."""
    id_maps: PlannedMaps
    """The id maps."""


class PlannedLimit(TypedDict):
    """A resource limit."""
    limit: str
    """The field of `limits` that it belongs to."""
    value: int
    """What it is set to."""


class _PlanRequired(TypedDict):
    namespaces: List[Literal["user", "mount", "pid", "ipc", "uts", "network", "cgroup"]]
    """Those that the container begins with (namespaces(7))."""
    id_maps: PlannedMaps
    """The id maps."""
    steps: List[PlannedStep]
    """How the tree is built."""
    init: bool
    """Whether the target runs below a small pid 1."""
    nested_namespaces: bool
    """Whether the target can make user namespaces."""
    fds: List[int]
    """Descriptors that the target keeps beside 0, 1 and 2."""
    rlimits: List[PlannedLimit]
    """Resource limits, both soft and hard (setrlimit(2))."""
    cwd: Path
    """The working directory."""
    executables: List[Path]
    """Files that are tried, in this order."""
    argv: List[Path]
    """The arguments."""
    environment: List[Path]
    """The variables, as NAME=value."""


class Plan(_PlanRequired, total=False):
    """What `stdbox run` would do, in the order in which the kernel hears of it. Its form may grow
    with any version."""
    control_group: PlannedGroup
    """What is made for the job; absent where nothing is."""
    hostname: Path
    """The host name; absent where it stays the host's."""
    capabilities: PlannedCapabilities
    """What the target keeps, if anything."""
    cpu_seconds: List[int]
    """RLIMIT_CPU, soft and hard."""
    filter_instructions: int
    """Length of the system call filter; absent where there is none."""


class _ReportRequired(TypedDict):
    version: Literal[1]
    """Version of this protocol."""
    id: Union[str, None]
    """The job's `id`; null if it has none or it could not be read."""
    outcome: Literal["exited", "signaled", "limit-exceeded", "cancelled", "setup-failed", "invalid-job", "valid", "planned"]
    """How the job ended.
    "exited": The target ended by itself; exit_code says how.
    "signaled": The target was ended by a signal that stdbox did not send.
    "limit-exceeded": The job was ended for one of its limits; `limit` says which.
    "cancelled": stdbox was told to stop (by SIGTERM, SIGINT or SIGHUP, or by end of file on
    sync.control_fd) and ended the job.
    "setup-failed": The container could not be made or the command not be started; the target did
    not run.
    "invalid-job": The job was refused before anything was started.
    "valid": Only from `stdbox check`: the job is in order.
    "planned": Only from `stdbox plan`: this is what would be done."""
    exit_code: Union[int, None]
    """The target's exit status if it ended by itself, else null."""
    signal: Union[int, None]
    """Number of the signal that ended the target (signal(7)), whoever sent it, else null."""
    limit: Union[Literal["wall-time", "cpu-time", "memory", "processes", "output"], None]
    """With limit-exceeded the limit that ended the job, else null.
    "wall-time": limits.wall_time_ms.
    "cpu-time": limits.cpu_time_ms.
    "memory": limits.memory_bytes.
    "processes": limits.processes.
    "output": limits.output_bytes."""
    error: Union[Error, None]
    """Why the job was refused or could not be run; null if nothing went wrong on stdbox's side."""
    usage: Usage
    """What the job used: the target and everything it waited for, and from the cgroup, where there
    is one, the whole job. All zero if the target did not run."""
    timing: Timing
    """How long stdbox's own phases took; 0 for a phase that was not reached."""
    stdout: CapturedOrNull
    """What the target wrote to standard output; null if it was not captured or the target did not
    run."""
    stderr: CapturedOrNull
    """What the target wrote to standard error; null if it was not captured, went to stdout or the
    target did not run."""
    results: Union[Results, None]
    """The files that were taken out of the container; null if the job did not ask for any or did
    not run."""
    changes: Union[List[Change], None]
    """What the job changed in overlay and hidden directories, sorted by path, as a comparison of
    what was there at the beginning with what is there at the end; null if the job did not ask or
    did not run. At most 1,000,000 entries, beyond which degraded says so (changes-limited)."""
    warnings: List[Notice]
    """Things worth knowing that did not change what was asked for."""
    degraded: List[Notice]
    """Things that were asked for and not fully given; with `strict` they are errors instead."""


class Report(_ReportRequired, total=False):
    """What became of one job: always one JSON object on one line, followed by a newline, whatever
    happened, unless the command line is wrong or the report cannot be written: then standard error
    has a line that says so. Every field below is present but the few that say otherwise. Durations
    end in _ns and are integers in nanoseconds, sizes are integers in bytes. A path that is not
    UTF-8 is an object with base64."""
    line: int
    """Only from `stdbox batch`: number of the job's line in the input, counted from 1."""
    wait_status: int
    """Only if the target ran: its status as wait(2) gives it, undecoded."""
    rusage: Rusage
    """Only if the target ran: what the kernel counted for the target and everything it waited for
    (getrusage(2))."""
    job: Job
    """Only with the outcome valid: the job in its normal form, with every default filled in. It is
    a valid job itself, see job.json."""
    plan: Plan
    """Only with the outcome planned: what would be done."""

Pid = int


class _ReadyRequired(TypedDict):
    event: Literal["ready"]
    """The container stands, and only exec is left. With sync.pause_before_exec stdbox waits for
    `continue` now: the processes can be placed, limited (prlimit(2), sched_setaffinity(2)) and
    measured."""
    pid: Pid
    """The process that becomes the target, in stdbox's pid namespace."""
    init_pid: Pid
    """The first process of the container, in stdbox's pid namespace."""


class Ready(_ReadyRequired, total=False):
    scratch: Union[str, Base64]
    """Only with scratch.directory: the directory of the host that holds everything that the job
    writes, so that its size can be watched. Below `upper` in it, writes lie under their paths in
    the container; what is written below directories of another mode than the one around them lies
    beside it."""


class Exited(TypedDict):
    event: Literal["exited"]
    """The target has ended. With sync.pause_after_exit every other process of the container is
    dead, and stdbox waits for `continue` while the container still stands: it can be looked at
    through /proc/INIT_PID/root. What lies there is the job's: a link of its leads to a file of the
    host, and a pipe of its keeps who opens it waiting, so look with openat2(2), RESOLVE_IN_ROOT and
    O_NONBLOCK."""
    wait_status: int
    """As wait(2) gives it, undecoded."""
    rusage: Rusage
    """What the kernel counted for the target and everything it waited for (getrusage(2))."""

Event = Union[Ready, Exited]
"""What a job's `sync.events_fd` tells: one JSON object on one line, followed by a newline, for each
event, in their order. A container that cannot be set up has none, and a command that cannot be
executed has no exited: the report says why, and the end of the events is there before it. A path
that is not UTF-8 is an object with base64."""
