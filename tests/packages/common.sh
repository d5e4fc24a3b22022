# What the tests of the packages share; sourced.
# shellcheck shell=bash
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
downloads=${CLIENTS_DIR:-$project/target/clients}/packages
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$project/Cargo.toml" | head -n 1)

# Not in /tmp, which is empty for a job: the working directory is one that jobs see.
work=$(mktemp -d /var/tmp/stdbox-packages-XXXXXX)
trap 'rm -rf "$work"' EXIT

# One date for all that a build dates: the first that a zip file can hold.
export SOURCE_DATE_EPOCH=315532800
export PYTHONDONTWRITEBYTECODE=1

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

# For what the machine lacks, if MAY_SKIP has the word: returns, and the caller goes on without.
may_skip() {
    case ",${MAY_SKIP:-}," in
        *",$1,"*) printf 'skipped (%s): %s\n' "$1" "$2" ;;
        *) fail "$2 (MAY_SKIP=$1 goes on without)" ;;
    esac
}

# The binary for an architecture; made if it is not there.
release() {
    local given=STDBOX_RELEASE path
    [ "$1" = x86_64 ] || given=STDBOX_RELEASE_AARCH64
    path=${!given:-}
    if [ -z "$path" ]; then
        path=$project/target/$1-unknown-linux-musl/release/stdbox
        [ -x "$path" ] || (cd "$project" && cargo build --quiet --locked --release --target "$1-unknown-linux-musl" --target-dir target >&2)
    fi
    [ -x "$path" ] || fail "$path is no program (\$$given)"
    realpath "$path"
}

# The project's files as a clone of them would have them, with other times and stricter permissions.
clone_to() {
    mkdir -p "$1"
    if git -C "$project" rev-parse --git-dir >/dev/null 2>&1; then
        (cd "$project" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T -) |
            (umask 077 && tar -x -m --no-same-permissions -C "$1")
    else
        (cd "$project" && tar -c --exclude ./target .) | (umask 077 && tar -x -m --no-same-permissions -C "$1")
    fi
}

# Runs a command with nothing of the caller's environment, in a directory with nothing of the project.
clean() {
    mkdir -p "$work/home" "$work/elsewhere"
    (cd "$work/elsewhere" && env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$work/home" LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 "$@")
}

# The text on stdin must be that of the file.
same_list() {
    diff -u --label expected --label "$1" "$2" - || fail "$1 holds other files than it should"
}

# The command must be the binary, byte for byte, and do its work.
works() {
    cmp "$1" "$2" || fail "$1 is not the binary"
    [ "$(clean "$1" --version)" = "stdbox $version" ] || fail "$1 has another version than Cargo.toml"
    clean "$1" <<< '{"argv":["sh","-c","echo $((6 * 7))"],"cwd":"/"}' > "$work/report"
    grep -q '"outcome":"exited","exit_code":0.*"stdout":{"text":"42\\n"' "$work/report" || fail "$1: $(cat "$work/report")"
}
